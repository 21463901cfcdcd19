# A model is replaced while statements use it: each statement is of one model
# from its first row to its last, in its leader and in its workers.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('replace', 'max_parallel_workers = 4', 'dlm.batch_size = 8', 'jit = off');
my ($a, $b) = (tiny('llama'), tiny('qwen2'));

sub value { return $node->safe_psql('postgres', $_[0]); }

value(q{
CREATE TABLE r (id int PRIMARY KEY, body text);
INSERT INTO r SELECT i, 'row ' || i || ' of rain' FROM generate_series(1, 64) AS i;
ANALYZE r});
my $answer = q{SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM (SELECT id, dlm_score(body, model => 'm') AS s FROM r) AS q};
my $forced = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; '
  . 'SET max_parallel_workers_per_gather = 2; SET enable_indexscan = off;';

# ------------------------------------------------------------------- one swap
my %digest = (a => value("SELECT dlm_load_model('m', '$a')"));
my %md5 = (a => value($answer));
value(q{GRANT USAGE ON FOREIGN SERVER m TO PUBLIC; COMMENT ON SERVER m IS 'kept'});
$digest{b} = value("SELECT dlm_load_model('m', '$b', replace => true)");
$md5{b} = value($answer);
isnt($digest{a}, $digest{b}, 'another digest');
isnt($md5{a}, $md5{b}, 'other answers');
is(value(q{SELECT digest FROM dlm_models WHERE name = 'm'}), $digest{b}, 'the name is of the new one');
is(value(q{SELECT obj_description(oid, 'pg_foreign_server'), has_server_privilege('public', oid, 'USAGE') FROM pg_foreign_server WHERE srvname = 'm'}),
	'kept|t', 'comment and rights stay');
is(value("SELECT dlm_load_model('m', '$a', replace => true)"), $digest{a}, 'and back');
is(value($answer), $md5{a}, 'with the same bits as before');

# ------------------------------------------------- in the middle of a statement
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $slow = q{SELECT md5(string_agg(s::text, ',' ORDER BY id))
	FROM (SELECT id, dlm_score(body, model => 'm') AS s, pg_sleep(0.03) FROM r OFFSET 0) AS q};

start_query($session, "\\echo of :answer\n$slow \\gset\n\\echo done :md5");
select(undef, undef, undef, 0.7);
value("SELECT dlm_load_model('m', '$b', replace => true)");
is(value($answer), $md5{b}, 'a statement that begins after the swap uses the new model');
my $out = $session->query_until(qr/done \w+/, '');
like($out, qr/done $md5{a}/, 'the one that ran keeps the old model to its end');
is($session->query_safe($answer), $md5{b}, 'the next one of that session does not');
is(value(qq{SELECT coalesce(max(mapped_by), 0) FROM dlm_model_files() WHERE digest = '$digest{a}'}), '0', 'nobody maps the old file any more');
$session->quit;

# --------------------------------------------------- what a transaction does itself
is(value("BEGIN; SELECT dlm_load_model('m', '$a', replace => true); $answer; ROLLBACK; $answer"),
	join("\n", $digest{a}, $md5{a}, $md5{b}), 'its own swap counts at once, and is gone with a rollback');
is(value(qq{
CREATE FUNCTION there_and_back() RETURNS text LANGUAGE plpgsql AS \$f\$
DECLARE one text; two text; three text;
BEGIN
	EXECUTE \$q\$$answer \$q\$ INTO one;
	BEGIN
		PERFORM dlm_load_model('m', '$a', replace => true);
		EXECUTE \$q\$$answer \$q\$ INTO two;
		RAISE EXCEPTION 'back';
	EXCEPTION WHEN raise_exception THEN NULL;
	END;
	EXECUTE \$q\$$answer \$q\$ INTO three;
	RETURN one || ' ' || two || ' ' || three;
END \$f\$;
SELECT there_and_back()}), "$md5{b} $md5{a} $md5{b}", 'in a function, with a subtransaction that fails');

# ------------------------------------------------------------------ under load
my $swaps = join('', map { "SELECT dlm_load_model('m', '" . ($_ % 2 ? $a : $b) . "', replace => true);\n" } 1 .. 60);
my $script = PostgreSQL::Test::Utils::tempdir . '/swaps.sql';
my %seen;
my $rounds = 0;

append_to_file($script, $swaps);

for my $plan ('', $forced)
{
	my ($out, $err) = ('', '');
	my $swapper = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $script ],
		'>', \$out, '2>', \$err);

	while ($swapper->pumpable)
	{
		$seen{$_}++ for split /\n/, value($plan . "$answer;" x 10);
		$rounds += 10;
		$swapper->pump_nb;
	}
	ok($swapper->finish, 'all swaps were made') or diag($err);
}
is_deeply([ sort keys %seen ], [ sort values %md5 ], "each of $rounds statements is wholly of one model, and both were seen")
  or diag(explain(\%seen));

# ----------------------------------------------- a procedure of many transactions
value(q{CREATE TABLE f (id int PRIMARY KEY, c text CHECK (c IN ('x', 'y')));
INSERT INTO f SELECT i FROM generate_series(1, 60) AS i;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';
CREATE TRIGGER slow BEFORE UPDATE ON f FOR EACH ROW EXECUTE FUNCTION slow()});
value("SELECT dlm_load_model('m', '$a', replace => true)");
$session = $node->background_psql('postgres', on_error_stop => 0);
start_query($session, q{CALL dlm_infill_table('f', batch => 5, model => 'm', options => '{"provenance": "notes"}');} . "\n\\echo done");
$node->poll_query_until('postgres', q{SELECT count(*) > 5 FROM f WHERE c IS NOT NULL});
value("SELECT dlm_load_model('m', '$b', replace => true)");
$session->query_until(qr/done/, '');
$session->quit;
is(value(q{SELECT count(*), string_agg(DISTINCT digest, ' ' ORDER BY digest) FROM notes}), '60|' . join(' ', sort values %digest),
	'a fill goes on with the new model, and its provenance says so');

# ---------------------------------------------------------------------- errors
fails_with($node, "SELECT dlm_load_model('m', '$a')", '42710', qr/already exists.*replace => true/s, 'without replace');
value(q{CREATE ROLE guest LOGIN; GRANT USAGE ON FOREIGN DATA WRAPPER dlm TO guest; GRANT pg_read_server_files TO guest});
fails_with($node, "SET ROLE guest; SELECT dlm_load_model('m', '$a', replace => true)", '42501', qr/must be owner of foreign server m/, "another's model");
fails_with($node, "SELECT dlm_load_model('dlm-135m', '$a', replace => true)", '55000', qr/belongs to the extension.*default_model/s, "the extension's model");
value(q{CREATE FOREIGN DATA WRAPPER other; CREATE SERVER other FOREIGN DATA WRAPPER other});
fails_with($node, "SELECT dlm_load_model('other', '$a', replace => true)", '42710', qr/already exists/, 'a server that is no model');
is(value(qq{SELECT dlm_load_model('fresh', '$a', replace => true) = '$digest{a}'}), 't', 'replace of what is not there loads it');
at_rest($node, 'after all');
$node->stop;

done_testing();
