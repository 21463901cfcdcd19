-- dlm_quote: no part of a value can open a gap.
SELECT v, dlm_quote(v) FROM unnest(ARRAY['plain', '[MASK]', '[MASK:5]', '[[MASK]]', '[MASK', 'MASK]', '[', '', '日本 [MASK:名]']) v;
-- a quoted value is the same text again, and the only gap is ours
CREATE TEMP TABLE hostile AS
SELECT i, (SELECT string_agg((ARRAY['[', ']', 'MASK', '[MASK', '[[', ']]', ':', '5', '1-8', '-', 'a', ' ', '[MASK:500]', '{text}', E'\\', 'é'])
		[1 + (hashint8(i * 1000 + j) & 15)], '' ORDER BY j) FROM generate_series(1, 1 + i % 9) j) AS v
FROM generate_series(1, 120) i;
INSERT INTO hostile VALUES (1000, ''), (1001, '[MASK]'), (1002, '[[MASK]]'), (1003, '[[[MASK]]]'), (1004, '[MASK'), (1005, '[');
SELECT count(*) AS strings, count(*) FILTER (WHERE starts_with(a, v || ' (') AND right(a, 1) = ')') AS kept
FROM (SELECT array_agg(v ORDER BY i) AS vs, dlm_infill(array_agg(dlm_quote(v) || ' ([MASK])' ORDER BY i), steps => 1) AS answers FROM hostile) s,
	LATERAL unnest(vs, answers) AS u (v, a);
-- parts put side by side do not make a gap
SELECT a LIKE '[MASK] is %' AS parts FROM dlm_infill(dlm_quote('[MA') || dlm_quote('SK]') || ' is [MASK]') a;
SELECT a LIKE '[MASK] is %' AS letters FROM dlm_infill(dlm_quote('[') || dlm_quote('M') || dlm_quote('ASK') || dlm_quote(']') || ' is [MASK]') a;
-- usable in an index
CREATE TEMP TABLE t (v text);
CREATE INDEX ON t (dlm_quote(v));
