-- pgbench: one call of a random kind at a random time limit; errors are caught in the session.
\set part random(0, 7)
\set ms random(5, 400)
\set kind random(1, 7)
SELECT set_config('statement_timeout', (:ms)::text, false);
\if :kind = 1
SELECT attempt((:writer)::int, 'classify', format($$UPDATE news_%s SET label = dlm_classify(body, '{wet,dry,unknown}', model => 'm') WHERE id %% 8 = %s$$, (:writer)::int, (:part)::int));
\elif :kind = 2
SELECT attempt((:writer)::int, 'generate', format($$SELECT dlm_generate(body, 8, 8, model => 'm') FROM texts WHERE id %% 8 = %s$$, (:part)::int));
\elif :kind = 3
SELECT attempt((:writer)::int, 'infill', format($$SELECT dlm_infill(body || ' and [MASK:4] end', model => 'm') FROM texts WHERE id %% 8 = %s$$, (:part)::int));
\elif :kind = 4
SELECT attempt((:writer)::int, 'infill_row', format($$INSERT INTO kept SELECT %s, (f).tone, (f).level FROM (SELECT dlm_infill_row(g, model => 'm') AS f FROM gaps AS g OFFSET 0) AS q$$, (:writer)::int));
\elif :kind = 5
SELECT attempt((:writer)::int, 'score', $$SELECT sum(dlm_score(body, model => 'm')) FROM texts$$);
\elif :kind = 6
SELECT attempt((:writer)::int, 'embed', $$SELECT count(dlm_embed(body, model => 'passing')) FROM texts$$);
\else
SELECT attempt((:writer)::int, 'bad', $$SELECT dlm_classify(body, '{}', model => 'm') FROM texts$$);
\endif
