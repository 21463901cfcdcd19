# With and without shared_preload_libraries: answers, shared statistics, the
# prewarm worker, statistics over a restart, bad files.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $label = q{SELECT dlm_classify('a lovely film', ARRAY['good', 'bad'])};

# ------------------------------------------------------------------ without
my $plain = new_node('plain');

my $answer = $plain->safe_psql('postgres', $label);
like($answer, qr/^(good|bad)$/, 'classify works right after CREATE EXTENSION');
is($plain->safe_psql('postgres', 'SELECT kept_over_restart, shared FROM dlm_stats_info()'),
	'f|t', 'statistics are shared but not kept without preload');
is($plain->safe_psql('postgres', q{SELECT sum(calls) FROM dlm_stats WHERE task = 'classify' AND model = 'dlm-135m'}),
	'1', 'a session sees what another has counted');
is($plain->safe_psql('postgres', 'SELECT count(*) FROM dlm_activity'), '0', 'nothing runs');
is($plain->safe_psql('postgres', 'SELECT compute_slots_used FROM dlm_stats_info()'), '0', 'no compute slot is held');
$plain->safe_psql('postgres', 'SELECT dlm_stats_reset()');
is($plain->safe_psql('postgres', 'SELECT count(*) FROM dlm_stats'), '0', 'reset forgets');
$plain->restart;
is($plain->safe_psql('postgres', $label), $answer, 'the same answer after a restart');

my $mapped = $plain->background_psql('postgres');
$mapped->query_safe($label);
is($plain->safe_psql('postgres', q{SELECT mapped_by FROM dlm_models WHERE name = 'dlm-135m'}),
	'1', 'the view counts the backends that map the model');
is($mapped->query("SET dlm.prewarm = on; $label"), $answer, 'prewarm changes no answer');
$mapped->quit;

# a mapping goes when its model does
my $tiny = load_tiny($plain, 'tiny', 'llama');
my $mapped_by = "SELECT mapped_by FROM dlm_model_files() WHERE digest = '$tiny'";
my $user = $plain->background_psql('postgres');
$user->query_safe(q{SELECT dlm_count_tokens('rain', model => 'tiny')});
is($plain->safe_psql('postgres', $mapped_by), '1', 'a session maps the model');
$plain->safe_psql('postgres', q{SELECT dlm_drop_model('tiny')});
$user->query_safe(q{SELECT dlm_count_tokens('rain')});
is($plain->safe_psql('postgres', $mapped_by), '0', 'and lets go at its next call after the model was dropped');
$user->quit;
$plain->stop;

# --------------------------------------------------------------------- with
my $zero = '0' x 64;
my $preload = new_node('preload',
	"shared_preload_libraries = 'dlm'",
	"dlm.preload_models = 'dlm-135m, no-such-model, $zero'");

ok($preload->wait_for_log(qr/WARNING: .*no database has a model "no-such-model"/),
	'an unknown model is a warning');
like(slurp_log($preload), qr/WARNING: .*could not use ".*$zero\.dlm"/, 'a missing file is a warning');
$preload->restart;
ok($preload->wait_for_log(qr/LOG: .*dlm: warmed ".*\.dlm", \d+ bytes/), 'the worker warms the default model');
is($preload->safe_psql('postgres', $label), $answer, 'the same answer with preload');
is($preload->safe_psql('postgres', 'SELECT kept_over_restart, shared FROM dlm_stats_info()'),
	't|t', 'statistics are kept with preload');

$preload->restart;
is($preload->safe_psql('postgres', q{SELECT sum(calls) FROM dlm_stats WHERE task = 'classify'}),
	'1', 'statistics outlive a restart');
ok(!-e $preload->data_dir . '/pg_stat/dlm.stat', 'the file is gone once it is read');
$preload->safe_psql('postgres', $label);
$preload->stop;

my $file = $preload->data_dir . '/pg_stat/dlm.stat';
ok(-s $file, 'the statistics file is there');
my $content = slurp_file($file);
substr($content, length($content) / 2, 1) ^= "\x01";
open(my $fh, '>:raw', $file) or die $!;
print $fh $content;
close $fh;

# a damaged model file beside the damaged statistics
mkdir $preload->data_dir . '/dlm_models';
open($fh, '>:raw', $preload->data_dir . "/dlm_models/$zero.dlm") or die $!;
print $fh 'no model' x 1000;
close $fh;

$preload->start;
ok($preload->wait_for_log(qr/LOG: .*ignoring invalid data in file "pg_stat\/dlm\.stat"/),
	'a damaged statistics file is ignored');
is($preload->safe_psql('postgres', 'SELECT count(*) FROM dlm_stats'), '0', 'nothing is taken from it');
ok($preload->wait_for_log(qr/WARNING: .*could not use ".*dlm_models\/$zero\.dlm": /),
	'a damaged model file is a warning');
is($preload->safe_psql('postgres', $label), $answer, 'and the server answers');
$preload->stop;

done_testing();
