# What a batch may take: dlm.batch_mem holds, memory does not grow with the
# table, and the node costs little where there is nothing to compute.
#
#   DLM_BIG=1    1,000,000 rows, texts of up to 1 MB (default 100,000 and 100 kB)
use strict;
use warnings;
use List::Util qw(max min);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $big = ($ENV{DLM_BIG} // '') eq '1';
my $rows = $big ? 1_000_000 : 100_000;
my $longest = $big ? 1_000_000 : 100_000;

# few shared buffers: those that a process has touched count as its memory
my $node = new_node('batch_bounds', 'max_parallel_workers_per_gather = 0', 'jit = off', 'autovacuum = off',
	'shared_buffers = 4MB', 'max_wal_size = 4GB', 'fsync = off', 'wal_level = minimal', 'max_wal_senders = 0');

load_tiny($node, 'tiny', 'llama');

# Most rows have one of 50 texts. A long one has no gap, so it costs an infill nothing but to be read.
$node->safe_psql('postgres', qq{
CREATE TABLE long (n int PRIMARY KEY, body text);
ALTER TABLE long ALTER body SET STORAGE EXTERNAL;
INSERT INTO long SELECT n, repeat('rain ', $longest / 20 * n / 5) FROM generate_series(1, 20) AS n;
CREATE TABLE r (id int PRIMARY KEY, body text, label text);
ALTER TABLE r ALTER body SET STORAGE MAIN;
INSERT INTO r SELECT i, CASE WHEN i % 5 = 0 THEN (SELECT body FROM long WHERE n = 1 + i / 5 % 20)
		ELSE 'a [MASK] of row ' || i % 50 END
	FROM generate_series(1, $rows) AS i;
VACUUM ANALYZE r;
});
my $infill = q{dlm_infill(body, options => '{"on_error": "null"}', model => 'tiny')};

sub session
{
	my $session = $node->background_psql('postgres');

	return ($session, $session->query_safe('SELECT pg_backend_pid()'));
}

# The most memory that a process ever had, in kB.
sub peak
{
	my ($pid) = @_;

	return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m ? $1 : die 'no VmHWM';
}

# ------------------------------------------------------------------ flat memory
my %statement = (
	'UPDATE' => "BEGIN; UPDATE r SET label = $infill WHERE id <= %d; ROLLBACK",
	'CREATE TABLE AS' => "CREATE UNLOGGED TABLE t AS SELECT id, $infill AS label FROM r WHERE id <= %d; DROP TABLE t",
	'an aggregate' => "SELECT count($infill) FROM r WHERE id <= %d",
	'a cursor' => "BEGIN; DECLARE c CURSOR FOR SELECT id, $infill FROM r WHERE id <= %d; MOVE 100 FROM c; MOVE ALL FROM c; COMMIT",
	'LIMIT' => "CREATE UNLOGGED TABLE t AS SELECT id, $infill AS label FROM r LIMIT %d; DROP TABLE t");

foreach my $kind (sort keys %statement)
{
	my ($session, $pid) = session();

	$session->query_safe('SET dlm.batch_mem = 16384; SET enable_indexscan = off; SET enable_bitmapscan = off');
	$session->query_safe(sprintf($statement{$kind}, $rows / 2));
	my $half = peak($pid);

	$session->query_safe(sprintf($statement{$kind}, $rows));
	my $all = peak($pid);
	cmp_ok($all - $half, '<', 16384 * 0.1,
		sprintf('%s: memory is flat, %.1f MB for half of the rows, %.1f MB for all', $kind, $half / 1024, $all / 1024));
	$session->quit;
}

# ---------------------------------------------------------------- dlm.batch_mem
# What a node holds between two rows, of several kinds of rows, as dlm.batch_mem allows it.
my %kinds = (
	'long texts' => "SELECT $infill FROM r WHERE id % 5 = 0 AND length(body) < 60000",
	'long texts that are computed' => "SELECT dlm_infill(left(body, -1), options => '{\"on_error\": \"null\"}', model => 'tiny')
		FROM r WHERE id % 5 = 0 AND length(body) < 60000",
	'texts of all lengths' => "SELECT $infill FROM r",
	'wide rows' => "SELECT id, $infill, (SELECT string_agg(md5(random()::text || i), '') FROM generate_series(1, 50 + id % 10) i) FROM r",
	'short rows' => "SELECT $infill, id FROM r WHERE id % 5 <> 0",
	'answers' => "SELECT dlm_infill('a [MASK] of ' || id, steps => 1, model => 'tiny') FROM r");

foreach my $kb (256, 4096)
{
	foreach my $kind (sort keys %kinds)
	{
		my ($session) = session();
		my $most = 0;

		$session->query_safe("SET dlm.batch_mem = $kb; SET dlm.batch_size = 4096; BEGIN; DECLARE c CURSOR FOR $kinds{$kind}");
		$session->query_safe("MOVE 1 FROM c");
		foreach my $step (1 .. 24)
		{
			$session->query_safe('MOVE ' . $step * $step . ' FROM c');
			$most = max($most, $session->query_safe(q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts
				WHERE name IN ('dlm batch', 'dlm rows', 'dlm answers')}));
		}
		$session->quit;
		# a row of its own, and its argument, always find room
		my $row = $kind =~ /^(long|texts)/ ? 2 * min(60000, $longest) : 0;
		cmp_ok($most, '<=', $kb * 1024 * 1.05 + $row, sprintf('%s: %.0f kB of %d', $kind, $most / 1024, $kb));
	}
}

# -------------------------------------------------------- dlm.max_session_memory
# A batch that has no room is run in parts, not row by row; and what EXPLAIN shows is the engine's and the node's.
foreach my $kb (1024, 2048, 8192)
{
	my $plan = $node->safe_psql('postgres', qq{SET dlm.max_session_memory = $kb; SET dlm.batch_mem = 512; SET dlm.batch_size = 1000;
		EXPLAIN (ANALYZE, COSTS OFF) SELECT dlm_classify(body || id, ARRAY['wet', 'dry'], model => 'tiny') FROM r WHERE id % 5 <> 0 LIMIT 2000});
	my ($memory) = $plan =~ /Memory: (\d+) kB/;

	unlike($plan, qr/Rows Computed Alone/, "dlm.max_session_memory of $kb kB: no row is computed alone");
	cmp_ok($memory, '<=', ($kb + 512) * 1.05, "dlm.max_session_memory of $kb kB: $memory kB in use");
}

# --------------------------------------------------------- texts that do not fit
my $label = q{dlm_classify(body, ARRAY['wet', 'dry'], options => '{"on_overflow": "truncate"}', model => 'tiny')};
my $few = "SELECT string_agg($label, ',' ORDER BY id) FROM r WHERE id IN (5, 6, 95, 96, 97, 195)";

is($node->safe_psql('postgres', $few), $node->safe_psql('postgres', "SET dlm.enable_batching = off; $few"),
	'texts that are cut: the same answers as without batches');

# --------------------------------------------------------------------- overhead
# Rows whose answers are known, or NULL, beside the plan without calls. Short rows, as a long one costs to be read.
$node->safe_psql('postgres', qq{
CREATE TABLE s AS SELECT id, body, NULL::text AS nothing FROM r WHERE id % 5 <> 0;
VACUUM ANALYZE s;
});
my %with = (
	'NULL' => "dlm_infill(nothing, model => 'tiny')",
	'known' => "dlm_infill(body, model => 'tiny')",
	'known, of an expression' => "dlm_infill(body || '', model => 'tiny')");

# The least time of five, in microseconds a row.
sub per_row
{
	my ($expression) = @_;
	my $script = "\\timing on\n" . "SELECT count(x) FROM (SELECT id, $expression AS x FROM s OFFSET 0) AS q;\n" x 5;
	my $out = '';

	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out);
	return min($out =~ /^Time: ([\d.]+) ms/mg) * 1000 / ($rows * 0.8);
}

my $plain = per_row('body');

foreach my $kind (sort keys %with)
{
	my $more = per_row($with{$kind}) - $plain;

	cmp_ok($more, '<', 5, sprintf('answers %s: the node adds %.2f us a row to %.2f', $kind, $more, $plain));
}
at_rest($node, 'at the end');
$node->stop;

done_testing();
