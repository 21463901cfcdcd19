"""What a model learns from the known cells of a table: one that dlm_finetune makes of them fills the gaps of other rows.

    python3 teach.py --only pub --out taught-0.json [--rows 60] [--train-rows 300] [--copies 1] [--epochs 3]

After `run.py load`, on the same server. Rows that `run.py fill --rows N` does not take are the training: a line for each known cell, the key first, the others in another
order in each copy; none of what was blanked is among them. The model, `taught_TABLE`, then fills the same rows as run.py's `joint`: `run.py table OUT default.json` compares.
"""
import argparse
import json
import os
import pathlib
import time

import run


def shown(column):
    """SQL of a cell as dlm_infill_row shows it."""
    cell = f"t.{run.name(column)}"
    return f"CASE WHEN pg_typeof({cell}) = 'boolean'::regtype THEN CASE {cell}::text WHEN 'true' THEN 'yes' ELSE 'no' END ELSE {cell}::text END"


def text_of_rows(table, rows, copies):
    """SQL of a query with the column `text`: so many rows of the table, none of those that are judged."""
    key = f"t.{run.name(table.key)}"
    columns = [(i, c) for i, c in enumerate([table.key] + table.columns) if c in table.fills or (i == 0 and c not in run.SURROGATE_KEYS)]
    cells = ", ".join(f"({i}, {run.literal(c.replace('_', ' '))}, {shown(c)})" for i, c in columns)
    judged = ", ".join(map(run.literal, table.pool))
    chosen = f"SELECT * FROM {table.sql} t WHERE {key}::text NOT IN ({judged}) ORDER BY md5({key}::text) LIMIT {rows}"
    return (f"SELECT string_agg(v.label || ': ' || v.value, E'\\n' ORDER BY v.i > 0, md5(v.label || {key}::text || copy)) AS text "
            f"FROM ({chosen}) t, generate_series(1, {copies}) AS copy, LATERAL (VALUES {cells}) AS v (i, label, value) "
            f"WHERE v.value IS NOT NULL GROUP BY {key}, copy HAVING count(*) > 1")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--only", required=True)
    p.add_argument("--rows", type=int, default=60)
    p.add_argument("--train-rows", type=int, default=300)
    p.add_argument("--copies", type=int, default=1)
    p.add_argument("--epochs", type=float, default=3)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    for label in args.only.split(","):
        model = f"taught_{label}"
        table = run.Table(label, args.rows, args.seed)
        options = json.dumps({"fields": 1, "row_share": 0, "epochs": args.epochs, "validation_share": 0})
        began = time.time()
        run.psql(f"SELECT dlm_drop_model(name) FROM dlm_models WHERE name = {run.literal(model)};\n"
                 f"CALL dlm_finetune({run.literal(model)}, 'dlm-135m', {run.literal(text_of_rows(table, args.train_rows, args.copies))}, objective => 'text', options => {run.literal(options)});\n")
        print(run.psql("SELECT step || ' steps, loss ' || round(loss::numeric, 3) FROM dlm_jobs ORDER BY job_id DESC LIMIT 1")[0], f"in {time.time() - began:.0f} s", flush=True)
        os.environ["PGOPTIONS"] = f"-c dlm.default_model={model}"
        run.fill(argparse.Namespace(out=args.out, methods="joint", only=label, rows=args.rows, seed=args.seed, chunk=100))
        del os.environ["PGOPTIONS"]


if __name__ == "__main__":
    main()
