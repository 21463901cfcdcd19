# DlmTest - what the TAP tests of dlm share: clusters, tiny models, errors with their SQLSTATE.
package DlmTest;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_node tiny load_tiny fails_with bundled_file percentile slurp_log wait_log);

# A running cluster with the extension; extra lines go to postgresql.conf.
sub new_node
{
	my ($name, @conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', join("\n", $ENV{DLM_TEST_CONF} // '', @conf, ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION dlm');
	return $node;
}

# Folder of a tiny checkpoint.
sub tiny
{
	my ($name) = @_;

	return "$ENV{DLM_TEST_MODELS}/$name";
}

# Load a tiny checkpoint under a name; returns its digest.
sub load_tiny
{
	my ($node, $name, $checkpoint) = @_;

	return $node->safe_psql('postgres',
		"SELECT dlm_load_model('$name', '" . tiny($checkpoint) . "')");
}

# The statement fails with that SQLSTATE, and the message matches.
sub fails_with
{
	my ($node, $sql, $state, $pattern, $test, %params) = @_;
	my ($rc, $out, $err) = $node->psql($params{dbname} // 'postgres', $sql,
		extra_params => [ '-v', 'VERBOSITY=verbose', @{ $params{extra_params} // [] } ]);

	like($err, qr/ERROR:  \Q$state\E: /, "$test: SQLSTATE $state");
	like($err, $pattern, "$test: message");
	return;
}

# Path of the default model's file.
sub bundled_file
{
	my ($node) = @_;
	my $digest = $node->safe_psql('postgres', q{SELECT digest FROM dlm_models WHERE name = 'dlm-135m'});

	chomp(my $share = `pg_config --sharedir`);
	return "$share/dlm/$digest.dlm";
}

sub percentile
{
	my ($share, @values) = @_;
	my @sorted = sort { $a <=> $b } @values;
	my $i = int($share * @sorted + 0.999999) - 1;

	return $sorted[$i < 0 ? 0 : $i];
}

sub slurp_log
{
	my ($node) = @_;

	return slurp_file($node->logfile);
}

# Wait up to 30 s for a line of the server's log.
sub wait_log
{
	my ($node, $pattern) = @_;

	for (1 .. 300)
	{
		return 1 if slurp_log($node) =~ $pattern;
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

1;
