# Watching and sharing: dlm_activity while statements run, fair compute slots,
# clients that vanish, statistics.
use strict;
use warnings;
use List::Util qw(max sum);
use Time::HiRes qw(time);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('watch', "shared_preload_libraries = 'dlm'", 'dlm.max_threads = 4', 'dlm.batch_size = 4',
	'compute_query_id = on', 'jit = off', 'max_parallel_workers_per_gather = 2');
my $rows = 3000;
my $long = qq{SELECT array_length(dlm_classify(array_agg('text number ' || i), ARRAY['good', 'bad']), 1)
	FROM generate_series(1, $rows) AS i};

# A session that runs a statement in the background: the session and its pid.
sub start_session
{
	my ($statement, $before) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	$session->query_safe($before) if $before;
	$session->query_until(qr/started/, "\\echo started\n$statement;\n");
	return ($session, $pid);
}

sub value { return $node->safe_psql('postgres', $_[0]); }

# Wait until a query gives t, for a minute at most.
sub wait_for
{
	my ($query, $test) = @_;
	my $end = time + 60;
	my $got;

	do { $got = value($query) } until $got eq 't' || time > $end;
	is($got, 't', $test);
	return;
}

sub all_slots_back
{
	my ($when) = @_;

	wait_for(q{SELECT compute_slots_used = 0 AND computing_sessions = 0 AND NOT EXISTS (SELECT FROM dlm_activity)
		FROM dlm_stats_info()}, "$when: all slots are back and nothing is shown");
	return;
}

# --------------------------------------------------------------- dlm_activity
my ($session, $pid) = start_session($long);
my $mine = "FROM dlm_activity WHERE pid = $pid";

wait_for("SELECT rows_done > 0 $mine", 'rows are done');
is(value("SELECT database, username, userid = 'postgres'::regrole, leader_pid IS NULL, task, model, rows $mine"),
	"postgres|postgres|t|t|classify|dlm-135m|$rows", 'who does what');
wait_for("SELECT phase = 'compute' AND threads >= 1 $mine", 'phase compute');
is(value("SELECT a.query_id = s.query_id FROM dlm_activity AS a JOIN pg_stat_activity AS s USING (pid) WHERE pid = $pid"),
	't', 'the query id is that of pg_stat_activity');
my ($done, $tokens) = split /\|/, value("SELECT rows_done, tokens $mine");
wait_for("SELECT rows_done > $done AND tokens > $tokens $mine", 'rows_done and tokens grow');
is(value("SELECT tokens_per_s > 0, eta > '0', started < now(), rows_done < rows $mine"), 't|t|t|t', 'pace, time left, start');

# the pace and the time left are those of the rows so far
wait_for("SELECT rows_done >= 60 $mine", 'more rows are done');
my ($left, $expected) = split /\|/, value(qq{SELECT extract(epoch FROM eta),
	extract(epoch FROM clock_timestamp() - started) * (rows - rows_done) / rows_done $mine});
cmp_ok(abs($left - $expected), '<', 0.3 * $expected, "eta $left s, by hand $expected s");

# readers beside writers: every snapshot is whole, none goes back
is(value(
		qq{DO \$\$
DECLARE
	a record; rows_before bigint := 0; tokens_before bigint := 0;
BEGIN
	FOR i IN 1 .. 20000 LOOP
		SELECT * INTO STRICT a $mine;
		ASSERT a.rows_done BETWEEN rows_before AND a.rows AND a.tokens >= tokens_before, a::text;
		ASSERT a.task = 'classify' AND a.model = 'dlm-135m' AND a.phase IN ('read', 'compute', 'emit'), a::text;
		ASSERT a.threads BETWEEN 0 AND 4 AND (a.threads > 0) = (a.phase = 'compute'), a::text;
		rows_before := a.rows_done;
		tokens_before := a.tokens;
	END LOOP;
END \$\$}), '', '20000 snapshots are consistent');

# other roles
$node->safe_psql('postgres', 'CREATE ROLE guest LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats');
is(value("SET ROLE guest; SELECT to_jsonb(a) - ARRAY['pid', 'dbid', 'userid', 'database', 'username'] =
		(SELECT jsonb_object_agg(key, null) FROM jsonb_object_keys(to_jsonb(a) - ARRAY['pid', 'dbid', 'userid', 'database', 'username']) AS key),
		database, username FROM dlm_activity AS a WHERE pid = $pid"),
	't|postgres|postgres', 'another role sees pid, database and user alone');
is(value("SET ROLE watcher; SELECT task, rows $mine"), "classify|$rows", 'pg_read_all_stats sees all');
is(value('SET ROLE guest; SELECT DISTINCT model IS NULL AND digest IS NULL, username FROM dlm_stats'), 't|postgres',
	'and so it is with models in dlm_stats');

# ----------------------------------------------------------------- fair slots
# Threads of the sessions that compute, by pid, watched until $until->() is true of the most that each had, for 60 s at most.
sub watch_threads
{
	my ($until) = @_;
	my (%most, $total);
	my $end = time + 60;

	while (time < $end && !$until->(\%most))
	{
		my %now = map { split /=/ } split /\n/, value(q{SELECT pid || '=' || threads FROM dlm_activity});

		$most{$_} = max($most{$_} // 0, $now{$_}) for keys %now;
		$total = max($total // 0, sum(0, values %now));
	}
	return (\%most, $total);
}

# Every session has begun a batch since the last one came.
sub settle
{
	my (@pids) = @_;

	for my $one (@pids)
	{
		my $before = value("SELECT rows_done FROM dlm_activity WHERE pid = $one");
		wait_for("SELECT rows_done >= $before + 8 FROM dlm_activity WHERE pid = $one", 'two more batches');
	}
	return;
}

my ($most) = watch_threads(sub { ($_[0]{$pid} // 0) == 4 });
is($most->{$pid}, 4, 'one session has all four threads');

my ($second, $second_pid) = start_session($long);
wait_for("SELECT count(*) = 2 FROM dlm_activity WHERE rows_done > 0", 'two sessions compute');
settle($pid, $second_pid);
my $total;
my $n = 0;
($most, $total) = watch_threads(sub { $n++ >= 20 && 2 == grep { $_ == 2 } values %{ $_[0] } });
is_deeply($most, { $pid => 2, $second_pid => 2 }, 'two sessions have two threads each');
cmp_ok($total, '<=', 4, 'and four together');

my ($third, $third_pid) = start_session($long);
wait_for("SELECT count(*) = 3 FROM dlm_activity WHERE rows_done > 0", 'three sessions compute');
settle($pid, $second_pid, $third_pid);
$n = 0;
($most, $total) = watch_threads(sub { $n++ >= 20 && 3 == grep { $_ == 2 } values %{ $_[0] } });
is_deeply($most, { $pid => 2, $second_pid => 2, $third_pid => 2 }, 'of three sessions each has the fourth thread in turn');
cmp_ok($total, '<=', 4, 'and four together');
like(value('SELECT computing_sessions, compute_slots_used, max_threads FROM dlm_stats_info()'), qr/^[0-3]\|[01]\|4$/,
	'dlm_stats_info counts them');

# ------------------------------------------- given back, however a session ends
value("SELECT pg_cancel_backend($pid), pg_terminate_backend($second_pid)");
wait_for("SELECT count(*) = 1 FROM dlm_activity", 'one session is cancelled, one terminated');
($most) = watch_threads(sub { ($_[0]{$third_pid} // 0) == 4 });
is($most->{$third_pid}, 4, 'the last one has all threads again');
value("SELECT pg_cancel_backend($third_pid)");
all_slots_back('after cancels and a terminate');
$session->quit;
eval { $second->quit };
$third->quit;
is(value(q{SELECT cancelled, errors FROM dlm_stats WHERE task = 'classify'}), '3|0', 'all three count as cancelled');

$node->psql('postgres', q{SELECT dlm_classify(ARRAY['short', repeat('long ', 20000)], ARRAY['good', 'bad'])});
all_slots_back('after an error');
is(value(q{SELECT errors, function FROM dlm_stats WHERE task = 'classify'}), '1|dlm_classify', 'the error is counted');
$node->safe_psql(
	'postgres', q{DO $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM dlm_classify(ARRAY['short', repeat('long ', 20000)], ARRAY['good', 'bad']);
		EXCEPTION WHEN program_limit_exceeded THEN
		END;
		ASSERT (SELECT compute_slots_used = 0 AND computing_sessions = 0 FROM dlm_stats_info());
		ASSERT NOT EXISTS (SELECT FROM dlm_activity);
	END LOOP;
END $$});
pass('errors that are caught leave nothing');

# ------------------------------------------------------------ parallel workers
load_tiny($node, 'tiny', 'llama');
$node->safe_psql(
	'postgres', q{
CREATE TABLE big AS SELECT i AS id, repeat('rain and sun ', 30) || i AS body FROM generate_series(1, 20000) AS i;
ALTER TABLE big SET (parallel_workers = 2);
ANALYZE big});
my $parallel = q{SELECT count(*) FROM big WHERE dlm_classify(body, ARRAY['wet', 'dry'], model => 'tiny') = 'wet'};
like(value("EXPLAIN $parallel"), qr/Workers Planned: 2/, 'a parallel plan');
($session, $pid) = start_session($parallel);
wait_for("SELECT count(*) >= 1 FROM dlm_activity WHERE leader_pid = $pid AND query_id =
	(SELECT query_id FROM pg_stat_activity WHERE pid = $pid)", 'workers show their leader');
is(value("SELECT count(*) FROM dlm_activity WHERE leader_pid = $pid AND pid = $pid"), '0', 'which has none itself');
value("SELECT pg_cancel_backend($pid)");
all_slots_back('after a parallel plan was cancelled');
$session->quit;

# ------------------------------------------------------------------- conversion
($session, $pid) = start_session("SELECT dlm_load_model('copy', '" . bundled_file($node) . "')");
wait_for("SELECT phase = 'load' AND task = 'load_model' AND model = 'copy' AND rows IS NULL AND eta IS NULL AND step < steps
	FROM dlm_activity WHERE pid = $pid", 'a conversion shows how far it is');
$session->quit;

# ---------------------------------------------------------- a client that vanishes
# client_connection_check_interval is off, as it is by default
my $generate = q{SELECT dlm_generate('Tell a long story about the sea.', 400, 400, options => '{"length": "fixed"}')};
foreach my $statement ($long, $generate, "SELECT count(dlm_classify(body, ARRAY['a', 'b'])) FROM big")
{
	($session, $pid) = start_session($statement, 'SET max_parallel_workers_per_gather = 0');
	wait_for("SELECT count(*) = 1 FROM dlm_activity WHERE pid = $pid AND phase = 'compute'", 'it computes');
	select(undef, undef, undef, rand(1));
	IPC::Run::signal($session->{run}, 'KILL');
	my $start = time;
	select(undef, undef, undef, 0.001) while time < $start + 30 && -d "/proc/$pid";
	my $took = time - $start;
	cmp_ok($took, '<', 2.3, sprintf('the backend of a killed client is gone after %.2f s', $took));
	eval { $session->quit };
}
all_slots_back('after clients vanished');
my $lost = () = slurp_log($node) =~ /FATAL: .*connection to client lost/g;
is($lost, 3, 'as PostgreSQL would say it');
is(value('SELECT 6 * 7'), '42', 'the server goes on');

# ---------------------------------------------------------------------- dlm_stats
my $before = value('SELECT json_agg(s ORDER BY username, database, task, model) FROM dlm_stats AS s');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION dlm; SET ROLE guest; SELECT dlm_classify('rain', ARRAY['wet', 'dry'])});
is(value(q{SELECT username, database, task, function, model, calls, rows, errors FROM dlm_stats WHERE username = 'guest'}),
	'guest|other|classify|dlm_classify|dlm-135m|1|1|0', 'by user, database, task and model');
is(value(q{SET ROLE guest; SELECT username, model FROM dlm_stats WHERE model IS NOT NULL}), 'guest|dlm-135m',
	'a role sees the models of its own rows');
$node->safe_psql('postgres', 'DROP DATABASE other; DROP ROLE guest');
is(value(q{SELECT username IS NULL AND database IS NULL, calls FROM dlm_stats WHERE username IS NULL}), 't|1',
	'rows outlive their user and database');
$node->restart;
is(value('SELECT json_agg(s ORDER BY username, database, task, model) FROM dlm_stats AS s WHERE username IS NOT NULL'),
	$before, 'all figures outlive a restart');
$node->stop;

done_testing();
