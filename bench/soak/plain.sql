-- pgbench: statements outside any block; the first error ends this client, and a new session takes its place.
\set part random(0, 7)
SET statement_timeout = 0;
SELECT count(dlm_score(body, model => 'm')) FROM texts WHERE id % 8 = :part;
BEGIN;
DECLARE half CURSOR FOR SELECT dlm_infill(body || ' and [MASK:2] end', model => 'm') FROM texts;
FETCH 3 FROM half;
COMMIT;
