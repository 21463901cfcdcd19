# What is built of the pinned forms lives on: it is dumped and restored, kept up
# by autovacuum, built by workers, and needs the rights of its owner.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('pinned', 'autovacuum_naptime = 1s', 'log_min_messages = debug1');
my $digest = load_tiny($node, 'My Model', 'llama');
my $call = "dlm_classify_pinned('$digest', body, '{wet,dry}')";
my $rows = q{SELECT md5(string_agg(id || ':' || label || ':' || embedding::text, ',' ORDER BY id)) FROM mail};
my $found = "SET enable_seqscan = off; SELECT count(*) FROM mail WHERE $call = 'wet'";
my $checked = q{CREATE EXTENSION IF NOT EXISTS amcheck; SELECT bt_index_check('mail_label', true)};
my $folder = $node->{_basedir};

# ------------------------------------------------------------- dump and restore
$node->safe_psql(
	'postgres', qq{
CREATE TABLE mail (id int PRIMARY KEY, body text, label text GENERATED ALWAYS AS ($call) STORED,
	embedding real[] GENERATED ALWAYS AS (dlm_embed_pinned('$digest', body)) STORED) WITH (autovacuum_enabled = off);
INSERT INTO mail SELECT i, 'row ' || i || CASE i % 3 WHEN 0 THEN ' of rain' ELSE ' of sun' END FROM generate_series(1, 200) AS i;
CREATE INDEX mail_label ON mail (($call));
CREATE MATERIALIZED VIEW wet AS SELECT id FROM mail WHERE $call = 'wet';
});
my $answer = $node->safe_psql('postgres', $rows);
my $count = $node->safe_psql('postgres', $found);
$node->command_ok([ 'pg_dump', '-f', "$folder/dump.sql", '-d', $node->connstr('postgres') ], 'pg_dump, a script');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump.custom", '-d', $node->connstr('postgres') ], 'pg_dump, an archive');

my $elsewhere = PostgreSQL::Test::Cluster->new('elsewhere');
$elsewhere->init;
$elsewhere->append_conf('postgresql.conf', $ENV{DLM_TEST_CONF} // '');
$elsewhere->start;
my ($out, $err) = run_command([ 'psql', '-X', '-q', '-v', 'VERBOSITY=verbose', '-f', "$folder/dump.sql", '-d', $elsewhere->connstr('postgres') ]);
like($err, qr/ERROR:  58P01: the file of model "My Model" is not on this node/, 'without the file the rows cannot be computed');
is($elsewhere->safe_psql('postgres', 'SELECT count(*) FROM mail'), '0', 'and none comes in');

mkdir $elsewhere->data_dir . '/dlm_models';
system_or_bail('cp', $node->data_dir . "/dlm_models/$digest.dlm", $elsewhere->data_dir . '/dlm_models/');
foreach my $how ([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-q', '-f', "$folder/dump.sql" ], [ 'pg_restore', '-j', '2', "$folder/dump.custom" ])
{
	my $name = $how->[0];

	$elsewhere->safe_psql('postgres', "CREATE DATABASE by_$name TEMPLATE template0");
	$elsewhere->command_ok([ @$how, '-d', $elsewhere->connstr("by_$name") ], "restore by $name, with the file");
	is($elsewhere->safe_psql("by_$name", $rows), $answer, "$name: the same bits in generated columns");
	is($elsewhere->safe_psql("by_$name", $found), $count, "$name: the index finds the same rows");
	is($elsewhere->safe_psql("by_$name", 'SELECT count(*) FROM wet'), $count, "$name: the materialised view");
	is($elsewhere->safe_psql("by_$name", $checked), '', "$name: every row is in the index with what the function says now");
}

# A dump grants at its end, and builds indexes as the owner of the table, before.
$node->safe_psql(
	'postgres', q{
CREATE ROLE app; CREATE ROLE models;
ALTER TABLE mail OWNER TO app;
ALTER SERVER "My Model" OWNER TO models;
GRANT USAGE ON FOREIGN SERVER "My Model" TO app;
DROP MATERIALIZED VIEW wet;
});
$node->command_ok([ 'pg_dump', '-f', "$folder/owned.sql", '-d', $node->connstr('postgres') ], 'pg_dump, two owners');
$elsewhere->safe_psql('postgres', 'CREATE ROLE app; CREATE ROLE models; CREATE DATABASE granted TEMPLATE template0; CREATE DATABASE member TEMPLATE template0');
my @restore = ('psql', '-X', '-q', '-v', 'VERBOSITY=verbose', '-f', "$folder/owned.sql", '-d');
($out, $err) = run_command([ @restore, $elsewhere->connstr('granted') ]);
is(() = $err =~ /ERROR/g, 1, 'a granted right is too late for one statement');
like($err, qr/ERROR:  42501: permission denied for foreign server My Model/, 'the index of an owner without the right');
is($elsewhere->safe_psql('granted', $rows), $answer, 'the rows are there');
$elsewhere->safe_psql('granted', "CREATE INDEX mail_label ON mail (($call))");
is($elsewhere->safe_psql('granted', $found), $count, 'the index can be made after the restore');
$elsewhere->safe_psql('postgres', 'GRANT models TO app');
($out, $err) = run_command([ @restore, $elsewhere->connstr('member') ]);
unlike($err, qr/ERROR/, 'a member of the role that owns the model needs no grant');
is($elsewhere->safe_psql('member', $found), $count, 'its index is there');
$elsewhere->stop;

# ------------------------------------------- rights of the owner, whoever works
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER "My Model" FROM app');
foreach my $command ('ANALYZE mail', 'REINDEX TABLE mail', "CREATE INDEX second ON mail (($call))", 'VACUUM FULL mail')
{
	fails_with($node, $command, '42501', qr/permission denied for foreign server My Model/, "$command by a superuser, the owner without the right");
}
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER "My Model" TO app');

# ------------------------------------------------------------------- autovacuum
my $computed = "SELECT coalesce(sum(rows), 0) FROM dlm_stats WHERE digest = '$digest' AND task = 'classify'";
my $analyzed = q{SELECT autoanalyze_count FROM pg_stat_user_tables WHERE relname = 'mail'};
$node->safe_psql('postgres', 'SELECT dlm_stats_reset(); ALTER TABLE mail SET (autovacuum_enabled = on, autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0)');
my $before = $node->safe_psql('postgres', $analyzed);
$node->safe_psql('postgres', 'UPDATE mail SET id = -id WHERE id < 5');
$node->poll_query_until('postgres', "SELECT ($analyzed) > $before");
my $sampled = $node->safe_psql('postgres', $computed);
cmp_ok($sampled, '>=', 200, 'autovacuum computes the expression of an index for the rows of its sample');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stats WHERE tablename = 'mail_label'}), '1', 'and keeps statistics of it');
# an analyze that began with the old target ends first, or is ended: the lock is the one it holds
$node->safe_psql('postgres', 'BEGIN; LOCK TABLE mail IN SHARE UPDATE EXCLUSIVE MODE; ALTER INDEX mail_label ALTER COLUMN 1 SET STATISTICS 0;
	SELECT dlm_stats_reset(); COMMIT');
$before = $node->safe_psql('postgres', $analyzed);
$node->safe_psql('postgres', 'UPDATE mail SET id = -id WHERE id < 0');
$node->poll_query_until('postgres', "SELECT ($analyzed) > $before");
cmp_ok($node->safe_psql('postgres', $computed), '<', 20, 'not with SET STATISTICS 0: only the new rows were computed');

# ---------------------------------------------------------------- parallel build
my $workers = 'SET max_parallel_maintenance_workers = 2; SET min_parallel_table_scan_size = 0';
$node->safe_psql('postgres', "ALTER TABLE mail SET (parallel_workers = 2); $workers; SET ROLE app; REINDEX INDEX mail_label");
like(slurp_log($node), qr/building index "mail_label" on table "mail" with request for 2 parallel workers/, 'workers build an index');
is($node->safe_psql('postgres', $checked), '', 'with what the function says');

# ------------------------------------------------------------ while it is planned
my $long = "EXPLAIN SELECT dlm_generate_pinned('$digest', 'It is', 3000, 3000, options => '{\"length\": \"fixed\"}')";
my ($cancelled, @late) = overshoots($node, $long, 10, 100);
is($cancelled, 10, 'statement_timeout ends a call that the planner evaluates');
cmp_ok(percentile(0.5, @late), '<', 200, 'at once');
my ($stopped, @index_late) = overshoots($node, "CREATE INDEX stopped ON mail (dlm_generate_pinned('$digest', body, 200, 200, options => '{\"length\": \"fixed\"}'))", 5, 100);
is($stopped, 5, 'and the building of an index');
at_rest($node, 'after all that');

# --------------------------------------------- on a shard, which is this server too
my ($host, $port) = ($node->host, $node->port);
$node->safe_psql(
	'postgres', qq{
SELECT dlm_stats_reset();
CREATE EXTENSION postgres_fdw;
CREATE SERVER shard FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres', extensions 'dlm');
CREATE USER MAPPING FOR CURRENT_USER SERVER shard;
CREATE FOREIGN TABLE far (id int, body text, label text) SERVER shard OPTIONS (table_name 'mail');
});
my $slow = "dlm_generate_pinned('$digest', body, 200, 200, options => '{\"length\": \"fixed\"}')";
fails_with($node, "SET statement_timeout = 500; SELECT count(*) FROM far WHERE $slow = ''", '57014', qr/statement timeout/, 'a shipped condition');
ok($node->poll_query_until('postgres', 'SELECT sum(cancelled) = 1 FROM dlm_stats'), 'its shard stops computing');
at_rest($node, 'after that');
fails_with($node, "SELECT count(*) FROM far WHERE dlm_embed_pinned('${\ ('0' x 64)}', body) IS NULL", '42704', qr/no model has the digest 0+/,
	'a shard without the model');
$node->safe_psql(
	'postgres', qq{
CREATE TABLE near_shard (id int, body text, label text GENERATED ALWAYS AS (dlm_classify_pinned('$digest', body, '{wet,dry}')) STORED);
CREATE TABLE message (id int, body text, label text GENERATED ALWAYS AS (NULL::text) STORED) PARTITION BY HASH (id);
CREATE FOREIGN TABLE message1 PARTITION OF message FOR VALUES WITH (MODULUS 1, REMAINDER 0) SERVER shard OPTIONS (table_name 'near_shard');
INSERT INTO message (id, body) SELECT i, 'row ' || i FROM generate_series(1, 9) AS i;
UPDATE message SET body = 'wind' WHERE id = 2;
});
is($node->safe_psql('postgres', q{SELECT count(*), bool_and(label = dlm_classify(body, '{wet,dry}', model => 'My Model')) FROM message}), '9|t',
	'a generated column of a shard, written through a generated column of nothing');

# ---------------------------------------------------------- pgvector, if it is here
if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'}) eq '1')
{
	my $vector = "(dlm_embed_pinned('$digest', body))::vector(40)";

	$node->safe_psql('postgres', "CREATE EXTENSION vector; CREATE INDEX mail_near ON mail USING hnsw (($vector) vector_cosine_ops)");
	like($node->safe_psql('postgres', "SET enable_seqscan = off; EXPLAIN SELECT id FROM mail ORDER BY $vector <=> '[" . join(',', (1) x 40) . "]' LIMIT 1"),
		qr/Index Scan using mail_near/, 'pgvector: an index of the expression orders');
	is($node->safe_psql('postgres', "SET enable_seqscan = off; SELECT id FROM mail ORDER BY $vector <=> " .
		"(dlm_embed_pinned('$digest', 'row 7 of sun'))::vector(40) LIMIT 1"), '7', 'pgvector: the nearest row');
	$node->safe_psql('postgres', "ALTER TABLE mail ADD near vector(40) GENERATED ALWAYS AS ($vector) STORED; CREATE INDEX ON mail USING hnsw (near vector_cosine_ops)");
	is($node->safe_psql('postgres', "SET enable_seqscan = off; SELECT id FROM mail ORDER BY near <=> " .
		"(dlm_embed_pinned('$digest', 'row 7 of sun'))::vector(40) LIMIT 1"), '7', 'pgvector: and by a generated column');
}
else
{
	note('pgvector is not installed');
}
$node->stop;

done_testing();
