# Faults in the middle of a batch: each ends as it would without batches, the
# server goes on, and the table is whole.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('batch_faults', 'restart_after_crash = on', 'max_connections = 100', 'deadlock_timeout = 200ms',
	'max_parallel_workers_per_gather = 0', 'max_parallel_workers = 4', 'jit = off', 'autovacuum = off');
my $rows = 300;
my $tiny = "model => 'tiny'";
my $label = "dlm_classify(body, ARRAY['wet', 'dry', 'unknown'], $tiny)";
my $slow = q{dlm_generate(body, 200, 200, options => '{"length": "fixed"}')};
my $whole = q{SELECT md5(string_agg(id || ':' || body || ':' || coalesce(label, '-'), ',' ORDER BY id)) FROM r};

load_tiny($node, 'tiny', 'llama');
$node->safe_psql('postgres', qq{
CREATE TABLE r (id int PRIMARY KEY, body text, label text);
INSERT INTO r SELECT i, 'row ' || i || CASE i % 3 WHEN 0 THEN ' of rain' WHEN 1 THEN ' of sun' ELSE '' END
	FROM generate_series(1, $rows) AS i;
VACUUM ANALYZE r;
});

my $untouched = $node->safe_psql('postgres', $whole);
my $labels = qq{SELECT md5(string_agg($label, ',' ORDER BY id)) FROM r};
my $answer = $node->safe_psql('postgres', $labels);

sub alive_and_whole
{
	my ($test) = @_;

	is($node->safe_psql('postgres', $whole), $untouched, "$test: the table is whole");
	is($node->safe_psql('postgres', $labels), $answer, "$test: the same answers");
	at_rest($node, $test);
	return;
}

sub session
{
	return $node->background_psql('postgres', on_error_stop => 0);
}

is($node->safe_psql('postgres', "SET dlm.enable_batching = off; $labels"), $answer, 'batching changes no answer');
like($node->safe_psql('postgres', "EXPLAIN UPDATE r SET label = $label"), qr/DlmBatch/, 'an UPDATE has a batch node');

# ------------------------------------------------------------------ kill -9
sub kill_in_batch
{
	my ($test, $statement, $victim_of) = @_;
	my $offset = -s $node->logfile;
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	start_query($session, $statement);
	$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM dlm_activity WHERE phase = \'compute\' AND '
		  . sprintf($victim_of, $pid))
	  or die "$test: the batch does not show in dlm_activity";
	my $victim = $node->safe_psql('postgres', 'SELECT pid FROM dlm_activity WHERE ' . sprintf($victim_of, $pid) . ' LIMIT 1');

	kill 'KILL', $victim;
	eval { $session->quit };
	ok($node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset), "$test: the server recovers");
	$node->poll_query_until('postgres', 'SELECT true');
	alive_and_whole($test);
	return;
}

kill_in_batch('kill -9 of a backend', "UPDATE r SET label = $slow", 'pid = %d');
kill_in_batch('kill -9 of a parallel worker',
	"SET max_parallel_workers_per_gather = 2; ALTER TABLE r SET (parallel_workers = 2); SELECT $slow FROM r",
	'leader_pid = %d');
$node->safe_psql('postgres', 'ALTER TABLE r RESET (parallel_workers)');

# -------------------------------------------------- the third row is an error
my $gaps = q{CASE id WHEN 3 THEN 'no gap' ELSE 'a [MASK] of ' || dlm_quote(body) END};

foreach my $batching ('on', 'off')
{
	my $set = "SET dlm.enable_batching = $batching";

	fails_with($node, "$set; UPDATE r SET label = dlm_infill($gaps, $tiny)", '22023', qr/./, "row 3, batching $batching");
	is($node->safe_psql('postgres', "$set; SELECT count(*) FROM (SELECT dlm_infill($gaps, $tiny) FROM r ORDER BY id LIMIT 2) q"),
		'2', "LIMIT 2 does not get to row 3, batching $batching");
	fails_with($node, "$set; SELECT dlm_infill($gaps, $tiny) FROM r ORDER BY id LIMIT 3", '22023', qr/./,
		"LIMIT 3 gets to row 3, batching $batching");
	is( $node->safe_psql('postgres', qq{
		$set; BEGIN;
		UPDATE r SET label = dlm_infill($gaps, options => '{"on_error": "null"}', $tiny);
		SELECT string_agg(id::text, ',') FROM r WHERE label IS NULL;
		ROLLBACK}),
		'3', "on_error null makes row 3 NULL, batching $batching");
	fails_with($node, "$set; UPDATE r SET label = dlm_classify(body || 6 / (id - 3), ARRAY['a', 'b'], $tiny)",
		'22012', qr/division by zero/, "an argument of row 3 fails, batching $batching");
}
alive_and_whole('an error in row 3');

# ---------------------------------------------------------------- too little memory
# the engine's memory, from the least that the setting takes
my %ends;
my $long = q{SELECT md5(string_agg(dlm_classify(repeat(body, 200), ARRAY['wet', 'dry', 'unknown'],
	options => '{"on_overflow": "truncate"}', model => 'tiny'), ',' ORDER BY id)) FROM r WHERE id <= 12};
my $long_answer = $node->safe_psql('postgres', $long);

for (my $kb = 1024; $kb < 3500; $kb += 41)
{
	my ($rc, $out, $err) = $node->psql('postgres', qq{SET dlm.memo_mem = 0; SET dlm.max_session_memory = $kb; $long},
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	$ends{ $out eq $long_answer ? 'answer' : $err =~ /ERROR:  53200/ ? 'out of memory' : "$out$err" }++;
}
note('dlm.max_session_memory: ', join(', ', map { "$ends{$_} times $_" } sort keys %ends));
is(join(',', grep { !/^(answer|out of memory)$/ } keys %ends), '', 'dlm.max_session_memory: an answer or 53200');
cmp_ok($ends{answer} // 0, '>', 0, 'dlm.max_session_memory: some limits suffice');
cmp_ok($ends{'out of memory'} // 0, '>', 0, 'dlm.max_session_memory: some do not');
alive_and_whole('dlm.max_session_memory');

# the whole process's: the next allocation fails, and then, with a limit that grows, the n-th
SKIP:
{
	my $prlimit = `sh -c 'command -v prlimit'`;

	skip 'prlimit is not here', 3 unless $prlimit;
	%ends = ();
	for (my $kb = 0; $kb < 6000; $kb += 120)
	{
		my $session = session();
		my $pid = $session->query_safe('SELECT pg_backend_pid()');

		# before: what only the first call takes, and stack, for a stack that cannot grow is a crash
		$session->query_safe("SELECT $label FROM r LIMIT 2");
		$session->query_safe(q{DO $$ BEGIN EXECUTE 'SELECT ' || repeat('(', 3000) || '1' || repeat(')', 3000); END $$});
		my ($size) = slurp_file("/proc/$pid/status") =~ /^VmSize:\s+(\d+) kB/m;
		system('prlimit', '--pid', $pid, '--as=' . ($size + $kb) * 1024 . ':unlimited') == 0 or die 'prlimit failed';
		my $out = $session->query($long);
		system('prlimit', '--pid', $pid, '--as=unlimited:unlimited');
		my $err = $session->{stderr};

		$session->{stderr} = '';
		$ends{ $out eq $long_answer ? 'answer' : $err =~ /out of memory/ ? 'out of memory' : "$out$err" }++;
		is($session->query($labels), $answer, "with $kb kB: the session goes on");
		$session->quit;
	}
	note('address space: ', join(', ', map { "$ends{$_} times $_" } sort keys %ends));
	is(join(',', grep { !/^(answer|out of memory)$/ } keys %ends), '', 'address space: an answer or out of memory');
	cmp_ok($ends{answer} // 0, '>', 0, 'address space: some limits suffice');
	cmp_ok($ends{'out of memory'} // 0, '>', 0, 'address space: some do not');
}
alive_and_whole('address space');

# ------------------------------------------------------------------- 64 clients
my $scripts = $node->basedir;

append_to_file("$scripts/read.sql", qq{SELECT 1 / (($labels) = '$answer')::int;\n});
append_to_file("$scripts/scroll.sql", qq{
BEGIN;
DECLARE c CURSOR FOR SELECT id, $label FROM r;
FETCH 10 FROM c;
COMMIT;
});
append_to_file("$scripts/write.sql", qq{
BEGIN;
UPDATE r SET label = $label WHERE id % 64 = :client_id;
SELECT 1 / bool_and(label = $label)::int FROM r WHERE id % 64 = :client_id;
ROLLBACK;
});
append_to_file("$scripts/table.sql", qq{
BEGIN;
CREATE TEMP TABLE t ON COMMIT DROP AS SELECT id, $label AS label FROM r;
SELECT 1 / (md5(string_agg(label, ',' ORDER BY id)) = '$answer')::int FROM t;
COMMIT;
});
command_ok([ 'pgbench', '-n', '-c', 64, '-j', 2, '-t', 3, map({ ('-f', "$scripts/$_.sql") } qw(read scroll write table)),
		'-d', $node->connstr('postgres') ], '64 clients: every answer is the same');
alive_and_whole('64 clients');

# ------------------------------------------------------- concurrent transactions
# Two sessions: what the first does and commits while the second waits; the second's answer.
sub while_waiting
{
	my ($first, $begin, $second, $batching) = @_;
	my ($a, $b) = (session(), session());
	my $pid = $b->query_safe('SELECT pg_backend_pid()');

	$b->query_safe("SET dlm.enable_batching = $batching");
	$a->query_safe('BEGIN');
	$a->query_safe($first);
	$b->query_safe($begin);
	start_query($b, $second);
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'nobody waits';
	$a->query_safe('COMMIT');
	my $out = $b->query(q{SELECT 'state'});
	my $err = $b->{stderr} =~ s/^psql:<stdin>:\d+: //mgr;

	$b->{stderr} = '';
	$b->query('ROLLBACK');
	$b->{stderr} = '';
	$a->query_safe('UPDATE r SET body = was.body, label = NULL FROM was WHERE was.id = r.id AND r.body <> was.body');
	$_->quit for ($a, $b);
	return "$out$err";
}

$node->safe_psql('postgres', 'CREATE TABLE was AS SELECT id, body FROM r; ANALYZE was');
# an answer that shows which version of the row it was computed for
my $echo = "upper(dlm_infill('a [MASK:2] in ' || dlm_quote(%s), $tiny))";
my $told = sprintf($echo, 'body');
my $all_told = "SELECT md5(string_agg($told, ',' ORDER BY id)) FROM r";
my $change = q{UPDATE r SET body = 'other words' WHERE id IN (7, 70)};
my %waiting = (
	'UPDATE' => "UPDATE r SET label = $told RETURNING id, label, body",
	'UPDATE FROM' => "UPDATE r SET label = " . sprintf($echo, 'r.body || was.body') . " FROM was WHERE was.id = r.id RETURNING r.id, r.label, r.body",
	'UPDATE of several columns' => "UPDATE r SET (label) = (SELECT $told) RETURNING id, label",
	'SELECT FOR UPDATE' => "SELECT id, $told, body FROM r ORDER BY id FOR UPDATE",
	'a qual that is no longer true' => "UPDATE r SET label = $told WHERE body LIKE 'row%' RETURNING id, label");

foreach my $kind (sort keys %waiting)
{
	my $on = while_waiting($change, 'BEGIN', $waiting{$kind}, 'on');

	is($on, while_waiting($change, 'BEGIN', $waiting{$kind}, 'off'), "$kind waits for a row that changes: as without batches");
	like($on, qr/state/, "$kind goes on");
	like($on, qr/^8\|A .*ROW 8/m, "$kind: the answers of other rows");
	my $new = $kind =~ /no longer/ ? qr/^(?!.*OTHER WORDS)/s : qr/^7\|A .*OTHER WORDS/m;
	like($on, $new, "$kind: the answer of the new version");
}

foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	like(while_waiting($change, "BEGIN ISOLATION LEVEL $level", $waiting{UPDATE}, 'on'),
		qr/could not serialize access due to concurrent update/, "$level: an UPDATE of a row that changed");
	my $session = session();

	$session->query_safe("BEGIN ISOLATION LEVEL $level");
	my $before = $session->query_safe($all_told);
	$node->safe_psql('postgres', $change);
	is($session->query_safe($all_told), $before, "$level: a change of another is not seen");
	$session->query_safe('COMMIT');
	isnt($session->query_safe($all_told), $before, "$level: but by the next transaction");
	$session->quit;
	$node->safe_psql('postgres', 'UPDATE r SET body = was.body FROM was WHERE was.id = r.id AND r.body <> was.body');
}

# write skew: each transaction labels one of the rows that the other has read
{
	my ($a, $b) = (session(), session());

	my $failed = 0;

	$_->query_safe('BEGIN ISOLATION LEVEL SERIALIZABLE') for ($a, $b);
	foreach my $step ([ $a, 1 ], [ $b, $rows ], [ $a, 0 ], [ $b, 0 ])
	{
		my ($session, $id) = @$step;

		$session->query($id ? "UPDATE r SET label = $label WHERE id = $id AND (SELECT count(label) FROM r) = 0" : 'COMMIT');
		$failed++ if $session->{stderr} =~ /could not serialize access/;
		$session->{stderr} = '';
	}
	is($failed, 1, 'SERIALIZABLE: one of two that depend on each other fails');
	$_->quit for ($a, $b);
	$node->safe_psql('postgres', 'UPDATE r SET label = NULL WHERE label IS NOT NULL');
}
alive_and_whole('concurrent transactions');

# --------------------------------------------------------------------- deadlock
{
	my ($a, $b) = (session(), session());
	my $pid = $a->query_safe('SELECT pg_backend_pid()');

	$_->query_safe('BEGIN') for ($a, $b);
	$a->query_safe("UPDATE r SET label = $label WHERE id = 5");
	$b->query_safe("UPDATE r SET label = $label WHERE id = 200");
	start_query($a, "UPDATE r SET label = $label");
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'nobody waits';
	$b->query("UPDATE r SET label = $label WHERE id < 10");
	$a->query('SELECT 1');
	my ($lost) = grep { $_->{stderr} =~ /deadlock detected/ } ($a, $b);
	my ($won) = grep { $_ != $lost } ($a, $b);

	ok($lost, 'a deadlock of two batch UPDATEs is detected');
	is($won->{stderr}, '', 'and one of them goes on');
	$lost->{stderr} = '';
	$won->query_safe('COMMIT');
	$lost->query('ROLLBACK');
	$_->quit for ($a, $b);
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM r WHERE label = $label"), '>', 1, 'whose rows are written');
	$node->safe_psql('postgres', 'UPDATE r SET label = NULL');
}
alive_and_whole('a deadlock');
$node->stop;

done_testing();
