# Cancel and statement_timeout act within 100 ms (p99), in the middle of one
# long row and in the middle of dlm_load_model.
use strict;
use warnings;
use List::Util qw(min);
use Time::HiRes qw(time);
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $moments = $ENV{DLM_CANCELS} || 60;
my $node = new_node('cancel');
my $long_row = q{SELECT length(dlm_generate('Tell a long story about the sea.', 400, 400, options => '{"length": "fixed"}'))};

# ----------------------------------------------------- in the middle of a row
in_time(
	'statement_timeout',
	sub {
		my ($cancelled, @late) = overshoots($node, $long_row, $moments, 1500);

		is($cancelled, $moments, 'every long row is cancelled by statement_timeout');
		return @late;
	});

# -------------------------------------------------------- pg_cancel_backend
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
my ($seen_active, $looks) = (0, 0);

in_time(
	'pg_cancel_backend',
	sub {
		return map {
			start_query($victim, $long_row);
			my $wait = 20 + rand(800);
			$looks++;
			$seen_active++
			  if $node->safe_psql('postgres', "SELECT count(*) FROM dlm_activity WHERE pid = $pid AND task = 'generate'") eq '1';
			reaction_ms($node, $pid, $wait, 'pg_cancel_backend');
		} 1 .. $moments;
	});
cmp_ok($seen_active, '>', $looks / 2, 'dlm_activity shows what runs');
like($victim->query('SELECT 6 * 7'), qr/42/, 'the session goes on');
$victim->quit;

at_rest($node, 'after cancels');
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

	# up to 40 % of the least time that the whole takes, so that each is cancelled
	my $longest = min(map {
		my $start = time;
		$node->safe_psql('postgres', $load);
		my $ms = (time - $start) * 1000;
		$node->safe_psql('postgres', q{SELECT dlm_drop_model('new')});
		unlink glob($node->data_dir . '/dlm_models/*');
		$ms;
	} 1 .. 2);

	in_time(
		sprintf('%s of %.0f ms', $kind, $longest),
		sub {
			my ($cancelled, @late) = overshoots($node, $load, $n, 1 + 0.4 * $longest);

			is($cancelled, $n, "$kind: every load is cancelled");
			return @late;
		});
	is_deeply([ glob($node->data_dir . '/dlm_models/* ' . $node->data_dir . '/dlm_models/.[a-z0-9]*') ],
		[], "$kind: a cancelled load leaves no file");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM dlm_models WHERE name = 'new'}), '0', "$kind: and no model");
}
$node->stop;

done_testing();
