# Faults that a server meets in years: a model's file written to, removed or
# exchanged while statements compute, no shared memory to be had, statistics
# that are full or cannot be written. Each ends with a right answer or an
# error, the server alive and the tables as they were.
use strict;
use warnings;
use File::Basename qw(basename);
use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $full = $ENV{DLM_TEST_FULL_DISK};
plan skip_all => 'test/t/run.sh could not mount a small tmpfs (needs root)' unless $full;

my $score = q{SELECT dlm_score('rain and wind', model => 'tiny')};
my $rows = q{CREATE TABLE r (id int PRIMARY KEY, body text, label text);
	INSERT INTO r SELECT i, 'row number ' || i, CASE WHEN i % 3 = 0 THEN 'kept' END FROM generate_series(1, 60) AS i};
my $table = q{SELECT count(*), count(label), md5(string_agg(r::text, ',' ORDER BY id)) FROM r};

# ---------------------------------------------------- the file of a model
my $node = new_node('rewritten', 'dlm.batch_size = 4', 'dlm.cache_mem = 16MB', 'max_parallel_workers_per_gather = 0');
my $big = $node->safe_psql('postgres', "SELECT dlm_load_model('big', '" . bundled_file($node) . "')");
my $other = load_tiny($node, 'tiny', 'llama');
my $dir = $node->data_dir . '/dlm_models';
my $file = "$dir/$big.dlm";
my $fill = q{UPDATE r SET label = dlm_classify(body, ARRAY['odd', 'even'], model => 'big') WHERE label IS NULL};

$node->safe_psql('postgres', $rows);
my $before = $node->safe_psql('postgres', $table);

# Start an UPDATE, do something to the file when its first batch is done; returns what the session says.
sub in_mid_update
{
	my ($what) = @_;
	my $victim = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $victim->query_safe('SELECT pg_backend_pid()');

	start_query($victim, "\\set VERBOSITY verbose\n$fill");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM dlm_activity WHERE pid = $pid AND rows_done >= 4 AND rows_done < 36")
	  or die 'the update does not start';
	$what->();
	like($victim->query('SELECT 6 * 7'), qr/42/, 'the session goes on');
	my $said = $victim->{stderr};
	$victim->quit;
	return $said;
}

# one byte of the weights, in place: nobody may see, or keep, what is computed with it
sub flip
{
	open(my $fh, '+<:raw', $file) or die $!;
	seek($fh, -4096, 2);
	read($fh, my $byte, 1);
	seek($fh, -4096, 2);
	print $fh chr(ord($byte) ^ 1);
	close $fh or die $!;
	return;
}

my $said = in_mid_update(\&flip);

like($said, qr/ERROR:  58030: .*model "big" was written to/, 'written to in mid-statement: 58030');
is($node->safe_psql('postgres', $table), $before, 'written to in mid-statement: the table is as it was');
flip();

# removed, and another file in its place: the statement has the old one mapped
my $mid = $node->safe_psql('postgres', 'BEGIN; ' . $fill . "; $table; ROLLBACK");
$node->safe_psql('postgres', 'SELECT dlm_cache_reset()');
for my $fault ('removed', 'replaced')
{
	$said = in_mid_update(
		sub {
			rename($file, "$file.away") or die $!;
			copy("$dir/$other.dlm", $file) or die $! if $fault eq 'replaced';
		});
	is($said =~ /ERROR/ ? $said : '', '', "$fault in mid-statement: no error");
	is($node->safe_psql('postgres', $table), $mid, "$fault in mid-statement: all rows are of the old file");
	$node->safe_psql('postgres', q{SELECT dlm_cache_reset(); UPDATE r SET label = CASE WHEN id % 3 = 0 THEN 'kept' END});
	rename("$file.away", $file) or die $!;
}
is($node->safe_psql('postgres', 'BEGIN; ' . $fill . "; $table; ROLLBACK"), $mid, 'with the file back: the same rows again');
at_rest($node, 'files');
unlike(slurp_log($node), qr/terminated by signal/, 'no process died');
$node->stop;

# ------------------------------------------------- no shared memory to be had
# DSM segments are files, and from now on of a full disk; those that PostgreSQL has made already can be opened there too
my $tight = PostgreSQL::Test::Cluster->new('tight');

$tight->init;
$tight->append_conf('postgresql.conf', join("\n", $ENV{DLM_TEST_CONF} // '', 'dynamic_shared_memory_type = mmap', 'max_connections = 100',
	'max_parallel_workers_per_gather = 0', ''));
$tight->start;
my $segments = $tight->data_dir . '/pg_dynshmem';

rename($segments, "$segments.real") or die $!;
symlink($_, "$full/" . basename($_)) or die $! for glob("$segments.real/*");
symlink($full, $segments) or die $!;
$tight->safe_psql('postgres', 'CREATE EXTENSION dlm');
load_tiny($tight, 'tiny', 'llama');
$tight->safe_psql('postgres', $rows);

my ($rc, $out, $err) = $tight->psql('postgres', "$score;\n$score");
my $expected = (split /\n/, $out)[0];

like($err, qr/WARNING:  dlm has no shared memory: statistics are off/, 'no shared memory: it is said');
is(() = $err =~ /WARNING/g, 1, 'no shared memory: once a session');
is($out, "$expected\n$expected", 'no shared memory: answers');
is($tight->safe_psql('postgres', 'SELECT shared FROM dlm_stats_info()'), 'f', 'no shared memory: dlm_stats_info says so');
is($tight->safe_psql('postgres', 'SELECT (SELECT count(*) FROM dlm_stats), (SELECT count(*) FROM dlm_activity)'), '0|0', 'no shared memory: views are empty');
$tight->safe_psql('postgres', q{ALTER TABLE r ADD CHECK (label IN ('odd', 'even', 'kept')); CALL dlm_infill_table('r', '{label}', model => 'tiny')});
is($tight->safe_psql('postgres', 'SELECT count(*), count(label) FROM r'), '60|60', 'no shared memory: a table is filled');
is($tight->safe_psql('postgres', q{SELECT counts ->> 'written' FROM dlm_jobs}), '40', 'no shared memory: the job counts');
fails_with($tight, q{SET statement_timeout = 50; SELECT dlm_generate('a long story', 300, 300, options => '{"length": "fixed"}')}, '57014', qr/statement timeout/,
	'no shared memory: a cancel');
unlike(slurp_log($tight), qr/terminated by signal/, 'no process died');
$tight->stop;
is_deeply([ glob("$full/mmap.*") ], [], 'nothing of it is left');

# --------------------------------------------------------- full statistics
my $node2 = new_node('stats', q{shared_preload_libraries = 'dlm'});

load_tiny($node2, 'tiny', 'llama');
is($node2->safe_psql('postgres', $score), $expected, 'the same answer as without shared memory');
$node2->safe_psql(
	'postgres', q{
DO $$ BEGIN
	FOR i IN 1 .. 1100 LOOP
		EXECUTE format('CREATE ROLE r%s', i);
	END LOOP;
END $$;
GRANT USAGE ON FOREIGN SERVER tiny TO PUBLIC;
DO $$ BEGIN
	FOR i IN 1 .. 1100 LOOP
		EXECUTE format('SET ROLE r%s', i);
		PERFORM dlm_score('rain', model => 'tiny');
	END LOOP;
	RESET ROLE;
END $$;});
is($node2->safe_psql('postgres', 'SELECT count(*), (SELECT lost_calls FROM dlm_stats_info()) FROM dlm_stats'), '1024|77',
	'full statistics: calls that have no row are counted');
is($node2->safe_psql('postgres', $score), $expected, 'full statistics: answers');

# ------------------------------------------------- no room for the statistics
sub fill_disk
{
	open(my $fh, '>:raw', "$full/filler") or die $!;
	syswrite($fh, "\0" x 4096) while -s $fh < 1 << 17 && syswrite($fh, 'x');
	close $fh;
	return;
}

fill_disk();
my $stats = $node2->data_dir . '/pg_stat/dlm.stat';

symlink("$full/stats", "$stats.tmp") or die $!;
$node2->stop;
ok($node2->wait_for_log(qr/LOG: .*could not write file "pg_stat\/dlm\.stat\.tmp": No space left on device/), 'disk full at shutdown: it is said');
ok(!-e $stats && !-l "$stats.tmp", 'disk full at shutdown: no half of a file');
unlink "$full/filler", "$full/stats";
$node2->start;
is($node2->safe_psql('postgres', 'SELECT count(*) FROM dlm_stats'), '0', 'disk full at shutdown: the figures are lost, no more');
is($node2->safe_psql('postgres', $score), $expected, 'disk full at shutdown: the server answers');
$node2->restart;
is($node2->safe_psql('postgres', 'SELECT sum(calls) FROM dlm_stats'), '1', 'with room again: figures are kept');
$node2->stop;

done_testing();
