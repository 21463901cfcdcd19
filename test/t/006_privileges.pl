# Rights on models are PostgreSQL's own: USAGE on the server to use one, USAGE
# on the wrapper to make one, ownership to drop one.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('privileges');
my $as_guest = 'SET ROLE guest;';
my $as_maker = 'SET ROLE maker;';
my $label = q{SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'tiny')};
my $inside = $node->data_dir . '/dlm_models/sources';

load_tiny($node, 'tiny', 'llama');
system_or_bail('cp', '-r', tiny('context'), $inside);
$node->safe_psql('postgres', 'CREATE ROLE guest LOGIN; CREATE ROLE maker LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats');

# ----------------------------------------------------------------------- use
like($node->safe_psql('postgres', "$as_guest SELECT dlm_classify('rain', ARRAY['wet', 'dry'])"),
	qr/^(wet|dry)$/, 'everybody may use the default model');
fails_with($node, "$as_guest $label", '42501', qr/permission denied for foreign server tiny/, 'use without USAGE');
is($node->safe_psql('postgres', "$as_guest SELECT name, architecture IS NULL FROM dlm_models WHERE name = 'tiny'"),
	'tiny|t', 'everybody sees the names of models, not what is in the files');
fails_with($node, "$as_guest SELECT dlm_model_info('tiny')", '42501', qr/permission denied/, 'dlm_model_info without USAGE');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER tiny TO guest');
like($node->safe_psql('postgres', "$as_guest $label"), qr/^(wet|dry)$/, 'use with USAGE');
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER tiny FROM guest');
fails_with($node, "$as_guest $label", '42501', qr/permission denied/, 'use after REVOKE');

my $session = $node->background_psql('postgres', on_error_stop => 0);
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER tiny TO guest');
$session->query_safe('SET ROLE guest');
like($session->query($label), qr/wet|dry/, 'a session with the right');
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER tiny FROM guest');
$session->query($label);
like($session->{stderr}, qr/permission denied for foreign server tiny/, 'loses it at once');
$session->quit;

# ---------------------------------------------------------------------- load
my $load = "SELECT dlm_load_model('mine', 'sources')";
my $load_outside = "SELECT dlm_load_model('mine', '" . tiny('context') . "')";
fails_with($node, "$as_maker $load", '42501', qr/permission denied for foreign-data wrapper dlm/, 'load without USAGE on the wrapper');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN DATA WRAPPER dlm TO maker');
fails_with($node, "$as_maker $load_outside", '42501', qr/outside of the model directory/, 'load from outside');
fails_with($node, "$as_maker SELECT dlm_load_model('mine', '../../../etc')", '42501', qr/outside of the model directory/, 'load with ..');
symlink('/etc', $node->data_dir . '/dlm_models/link') or die $!;
fails_with($node, "$as_maker SELECT dlm_load_model('mine', 'link')", '42501', qr/outside of the model directory/, 'load through a link');
symlink('..', $node->data_dir . '/dlm_models/sources/up') or die $!;
my $secret = $node->safe_psql('postgres', q{SELECT digest FROM dlm_models WHERE name = 'tiny'});
foreach my $path ("$secret.dlm", "sources/up/$secret.dlm")
{
	fails_with($node, "$as_maker SELECT dlm_load_model('mine', '$path')", '42501',
		qr/permission denied to read the file of a model/, "load of another's model as $path");
}
unlink($node->data_dir . '/dlm_models/sources/up') or die $!;
foreach my $option (qw(lora tokenizer settings config))
{
	fails_with($node, qq{$as_maker SELECT dlm_load_model('mine', 'sources', '{"$option": "/etc/passwd"}')},
		'42501', qr/outside of the model directory/, "option $option from outside");
}
$node->safe_psql('postgres', "$as_maker $load");
is($node->safe_psql('postgres', q{SELECT owner FROM dlm_models WHERE name = 'mine'}), 'maker', 'the maker owns the model');
fails_with($node, "$as_maker $load", '42710', qr/model "mine" already exists/, 'the same name again');
$node->safe_psql('postgres', "$as_maker SELECT dlm_drop_model('mine')");
$node->safe_psql('postgres', 'GRANT pg_read_server_files TO maker');
$node->safe_psql('postgres', "$as_maker $load_outside");

# what lies in the model directory may be read, but its path is not told
fails_with($node, "SET ROLE guest; SELECT dlm_load_model('x', 'sources')", '42501', qr/permission denied for foreign-data wrapper/, 'load by guest');
$node->safe_psql('postgres', 'REVOKE pg_read_server_files FROM maker');
my ($rc, $out, $err) = $node->psql('postgres', "$as_maker SELECT dlm_load_model('x', 'nosuch')");
like($err, qr/"nosuch"/, 'a missing source is named');
unlike($err, qr/dlm_models/, 'without its folder');
fails_with($node, "$as_maker SELECT dlm_load_model('x', 'nosuch.gguf')", '58P01', qr/"nosuch\.gguf"/, 'a missing GGUF file');
fails_with($node, "$as_maker CREATE USER MAPPING FOR maker SERVER \"dlm-135m\"", '0A000', qr/no user mappings/, 'user mappings');
$node->safe_psql('postgres', 'CREATE SCHEMA AUTHORIZATION maker');
fails_with($node, "$as_maker CREATE FOREIGN TABLE maker.t (a int) SERVER \"dlm-135m\"", '0A000', qr/no foreign tables/, 'foreign tables');
$node->safe_psql('postgres', 'GRANT pg_read_server_files TO maker');

# ---------------------------------------------------------------------- drop
fails_with($node, "$as_guest SELECT dlm_drop_model('mine')", '42501', qr/must be owner of foreign server mine/, 'drop by another');
fails_with($node, "SELECT dlm_drop_model('dlm-135m')", '2BP01', qr/extension dlm requires it/, 'drop of the bundled model');
fails_with($node, 'DROP ROLE maker', '2BP01', qr/cannot be dropped because some objects depend on it/, 'DROP ROLE of an owner');
$node->safe_psql('postgres', "$as_maker SELECT dlm_drop_model('mine')");
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN DATA WRAPPER dlm FROM maker; DROP SCHEMA maker; DROP ROLE maker');
pass('DROP ROLE after the models are gone');

# ---------------------------------------------------------------- monitoring
fails_with($node, "$as_guest SELECT dlm_stats_reset()", '42501', qr/permission denied for function dlm_stats_reset/, 'reset by another');
fails_with($node, "$as_guest SELECT * FROM dlm_model_files()", '42501', qr/permission denied for function dlm_model_files/, 'files for others');
is($node->safe_psql('postgres', "$as_guest SELECT count(*) FROM dlm_stats WHERE userid = 'postgres'::regrole AND model IS NOT NULL"),
	'0', 'models in the statistics of others are hidden');
$node->safe_psql('postgres', $label);
cmp_ok($node->safe_psql('postgres', "SET ROLE watcher; SELECT count(*) FROM dlm_stats WHERE userid = 'postgres'::regrole AND model IS NOT NULL"),
	'>', 0, 'pg_read_all_stats sees them');

my $worker = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $worker->query_safe('SELECT pg_backend_pid()');
$worker->query_until(qr/started/,
	"\\echo started\nSELECT dlm_generate('Tell a long story.', 400, 400, options => '{\"length\": \"fixed\"}');\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM dlm_activity WHERE pid = $pid");
is($node->safe_psql('postgres', "$as_guest SELECT task IS NULL AND model IS NULL FROM dlm_activity WHERE pid = $pid"),
	't', 'what others do is hidden');
is($node->safe_psql('postgres', "SET ROLE watcher; SELECT task, model FROM dlm_activity WHERE pid = $pid"),
	'generate|dlm-135m', 'pg_read_all_stats sees it');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
$worker->quit;
$node->stop;

done_testing();
