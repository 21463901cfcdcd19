# Whoever ends a batch is not kept waiting: statement_timeout, cancel,
# terminate, fast and immediate shutdown at random moments of every phase, p99
# at most 100 ms and none over 300 ms (in_time).
#
#   DLM_CANCELS=500    moments of each phase (default 60)
use strict;
use warnings;
use Time::HiRes qw(time usleep);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $moments = $ENV{DLM_CANCELS} || 60;
my $node = new_node('batch_cancel', 'max_parallel_workers_per_gather = 0', 'max_parallel_workers = 4', 'jit = off',
	'autovacuum = off', 'restart_after_crash = on');
my $batch = q{UPDATE r SET label = dlm_generate(body, 200, 200, options => '{"length": "fixed"}')};

load_tiny($node, 'tiny', 'llama');
$node->safe_psql('postgres', q{
CREATE TABLE r (id int PRIMARY KEY, body text, label text);
INSERT INTO r SELECT i, 'row ' || i FROM generate_series(1, 200) AS i;
CREATE TABLE long AS SELECT i AS id, i || repeat(' the rain and the sun', 20000) AS body FROM generate_series(1, 20) AS i;
CREATE TABLE wide (id int, body text, filler text) WITH (parallel_workers = 2);
ALTER TABLE wide ALTER filler SET STORAGE PLAIN;
INSERT INTO wide SELECT i, 'row ' || i, repeat('x', 4000) FROM generate_series(1, 400) AS i;
VACUUM ANALYZE r;
VACUUM ANALYZE long;
VACUUM ANALYZE wide;
});
my $untouched = $node->safe_psql('postgres', 'SELECT md5(string_agg(r::text, $$,$$ ORDER BY id)) FROM r');

sub whole
{
	my ($test) = @_;

	is($node->safe_psql('postgres', 'SELECT md5(string_agg(r::text, $$,$$ ORDER BY id)) FROM r'),
		$untouched, "$test: the table is whole");
	at_rest($node, $test);
	return;
}

# -------------------------------------------------------- statement_timeout, by phase
my %phases = (
	'compute' => [ $batch, 1500 ],
	# a constant call compared with a column is computed when the statement is planned
	'planning' => [ q{SELECT count(*) FROM r WHERE label = dlm_generate('Tell a story.', 300, 300, options => '{"length": "fixed"}')}, 800 ],
	'long texts are read and cut' => [ q{SELECT dlm_classify(body, ARRAY['a', 'b'], options => '{"on_overflow": "truncate"}', model => 'tiny') FROM long}, 600 ],
	'rows are read' => [ q{SELECT dlm_classify(a.body || b.body || c.id, ARRAY['a', 'b'], model => 'tiny') FROM r a, r b, r c WHERE hashtext(a.body || b.body || c.body) = 1}, 300 ],
	'answers are emitted' => [ q{SELECT count(dlm_classify(CASE WHEN a.id > 0 THEN 'the same' END, ARRAY['a', 'b'], model => 'tiny')) FROM r a, r b, r c}, 600 ],
	'workers start' => [ q{SELECT count(dlm_generate(body, 200, 200, options => '{"length": "fixed"}')) FROM wide}, 60,
		'SET max_parallel_workers_per_gather = 2', 'SET parallel_setup_cost = 0', 'SET parallel_tuple_cost = 0' ]);

like($node->safe_psql('postgres', "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	EXPLAIN $phases{'workers start'}->[0]"), qr/Workers Planned/, 'there are workers to start');
foreach my $phase (sort keys %phases)
{
	my ($statement, $longest, @settings) = @{ $phases{$phase} };
	in_time(
		"statement_timeout, $phase",
		sub {
			my ($cancelled, @late) = overshoots($node, $statement, $moments, $longest, @settings);

			cmp_ok($cancelled, '>=', 0.9 * $moments, "$phase: statement_timeout ends $cancelled of $moments");
			return @late;
		});
}

# a session's first call maps its model, so each has a session of its own
in_time(
	'statement_timeout, the first call of a session',
	sub {
		return map { my ($cancelled, @late) = overshoots($node, $batch, 1, 80); @late } 1 .. $moments;
	});
whole('statement_timeout');

# --------------------------------------------------------------- cancel, terminate
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	in_time(
		'pg_cancel_backend',
		sub {
			return map {
				start_query($session, $batch);
				reaction_ms($node, $pid, rand(500), 'pg_cancel_backend');
			} 1 .. $moments;
		});
	$session->quit;
}
in_time(
	'pg_terminate_backend',
	sub {
		return map {
			my $session = $node->background_psql('postgres', on_error_stop => 0);
			my $pid = $session->query_safe('SELECT pg_backend_pid()');
			start_query($session, $batch);
			my $ms = reaction_ms($node, $pid, rand(500), 'pg_terminate_backend');
			eval { $session->quit };
			$ms;
		} 1 .. $moments;
	});
whole('cancel and terminate');

# --------------------------------------------------------- dlm.statement_budget_ms
foreach my $kind ([ 'compute', $batch ], [ 'small batches', "SET dlm.batch_size = 2; $batch" ])
{
	my ($name, $statement) = @$kind;
	my $start = time;

	fails_with($node, "SET dlm.statement_budget_ms = 700; $statement", '57014', qr/spent its time in models/,
		"dlm.statement_budget_ms, $name");
	my $ms = (time - $start) * 1000;

	cmp_ok($ms, '>', 600, sprintf('dlm.statement_budget_ms, %s: not before it is spent, %.0f ms', $name, $ms));
	cmp_ok($ms, '<', 1400, sprintf('dlm.statement_budget_ms, %s: nor long after', $name));
}
whole('dlm.statement_budget_ms');

# ------------------------------------------------------------------------ shutdown
# From the signal until no backend is left.
sub shutdown_ms
{
	my ($signal) = @_;
	my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
	my @pids = map { $_->query_safe('SELECT pg_backend_pid()') } @sessions;

	start_query($_, $batch) for @sessions;
	usleep(100_000 + rand(400_000));
	my $start = time;

	kill $signal, (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	while (grep { -d "/proc/$_" } @pids)
	{
		die 'a backend does not end' if time - $start > 60;
		usleep(500);
	}
	my $ms = (time - $start) * 1000;

	eval { $_->quit } for @sessions;
	usleep(10_000) while -e $node->data_dir . '/postmaster.pid';
	$node->{_pid} = undef;
	$node->start;
	return $ms;
}

my $restarts = int($moments / 12) + 1;

in_time('fast shutdown', sub { return map { shutdown_ms('INT') } 1 .. $restarts });
whole('fast shutdown');
in_time('immediate shutdown', sub { return map { shutdown_ms('QUIT') } 1 .. $restarts });
whole('immediate shutdown');
$node->stop;

done_testing();
