"""Rows of tables out of the instruction tasks, so that a model learns to fill a row (`fields` of dlm-model train).

    python records.py --data DIR/instruct --out DIR

Each is a text of lines "name: value", as dlm_infill_row shows a row: what is known first. Three files:

    records_labels.jsonl   a text and what tasks ask of it (a label, or a value that stands in it), one to four columns behind it
    records_tables.jsonl   rows of data: televisions, restaurants, people
    records_words.jsonl    a word of the dictionary and what is said of it

Left out are the development tasks (development.txt) and every task that a table of bench/infill was made of: country, film, package, command, laptop and pub
are tables of a kind that the model has not seen. Only rows whose split is train. The choice of names and orders is that of random.Random(SEED).
"""
import argparse
import collections
import gzip
import json
import pathlib
import random
import re

SEED, COPIES, MOST_BYTES = 1, 2, 420
TEXTS = "text message note comment description content remark details".split()

# task: names of the text's column, names of the label's
LABELS = {
    "amazon_review_sentiment": ("review text comment feedback", "sentiment tone opinion"),
    "country_fact_topic": ("fact statement text", "topic subject category"),
    "definition_class": ("definition meaning description", "kind class category"),
    "dialogue_act": ("message utterance text", "act intent function"),
    "dialogue_domain": ("conversation dialogue chat", "domain topic subject"),
    "dialogue_user_intent": ("message request text", "intent goal action"),
    "dialogue_who_said": ("sentence message text", "speaker author"),
    "language_id": ("text sentence body", "language"),
    "product_sentence_sentiment": ("sentence review comment", "sentiment tone polarity"),
    "pros_or_cons": ("note remark comment", "kind type"),
    "question_or_statement": ("sentence text", "kind type"),
    "reading_level": ("paragraph text", "level difficulty"),
    "reddit_fine_emotion": ("comment message text post", "emotion feeling"),
    "reddit_polarity": ("comment message text post", "polarity sentiment"),
    "restaurant_speech_act": ("sentence message", "act"),
    "sentence_tense": ("sentence text", "tense"),
    "sql_statement_type": ("statement query sql", "kind type"),
    "textbook_subject": ("passage text paragraph", "subject field course"),
    "tv_speech_act": ("sentence message", "act"),
    "which_operation": ("problem question", "operation"),
    "term_from_definition": ("definition", "term"),
    "product_aspect_extraction": ("sentence review", "aspect feature"),
    "trivia_open": ("question", "answer"),
    "web_questions": ("question", "answer"),
    "sql_table": ("statement query", "table"),
    "email_domain": ("email", "domain"),
    "name_initials": ("name", "initials"),
    "year_of_date": ("date", "year"),
    "duration_minutes": ("duration", "minutes"),
}
# tasks whose instruction names what is asked for
ASKED = ("tv_attribute", "restaurant_attribute", "dialogue_slot_value", "bus_booking_slot", "car_rental_slot", "event_booking_slot", "home_search_slot",
         "restaurant_booking_slot", "address_field", "log_line_field", "extract_field_or_none", "type_of_wikipedia_entities", "type_of_social_media_entities",
         "product_aspect_sentiment")
ASK = re.compile(r"(?:extract|copy|find|give|what is|what) (?:the |a |an )?([a-z][a-z ]{2,24}?)(?: (?:is|of|from|that|mentioned|in the|does)\b|\.|\?|,)", re.I)
QUOTED = re.compile(r'"([^"]+)"')
ABOUT = re.compile(r"(?:badly of the|attitude towards the|opinion (?:of|about|on) the) ([a-z0-9 -]{2,24}?)(?:\?| in the| expressed|,|\.)", re.I)
TABLES = ("tv_data_to_text", "restaurant_data_to_text")
PAIRS = ("text_to_key_values", "dialogue_state")
PEOPLE = ("json_to_sentence", "person_to_json")
# a word and what is said of it: task, the column's name; the words stand as "word (class)" or alone
WORDS = {"define_word": "definition", "synonym": "synonym", "antonym": "antonym", "kind_of": "kind", "plural_form": "plural", "past_tense": "past tense",
         "comparative_form": "comparative", "use_in_sentence": "example", "first_letter": "first letter", "count_letters": "letters"}


def tasks_rows(folder, task):
    """The rows of a task that train, without those whose answer is none."""
    with gzip.open(folder / f"{task}.jsonl.gz", "rt") as f:
        for line in f:
            row = json.loads(line)
            if row["split"] == "train" and row["target"].strip().lower() != "none" and (row.get("input") or "").strip():
                yield row


def one_line(text):
    return " ".join(text.split())


def asked(row):
    """Name and value of what the instruction asks for; None where it is not plain."""
    ask = row["instruction"]
    if row["task"].startswith("type_of_"):
        found = QUOTED.search(ask)
        return [("entity", found.group(1)), ("type", row["target"])] if found else None
    if row["task"] == "product_aspect_sentiment":
        found = ABOUT.search(ask)
        return [("aspect", found.group(1)), ("sentiment", row["target"])] if found else None
    found = ASK.search(ask)
    return [(found.group(1).lower().strip(), row["target"])] if found else None


def pairs_of(text):
    """Fields of "name: value; name: value"; None where it is not that."""
    pairs = [part.partition(": ") for part in text.split("; ")]
    return [(name.strip(), value) for name, _, value in pairs] if all(p[1] for p in pairs) else None


class Records:
    def __init__(self, rng):
        self.rng = rng
        self.rows = []

    def add(self, known, fields):
        """A row: what is known, then the fields in an order of chance. Not one that is long or whose names or values would break its lines."""
        fields = list({name: (name, one_line(str(value))) for name, value in fields if str(value).strip() not in ("", "dontcare")}.values())
        for _ in range(COPIES if len(fields) > 1 else 1):
            lines = [(name, one_line(value)) for name, value in known] + self.rng.sample(fields, len(fields))
            text = "\n".join(f"{name}: {value}" for name, value in lines)
            if len(lines) > 1 and len(text.encode()) <= MOST_BYTES and not any(":" in name for name, _ in lines):
                self.rows.append(text)

    def write(self, path):
        rows = sorted(set(self.rows))
        self.rng.shuffle(rows)
        with open(path, "w") as f:
            f.writelines(json.dumps({"text": text}) + "\n" for text in rows)
        print(f"{path.name}: {len(rows)} rows, {sum(map(len, rows)) / len(rows):.0f} bytes each")


def labels(folder, rng):
    """A text with one to four things that are asked of it."""
    texts = collections.defaultdict(list)
    for task, (names, columns) in LABELS.items():
        for row in tasks_rows(folder, task):
            texts[one_line(row["input"])].append((names.split(), [(rng.choice(columns.split()), row["target"])]))
    for task in ASKED:
        for row in tasks_rows(folder, task):
            fields = asked(row)
            if fields:
                texts[one_line(row["input"])].append((TEXTS, fields))
    out = Records(rng)
    for text, things in texts.items():
        names = rng.choice(things)[0]
        known = [(rng.choice(names), text)]
        if rng.random() < 0.15:
            known.insert(0, (rng.choice(["id", "number", "nr"]), str(rng.randrange(1, 10000))))
        fields = [field for _, some in things for field in some]
        entity = [f for f in fields if f[0] in ("entity", "aspect")]
        out.add(known + entity[:1], [f for f in fields if f not in entity][:4])
    return out


def tables(folder, rng):
    """Rows of data, half of them behind a text that says the same."""
    out = Records(rng)
    for task in TABLES:
        for row in tasks_rows(folder, task):
            fields = [tuple(line.split(": ", 1)) for line in row["input"].split("\n") if ": " in line and not line.startswith("act: ")]
            known = [(rng.choice(TEXTS), row["target"])] if rng.random() < 0.5 else []
            out.add(known, fields)
    for task in PAIRS:
        for row in tasks_rows(folder, task):
            fields = pairs_of(row["target"])
            if fields:
                out.add([(rng.choice(TEXTS), row["input"])], fields)
    for task in PEOPLE:
        for row in tasks_rows(folder, task):
            record, text = (row["input"], row["target"]) if task == "json_to_sentence" else (row["target"], row["input"])
            out.add([("about", text)], json.loads(record).items())
    return out


def words(folder, rng):
    """A word with its class and what the dictionary says of it."""
    said = collections.defaultdict(dict)
    for task, name in WORDS.items():
        for row in tasks_rows(folder, task):
            said[row["input"].strip()][name] = row["target"]
    out = Records(rng)
    for word, fields in said.items():
        plain, _, kind = word.partition(" (")
        if kind:
            fields = {**fields, **said.get(plain, {}), "part of speech": kind.rstrip(")")}
        if len(fields) > 1 or rng.random() < 0.3:
            out.add([(rng.choice(["word", "term", "entry"]), plain)], fields.items())
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", type=pathlib.Path, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for make in labels, tables, words:
        make(args.data, random.Random(SEED)).write(args.out / f"records_{make.__name__}.jsonl")


if __name__ == "__main__":
    main()
