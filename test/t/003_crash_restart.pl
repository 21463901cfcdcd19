# A backend that is killed takes the cluster through a crash restart; models,
# shared state and answers are whole afterwards, with and without preload.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $label = q{SELECT dlm_classify('rain and wind', ARRAY['weather', 'sport', 'money'], model => 'tiny')};

foreach my $preload ('', q{shared_preload_libraries = 'dlm'})
{
	my $kind = $preload ? 'preload' : 'no preload';
	my $node = new_node($preload ? 'crash_preload' : 'crash_plain', $preload, 'restart_after_crash = on');

	load_tiny($node, 'tiny', 'llama');
	my $answer = $node->safe_psql('postgres', $label);
	my $victim = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $victim->query_safe('SELECT pg_backend_pid()');

	$victim->query_until(qr/started/,
		"\\echo started\nSELECT dlm_generate('Tell a long story.', 400, 400, options => '{\"length\": \"fixed\"}');\n");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM dlm_activity WHERE pid = $pid")
	  or die 'the call does not show in dlm_activity';
	kill 'KILL', $pid;
	eval { $victim->quit };
	ok($node->wait_for_log(qr/all server processes terminated; reinitializing/), "$kind: the cluster restarts");
	$node->poll_query_until('postgres', 'SELECT true');

	is($node->safe_psql('postgres', 'SELECT count(*) FROM dlm_stats'), '0', "$kind: old figures do not come back");
	is($node->safe_psql('postgres', $label), $answer, "$kind: the same answer after the crash");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM dlm_activity'), '0', "$kind: no activity is left");
	is($node->safe_psql('postgres', 'SELECT compute_slots_used FROM dlm_stats_info()'), '0', "$kind: no slot is left");
	is($node->safe_psql('postgres', q{SELECT mapped_by FROM dlm_models WHERE name = 'tiny'}),
		'0', "$kind: nobody is counted as mapping the model");
	$node->stop;
}

done_testing();
