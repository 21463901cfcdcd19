/*
 * t_template.c - templates: what is a token, what is text, where the canvas stands.
 */
#include "template.h"
#include "tiny_model.h"

static dl_arena *arena;
static const dlm_env no_env = {0};

static dl_holes
holes_of(const char *input, const char *instruction)
{
	return (dl_holes) {.input = tiny_text(input), .instruction = tiny_text(instruction), .labels = tiny_text("a, b"),
		.descriptions = tiny_text(""), .examples = tiny_text("")};
}

/* Do these ids come from encoding the texts one after another? */
static void
check_ids(const tiny_model *m, const dl_ids *got, const char *const *pieces, int n, dl_tok_mode first, const char *what)
{
	dl_ids		want = {0};
	dlm_error	err = {0};

	for (int i = 0; i < n; i++)
	{
		int32_t		special = dl_tok_special(m->model->tok, tiny_text(pieces[i]));

		if (special >= 0)
			dl_ids_append(&want, arena, &special, 1, &err);
		else
			dl_tok_encode(m->model->tok, tiny_text(pieces[i]), i == 0 ? first : DL_TOK_START, arena, &no_env, &want,
						  &err);
	}
	CHECK(want.n == got->n && tiny_same(want.id, got->id, (size_t) want.n * sizeof(int32_t)),
		  "%s: %d ids, want %d", what, got->n, want.n);
}

static dlm_status
fill(const tiny_model *m, const char *tmpl, bool own, const dl_holes *holes, dl_filled *out, dlm_error *err)
{
	memset(err, 0, sizeof(*err));
	return dl_template_fill(m->model, tiny_text(tmpl), own, holes, arena, &no_env, out, err);
}

static void
own_template_has_special_tokens(const tiny_model *m)
{
	dl_holes	holes = holes_of("<|im_end|> {label} {?input}", "Say <|mask|>.");
	const char *tmpl = "<|im_start|>user\n{instruction}{?input}\n{input}{/input}<|im_end|>\n"
		"<|im_start|>assistant\n{label}";
	const char *want[] = {"<|im_start|>", "user\nSay <|mask|>.\n<|im_end|> {label} {?input}", "<|im_end|>", "\n",
	"<|im_start|>", "assistant\n"};
	dl_filled	row;
	dlm_error	err;
	dl_ids		text = {0};

	CHECK(fill(m, tmpl, true, &holes, &row, &err) == DLM_OK, "%s", err.message);
	/* the pieces above that are special strings alone are tokens; inside a text they are text */
	dl_tok_encode(m->model->tok, tiny_text(want[1]), DL_TOK_START, arena, &no_env, &text, &err);
	CHECK(row.head.n > text.n && memcmp(row.head.id + 1, text.id, (size_t) text.n * sizeof(int32_t)) == 0, "value");
	for (int i = 0; i < text.n; i++)
		CHECK(!dl_tok_is_special(m->model->tok, text.id[i]), "a value became special token %d", text.id[i]);
	check_ids(m, &row.head, want, 6, DL_TOK_START, "chat");
	CHECK(row.tail.n == 0 && !row.space && row.has_canvas, "tail %d", row.tail.n);
}

static void
user_template_is_plain_text(const tiny_model *m)
{
	dl_holes	holes = holes_of("the boat", "");
	const char *head[] = {"<|endoftext|>", "<|im_start|>{\"a\": {1}, b}{ the boat is"};
	const char *tail[] = {" here {input}<|im_end|>"};
	dl_filled	row;
	dlm_error	err;

	CHECK(fill(m, "<|im_start|>{\"a\": {1}, b}{ {input} is {label} here {{input}}<|im_end|>", false, &holes, &row,
			   &err) == DLM_OK, "%s", err.message);
	check_ids(m, &row.head, head, 2, DL_TOK_START, "head");
	check_ids(m, &row.tail, tail, 1, DL_TOK_CONTINUE, "tail");
	CHECK(row.space, "the space before the canvas belongs to it");
}

static void
canvas_stands_at_the_end_without_a_hole(const tiny_model *m)
{
	dl_holes	holes = holes_of("the boat ", "");
	const char *head[] = {"<|endoftext|>", "the boat"};
	dl_filled	row;
	dlm_error	err;

	CHECK(fill(m, "{input}", false, &holes, &row, &err) == DLM_OK, "%s", err.message);
	check_ids(m, &row.head, head, 2, DL_TOK_START, "head");
	CHECK(row.space && !row.has_canvas && row.tail.n == 0, "tail %d", row.tail.n);
}

static void
conditions_leave_out_empty_holes(const tiny_model *m)
{
	dl_holes	holes = holes_of("", "Choose.");
	const char *with[] = {"<|endoftext|>", "Choose.: a, b!"};
	const char *without[] = {"<|endoftext|>", "[x] !"};
	dl_filled	row;
	dlm_error	err;

	CHECK(fill(m, "{?instruction}{instruction}{?labels}: {labels}{/labels}{?input}[{input}]{/input}{/instruction}!",
			   false, &holes, &row, &err) == DLM_OK, "%s", err.message);
	check_ids(m, &row.head, with, 2, DL_TOK_START, "with");
	holes = holes_of("x", "");
	CHECK(fill(m, "{?instruction}{instruction}{?labels}: {labels}{/labels}{/instruction}{?input}[{input}]{/input} !",
			   false, &holes, &row, &err) == DLM_OK, "%s", err.message);
	check_ids(m, &row.head, without, 2, DL_TOK_START, "without");
}

static void
text_around_a_canvas_continues(const tiny_model *m)
{
	dl_holes	holes = holes_of("boat", "");
	const char *head[] = {"<s>", "the"};
	const char *tail[] = {"boat", "</s>"};
	dl_filled	row;
	dlm_error	err;

	CHECK(fill(m, "the {label}{input}", false, &holes, &row, &err) == DLM_OK, "%s", err.message);
	check_ids(m, &row.head, head, 2, DL_TOK_START, "Metaspace head");
	check_ids(m, &row.tail, tail, 2, DL_TOK_CONTINUE, "Metaspace tail");
	CHECK(row.space, "space");
}

static void
own_faults_are_damage(const tiny_model *m)
{
	static const char *const bad[] = {"{foo}{label}", "{label}", "{input}{?input}{label}", "{input}{label}{canvas}"};
	dl_holes	holes = holes_of("x", "");
	dl_filled	row;
	dlm_error	err;

	for (int i = 0; i < 4; i++)
	{
		CHECK(fill(m, bad[i], true, &holes, &row, &err) == DLM_EDAMAGED, "%s: %s", bad[i], err.message);
		CHECK(strstr(err.message, "foo") == NULL, "quotes the file: %s", err.message);
		CHECK(fill(m, bad[i], false, &holes, &row, &err) == DLM_EINVAL, "%s: %s", bad[i], err.message);
		CHECK(strstr(err.hint, "{input}") != NULL && strstr(err.hint, "{prompt}") == NULL, "hint: %s", err.hint);
	}
}

/* The cut text is the longest prefix that fits, and ends between two characters. */
static void
cutting_keeps_the_longest_prefix(const tiny_model *m)
{
	const char *text = "Das kleine Boot verlie\xc3\x9f den Hafen vor Sonnenaufgang \xe2\x82\xac 10275 und kehrte "
		"zur\xc3\xbc" "ck.";
	dl_filled	row;
	dlm_error	err;

	for (int room = 1; room < 60; room++)
	{
		dl_holes	holes = holes_of(text, "");
		size_t		longest = 0;
		bool		any = false;
		dlm_status	st;

		for (size_t len = 0; len <= strlen(text); len++)
		{
			dl_holes	part = holes;

			part.input.len = len;
			if (len < strlen(text) && ((unsigned char) text[len] & 0xC0) == 0x80)
				continue;
			if (dl_template_fill(m->model, tiny_text("{input}: {label}."), false, &part, arena, &no_env, &row,
								 &err) == DLM_OK && row.head.n + row.tail.n <= room)
			{
				longest = len;
				any = true;
			}
		}
		memset(&err, 0, sizeof(err));
		st = dl_template_fit(m->model, tiny_text("{input}: {label}."), false, &holes, &holes.input, room,
							 DLM_OVERFLOW_TRUNCATE, arena, &no_env, &row, &err);
		CHECK(st == (any ? DLM_OK : DLM_ETOOLONG), "room %d: %d %s", room, st, err.message);
		if (st != DLM_OK)
			continue;
		CHECK(row.head.n + row.tail.n <= room, "room %d: %d tokens", room, row.head.n + row.tail.n);
		/* token counts are not strictly monotone in the prefix, so bisection may stop some characters short */
		CHECK(holes.input.len <= longest && holes.input.len + 8 > longest, "room %d: %zu bytes, longest %zu", room,
			  holes.input.len, longest);
		CHECK(((unsigned char) text[holes.input.len] & 0xC0) != 0x80, "cut inside a character");
	}
}

int
main(void)
{
	tiny_model	chat;
	tiny_model	metaspace;

	arena = dl_arena_create(0);
	if (tiny_open("context", &chat))
	{
		own_template_has_special_tokens(&chat);
		user_template_is_plain_text(&chat);
		canvas_stands_at_the_end_without_a_hole(&chat);
		conditions_leave_out_empty_holes(&chat);
		own_faults_are_damage(&chat);
		cutting_keeps_the_longest_prefix(&chat);
	}
	tiny_close(&chat);
	if (tiny_open("paper", &metaspace))
		text_around_a_canvas_continues(&metaspace);
	tiny_close(&metaspace);
	dl_arena_destroy(arena);
	return harness_end("t_template");
}
