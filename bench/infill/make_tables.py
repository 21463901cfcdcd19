"""Seven tables out of the project's data: rows as CSV, and the SQL that creates and fills each table.

    python3 make_tables.py --data ../../../shared/data --out DIR

`DIR/NAME.csv` has the rows, the key first and no surrogate anywhere else; `DIR/NAME.sql` drops, creates and fills `infill.NAME` and its lookup tables (run it with psql
inside DIR). What a table is about is what its columns have to do with each other; sources and licences: README.md. An empty field is NULL: the source does not say.
"""
import argparse
import collections
import csv
import datetime
import gzip
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "quality"))
import rows  # noqa: E402

FOLDERS = ("instruct", "eval/seen", "eval/seen_gen", "eval/heldout_gen")        # train and development rows, test rows, tasks that were never trained on


class Table:
    """A table's name, its columns (name, SQL type, constraint) with the key first, its rows (dicts), and constraints over several columns.

    The type 'enum' becomes a type of the values that occur; a constraint 'in' becomes CHECK (x IN (...)) of them, 'any' CHECK (x = ANY ('{...}')), 'or' x = a OR x = b,
    'references' a foreign key to a table of them.
    """

    def __init__(self, name, columns, found, checks=()):
        self.name, self.columns, self.rows, self.checks = name, columns, found, checks

    def values(self, column):
        """What occurs in a column, the most frequent first."""
        return [v for v, _ in sorted(collections.Counter(r[column] for r in self.rows if r.get(column) not in (None, "")).items(), key=lambda p: (-p[1], str(p[0])))]

    def lookup(self, column):
        return f"{self.name}_{column}"

    def definition(self, column, kind, constraint):
        """One column as CREATE TABLE has it."""
        listed = [quote(v) for v in sorted(self.values(column), key=str)] if constraint in ("in", "any", "or") else []
        rule = {"in": f"CHECK ({column} IN ({', '.join(listed)}))",
                "any": f"CHECK ({column} = ANY (ARRAY[{', '.join(listed)}]::{kind}[]))",
                "or": f"CHECK ({' OR '.join(f'{column} = {v}' for v in listed)})",
                "references": f"REFERENCES {self.lookup(column)}"}.get(constraint, constraint)
        return f"    {column} {self.lookup(column) if kind == 'enum' else kind} {rule}".rstrip()

    def sql(self):
        lookups = [c for c, _, rule in self.columns if rule == "references"]
        enums = [c for c, kind, _ in self.columns if kind == "enum"]
        names = [c for c, _, _ in self.columns]
        lines = ["CREATE SCHEMA IF NOT EXISTS infill;", "SET search_path = infill, public;", "SET client_min_messages = warning;",
                 f"DROP TABLE IF EXISTS {', '.join([self.name] + [self.lookup(c) for c in lookups])} CASCADE;"]
        for c in enums:
            lines += [f"DROP TYPE IF EXISTS {self.lookup(c)};", f"CREATE TYPE {self.lookup(c)} AS ENUM ({', '.join(quote(v) for v in self.values(c))});"]
        for c in lookups:
            kind = next(k for n, k, _ in self.columns if n == c)
            lines += [f"CREATE TABLE {self.lookup(c)} (name {kind} PRIMARY KEY);",
                      f"INSERT INTO {self.lookup(c)} VALUES\n    " + ",\n    ".join(f"({quote(v)})" for v in sorted(self.values(c))) + ";"]
        definitions = [self.definition(*c) for c in self.columns] + [f"    CHECK ({check})" for check in self.checks]
        lines += [f"CREATE TABLE {self.name} (", ",\n".join(definitions), ");",
                  f"\\copy {self.name} ({', '.join(names)}) FROM '{self.name}.csv' (FORMAT csv, HEADER)"]
        return "\n".join(lines) + "\n"

    def write(self, out):
        with open(out / f"{self.name}.csv", "w", newline="", encoding="utf-8") as f:
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(c for c, _, _ in self.columns)
            writer.writerows(["" if r.get(c) is None else r[c] for c, _, _ in self.columns] for r in self.rows)
        (out / f"{self.name}.sql").write_text(self.sql(), encoding="utf-8")
        known = sum(r.get(c) not in (None, "") for r in self.rows for c, _, _ in self.columns[1:])
        print(f"{self.name:8s} {len(self.rows):5d} rows, {len(self.columns) - 1:2d} columns beside the key, {known / len(self.rows) / (len(self.columns) - 1):4.0%} known")


def quote(value):
    return str(value) if isinstance(value, (int, float)) else "'" + str(value).replace("'", "''") + "'"


def task(data, name):
    """All rows of a task, whatever their split."""
    for folder in FOLDERS:
        path = data / folder / f"{name}.jsonl.gz"
        if path.exists():
            yield from (json.loads(line) for line in rows.open_text(path))


def fields(text):
    """'key: value' lines -> [(key, value)]"""
    return [tuple(line.split(": ", 1)) for line in text.split("\n") if ": " in line]


def number(text, kind=float):
    found = re.search(r"\d[\d,]*(?:\.\d+)?", text or "")
    return kind(float(found[0].replace(",", ""))) if found else None


def short(text, most=40):
    return text if text and len(text) <= most else None


def country(data):
    """The World Factbook: what follows from the country's name, and from each other (landlocked: no coast)."""
    record = collections.defaultdict(dict)
    for name in ("country_record_qa", "country_record_to_text"):
        for row in task(data, name):
            found = dict(f for f in fields(row["input"]) if f[0] != "Question")
            record[found.get("country")].update(found)
    for row in task(data, "country_qa"):
        asked = re.match(r"What is the main language of (.*)\?", row["input"])
        if asked and asked[1] in record:
            record[asked[1]].setdefault("languages", row["target"])
    frequent = collections.Counter(r.get("government type") for r in record.values())
    found = []
    for name, r in sorted(record.items()):
        coast = number(r.get("coastline"))
        coast = coast and max(1, round(coast))
        row = {"name": short(name), "region": r.get("region") or r.get("continent"), "capital": short(r.get("capital"), 30),
               "language": short(re.split(r" \(| or |,", r.get("languages", ""))[0], 20), "currency": short(re.split(r" \(|;", r.get("currency", ""))[0]),
               "internet_domain": (re.findall(r"\.[a-z]{2}\b", r.get("internet domain", "")) or [None])[0], "landlocked": None if coast is None else str(not coast).lower(),
               "coastline_km": None if coast is None else int(coast), "area_km2": number(r.get("area"), int) or None, "population": number(r.get("population"), int),
               "government": r.get("government type") if frequent[r.get("government type")] > 2 else "other", "climate": short(re.split(r"[,;]", r.get("climate", ""))[0], 30),
               "highest_point": short(re.split(r" \(|/| \d", r.get("highest point", ""))[0]), "voting_age": number(r.get("legal voting age"), int)}
        row["region"] = re.sub(r"^AsiaEurope$|^metropolitan France: Europe.*", "Europe", row["region"] or "")       # Turkey, France with its departments
        if row["name"] and row["capital"] and row["region"] and sum(v not in (None, "") for v in row.values()) >= len(row) - 4:
            found.append(row)
    return Table("country", [("name", "varchar(40)", "PRIMARY KEY"), ("region", "enum", ""), ("capital", "varchar(30)", ""), ("language", "varchar(20)", ""),
                             ("currency", "varchar(40)", "references"), ("internet_domain", "char(3)", r"CHECK (internet_domain ~ '^\.[a-z]{2}$')"), ("landlocked", "boolean", ""),
                             ("coastline_km", "integer", "CHECK (coastline_km >= 0)"), ("area_km2", "integer", "CHECK (area_km2 > 0)"),
                             ("population", "bigint", "CHECK (population > 0)"), ("government", "text", "in"), ("climate", "varchar(30)", ""),
                             ("highest_point", "varchar(40)", ""), ("voting_age", "smallint", "CHECK (voting_age BETWEEN 16 AND 21)")],
                 found, ["landlocked = (coastline_km = 0)"])


MONTHS = "January February March April May June July August September October November December".split()
PERSON = r"[A-Z][\w'.-]+(?: (?:de |von |van )?[A-Z][\w'.-]*){1,3}?"
FILM = re.compile(r"(.{1,40}?) is an? (\d{4}) (.{0,60}?)film\b")
DIRECTOR = re.compile(rf"directed by ({PERSON})(?=,| and | based| from| with| star| for|\.(?: |$)| \(|;)")
STAR = re.compile(rf"(?:[Ss]tarring|[Ss]tars|[Ff]eaturing) ({PERSON})(?=,| and | as | in | with|\.(?: |$)| \()")
RELEASED = re.compile(rf"released (?:\w+ ){{0,8}}?(?:on )?({'|'.join(MONTHS)}) (\d{{1,2}}), (\d{{4}})")
STUDIO = re.compile(r"(?:released|distributed)\b[^.]{0,60}?\bby ((?:[A-Z0-9][\w-]*\.? )*[A-Z0-9][\w-]*)")
GENRES = ("Western", "comedy-drama", "comedy drama", "romantic comedy", "crime", "thriller", "horror", "mystery", "musical", "adventure", "action", "war", "science fiction",
          "romance", "comedy", "drama")
STUDIO_NAMES = {"Warner Bros": "Warner Bros.", "Warner Bros. Pictures": "Warner Bros.", "Warner Brothers": "Warner Bros.", "MGM": "Metro-Goldwyn-Mayer", "RKO Radio Pictures": "RKO Pictures",
                "20th Century-Fox": "20th Century Fox", "Allied Artists Pictures": "Allied Artists", "Universal-International": "Universal Pictures"}


def film(data):
    """Wikipedia's first paragraphs of films: year and date of release, silent before about 1929, directors and stars that keep to a time, a genre and a studio."""
    found = []
    for line in rows.open_text(data / "corpus/wikipedia_films.txt.gz"):
        head, director, star, released, studio = FILM.match(line), DIRECTOR.search(line), STAR.search(line), RELEASED.search(line), STUDIO.search(line)
        if not (head and director and star and released and studio):
            continue
        genre = next((g for g in GENRES if g.lower() in head[3].lower()), None)
        name = re.sub(r"\. (It|The|A|An|This|He|She|In)$", "", studio[1]).rstrip(".")
        day = datetime.date(int(released[3]), MONTHS.index(released[1]) + 1, int(released[2]))
        cut = any(re.search(r" [A-Z]$", person[1]) for person in (director, star))       # after an initial: "William C. deMille"
        if genre and not cut and abs(day.year - int(head[2])) <= 1 and len(director[1]) <= 30 and len(star[1]) <= 30:
            found.append({"title": head[1], "year": int(head[2]), "released": day, "silent": str("silent" in head[3]).lower(),
                          "genre": {"comedy drama": "comedy-drama"}.get(genre, genre).lower(), "director": director[1], "star": star[1], "studio": STUDIO_NAMES.get(name, name)})
    often = collections.Counter(r["studio"] for r in found)
    found = [dict(r, id=i) for i, r in enumerate((r for r in found if often[r["studio"]] >= 10), 1)]
    return Table("film", [("id", "integer", "PRIMARY KEY"), ("title", "varchar(40)", ""), ("year", "smallint", "CHECK (year BETWEEN 1890 AND 2030)"),
                          ("released", "date", "CHECK (released >= '1890-01-01')"), ("silent", "boolean", ""), ("genre", "text", "in"), ("director", "varchar(30)", ""),
                          ("star", "varchar(30)", ""), ("studio", "text", "references")], found)


LANGUAGES = {"Perl": "Perl", "Python": "Python", "Ruby": "Ruby", "GNU R": "R", "Haskell": "Haskell", "Java": "Java", "JavaScript": "JavaScript", "Node.js": "JavaScript", "PHP": "PHP",
             "OCaml": "OCaml", "C++": "C++", "Lua": "Lua", "Tcl": "Tcl", "Emacs": "Emacs Lisp", "Erlang": "Erlang"}
KINDS = {"library": "library", "bindings": "library", "framework": "library", "module": "module", "plugin": "plugin", "plugins": "plugin", "extension": "plugin", "font": "font", "fonts": "font",
         "dictionary": "dictionary", "dictionaries": "dictionary", "documentation": "documentation", "game": "game", "client": "client", "server": "server", "daemon": "server",
         "editor": "editor", "mode": "editor", "viewer": "viewer", "player": "player", "tool": "tool", "tools": "tool", "utility": "tool", "utilities": "tool", "compiler": "compiler",
         "emulator": "emulator", "theme": "theme", "driver": "driver"}


def package(data):
    """Debian's package descriptions: a summary says which section, which kind of package and which language; language and kind are read off summary and description."""
    def start(text):
        return re.sub(r"\W+", " ", text).lower().strip()[:50]

    def word(names, text):
        found = re.search("|".join(rf"(?<![\w-]){re.escape(n)}(?![\w-])" for n in sorted(names, key=len, reverse=True)), text)
        return found and names[found[0]]

    summary = {}
    for row in task(data, "software_summary"):
        summary[start(row["input"])] = row["target"], row["input"]
    for row in task(data, "choose_summary"):
        text = re.sub(r"^\w+: ", "", row["input"].split("\n")[0])
        summary.setdefault(start(text), (row["target"], text))
    for row in task(data, "summary_matches"):
        pair = re.match(r"Description: (.*)\nSummary: (.*)$", row["input"], re.S)
        if pair and row["target"] == "yes":
            summary.setdefault(start(pair[1]), (pair[2], pair[1]))
    section = {start(row["input"]): row["target"] for row in task(data, "software_category")}
    found, seen = [], set()
    for key in sorted(set(summary) & set(section)):
        line, text = summary[key]
        if len(line) <= 50 and line not in seen and "dummy" not in line:
            seen.add(line)
            found.append({"id": len(found) + 1, "summary": line, "section": section[key], "kind": word(KINDS, line.lower()) or word(KINDS, text.lower()) or "program",
                          "language": word(LANGUAGES, line) or word(LANGUAGES, text) or "none"})
    return Table("package", [("id", "integer", "PRIMARY KEY"), ("summary", "varchar(50)", ""), ("section", "varchar(30)", "references"), ("kind", "enum", ""), ("language", "text", "in")], found)


SLOT = re.compile(r"Extract the (.*) from the command|What is the (.*) in this request|Copy the words that give the (.*)\.|Find the (.*) that the user")


def command(data):
    """Commands to an assistant: the intent gives the scenario, the command gives intent, slot and value, the slot's value is a piece of the command."""
    intents = {row["input"]: row["target"] for row in task(data, "assistant_intent")}
    scenarios = {row["input"]: row["target"] for row in task(data, "assistant_scenario")}
    scenario_of = {intents[text]: scenarios[text] for text in intents if text in scenarios}
    found, seen = [], set()
    for row in task(data, "assistant_slot"):
        text, value = row["input"], row["target"]
        slot = next(g for g in SLOT.search(row["instruction"]).groups() if g)
        if text in intents and text not in seen and len(text) <= 50 and len(value) <= 30:
            seen.add(text)
            found.append({"command": text, "scenario": scenario_of[intents[text]], "intent": intents[text], "slot": slot, "value": value})
    often = collections.Counter(r["slot"] for r in found)
    found = [dict(r, id=i) for i, r in enumerate((r for r in found if often[r["slot"]] >= 5), 1)]
    return Table("command", [("id", "integer", "PRIMARY KEY"), ("command", "varchar(50)", ""), ("scenario", "text", "references"), ("intent", "text", "in"), ("slot", "enum", ""),
                             ("value", "varchar(30)", "")], found)


def products(data, name):
    """One dict a named thing of an RNNLG task: the value of each field that most of its rows give."""
    counts = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for row in task(data, name):
        pairs = fields(row["input"])
        names = [v for k, v in pairs if k == "name"]
        if len(names) == 1:
            for k, v in pairs:
                if v not in ("dontcare", "dont_care", "none"):
                    counts[names[0]][k][v] += 1
    return [{k: c.most_common(1)[0][0] for k, c in counts[n].items()} for n in sorted(counts)]


def hotel(data):
    """Hotels of San Francisco, with much that is not known: address, postcode, area and what is near it belong together."""
    found = []
    for r in products(data, "hotel_data_to_text"):
        row = {"name": short(r["name"]), "area": short(r.get("area"), 30), "near": short(r.get("near"), 30), "address": short(r.get("address")), "postcode": r.get("postcode"),
               "phone": r.get("phone"), "price_range": r.get("price range"), "internet": r.get("internet"), "dogs_allowed": r.get("dogs allowed"),
               "credit_cards": r.get("accepts credit cards")}
        if row["name"] and sum(v is not None for v in row.values()) >= 3:
            found.append(row)
    return Table("hotel", [("name", "varchar(40)", "PRIMARY KEY"), ("area", "varchar(30)", "references"), ("near", "varchar(30)", ""), ("address", "varchar(40)", ""),
                           ("postcode", "char(5)", "CHECK (postcode ~ '^94[0-9]{3}$')"), ("phone", "varchar(10)", "CHECK (phone ~ '^[0-9]{10}$')"), ("price_range", "text", "or"),
                           ("internet", "boolean", ""), ("dogs_allowed", "boolean", ""), ("credit_cards", "boolean", "")], found)


def laptop(data):
    """Laptops: a name begins with its family, and each measure has a range that follows from it (weight and weight range, price and price range)."""
    found = []
    for r in products(data, "laptop_data_to_text"):
        drive = number(r.get("drive"), int)
        row = {"name": r["name"], "family": r.get("family"), "platform": r.get("platform"), "processor": r.get("processor"), "memory_gb": number(r.get("memory"), int),
               "drive_gb": drive and drive * (1000 if "tb" in r["drive"] else 1), "drive_range": r.get("drive range"), "weight_kg": number(r.get("weight")),
               "weight_range": r.get("weight range"), "battery_hours": number(r.get("battery")), "battery_rating": r.get("battery rating"), "price_dollars": number(r.get("price")),
               "price_range": r.get("price range"), "utility": short(r.get("utility"), 30), "warranty": short(r.get("warranty"), 30)}
        if sum(v is not None for v in row.values()) >= len(row) - 2:
            found.append(row)
    return Table("laptop", [("name", "varchar(40)", "PRIMARY KEY"), ("family", "text", "in"), ("platform", "enum", ""), ("processor", "varchar(30)", "references"),
                            ("memory_gb", "smallint", "any"), ("drive_gb", "integer", "CHECK (drive_gb > 0)"), ("drive_range", "enum", ""),
                            ("weight_kg", "numeric(4,2)", "CHECK (weight_kg > 0)"), ("weight_range", "text", "in"), ("battery_hours", "numeric(4,1)", "CHECK (battery_hours BETWEEN 1 AND 24)"),
                            ("battery_rating", "text", "or"), ("price_dollars", "numeric(7,2)", "CHECK (price_dollars > 0)"), ("price_range", "text", "any"), ("utility", "varchar(30)", ""),
                            ("warranty", "varchar(30)", "in")], found)


def pub(data):
    """Places to eat of the E2E challenge, with facts drawn at random: name, near and kind go together, price_range and rating are of one vocabulary, while area and
    family_friendly have, by counting, to do with nothing, which no way of filling can change."""
    found = set()
    for row in task(data, "facts_to_text"):
        facts = [[p.strip() for p in line.split("|")] for line in row["input"].split("\n")]
        if all(len(f) == 3 for f in facts) and len({f[0] for f in facts}) == 1 and any(f[1] == "eat type" for f in facts) and len(facts) >= 6:
            found.add((facts[0][0],) + tuple(sorted((f[1], f[2]) for f in facts)))
    keys = {"kind": "eat type", "food": "food", "price_range": "price range", "rating": "customer rating", "area": "area", "family_friendly": "family friendly", "near": "near"}
    listed = []
    for i, (name, *facts) in enumerate(sorted(found), 1):
        facts = dict(facts)
        listed.append({"id": i, "name": name, **{c: facts.get(k) for c, k in keys.items()}})
    return Table("pub", [("id", "integer", "PRIMARY KEY"), ("name", "varchar(20)", ""), ("kind", "enum", ""), ("food", "text", "in"), ("price_range", "text", "or"), ("rating", "text", "any"),
                         ("area", "enum", ""), ("family_friendly", "boolean", ""), ("near", "varchar(30)", "references")], listed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="the project's data: corpus/, instruct/, eval/")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tables = [make(args.data) for make in (country, film, package, command, hotel, laptop, pub)]
    for table in tables:
        table.write(args.out)
    (args.out / "tables.json").write_text(json.dumps({t.name: {c: kind for c, kind, _ in t.columns} for t in tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
