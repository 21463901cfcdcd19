"""Fill the gaps of the benchmark's tables in four ways, and say how many cells are right, whether the table takes them, and how fast it went.

    python3 run.py load --tables DIR [--copies 60]          create the tables, blank cells, create the zoo
    python3 run.py fill --out results.json [--methods joint,columns,frequent,nearest] [--only country,film] [--rows 600]
    python3 run.py table results.json [more.json ...]       print results as markdown

The server is that of the PG* environment. The ways:

    joint      one dlm_infill_row a row
    columns    one dlm_infill_row a gap, left to right: a call sees what was filled before it and not the gaps that are left
    frequent   the most frequent known value of the column
    nearest    the value in the row, among those with one, whose known cells' text is nearest by dlm_embed

Every NULL cell of a row is filled; those that were blanked are compared with the truth, as the column stores it. --rows takes so many rows of each table at random (0: all), and
`nearest` looks among those rows alone. Results are written after each --chunk of rows, and rows that the file holds already are not filled again.
"""
import argparse
import hashlib
import json
import operator
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "quality"))
import rows  # noqa: E402

METHODS = ("joint", "columns", "frequent", "nearest")
EXAMPLES = 5                    # refusals of a column that the results file keeps
SURROGATE_KEYS = ("id", "Id No")  # they say nothing of a row; a key that is a name does
ZOO = ("number", "moment", "choice", "words", "device", "rule")
MORE_OPTIONS = {}               # --options


def options(columns):
    """The options of a call that fills these columns; other gaps of the row are not shown, and a row without a legal value stays as it is."""
    return {"columns": columns, "on_error": "null", **MORE_OPTIONS}


def psql(script, cwd=None, variables=()):
    """The lines that a script prints; its error ends the program."""
    done = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", *(f"-v{v}" for v in variables)], input=script, capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, "PGOPTIONS": os.environ.get("PGOPTIONS", "") + " -c client_min_messages=warning"})
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.splitlines()


def literal(value):
    """A value as SQL has it: text, or jsonb for what is not text."""
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else json.dumps(value)
    return "'" + text.replace("'", "''") + "'" + ("" if isinstance(value, str) else "::jsonb")


def name(identifier):
    return '"' + identifier.replace('"', '""') + '"'


class Table:
    """A table in the database with its keys that have gaps, in a random order."""

    def __init__(self, label, n, seed):
        self.label = label
        self.sql = ("zoo." + label[4:]) if label.startswith("zoo.") else "infill." + label
        self.key = psql(f"SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] WHERE indrelid = '{self.sql}'::regclass AND indisprimary")[0]
        self.columns = json.loads(psql(f"SELECT to_json(infill.targets('{self.sql}'))")[0])
        self.columns = [c for c in self.columns if c != self.key]
        fills = set(psql(f"SELECT \"column\" FROM dlm_infill_columns('{self.sql}') WHERE fills"))
        self.fills = [c for c in self.columns if c in fills]                        # the others (json, arrays, ...) are left NULL
        everything = [json.loads(line) for line in psql(f"SELECT json_build_array(t.{name(self.key)}::text, {self.gaps()}) FROM {self.sql} t ORDER BY t.{name(self.key)}")]
        chosen = sorted(range(len(everything)), key=lambda i: rows.order(i, seed))[:n or None]
        self.pool = [everything[i][0] for i in chosen]                              # keys
        self.keys = [everything[i][0] for i in chosen if everything[i][1]]          # those with gaps
        truth = psql(f"SELECT json_build_array(key, col, value) FROM infill.truth WHERE tab = {literal(label)}")
        self.truth = {(k, c): v for k, c, v in map(json.loads, truth)}
        known = psql(f"SELECT to_jsonb(t) FROM {self.sql} t ORDER BY t.{name(self.key)}")
        self.digest = hashlib.sha256("\n".join(known).encode()).hexdigest()
        self.repeats = self.count_repeats([json.loads(line, parse_int=str, parse_float=str) for line in known]) if self.truth else {}

    def count_repeats(self, known):
        """How many of each column's blanked values stand in another row too, as a share."""
        values = {c: {{True: "true", False: "false"}.get(row[c], row[c]) for row in known} for c in self.columns}       # as ->> prints them
        flags = {c: [v in values[c] for (_, d), v in self.truth.items() if d == c] for c in self.columns}
        return {c: round(sum(f) / len(f), 3) for c, f in flags.items() if f}

    def gaps(self):
        """SQL of whether a row has any."""
        return "(" + " OR ".join(f"t.{name(c)} IS NULL" for c in self.columns) + ")"

    def work(self, keys):
        """SQL of a temporary table `work` (key, r) of these rows, in this order."""
        return (f"CREATE TEMP TABLE work AS SELECT k AS key, t AS r FROM unnest(ARRAY[{', '.join(map(literal, keys))}]) WITH ORDINALITY AS k (k, i) "
                f"JOIN {self.sql} t ON t.{name(self.key)}::text = k ORDER BY i;\n")

    def judged(self, keys_and_rows):
        """SQL that prints what the table says to each (key, filled jsonb)."""
        return f"SELECT json_build_array(w.key, infill.judge('{self.sql}', {literal(self.key)}, w.key, w.filled)) FROM {keys_and_rows} w;\n"


WARM = "SELECT FROM (SELECT dlm_embed('warm')) w;\n"
BEGIN, END = "SELECT clock_timestamp() AS began \\gset\n", "SELECT extract(epoch FROM clock_timestamp() - :'began');\n"


def timed(script):
    """Runs a script that prints its seconds (BEGIN ... END) and then judgements -> judgements, seconds."""
    seconds, *lines = psql(script)
    return [json.loads(line) for line in lines], float(seconds)


def fill_joint(table, keys, state):
    return timed(WARM + table.work(keys) + BEGIN
                 + f"CREATE TEMP TABLE filled AS SELECT key, dlm_infill_row(r, {literal(options(table.fills))}) AS r FROM work;\n" + END
                 + table.judged("(SELECT key, to_jsonb(r) AS filled FROM filled)"))


def fill_columns(table, keys, state):
    script = WARM + table.work(keys) + BEGIN
    for c in table.fills:
        script += (f"CREATE TEMP TABLE step AS SELECT key, dlm_infill_row(r, {literal(options([c]))}) AS r FROM work WHERE (r).{name(c)} IS NULL;\n"
                   f"UPDATE work SET r.{name(c)} = (step.r).{name(c)} FROM step WHERE step.key = work.key;\nDROP TABLE step;\n")
    return timed(script + END + table.judged("(SELECT key, to_jsonb(r) AS filled FROM work)"))


def fill_frequent(table, keys, state):
    most = ", ".join(f"{literal(c)}, (SELECT (array_agg(to_jsonb(t) -> {literal(c)}))[1] FROM {table.sql} t WHERE t.{name(c)} IS NOT NULL GROUP BY t.{name(c)}::text "
                     f"ORDER BY count(*) DESC, t.{name(c)}::text LIMIT 1)" for c in table.columns)
    return timed(table.work(keys) + BEGIN + f"CREATE TEMP TABLE filled AS SELECT key, most FROM work, (SELECT jsonb_build_object({most}) AS most) m;\n" + END
                 + table.judged("(SELECT key, most AS filled FROM filled)"))


def fill_nearest(table, keys, state):
    if "embeddings" not in state:
        shown = [c for c in [table.key] + table.columns if c not in SURROGATE_KEYS]
        text = "concat_ws(E'\\n', " + ", ".join(f"{literal(c.replace('_', ' ') + ': ')} || t.{name(c)}::text" for c in shown) + ")"
        lines = psql(WARM + BEGIN + f"SELECT json_build_array(t.{name(table.key)}::text, to_jsonb(t), dlm_embed({text})) FROM {table.sql} t "
                     f"WHERE t.{name(table.key)}::text IN ({', '.join(map(literal, table.pool))});\n" + END)
        found = {k: (row, vector) for k, row, vector in map(json.loads, lines[:-1])}
        state["embeddings"], state["per_row"] = found, float(lines[-1]) / len(found)
    found, started = state["embeddings"], time.time()
    filled = []
    for key in keys:
        row, vector = found[key]
        near = {other: sum(map(operator.mul, vector, v)) for other, (_, v) in found.items() if other != key}
        gaps = [c for c in table.columns if row[c] is None]
        donors = {c: max((o for o in near if found[o][0][c] is not None), key=near.get, default=None) for c in gaps}
        filled.append((key, donors))
    seconds = time.time() - started + state["per_row"] * len(keys)
    values = ",\n".join(f"({literal(k)}, {literal(donors)})" for k, donors in filled)
    rows_of = (f"(SELECT v.key, (SELECT jsonb_object_agg(d.key, to_jsonb(t) -> d.key) FROM jsonb_each_text(v.donors) d LEFT JOIN {table.sql} t ON t.{name(table.key)}::text = d.value) "
               f"AS filled FROM (VALUES {values}) v (key, donors))")
    return [json.loads(line) for line in psql(table.judged(rows_of))], seconds


FILL = {"joint": fill_joint, "columns": fill_columns, "frequent": fill_frequent, "nearest": fill_nearest}


def record(table, result, judgements):
    """Adds judgements to a method's result: for each column and gap, in the rows' order, whether it is right (1, 0; . where the truth is not known) and taken (1, 0; - if left NULL), and
    how many gaps its row has."""
    for key, judgement in judgements:
        result["rows"] += 1
        if judgement["together"]:
            result["refused"] += 1
        for c, cell in judgement["cells"].items():
            column = result["columns"][c]
            truth = table.truth.get((key, c))
            column["right"] += "." if truth is None else str(int(cell.get("stored") == truth))
            column["gaps"] += str(min(9, len(judgement["cells"])))
            column["valid"] += "-" if cell["value"] is None else str(int(cell["refusal"] is None))
            if cell.get("refusal") and len(column.get("refusals", [])) < EXAMPLES:
                column.setdefault("refusals", []).append([key, cell["value"], cell["refusal"]])


def save(path, results):
    text = json.dumps(results, ensure_ascii=False).replace('{"right"', '\n{"right"').replace(': \n', ':\n')
    path.with_suffix(".part").write_text(text + "\n", encoding="utf-8")
    os.replace(path.with_suffix(".part"), path)


def load(args):
    tables = json.loads((args.tables / "tables.json").read_text())
    psql((HERE / "judge.sql").read_text())
    for table in tables:
        psql((args.tables / f"{table}.sql").read_text(), cwd=args.tables)
    psql((args.tables / "blank.sql").read_text(), cwd=args.tables)
    psql((HERE / "zoo.sql").read_text(), variables=[f"copies={args.copies}"])
    for table in [f"infill.{t}" for t in tables] + [f"zoo.{t}" for t in ZOO]:
        psql(f"ANALYZE {table}")
    psql("CREATE EXTENSION IF NOT EXISTS dlm")


def fill(args):
    results = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {"rows": args.rows, "seed": args.seed, "options": args.options, "tables": {}}
    if (results["rows"], results["seed"]) != (args.rows, args.seed):
        sys.exit(f"{args.out} has other rows: --rows {results['rows']} --seed {results['seed']}")
    if results.get("options", {}) != args.options:
        sys.exit(f"{args.out} was filled with --options '{json.dumps(results['options'])}'")
    MORE_OPTIONS.update(args.options)
    real = psql("SELECT relname FROM pg_class WHERE relnamespace = 'infill'::regnamespace AND relkind = 'r' AND EXISTS (SELECT FROM infill.truth WHERE tab = relname) ORDER BY relname")
    for label in args.only.split(",") if args.only else real + [f"zoo.{t}" for t in ZOO]:
        table = Table(label, args.rows, args.seed)
        entry = results["tables"].setdefault(label, {"digest": table.digest, "repeats": table.repeats, "methods": {}})
        if entry["digest"] != table.digest:
            sys.exit(f"{args.out} is of another {label}")
        for method in args.methods.split(","):
            result = entry["methods"].setdefault(method, {"rows": 0, "seconds": 0, "refused": 0, "columns": {c: {"right": "", "valid": "", "gaps": ""} for c in table.columns}})
            state = {}
            while result["rows"] < len(table.keys):
                keys = table.keys[result["rows"]:result["rows"] + args.chunk]
                judgements, seconds = FILL[method](table, keys, state)
                order = {k: i for i, k in enumerate(keys)}
                record(table, result, sorted(judgements, key=lambda j: order[j[0]]))
                result["seconds"] = round(result["seconds"] + seconds, 3)
                save(args.out, results)
                print(f"{label:14s} {method:9s} {result['rows']:5d} of {len(table.keys)} rows, {result['rows'] / max(result['seconds'], 0.001):.1f} rows/s", flush=True)


def bits(text):
    return [int(c) for c in text if c in "01"]


def share(tasks):
    """'mean [low, high]' over tasks."""
    mean, low, high = rows.interval(tasks)
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def add(total, result, digest, least):
    """Another file's rows of the same table and method, with other cells blanked; cells of rows with fewer gaps than `least` are left out."""
    if digest in total["of"]:
        sys.exit("two of the files hold the same rows filled in the same way")
    total["of"].append(digest)
    for k in ("rows", "seconds", "refused"):
        total[k] += result[k]
    for c, column in result["columns"].items():
        summed = total["columns"].setdefault(c, {"right": "", "valid": ""})
        for k in summed:
            summed[k] += "".join(code for code, gaps in zip(column[k], column["gaps"]) if int(gaps) >= least)


def show(args):
    """Markdown: exact match, validity and speed of each table and method, then each column. Files of other seeds add rows, files of other methods columns."""
    found, repeats = {}, {}
    for path in args.results:
        for label, entry in json.loads(path.read_text(encoding="utf-8"))["tables"].items():
            repeats.setdefault(label, [c for c, repeated in entry["repeats"].items() if repeated >= 0.5])
            for method, result in entry["methods"].items():
                found.setdefault(label, {}).setdefault(method, {"of": [], "rows": 0, "seconds": 0, "refused": 0, "columns": {}})
                add(found[label][method], result, entry["digest"], args.least_gaps)
    methods = [m for m in METHODS if any(m in entry for entry in found.values())]
    real = {label: entry for label, entry in found.items() if any(bits(c["right"]) for m in entry.values() for c in m["columns"].values())}
    print("| table | way | cells compared | right, mean over columns | of those whose values repeat | accepted | rows refused | rows/s |\n|---|---|---|---|---|---|---|---|")
    for label, entry in found.items():
        for method in (m for m in methods if m in entry):
            columns = entry[method]["columns"].values()
            tasks = [bits(c["right"]) for c in columns if bits(c["right"])]
            again = [bits(entry[method]["columns"][c]["right"]) for c in repeats[label]]
            valid, left = [b for c in columns for b in bits(c["valid"])], sum(c["valid"].count("-") for c in columns)
            refused = len(valid) - sum(valid)
            print(f"| {label} | {method} | {sum(map(len, tasks))} | {share(tasks) if tasks else ''} | {share(again) if again else ''} | {sum(valid)} of {len(valid)}{f' ({refused} refused)' if refused else ''}"
                  f"{f', {left} left NULL' if left else ''} | {entry[method]['refused']} | {entry[method]['rows'] / max(entry[method]['seconds'], 0.001):.1f} |")
    for label, entry in real.items():
        shown = [m for m in methods if m in entry]
        paired = "joint" in entry and "columns" in entry and entry["joint"]["of"] == entry["columns"]["of"]
        print(f"\n{label}\n\n| column | cells | {' | '.join(shown)} |{' joint - columns |' if paired else ''}\n|---|---|{'---|' * (len(shown) + paired)}")
        cells = {m: {c: bits(column["right"]) for c, column in entry[m]["columns"].items() if bits(column["right"])} for m in shown}
        named = list(cells[shown[0]])
        for title, columns in [(c, [c]) for c in named] + [("mean", named)]:
            line = [share([cells[m][c] for c in columns]) if all(c in cells[m] for c in columns) else "" for m in shown]
            if paired:
                line.append(share([[a - b for a, b in zip(cells["joint"][c], cells["columns"][c])] for c in columns]))
            print(f"| {title} | {sum(len(cells[shown[0]][c]) for c in columns)} | {' | '.join(line)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    loading = verbs.add_parser("load")
    loading.add_argument("--tables", type=pathlib.Path, required=True)
    loading.add_argument("--copies", type=int, default=60, help="rows with gaps that the zoo makes of each whole row")
    filling = verbs.add_parser("fill")
    filling.add_argument("--out", type=pathlib.Path, required=True)
    filling.add_argument("--methods", default=",".join(METHODS))
    filling.add_argument("--only", default="", help="tables, those of the zoo as zoo.number; all if not given")
    filling.add_argument("--rows", type=int, default=600, help="of each table (0: all)")
    filling.add_argument("--seed", type=int, default=0)
    filling.add_argument("--chunk", type=int, default=100)
    filling.add_argument("--options", type=json.loads, default={}, help="more options of the fills, as JSON")
    table = verbs.add_parser("table")
    table.add_argument("results", type=pathlib.Path, nargs="+")
    table.add_argument("--least-gaps", type=int, default=1, help="count only the cells of rows with so many gaps: one call a row and one a gap differ from two on")
    args = parser.parse_args()
    {"load": load, "fill": fill, "table": show}[args.verb](args)


if __name__ == "__main__":
    main()
