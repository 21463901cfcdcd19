"""Choose cells to blank, at random and the same ones each time: one to three known cells of a row, never the key.

    python3 blank.py --tables DIR [--seed 0] [--share 0.8]

Reads the tables that make_tables.py wrote into DIR, writes `DIR/blank.csv` (tab, key, col) and `DIR/blank.sql`, which keeps the truth of those cells as `infill.truth` and sets
them to NULL (run it with psql inside DIR, after the tables' own files). A fifth of the rows stays whole unless --share says otherwise; at least one cell beside the key stays known.
"""
import argparse
import csv
import json
import pathlib
import random

MOST = 3

SQL = """\
SET search_path = infill, public;
DROP TABLE IF EXISTS truth;
CREATE TABLE truth (tab text, key text, col text, value text, PRIMARY KEY (tab, key, col));
COMMENT ON TABLE truth IS 'the cells that were blanked and what was in them, as jsonb prints it';
\\copy truth (tab, key, col) FROM 'blank.csv' (FORMAT csv, HEADER)
"""
ONE_TABLE = """\
UPDATE truth SET value = to_jsonb(t) ->> truth.col FROM {table} t WHERE truth.tab = '{table}' AND truth.key = t.{key}::text;
"""
ONE_COLUMN = """\
UPDATE {table} t SET {column} = NULL FROM truth WHERE truth.tab = '{table}' AND truth.col = '{column}' AND truth.key = t.{key}::text;
"""


def choose(table, rows, seed, share):
    """-> [(key, column)] in the order of the rows, from a table's rows as csv.DictReader gives them."""
    rng = random.Random(f"{seed} {table}")
    chosen = []
    for row in rows:
        key, *columns = row
        known = [c for c in columns if row[c] != ""]
        if rng.random() < share and len(known) > 1:
            blanked = rng.sample(known, min(rng.randint(1, MOST), len(known) - 1))
            chosen += [(row[key], c) for c in columns if c in blanked]
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.8, help="of the rows that get gaps")
    args = parser.parse_args()
    sql = SQL
    with open(args.tables / "blank.csv", "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(("tab", "key", "col"))
        for table, columns in json.loads((args.tables / "tables.json").read_text()).items():
            key = next(iter(columns))
            with open(args.tables / f"{table}.csv", newline="", encoding="utf-8") as rows:
                chosen = choose(table, csv.DictReader(rows), args.seed, args.share)
            writer.writerows((table, k, c) for k, c in chosen)
            sql += ONE_TABLE.format(table=table, key=key)
            sql += "".join(ONE_COLUMN.format(table=table, key=key, column=c) for c in columns if c != key)
            print(f"{table:8s} {len({k for k, _ in chosen}):5d} rows with gaps, {len(chosen):5d} cells")
    (args.tables / "blank.sql").write_text(sql)


if __name__ == "__main__":
    main()
