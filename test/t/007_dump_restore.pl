# A dump carries models, owners, grants and comments; the restored database
# answers the same, and the bundled model is there once.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('dump');
my $label = q{SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'My Model')};
my $rows = q{SELECT name, owner, digest, comment FROM dlm_models ORDER BY name};
my $grants = q{SELECT srvname, srvacl FROM pg_foreign_server ORDER BY srvname};
my $file = "$node->{_basedir}/dump.sql";

load_tiny($node, 'My Model', 'llama');
$node->safe_psql(
	'postgres', q{
CREATE ROLE owner; CREATE ROLE guest;
GRANT USAGE ON FOREIGN DATA WRAPPER dlm TO owner;
ALTER SERVER "My Model" OWNER TO owner;
GRANT USAGE ON FOREIGN SERVER "My Model" TO guest;
COMMENT ON SERVER "My Model" IS 'labels the weather';
CREATE VIEW labelled AS SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'My Model') AS label;
});
my $answer = $node->safe_psql('postgres', $label);

$node->command_ok([ 'pg_dump', '-f', $file, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-q', '-f', $file, '-d', $node->connstr('restored') ], 'restore');
is($node->safe_psql('restored', $rows), $node->safe_psql('postgres', $rows), 'the same models, owners and comments');
is($node->safe_psql('restored', $grants), $node->safe_psql('postgres', $grants), 'the same grants');
is($node->safe_psql('restored', $label), $answer, 'the same answer');
is($node->safe_psql('restored', 'SELECT label FROM labelled'), $answer, 'through a view too');
is($node->safe_psql('restored', q{SELECT count(*) FROM dlm_models WHERE name = 'dlm-135m'}), '1', 'the bundled model once');
fails_with($node, 'DROP ROLE owner', '2BP01', qr/cannot be dropped because some objects depend on it/, 'DROP ROLE of an owner');

# another cluster, to which nobody has copied the files
my $elsewhere = PostgreSQL::Test::Cluster->new('elsewhere');
$elsewhere->init;
$elsewhere->append_conf('postgresql.conf', $ENV{DLM_TEST_CONF} // '');
$elsewhere->start;
$elsewhere->safe_psql('postgres', 'CREATE ROLE owner; CREATE ROLE guest');
$elsewhere->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-q', '-f', $file, '-d', $elsewhere->connstr('postgres') ],
	'restore into another cluster');
my $digest = $node->safe_psql('postgres', q{SELECT digest FROM dlm_models WHERE name = 'My Model'});
fails_with($elsewhere, $label, '58P01', qr/Digest $digest.*dlm-model convert/s, 'the file is not there');
mkdir $elsewhere->data_dir . '/dlm_models';
system_or_bail('cp', $node->data_dir . "/dlm_models/$digest.dlm", $elsewhere->data_dir . '/dlm_models/');
is($elsewhere->safe_psql('postgres', $label), $answer, 'after a copy of the file: the same answer');

# DROP EXTENSION takes the bundled model along, and says so for the others
fails_with($elsewhere, 'DROP EXTENSION dlm', '2BP01', qr/server "?My Model"? depends on/, 'DROP EXTENSION with models');
$elsewhere->safe_psql('postgres', 'DROP EXTENSION dlm CASCADE; CREATE EXTENSION dlm');
is($elsewhere->safe_psql('postgres', 'SELECT string_agg(name, \',\') FROM dlm_models'), 'dlm-135m', 'the extension comes back clean');
$elsewhere->stop;
$node->stop;

done_testing();
