# Disk full during dlm_load_model: 53100, nothing half-written, the session goes on.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $full = $ENV{DLM_TEST_FULL_DISK};
plan skip_all => 'test/t/run.sh could not mount a small tmpfs (needs root)' unless $full;

my $node = new_node('full', "dlm.model_directory = '$full'");
my $session = $node->background_psql('postgres', on_error_stop => 0);

$session->query("\\set VERBOSITY verbose\n");
for (1 .. 3)
{
	$session->{stderr} = '';
	$session->query("SELECT dlm_load_model('tiny', '" . tiny('llama') . q{', '{"weights": "f32"}')});
	like($session->{stderr}, qr/ERROR:  53100: /, 'disk full is 53100');
	is_deeply([ grep { !m{/\.\.?$} } glob("$full/* $full/.*") ], [], 'nothing is left on the disk');
}
is($session->query(q{SELECT count(*) FROM dlm_models WHERE name = 'tiny'}), '0', 'there is no model');
like($session->query(q{SELECT dlm_classify('rain', ARRAY['wet', 'dry'])}), qr/wet|dry/, 'the session goes on');
$session->quit;
$node->stop;

done_testing();
