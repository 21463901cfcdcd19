# What happens to a model's file under a running server: deleted, replaced,
# overwritten, cut short, missing. The statement that is hit fails, others live.
use strict;
use warnings;
use File::Copy qw(copy);
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('files');
my $dir = $node->data_dir . '/dlm_models';
my $label = q{SELECT dlm_classify('rain and wind', ARRAY['weather', 'sport', 'money'], model => 'tiny')};
my $digest = load_tiny($node, 'tiny', 'llama');
my $other = load_tiny($node, 'other', 'context');
my $file = "$dir/$digest.dlm";

ok(-f $file, 'the file is named by its digest');
is(load_tiny($node, 'twin', 'llama'), $digest, 'the same checkpoint gives the same digest');

# ------------------------------------------------------------------- deleted
my $user = $node->background_psql('postgres', on_error_stop => 0);
my $answer = $user->query($label);
rename($file, "$file.away") or die $!;
is($user->query($label), $answer, 'deleted: the session that has it mapped goes on');
fails_with($node, $label, '58P01', qr/the file of model "tiny" is not on this node.*Digest $digest.*dlm-model convert/s,
	'deleted: a new session');
is($node->safe_psql('postgres', q{SELECT problem IS NOT NULL FROM dlm_models WHERE name = 'tiny'}),
	't', 'deleted: dlm_models says that there is a problem');

# what a release of dlm brings is not a user's to copy
my $none = '0' x 64;
fails_with($node, "CREATE SERVER gone FOREIGN DATA WRAPPER dlm OPTIONS (file 'bundled:$none', digest '$none'); SELECT dlm_count_tokens('a', model => 'gone')",
	'58P01', qr/the file of model "gone" is not on this node.*HINT:  It comes with a release of dlm.*ALTER EXTENSION dlm UPDATE/s, 'of another release');

# ------------------------------------------------------------------ replaced
copy("$dir/$other.dlm", "$file.new") or die $!;
rename("$file.new", $file) or die $!;
is($user->query($label), $answer, 'replaced: the session that has it mapped goes on');
fails_with($node, $label, 'XX001', qr/expected digest $digest, found $other/, 'replaced: a new session');

rename("$file.away", $file) or die $!;
is($node->safe_psql('postgres', $label), $answer, 'brought back: all is well');
$user->quit;

# --------------------------------------------------------- overwritten in place
$user = $node->background_psql('postgres', on_error_stop => 0);
$user->query($label);
my $whole = slurp_file($file);
copy("$dir/$other.dlm", $file) or die $!;
$user->{stderr} = '';
$user->query($label);
like($user->{stderr}, qr/ERROR: .*model "tiny" cannot be used/, 'overwritten: noticed by the session that had it mapped');
write_file($file, $whole);
is($user->query($label), $answer, 'overwritten: and healed in the same session');

# ------------------------------------------------- cut short between statements
truncate($file, 4096) or die $!;
$user->{stderr} = '';
$user->query($label);
like($user->{stderr}, qr/ERROR: .*model "tiny" cannot be used/, 'cut short between statements: an error');
write_file($file, $whole);
is($user->query($label), $answer, 'cut short between statements: healed');
$user->quit;

# ------------------------------------------------- cut short in mid-statement
my $big = $node->safe_psql('postgres', "SELECT dlm_load_model('big', '" . bundled_file($node) . "')");
my $big_file = "$dir/$big.dlm";
my $size = -s $big_file;
my $long = q{SELECT dlm_generate('Tell a long story about the sea.', 400, 400, options => '{"length": "fixed"}', model => 'big')};

foreach my $share (0.9, 0.5, 0)
{
	my $victim = $node->background_psql('postgres', on_error_stop => 0);
	my $bystander = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $victim->query_safe('SELECT pg_backend_pid()');

	my $before = $bystander->query($label);
	$victim->query_until(qr/started/, "\\set VERBOSITY verbose\n\\echo started\n$long;\n");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM dlm_activity WHERE pid = $pid AND step > 0")
	  or die 'the call does not start';
	truncate($big_file, int($size * $share)) or die $!;
	like($victim->query('SELECT 6 * 7'), qr/42/, "cut to $share in mid-statement: the session goes on");
	like($victim->{stderr}, qr/ERROR:  58030: .*cut short/, "cut to $share in mid-statement: 58030");
	is($bystander->query($label), $before, "cut to $share in mid-statement: other sessions live");
	fails_with($node, $long, 'XX001', qr/model "big" cannot be used/, "cut to $share: the next statement");
	$victim->quit;
	$bystander->quit;

	unlink $big_file or die $!;
	$node->safe_psql('postgres', "SELECT dlm_drop_model('big'); SELECT dlm_load_model('big', '" . bundled_file($node) . "')");
	is(-s $big_file, $size, "cut to $share: loading again brings the file back");
}

# ------------------------------------------------- a source that is cut short
my $source = "$ENV{TESTDIR}/source.dlm";
copy(bundled_file($node), $source) or die $!;
my $loader = $node->background_psql('postgres', on_error_stop => 0);
my $loader_pid = $loader->query_safe('SELECT pg_backend_pid()');
$loader->query_until(qr/started/, "\\set VERBOSITY verbose\n\\echo started\nSELECT dlm_load_model('cut', '$source');\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM dlm_activity WHERE pid = $loader_pid AND task = 'load_model'")
  or die 'the load does not start';
truncate($source, 1 << 20) or die $!;
like($loader->query('SELECT 6 * 7'), qr/42/, 'a source that is cut short: the session goes on');
like($loader->{stderr}, qr/ERROR:  (58030|XX001): /, 'a source that is cut short: an error');
is($node->safe_psql('postgres', q{SELECT count(*) FROM dlm_models WHERE name = 'cut'}), '0', 'and no model');
$loader->quit;
unlike(slurp_log($node), qr/terminated by signal/, 'no process died');

# --------------------------------------------------------------- drop, orphans
$node->safe_psql('postgres', q{SELECT dlm_drop_model('twin'); SELECT dlm_drop_model('tiny')});
ok(-f $file, 'dropping a model leaves its file');
is($node->safe_psql('postgres', "SELECT used_by FROM dlm_model_files() WHERE digest = '$digest'"),
	'{}', 'dlm_model_files shows that nobody uses it');
fails_with($node, $label, '42704', qr/model "tiny" does not exist/, 'a dropped model');

# --------------------------------------------------------------------- names
fails_with($node, "CREATE SERVER s FOREIGN DATA WRAPPER dlm OPTIONS (file '../x.dlm', digest '$digest')",
	'HV024', qr/must not (hold a slash|.*start with a dot)/, 'a file option that leaves the directory');
fails_with($node, "CREATE SERVER s FOREIGN DATA WRAPPER dlm OPTIONS (file 'x.dlm', digest 'abc')",
	'HV024', qr/64 lower-case hexadecimal digits/, 'a digest that is none');
$node->stop;

sub write_file
{
	my ($path, $data) = @_;

	open(my $fh, '>:raw', $path) or die $!;
	print $fh $data;
	close $fh or die $!;
	return;
}

done_testing();
