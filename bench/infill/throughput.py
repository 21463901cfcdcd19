"""dlm_infill_row against dlm_infill on the same canvases: what the knowledge of the schema costs.

    python3 throughput.py [--only pub,laptop,country] [--rows 40] [--repeat 3]

The server is that of the PG* environment, loaded by `run.py load`. Of each table, rows with gaps in columns with a closed set of values or of free text are filled by
dlm_infill_row, and their texts, with the same lines, gaps and choices, by dlm_infill. The two take turns, --repeat times; the tokens that EXPLAIN shows are compared, since a
value that the table refuses makes dlm_infill_row ask again. Prints the median of the ratio of rows per second.
"""
import argparse
import json
import statistics

import run
from run import literal, name, psql


def fillable(table):
    """Columns of a closed set or of free text -> their choices, or None."""
    lines = psql(f"SELECT json_build_array(\"column\", choices) FROM dlm_infill_columns('{table.sql}') "
                 f"WHERE fills AND (choices IS NOT NULL OR legal LIKE '%text%')")
    return {c: choices for c, choices in map(json.loads, lines) if c in table.columns}


def template(table, columns):
    """SQL of a row's text: the known columns, then the gaps, as src/pg/row_request.c writes them."""
    numbers = dict(line.split("|") for line in psql(f"SELECT attname, attnum FROM pg_attribute WHERE attrelid = '{table.sql}'::regclass AND attnum > 0 AND NOT attisdropped"))
    booleans = set(psql(f"SELECT attname FROM pg_attribute WHERE attrelid = '{table.sql}'::regclass AND atttypid = 'bool'::regtype"))
    known, gaps = [], []
    for c in sorted(numbers, key=lambda c: int(numbers[c])):
        label = f"dlm_quote({literal(c.replace('_', ' '))}) || ': '"
        value = f"CASE WHEN t.{name(c)} THEN 'yes' ELSE 'no' END" if c in booleans else f"t.{name(c)}::text"
        known.append(f"CASE WHEN t.{name(c)} IS NULL THEN '' ELSE {label} || dlm_quote({value}) || E'\\n' END")
        if c in columns:
            gaps.append(f"CASE WHEN t.{name(c)} IS NULL THEN {label} || '[MASK:c{numbers[c]}:1-8]' || E'\\n' ELSE '' END")
    return " || ".join(known + gaps), numbers


def explained(query):
    """Tokens and milliseconds of a query's batches."""
    plan = json.loads("".join(psql(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")))[0]
    nodes, tokens = [plan["Plan"]], 0
    while nodes:
        node = nodes.pop()
        tokens += node.get("Tokens", 0)
        nodes += node.get("Plans", [])
    return tokens, plan["Execution Time"]


def compare(label, args):
    table = run.Table(label, 0, 0)
    columns = fillable(table)
    text, numbers = template(table, columns)
    some = " OR ".join(f"{name(c)} IS NULL" for c in columns)
    rows = f"(SELECT * FROM {table.sql} t WHERE {some} ORDER BY {name(table.key)} LIMIT {args.rows})"
    psql(f"DROP TABLE IF EXISTS infill.throughput; CREATE TABLE infill.throughput (LIKE {table.sql}); INSERT INTO infill.throughput {rows}; ANALYZE infill.throughput")
    of_row = literal({"columns": list(columns), "on_error": "null", "choices": {c: v for c, v in columns.items() if v}})
    of_text = " || ".join(f"CASE WHEN t.{name(c)} IS NULL THEN {literal({'c' + numbers[c]: v})} ELSE '{{}}'::jsonb END" for c, v in columns.items() if v)
    queries = {"row": f"SELECT dlm_infill_row(t, {of_row}) FROM infill.throughput t",
               "text": f"SELECT dlm_infill({text}, options => jsonb_build_object('choices', {of_text}, 'length_beam', 1, 'length_budget', 24)) FROM infill.throughput t"}
    ratios, tokens = [], {}
    for _ in range(args.repeat):
        ms = {}
        for way, query in queries.items():
            tokens[way], ms[way] = explained(query)
        ratios.append(ms["text"] / ms["row"])
    psql("DROP TABLE infill.throughput")
    print(f"| {label} | {args.rows} | {tokens['text']} | {tokens['row']} | {ms['text'] / 1000:.1f} | {ms['row'] / 1000:.1f} | {statistics.median(ratios):.2f} |", flush=True)
    return statistics.median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="pub,laptop,package")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    print("| table | rows | tokens of dlm_infill | of dlm_infill_row | seconds | seconds | rows/s of dlm_infill_row over dlm_infill |\n|---|---|---|---|---|---|---|")
    ratios = [compare(label, args) for label in args.only.split(",")]
    print(f"\nmedian {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
