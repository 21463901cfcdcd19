# Cancel and statement_timeout act within 100 ms (p99), in the middle of one
# long row and in the middle of dlm_load_model.
use strict;
use warnings;
use List::Util qw(max);
use Time::HiRes qw(time);
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $moments = $ENV{DLM_CANCELS} || 60;
my $limit = 100;
my $node = new_node('cancel');
my $long_row = q{SELECT length(dlm_generate('Tell a long story about the sea.', 400, 400, options => '{"length": "fixed"}'))};

# Run a statement with statement_timeout at random moments of [0, $longest] ms;
# returns how much later than the timeout each of those that were cancelled came back.
sub overshoots
{
	my ($statement, $n, $longest) = @_;
	my @timeouts = map { 1 + int(rand($longest)) } 1 .. $n;
	my $script = "\\timing on\n";
	my ($out, $err);

	$script .= "SET statement_timeout = $_;\n$statement;\n" for @timeouts;
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out, '2>', \$err);
	my @times = $out =~ /^Time: ([\d.]+) ms/mg;
	my @late;

	# SET has its time too: every second one is the statement's
	is(scalar @times, 2 * $n, 'a time for each statement') or diag($out, $err);
	for my $i (0 .. $n - 1)
	{
		push @late, $times[ 2 * $i + 1 ] - $timeouts[$i];
	}
	my $cancelled = () = $err =~ /canceling statement due to statement timeout/g;
	return ($cancelled, @late);
}

# ----------------------------------------------------- in the middle of a row
my ($cancelled, @late) = overshoots($long_row, $moments, 1500);
is($cancelled, $moments, 'every long row is cancelled by statement_timeout');
my $p99 = percentile(0.99, @late);
cmp_ok($p99, '<', $limit, sprintf('statement_timeout: p99 %.1f ms, worst %.1f ms', $p99, max(@late)));

# -------------------------------------------------------- pg_cancel_backend
$node->safe_psql(
	'postgres', q{
CREATE FUNCTION react(victim int, wait_ms float8) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz;
BEGIN
	PERFORM pg_sleep(wait_ms / 1000);
	t := clock_timestamp();
	PERFORM pg_cancel_backend(victim);
	LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN (SELECT state <> 'active' FROM pg_stat_activity WHERE pid = victim);
		PERFORM pg_sleep(0.001);
	END LOOP;
	RETURN extract(epoch FROM clock_timestamp() - t) * 1000;
END $$});
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
my @reactions;
my $seen_active = 0;

for (1 .. $moments)
{
	$victim->query_until(qr/started/, "\\echo started\n$long_row;\n");
	my $wait = 20 + rand(800);
	$seen_active++
	  if $node->safe_psql('postgres', "SELECT count(*) FROM dlm_activity WHERE pid = $pid AND task = 'generate'") eq '1';
	push @reactions, $node->safe_psql('postgres', "SELECT react($pid, $wait)");
}
$p99 = percentile(0.99, @reactions);
cmp_ok($p99, '<', $limit, sprintf('pg_cancel_backend: p99 %.1f ms, worst %.1f ms', $p99, max(@reactions)));
cmp_ok($seen_active, '>', $moments / 2, 'dlm_activity shows what runs');
like($victim->query('SELECT 6 * 7'), qr/42/, 'the session goes on');
$victim->quit;

is($node->safe_psql('postgres', 'SELECT count(*) FROM dlm_activity'), '0', 'nothing is left in dlm_activity');
is($node->safe_psql('postgres', 'SELECT compute_slots_used FROM dlm_stats_info()'), '0', 'all compute slots are back');
cmp_ok($node->safe_psql('postgres', q{SELECT sum(cancelled) FROM dlm_stats WHERE task = 'generate'}),
	'>', 0, 'dlm_stats counts cancels');

# --------------------------------------------------------------- in a load
# a copy of a .dlm file (read, verified, written), and a conversion with an adapter
my %arguments = (copy => "'" . bundled_file($node) . "'");
$arguments{convert} = qq{'$ENV{DLM_TEST_GGUF}', '{"lora": "$ENV{DLM_TEST_ADAPTER}"}'} if $ENV{DLM_TEST_GGUF};
foreach my $kind (sort keys %arguments)
{
	my $load = "SELECT dlm_load_model('new', $arguments{$kind})";
	my $n = int($moments / 4) + 1;

	# up to 40 % of the time that the whole takes, so that each is cancelled
	my $start = time;
	$node->safe_psql('postgres', $load);
	my $longest = (time - $start) * 1000;
	$node->safe_psql('postgres', q{SELECT dlm_drop_model('new')});
	unlink glob($node->data_dir . '/dlm_models/*');

	($cancelled, @late) = overshoots($load, $n, 1 + 0.4 * $longest);
	is($cancelled, $n, "$kind: every load is cancelled");
	$p99 = percentile(0.99, @late);
	cmp_ok($p99, '<', $limit, sprintf('%s of %.0f ms: p99 %.1f ms, worst %.1f ms', $kind, $longest, $p99, max(@late)));
	is_deeply([ glob($node->data_dir . '/dlm_models/* ' . $node->data_dir . '/dlm_models/.[a-z0-9]*') ],
		[], "$kind: a cancelled load leaves no file");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM dlm_models WHERE name = 'new'}), '0', "$kind: and no model");
}
$node->stop;

done_testing();
