"""Calls whose answers are known: those of the models that stay, and of either of the two that take turns under one name."""

LABELS = "ARRAY['wet', 'dry', 'unknown']"
SOME = "FROM texts WHERE id % 8 = {part}"
# kind: a statement of one value; {m} is a model, {part} one of 8 parts of the table
READS = {
    "classify": f"SELECT md5(string_agg(dlm_classify(body, {LABELS}, model => '{{m}}'), ',' ORDER BY id)) {SOME};",
    "generate": f"SELECT md5(string_agg(dlm_generate(body, 8, 8, model => '{{m}}'), ',' ORDER BY id)) {SOME};",
    "infill": f"SELECT md5(string_agg(dlm_infill(body || ' and [MASK:4] end', model => '{{m}}'), ',' ORDER BY id)) {SOME};",
    "score": f"SELECT md5(string_agg(dlm_score(body, model => '{{m}}')::text, ',' ORDER BY id)) {SOME};",
    "embed": f"SELECT md5(string_agg(dlm_embed(body, model => '{{m}}')::text, ',' ORDER BY id)) {SOME};",
    "infill_row": "SELECT md5(string_agg(dlm_infill_row(g, model => '{m}')::text, ',' ORDER BY id)) FROM gaps AS g WHERE id % 8 = {part};",
}
# one long row: where most cancels find something to cancel
LONG = "SELECT md5(dlm_generate(body, 200, 200, options => '{{\"length\": \"fixed\"}}', model => '{m}')) FROM texts WHERE id = 1 + {part};"
# through the planner's workers, in a session that is set so
WORKERS = "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
NO_WORKERS = "SET max_parallel_workers_per_gather = 0;"
PARALLEL = "SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM (SELECT id, dlm_score(body, model => '{m}') AS s FROM texts WHERE id % 8 = {part} OFFSET 0) AS q;"
READS["parallel"] = PARALLEL
READS["long"] = LONG
# statements that must fail, and how
BAD = (
    ("SELECT dlm_classify(body, '{}', model => 'm') FROM texts;", "22023"),
    ("SELECT dlm_classify(body, '{a,a}', model => 'm') FROM texts;", "22023"),
    ("SELECT dlm_generate(body, options => '{\"nix\": 1}', model => 'm') FROM texts;", "22023"),
    ("SELECT dlm_generate(body, -1, model => 'm') FROM texts;", "22023"),
    ("SELECT dlm_score(body, model => 'nobody') FROM texts;", "42704"),
    ("SELECT dlm_embed_pinned(repeat('0', 64), body) FROM texts;", "42704"),
    ("SELECT dlm_infill(body, model => 'm') FROM texts;", "22023"),
    ("SELECT dlm_infill(repeat('[MASK:1] ', 1001), model => 'm') FROM texts;", "54000"),
    ("SELECT dlm_load_model('broken', '{models}/none');", "58P01"),
    # a batch of rows of which a late one cannot be
    ("SELECT dlm_infill(CASE WHEN id = 150 THEN body ELSE body || ' [MASK:1]' END, model => 'm') FROM texts;", "22023"),
)


def read(kind, model, part):
    return READS[kind].format(m=model, part=part)


def known_answers(session, parts):
    """{(kind, part, model): value} of the two models that stay."""
    out = {}
    for kind in READS:
        for part in parts:
            for model in ("first", "second"):
                out[kind, part, model] = session.must(read(kind, model, part))[0]
    return out
