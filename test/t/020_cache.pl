# dlm.cache_mem over sessions, workers, databases, restarts, and while it changes.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use DlmTest;

my $tiny = "model => 'tiny'";
my $labels = qq{SELECT md5(string_agg(dlm_classify(body, ARRAY['wet', 'dry', 'unknown'], $tiny), ',' ORDER BY id)) FROM r};
my $node;

sub value
{
	my ($sql, $database) = @_;

	return $node->safe_psql($database // 'postgres', $sql);
}

# A setting for all; on return sessions that start have it.
sub set_cache_mem
{
	my ($to) = @_;

	$node->safe_psql('postgres', "LOAD 'dlm'; ALTER SYSTEM SET dlm.cache_mem = '$to'; SELECT pg_reload_conf()");
	$node->poll_query_until('postgres', "SELECT current_setting('dlm.cache_mem') = '$to'") or die "dlm.cache_mem is not $to";
	return;
}

sub rows
{
	my ($n) = @_;

	value(qq{CREATE TABLE r (id int PRIMARY KEY, body text, filler text) WITH (parallel_workers = 2);
		ALTER TABLE r ALTER filler SET STORAGE PLAIN;
		INSERT INTO r SELECT i, 'row ' || i || CASE i % 3 WHEN 0 THEN ' of rain' WHEN 1 THEN ' of sun' ELSE '' END, repeat('x', 2000)
			FROM generate_series(1, $n) AS i;
		VACUUM ANALYZE r});
	return;
}

# What a query asks of the cache: hits, misses.
sub asked
{
	my ($sql, $database) = @_;
	my $count = 'SELECT hits, misses FROM dlm_cache_info()';
	my @before = split /\|/, value($count, $database);

	value($sql, $database);
	my @after = split /\|/, value($count, $database);
	return join '|', $after[0] - $before[0], $after[1] - $before[1];
}

# kB of a process' shared memory segments of PostgreSQL that lie in memory
sub resident
{
	my ($pid) = @_;
	my ($ours, $sum) = (0, 0);

	open(my $maps, '<', "/proc/$pid/smaps") or return;
	while (<$maps>)
	{
		$ours = m{/dev/shm/PostgreSQL} if /^[0-9a-f]+-[0-9a-f]+ /;
		$sum += $1 if $ours && /^Rss:\s+(\d+) kB/;
	}
	close $maps;
	return $sum;
}

foreach my $preload ('', q{shared_preload_libraries = 'dlm'})
{
	my $kind = $preload ? 'preload' : 'no preload';

	$node = new_node($preload ? 'cache_preload' : 'cache_plain', $preload, 'restart_after_crash = on', 'jit = off', 'max_parallel_workers = 4', 'dlm.max_threads = 4',
		'max_parallel_workers_per_gather = 0', 'autovacuum = off', 'dynamic_shared_memory_type = posix');
	load_tiny($node, 'tiny', 'llama');
	rows(300);
	my $answer = value($labels);

	is(asked($labels), '0|0', "$kind: off as it is installed");

	# ------------------------------------------------------- on, off, larger, smaller
	my $idle = $node->background_psql('postgres');
	my $idle_pid = $idle->query_safe('SELECT pg_backend_pid()');
	set_cache_mem('8MB');
	is(asked($labels), '0|300', "$kind: on at run time");
	is(asked($labels), '300|0', "$kind: a session finds what another has asked");
	is($idle->query_safe($labels), $answer, "$kind: one that was there before finds the same");
	is(value($labels), $answer, "$kind: and so does a new one");
	is(value('SELECT bytes, answers FROM dlm_cache_info()'), '8388608|300', "$kind: its memory and its answers");
	set_cache_mem('16MB');
	is(value('SELECT bytes, answers FROM dlm_cache_info()'), '16777216|0', "$kind: another size begins empty");
	is(asked($labels), '0|300', "$kind: and fills again");
	is($idle->query_safe($labels), $answer, "$kind: a session that held the one before follows");

	# a session that idles with the store mapped keeps none of its memory
	my $mapped = resident($idle_pid);
	SKIP:
	{
		skip 'no smaps', 3 unless defined $mapped;
		$idle->query_safe(qq{SELECT count(dlm_embed(body, $tiny)) FROM r});
		my $full = resident($idle_pid);
		cmp_ok($full, '>', 50, "$kind: an idle session has touched $full kB of shared memory");
		set_cache_mem('0');
		is(value('SELECT bytes FROM dlm_cache_info()'), '0', "$kind: off at run time");
		cmp_ok(resident($idle_pid), '<', $full - 50, "$kind: and its memory is back, though a session idles with it");
	}
	is($idle->query_safe($labels), $answer, "$kind: off changes no answer");
	is(asked($labels), '0|0', "$kind: off is off");

	# one statement that began under the old setting goes on, and does not bring it back
	set_cache_mem('1MB');
	start_query($idle, qq{DO \$\$ BEGIN FOR i IN 1 .. 120 LOOP PERFORM dlm_score('number ' || i, $tiny); PERFORM pg_sleep(0.05); END LOOP; END \$\$});
	$node->poll_query_until('postgres', 'SELECT answers > 2 FROM dlm_cache_info()') or die 'the loop does not run';
	set_cache_mem('2MB');
	my @sizes = map { usleep(100_000); value('SELECT bytes FROM dlm_cache_info()') } 1 .. 8;
	is_deeply(\@sizes, [ (2 * 1024 * 1024) x 8 ], "$kind: a long statement follows who read the configuration last");
	cmp_ok(value('SELECT answers FROM dlm_cache_info()'), '>', 2, "$kind: and keeps its answers there");
	is($idle->query_safe($labels), $answer, "$kind: the session goes on");
	$idle->quit;

	# ------------------------------------------------------------------ workers
	my $parallel = 'SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;'
	  . ' SET parallel_leader_participation = off;';
	my $all = qq{SELECT id, dlm_classify(body, ARRAY['wet', 'dry', 'unknown'], $tiny) AS label FROM r};
	my $analyze = qq{$parallel EXPLAIN (ANALYZE, COSTS OFF) $all};

	value('SELECT dlm_cache_reset()');
	my $first = value($analyze);
	like($first, qr/Workers Launched: [12].*Requests: 300\n/s, "$kind: workers compute");
	unlike($first, qr/Cache Hits/, "$kind: and find nothing the first time");
	my $again = value($analyze);
	like($again, qr/Workers Launched: [12].*Requests: 0\n\s+Cache Hits: 300\n/s, "$kind: workers find what workers have kept");
	is(asked($labels), '300|0', "$kind: as does the leader alone");
	is(value("$parallel SELECT md5(string_agg(label, ',' ORDER BY id)) FROM ($all OFFSET 0) AS q"), $answer, "$kind: the same answers");

	# ---------------------------------------------------------------- databases
	value('CREATE DATABASE other');
	value('CREATE EXTENSION dlm', 'other');
	value(q{SELECT dlm_load_model('tiny', '} . tiny('llama') . q{')}, 'other');
	my $score = qq{SELECT dlm_score('row 1 of sun', $tiny)};
	value($score);
	is(asked($score), '1|0', "$kind: known in this database");
	is(asked($score, 'other'), '0|1', "$kind: not in another");
	is(value($score), value($score, 'other'), "$kind: where the answer is the same");

	# ----------------------------------------------------------------- restarts
	$node->restart;
	is(value('SELECT bytes, answers FROM dlm_cache_info()'), '2097152|0', "$kind: empty after a restart");
	is(asked($labels), '0|300', "$kind: it fills again");
	my $victim = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $victim->query_safe('SELECT pg_backend_pid()');
	start_query($victim, qq{SELECT count(dlm_score((i % 50)::text, $tiny)) FROM generate_series(1, 100000000) AS i});
	usleep(500_000);
	kill 'KILL', $pid;
	eval { $victim->quit };
	ok($node->wait_for_log(qr/all server processes terminated; reinitializing/), "$kind: a killed session restarts the server");
	$node->poll_query_until('postgres', 'SELECT true');
	is(value('SELECT answers FROM dlm_cache_info()'), '0', "$kind: nothing of before is known");
	is(value($labels), $answer, "$kind: the answers are the same");
	is(asked($labels), '300|0', "$kind: and are kept again");

	# ------------------------------------------------------ more than there is
	my ($total) = `df -k --output=size /dev/shm` =~ /(\d+)\s*$/;
	SKIP:
	{
		skip '/dev/shm is larger than the setting can be', 4 unless $total && $total < 60 * 1024 * 1024;
		my $gb = int($total / 1024 / 1024) + 2;
		set_cache_mem("${gb}GB");
		my ($rc, $out, $err) = $node->psql('postgres', $labels);
		is($out, $answer, "$kind: too little memory fails no statement");
		like($err, qr/WARNING:  dlm has no shared memory for answers: none are kept\nDETAIL:  .*\nHINT:  Lower dlm.cache_mem/, "$kind: it is said");
		($rc, $out, $err) = $node->psql('postgres', $labels);
		is("$out$err", $answer, "$kind: once");
		set_cache_mem('1MB');
		value($labels);
		is(asked($labels), '300|0', "$kind: and a smaller one works");
	}
	$node->stop;
}

# ------------------------------------------------------- all at once, and cancels
# Sessions ask the same of the smallest cache, some with a timeout at any moment,
# others empty it, or change its size. Each checks every answer.
$node = new_node('cache_crowd', 'jit = off', 'autovacuum = off', 'max_connections = 60', 'max_parallel_workers = 4', "dlm.cache_mem = '64kB'");
load_tiny($node, 'tiny', 'llama');
rows(300);
value(q{CREATE TABLE right_ AS SELECT id, body, dlm_classify_full(body, ARRAY['wet', 'dry', 'unknown'], model => 'tiny')::text AS full_,
	dlm_infill_gaps(body || ' is [MASK:a:2].', model => 'tiny') AS gaps FROM r;
	ALTER TABLE right_ ADD PRIMARY KEY (id); ANALYZE right_});
my $seconds = $ENV{DLM_CROWD_SECONDS} || 20;
my $check = q{SELECT 'wrong', count(*) FROM right_ WHERE id %% %d = 0 AND
	(dlm_classify_full(body, ARRAY['wet', 'dry', 'unknown'], model => 'tiny')::text <> full_ OR dlm_infill_gaps(body || ' is [MASK:a:2].', model => 'tiny') <> gaps);};
my %script = (
	reader => sprintf($check, 2),
	workers => 'SET force_parallel_mode = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; ' . sprintf($check, 3),
	cancelled => join("\n", map { 'SET statement_timeout = ' . (1 + int(rand(200))) . ";\n" . sprintf($check, $_) } 1 .. 20),
	single => 'SET dlm.enable_batching = off; ' . sprintf($check, 5),
	reset => 'SELECT dlm_cache_reset(), pg_sleep(0.05);',
	resize => q{LOAD 'dlm'; ALTER SYSTEM SET dlm.cache_mem = '128kB'; SELECT pg_reload_conf(), pg_sleep(0.2);
		ALTER SYSTEM SET dlm.cache_mem = 0; SELECT pg_reload_conf(), pg_sleep(0.1); ALTER SYSTEM SET dlm.cache_mem = '64kB'; SELECT pg_reload_conf(), pg_sleep(0.5);});
my %crowd = (reader => 2, workers => 1, cancelled => 3, single => 1, reset => 1, resize => 1);
my $until = time + $seconds;
my @running;

foreach my $who (sort keys %crowd)
{
	for (1 .. $crowd{$who})
	{
		my ($out, $err) = ('', '');
		my $file = PostgreSQL::Test::Utils::tempdir() . "/$who-$_.sql";

		PostgreSQL::Test::Utils::append_to_file($file, $script{$who});
		# one session after the other until the time is over, each with several rounds
		my $command = sprintf('while [ $(date +%%s) -lt %d ]; do for i in 1 2 3; do cat %s; done | psql -XAtq -d "%s"; done', $until, $file,
			$node->connstr('postgres'));
		push @running, [ $who, IPC::Run::start([ 'bash', '-c', $command ], '>', \$out, '2>', \$err), \$out, \$err ];
	}
}
my %seen;
foreach (@running)
{
	my ($who, $handle, $out, $err) = @$_;

	$handle->finish;
	my @answers = $$out =~ /^wrong\|(\d+)$/mg;
	my @errors = grep { !/canceling statement due to statement timeout/ } $$err =~ /^.*(?:ERROR|FATAL|WARNING|PANIC|server closed).*$/mg;
	$seen{$who} += @answers;
	$seen{cancels} += () = $$err =~ /canceling statement/g;
	is(join(',', grep { $_ != 0 } @answers), '', "$who: no wrong answer among " . @answers);
	is(join("\n", @errors[ 0 .. ($#errors > 5 ? 5 : $#errors) ]), '', "$who: no error");
}
cmp_ok($seen{$_} // 0, '>', 0, "$_ have run") foreach qw(reader workers single cancels);
unlike(slurp_log($node), qr/PANIC|terminated by signal|reinitializing|invalid memory alloc/, 'the server lives');
at_rest($node, 'the crowd');
set_cache_mem('64kB');
value('SELECT dlm_cache_reset()');
value(sprintf($check, 1));
like(value('SELECT stored - evicted - answers, used_bytes BETWEEN answers * 128 AND bytes, evicted > 0 FROM dlm_cache_info()'), qr/^0\|t\|t$/,
	'and the cache is whole');
is(value(sprintf($check, 1)), 'wrong|0', 'and right');
$node->stop;

done_testing();
