# A database that lives on: each released version of the extension works under
# today's library, is updated to what a new database has, and keeps what users
# have made with it; pg_upgrade carries all of it into a new cluster.
use strict;
use warnings;
use File::Copy;
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('old');
my $newest = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'dlm'});

# All that belongs to the extension, without the order in which it was made: definitions, columns, rights, comments, options.
my $objects = q{
SELECT pg_describe_object(d.classid, d.objid, 0), obj_description(d.objid, c.relname),
	(SELECT pg_get_functiondef(oid) FROM pg_proc WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid AND prokind IN ('f', 'p')),
	(SELECT aggtransfn || ' ' || aggfinalfn FROM pg_aggregate WHERE d.classid = 'pg_proc'::regclass AND aggfnoid = d.objid),
	(SELECT proacl::text FROM pg_proc WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid),
	(SELECT relacl::text || reloptions::text FROM pg_class WHERE d.classid = 'pg_class'::regclass AND oid = d.objid),
	(SELECT pg_get_viewdef(oid) FROM pg_class WHERE d.classid = 'pg_class'::regclass AND oid = d.objid AND relkind = 'v'),
	(SELECT string_agg(concat_ws(' ', attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity), ', ' ORDER BY attnum)
	 FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid = CASE d.classid WHEN 'pg_class'::regclass THEN d.objid
		WHEN 'pg_type'::regclass THEN (SELECT typrelid FROM pg_type WHERE oid = d.objid) END),
	(SELECT (SELECT array_agg(o ORDER BY o) FROM unnest(srvoptions) AS o)::text || srvacl::text FROM pg_foreign_server WHERE d.classid = 'pg_foreign_server'::regclass AND oid = d.objid),
	(SELECT extconfig::regclass[]::text || extcondition::text FROM pg_extension WHERE extname = 'dlm')
FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.classid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dlm')
ORDER BY 1};

my $digest = load_tiny($node, 'mine', 'llama');
my $answers = q{
SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'mine'), dlm_infill('The [MASK:2] is.', model => 'mine'),
	dlm_generate('once', max_tokens => 4, model => 'mine'), dlm_score('a text', model => 'mine')};
my $expected = $node->safe_psql('postgres', $answers);
my $fresh = $node->safe_psql('postgres', $objects);

cmp_ok(scalar(split /\n/, $fresh), '>', 60, 'the objects of a new database');
$node->safe_psql('postgres', 'CREATE ROLE guest');

# What an update sets for the default model, and what it leaves: one that the database's owner has exchanged.
my $default = q{SELECT srvoptions FROM pg_foreign_server WHERE srvname = 'dlm-135m'};
my $exchanged = qq{ALTER SERVER "dlm-135m" OPTIONS (SET file '$digest.dlm', SET digest '$digest')};

# ------------------------------------------------------------ ALTER EXTENSION
my $source = tiny('llama');

for my $version (split /\n/, $node->safe_psql('postgres',
		q{SELECT version FROM pg_available_extension_versions WHERE name = 'dlm' ORDER BY version}))
{
	my $db = "from_$version";

	$db =~ tr/./_/;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, "CREATE EXTENSION dlm VERSION '$version'");
	# the old objects under today's library: every view, a function of each kind, what users build on them
	is($node->safe_psql($db, "SELECT dlm_load_model('mine', '$source')"), $digest, "$version: a model is loaded");
	$node->safe_psql(
		$db, q{
GRANT USAGE ON FOREIGN SERVER mine TO guest; COMMENT ON SERVER mine IS 'kept';
CREATE VIEW errors AS SELECT function, errors FROM dlm_stats;
CREATE VIEW running AS SELECT pid, phase FROM dlm_activity;
CREATE VIEW problems AS SELECT name, problem FROM dlm_models;
CREATE FUNCTION label(t text) RETURNS text LANGUAGE sql AS $$SELECT dlm_classify(t, ARRAY['wet', 'dry'], model => 'mine')$$;
CREATE TABLE r AS SELECT 'rain'::text AS body;});
	is($node->safe_psql($db, $answers), $expected, "$version: the same answers as today's objects give");
	# the default model of an older version has gone with its package, or is there still
	is($node->safe_psql($db, q{SELECT string_agg(name, ',') FROM problems WHERE problem IS NOT NULL} . ($version eq $newest ? '' : q{ AND name <> 'dlm-135m'})),
		'', "$version: dlm_models");
	is($node->safe_psql($db, q{SELECT count(*) FROM dlm_model_info('mine') WHERE architecture = 'llama' AND problem IS NULL}), '1', "$version: dlm_model_info");
	is($node->safe_psql($db, q{SELECT count(*) FROM dlm_model_files() WHERE used_by = '{mine}'}), '1', "$version: dlm_model_files");
	is($node->safe_psql($db, q{SELECT count(*) > 0, bool_and(errors = 0) FROM errors}), 't|t', "$version: dlm_stats");
	is($node->safe_psql($db, q{SELECT count(*) FROM running}), '0', "$version: dlm_activity");
	is($node->safe_psql($db, q{SELECT shared FROM dlm_stats_info()}), 't', "$version: dlm_stats_info");
	fails_with($node, q{SELECT dlm_classify('rain', ARRAY['wet', 'dry'], options => '{"calibration": "none such"}', model => 'mine')},
		$version eq '0.1' ? ('42P01', qr/ALTER EXTENSION dlm UPDATE brings it/) : ('42704', qr/none such/),
		"$version: what needs a table of a later version", dbname => $db);

	my ($rc, $out, $err) = $node->psql($db, 'ALTER EXTENSION dlm UPDATE');

	is($rc, 0, "$version: ALTER EXTENSION UPDATE") or diag($err);
	is($node->safe_psql($db, q{SELECT extversion FROM pg_extension WHERE extname = 'dlm'}), $newest, "$version: is $newest now");
	is($node->safe_psql($db, $objects), $fresh, "$version: has the objects of a new database");
	is($node->safe_psql($db, $answers), $expected, "$version: the same answers after the update");
	is($node->safe_psql($db, 'SELECT label(body) FROM r'), (split /\|/, $expected)[0], "$version: a user's function");
	is($node->safe_psql($db, q{SELECT count(*) > 0 FROM errors}), 't', "$version: a user's view of dlm_stats");
	is($node->safe_psql($db, q{SELECT obj_description(oid, 'pg_foreign_server'), srvacl FROM pg_foreign_server WHERE srvname = 'mine'}),
		"kept|" . $node->safe_psql($db, q{SELECT '{' || r || '=U/' || r || ',guest=U/' || r || '}' FROM (SELECT current_user::text AS r) AS q}),
		"$version: comment and rights of a model");
	is($node->safe_psql($db, q{SELECT dlm_classify('I lost my card', ARRAY['card', 'loan'])}), 'card', "$version: the default model of today");
	is($node->safe_psql($db, q{SELECT count(*) FROM problems WHERE problem IS NULL}), '2', "$version: both models can be used");
	$node->safe_psql('postgres', "CREATE DATABASE own_$db");
	$node->safe_psql("own_$db", "CREATE EXTENSION dlm VERSION '$version'; $exchanged; ALTER EXTENSION dlm UPDATE");
	like($node->safe_psql("own_$db", $default), qr/digest=$digest/, "$version: a default model that was exchanged stays");
	# what an updated database dumps, a new one takes
	my $dump = "$node->{_basedir}/$db.sql";

	$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr($db) ], "$version: pg_dump after the update");
	$node->safe_psql('postgres', "CREATE DATABASE again_$db TEMPLATE template0");
	$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-q', '-f', $dump, '-d', $node->connstr("again_$db") ], "$version: restored");
	is($node->safe_psql("again_$db", $answers), $expected, "$version: the same answers when restored");
}

# ---------------------------------------------------------------- pg_upgrade
# into a cluster of the same major version, which pg_upgrade allows; test/versions.sh goes from one version to the next
$node->safe_psql(
	'postgres', q{
CREATE TABLE t (id int PRIMARY KEY, kind text CHECK (kind IN ('wet', 'dry')), body text);
INSERT INTO t VALUES (1, 'wet', 'rain'), (2, NULL, 'sun');
SELECT dlm_calibrate('weather', $$SELECT body AS input, coalesce(kind, 'dry') AS target, '{wet,dry}'::text[] AS labels FROM t$$, model => 'mine');
CALL dlm_infill_table('t', model => 'mine');
CREATE VIEW labelled AS SELECT dlm_classify(body, ARRAY['wet', 'dry'], options => '{"calibration": "weather"}', model => 'mine') AS label FROM t;});
my $state = q{SELECT (SELECT string_agg(t::text, ',' ORDER BY id) FROM t), (SELECT string_agg(label, ',') FROM labelled),
	(SELECT string_agg(concat_ws(' ', job_id, state, counts), ',') FROM dlm_jobs), (SELECT string_agg(c::text, ',') FROM dlm_calibration AS c)};
my $before = $node->safe_psql('postgres', $state);
my $next = PostgreSQL::Test::Cluster->new('new');

$next->init;
$next->append_conf('postgresql.conf', $ENV{DLM_TEST_CONF} // '');
$node->stop;
chomp(my $bin = `pg_config --bindir`);
my $work = "$next->{_basedir}/upgrade";

make_path($work);
chdir $work or die "chdir $work: $!";
command_ok([ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $next->data_dir, '-b', $bin, '-B', $bin,
		'-s', $node->host, '-p', $node->port, '-P', $next->port ], 'pg_upgrade');
$next->start;
fails_with($next, $answers, '58P01', qr/Digest $digest/, 'the files of models are not carried over');
is($next->safe_psql('postgres', q{SELECT dlm_classify('I lost my card', ARRAY['card', 'loan'])}), 'card', 'the bundled model is there');
make_path($next->data_dir . '/dlm_models');
copy($node->data_dir . "/dlm_models/$digest.dlm", $next->data_dir . "/dlm_models/$digest.dlm") or die "copy: $!";
is($next->safe_psql('postgres', $answers), $expected, 'after a copy of the file: the same bits');
is($next->safe_psql('postgres', $state), $before, 'jobs, calibrations and filled rows are the same');
is($next->safe_psql('from_0_1', $answers), $expected, 'in the database that began with 0.1 too');
is($next->safe_psql('postgres', $objects), $fresh, 'the objects are the same');
$next->stop;

done_testing();
