# Parallel query: workers map the model by themselves, and the rows are those
# of the serial plan.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('parallel', 'max_parallel_workers = 4', 'max_parallel_workers_per_gather = 2', 'jit = off');

load_tiny($node, 'tiny', 'llama');
# large enough for the default min_parallel_table_scan_size (8 MB)
$node->safe_psql(
	'postgres', q{
CREATE TABLE big (id int PRIMARY KEY, body text, filler text);
ALTER TABLE big ALTER filler SET STORAGE PLAIN;
INSERT INTO big SELECT i, 'row ' || i || CASE i % 3 WHEN 0 THEN ' of rain' WHEN 1 THEN ' of sun' ELSE '' END, repeat('x', 6000)
	FROM generate_series(1, 1500) AS i;
VACUUM ANALYZE big;
});

my $labels = q{ARRAY['wet', 'dry', 'unknown']};
my $count = qq{SELECT count(*) FILTER (WHERE dlm_classify(body, $labels, model => 'tiny') = 'wet') FROM big};
my $rows = qq{SELECT md5(string_agg(id || ':' || label, ',' ORDER BY id))
	FROM (SELECT id, dlm_classify(body, $labels, model => 'tiny') AS label FROM big) AS q};

like($node->safe_psql('postgres', "EXPLAIN $count"), qr/Gather.*Workers Planned: [12]/s, 'the plan has workers');
like($node->safe_psql('postgres', "EXPLAIN (ANALYZE, COSTS OFF) $count"), qr/Workers Launched: [12]/, 'workers ran');

my $serial = 'SET max_parallel_workers_per_gather = 0;';
is($node->safe_psql('postgres', $count), $node->safe_psql('postgres', "$serial $count"), 'the same count as the serial plan');
is($node->safe_psql('postgres', $rows), $node->safe_psql('postgres', "$serial $rows"), 'the same rows as the serial plan');

# the default model, as it is used
my $few = q{SELECT count(*) FILTER (WHERE dlm_classify(body, ARRAY['wet', 'dry']) = 'wet') FROM big WHERE id <= 40};
my $forced = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET enable_indexscan = off; SET enable_bitmapscan = off;';
is($node->safe_psql('postgres', "$forced $few"), $node->safe_psql('postgres', "$serial $few"),
	'the default model: parallel and serial agree');
is($node->safe_psql('postgres', 'SELECT compute_slots_used FROM dlm_stats_info()'), '0', 'all compute slots are back');

# an error of a worker reaches the client as it is
$node->safe_psql('postgres', q{UPDATE big SET body = repeat('long ', 5000) WHERE id = 777});
fails_with($node, $count, '54000', qr/./, 'a row that does not fit');

# a right that is missing is missing in workers too
$node->safe_psql('postgres', 'CREATE ROLE guest LOGIN; GRANT SELECT ON big TO guest');
fails_with($node, "SET ROLE guest; $count", '42501', qr/permission denied for foreign server tiny/, 'without USAGE');
$node->stop;

done_testing();
