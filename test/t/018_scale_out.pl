# examples/scale_out.sh in small: three clusters share a table, calls go to the
# shards, all of them compute, and the bits are those of one node.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

local $ENV{SCALE_MODEL} = tiny('llama');
local $ENV{TMPDIR} = PostgreSQL::Test::Utils::tempdir_short();
my $result = run_log([ 'bash', "$ENV{TESTDIR}/examples/scale_out.sh", '60' ], '>', \my $out, '2>', \my $err);

ok($result, 'the script runs, and its answers are those of one node') or diag($out, $err);
is($err, '', 'without a word of complaint');
my $update = () = $out =~ /Foreign Update on public\.message\d.*\n\s+Remote SQL: UPDATE public\.shard SET label = public\.dlm_classify_pinned\(/g;
is($update, 3, 'an UPDATE is shipped to all shards');
my $where = () = $out =~ /Async Foreign Scan on public\.message\d.*\n\s+Remote SQL: SELECT NULL FROM public\.shard WHERE \(\(public\.dlm_classify_pinned\(/g;
is($where, 3, 'a condition too, and the shards are asked at the same time');
my $views = () = $out =~ /Async Foreign Scan on public\.seen\d.*\n.*\n\s+Remote SQL: SELECT id, label, vector FROM public\.shard_seen/g;
is($views, 3, 'and what views of the shards show');
foreach my $what ('UPDATE, a session a shard', 'SELECT \.\.\. WHERE, async', 'embeddings, views, async')
{
	my ($seconds) = $out =~ /^$what .* computed: ([\d.+]+) s$/m;
	my @computed = split(/\+/, $seconds // '');

	is(scalar(grep { $_ > 0 } @computed), 3, "$what: all three nodes computed");
}
my ($alone) = $out =~ /^UPDATE .* 1 node .* computed: ([\d.+]+) s$/m;
like($alone, qr/^\d+\.\d+\+0\.0+\+0\.0+$/, 'one node computes alone');
my $same = () = $out =~ /^(?:labels|rows found|vectors) +one node ([0-9a-f]{32})  three nodes \1$/mg;
is($same, 3, 'the same labels, rows found and vectors');
is_deeply([ glob("$ENV{TMPDIR}/dlm-node-*") ], [], 'nothing is left');

done_testing();
