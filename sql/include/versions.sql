-- What differs between PostgreSQL's versions, for tests that show plans or force parallel ones.
\set ECHO none
-- SET :force_parallel_mode, which has another name from 16 on
SELECT name AS force_parallel_mode FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset
-- plans that later versions have learnt: aggregates of sorted rows (16), other orders of grouping (17), one scan for a self-join (18)
SELECT count(set_config(name, 'off', false)) AS switched_off FROM pg_settings
	WHERE name IN ('enable_presorted_aggregate', 'enable_group_by_reordering', 'enable_distinct_reordering', 'enable_self_join_elimination') \gset
-- EXPLAIN ... \g :as_15 prints a plan as 15 does: without the parts of rows, the searches and the nodes that are not disabled
-- (18 prints them) and what an init plan returns (17 does not)
\set as_15 '|sed -E -e "s/(rows=[0-9]+)\\.00/\\1/" -e "s/(InitPlan [0-9]+) \\(returns [^)]*\\)/\\1/" -e "/^ *Index Searches: /d" -e "/^ *[<\\"]?Disabled[>\\"]?(: )?false/d"'
\set ECHO all
