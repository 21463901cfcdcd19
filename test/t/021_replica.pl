# A physical replica: the same bits once it has the file, a clear error before,
# nothing written while it is one, and a promotion in the middle of a query.
use strict;
use warnings;
use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $primary = PostgreSQL::Test::Cluster->new('primary');

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', join("\n", $ENV{DLM_TEST_CONF} // '', 'dlm.batch_size = 8', 'jit = off', ''));
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION dlm');
$primary->safe_psql('postgres', q{CREATE TABLE r (id int PRIMARY KEY, body text); INSERT INTO r SELECT i, 'row ' || i FROM generate_series(1, 64) AS i});
load_tiny($primary, 'before', 'llama');
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');

$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# Both, when the standby has replayed what the primary has written.
sub on_both
{
	my ($sql) = @_;

	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
	return ($primary->safe_psql('postgres', $sql), $standby->safe_psql('postgres', $sql));
}

sub answers { return qq{SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM (SELECT id, dlm_score(body, model => '$_[0]') AS s FROM r) AS q}; }

# ------------------------------------------------------------------------ files
my ($here, $there) = on_both(answers('before'));
is($there, $here, 'a model of before the backup: the same bits');
($here, $there) = on_both(q{SELECT dlm_classify('Fifty percent off!', '{spam,ham}'), dlm_infill_gaps('The capital of France is[MASK].')});
is($there, $here, 'the default model: the same answers');

my $digest = load_tiny($primary, 'after', 'qwen2');

$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
fails_with($standby, answers('after'), '58P01', qr/the file of model "after" is not on this node.*Digest $digest.*dlm-model convert/s, 'a model of after the backup');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM dlm_models WHERE name = 'after'}), '1', 'it is listed all the same');
my $folder = $primary->safe_psql('postgres', q{LOAD 'dlm'; SHOW dlm.model_directory});
my $from = $folder =~ m{^/} ? $folder : $primary->data_dir . "/$folder";
my $to = $folder =~ m{^/} ? $folder : $standby->data_dir . "/$folder";

copy("$from/$digest.dlm", "$to/$digest.dlm") or die "copy: $!";
($here, $there) = on_both(answers('after'));
is($there, $here, 'with the file copied: the same bits');

# ------------------------------------------------------------------- read only
my $source = tiny('llama');

fails_with($standby, "SELECT dlm_load_model('x', '$source')", '25006', qr/cannot execute dlm_load_model/, 'loading');
fails_with($standby, q{SELECT dlm_drop_model('after')}, '25006', qr/cannot execute/, 'dropping');
fails_with($standby, q{CALL dlm_infill_table('r')}, '25006', qr/cannot execute/, 'filling a table');
fails_with($standby, q{CALL dlm_finetune('x', 'before', 'SELECT body AS text FROM r', 'text')}, '25006', qr/cannot execute/, 'fine-tuning');
is($standby->safe_psql('postgres', q{SELECT sum(calls) > 0 FROM dlm_stats}), 't', 'the standby counts for itself');

# A replaced model reaches the standby with its file.
$primary->safe_psql('postgres', "SELECT dlm_load_model('before', '" . tiny('qwen2') . "', replace => true)");
($here, $there) = on_both(answers('before'));
is($there, $here, 'a replaced model: the new bits on both');

# ------------------------------------------------------------------- promotion
my $expected = $standby->safe_psql('postgres', answers('after'));
my $session = $standby->background_psql('postgres', on_error_stop => 0);
my $slow = answers('after');

$slow =~ s/AS s FROM r/AS s, pg_sleep(0.05) FROM r OFFSET 0/;
start_query($session, "$slow \\gset\n\\echo done :md5");
select(undef, undef, undef, 0.5);
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
like($session->query_until(qr/done \w+/, ''), qr/done $expected/, 'a query that ran through the promotion');
$session->quit;
is($standby->safe_psql('postgres', "SELECT dlm_load_model('x', '$source') IS NOT NULL"), 't', 'the promoted server loads models');
is($standby->safe_psql('postgres', answers('after')), $expected, 'and answers as before');
at_rest($standby, 'after the promotion');
$standby->stop;
$primary->stop;

done_testing();
