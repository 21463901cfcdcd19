# dlm-model train: rows from files of each kind, options, an interrupt and going
# on, bad input, full disks. No server: the program stands beside PostgreSQL's, or DLM_MODEL names it.
use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $program = $ENV{DLM_MODEL} // 'dlm-model';
my $models = $ENV{DLM_TEST_MODELS} // 'test/models';
my $dir = PostgreSQL::Test::Utils::tempdir;
my @weather = ([ 'rain', 'wet' ], [ 'sun', 'dry' ], [ 'snow', 'wet' ], [ 'wind', 'dry' ]);

sub path { return "$dir/$_[0]" }

# Status (256 * exit code), and what it wrote to stderr.
sub train
{
	my (@arguments) = @_;
	my $stderr = '';

	IPC::Run::run([ $program, 'train', '--threads', '2', path('base.dlm'), @arguments ], '>', \my $stdout, '2>', \$stderr);
	return ($?, $stderr);
}

my @few = ('--steps', '3', '--batch-tokens', '200', '--learning-rate', '0.001', '--out');

sub trains
{
	my ($name, $wanted, @arguments) = @_;
	my ($status, $stderr) = train(@few, path('out.dlm'), @arguments);

	is($status, 0, "$name: trained");
	like($stderr, $wanted, "$name: rows");
	like($stderr, qr/^step 3 of 3, .*loss \d/m, "$name: progress");
	unlike($stderr, qr/nan/, "$name: all of it numbers");
	return digest('out.dlm');
}

sub refuses
{
	my ($name, $code, $wanted, @arguments) = @_;
	my ($status, $stderr) = train(@few, path('refused.dlm'), @arguments);

	is($status >> 8, $code, "$name: refused");
	like($stderr, $wanted, "$name: says why");
	ok(!-e path('refused.dlm'), "$name: no model");
	return;
}

sub digest
{
	my ($file) = @_;
	my ($stdout) = run_command([ $program, 'inspect', path($file) ]);

	return $stdout =~ /^digest\s+(\w+)/m ? $1 : undef;
}

sub put
{
	my ($name, $content) = @_;

	open(my $f, '>', path($name)) or die "$name: $!";
	binmode $f;
	print $f $content;
	close $f;
	return path($name);
}

sub row
{
	my ($i, $target) = @_;
	my ($what, $answer) = @{ $weather[ $i % 4 ] };

	return ("$what $i", $target // $answer);
}

sub json
{
	my ($n, $more) = @_;

	return join '', map { sprintf qq({"instruction": "Say it.", "input": "%s", "target": "%s", "labels": ["wet", "dry"]%s}\n), row($_), $more // '' } 1 .. $n;
}

system_or_bail($program, 'convert', "$models/llama", path('base.dlm'), '--weights', 'f32');

# -------------------------------------------------------------- kinds of files
my $jsonl = put('rows.jsonl', json(40));
my $digest = trains('JSONL', qr/^3[0-9] rows, [1-9] held out, 0 too long; 3 steps/m, $jsonl);
is(trains('again', qr/rows/, $jsonl), $digest, 'the same rows give the same model');
my $tsv = put('rows.tsv', "instruction\tinput\ttarget\n" . join '', map { sprintf "Say it.\t%s\t%s\n", row($_) } 1 .. 40);
my $from_tsv = trains('TSV', qr/^3[0-9] rows/m, $tsv);
(my $crlf = slurp_file($tsv)) =~ s/\n/\r\n/g;
is(trains('TSV with carriage returns and a byte order mark', qr/^3[0-9] rows/m, put('crlf.tsv', "\xef\xbb\xbf$crlf")), $from_tsv, 'mean nothing');
chomp(my $open_end = slurp_file($jsonl));
is(trains('JSONL with blank lines and an open end', qr/^3[0-9] rows/m, put('open.jsonl', "\n$open_end  ")), $digest, 'mean nothing');
my $text = put('rows.txt', join '', map { "rain falls on the sea, line $_\n" } 1 .. 40);
trains('text', qr/^3[0-9] rows/m, '--objective', 'text', $text);
foreach my $file ($jsonl, $tsv)
{
	system_or_bail('gzip', '-kf', $file);
	is(trains("gzip of $file", qr/^3[0-9] rows/m, "$file.gz"), $file eq $jsonl ? $digest : $from_tsv, 'gzip changes nothing');
}
put('odd ; name.jsonl', json(40));
system_or_bail('gzip', '-f', path('odd ; name.jsonl'));
trains('gzip of an odd name', qr/^3[0-9] rows/m, path('odd ; name.jsonl.gz'));

# ----------------------------------------------------------------- which rows
my $held = put('held.jsonl', json(10));
trains('--validation', qr/^40 rows, 10 held out/m, '--validation', $held, $jsonl);
trains('--rows', qr/^7 rows, 0 held out/m, '--validation-share', '0', '--rows', '7', $jsonl);
trains('--part', qr/^20 rows, 0 held out/m, '--objective', 'text', '--validation-share', '0', '--part', '0.25:0.75', $text);
trains('--part is for texts', qr/^40 rows, 0 held out/m, '--validation-share', '0', '--part', '0.25:0.75', $jsonl);
put('split.jsonl', json(10, ', "split": "train"') . json(5, ', "split": "test"') . json(3));
trains('--split', qr/^13 rows, 0 held out/m, '--validation-share', '0', '--split', 'train', path('split.jsonl'));
put('split.tsv', "input\ttarget\tsplit\nrain\twet\ttrain\nsun\tdry\ttrain\nsun\tdry\ttest\n");
trains('--split of TSV', qr/^2 rows, 0 held out/m, '--validation-share', '0', '--split', 'train', path('split.tsv'));
put('long.jsonl', json(10) . sprintf(qq({"input": "%s", "target": "wet"}\n), 'rain ' x 5000));
refuses('a long row', 1, qr/long\.jsonl": row 11: /, path('long.jsonl'));
trains('--skip-long', qr/^10 rows, 0 held out, 1 too long/m, '--validation-share', '0', '--skip-long', path('long.jsonl'));
trains('two files', qr/^80 rows, 0 held out/m, '--validation-share', '0', $jsonl, $tsv);
isnt(trains('a factor', qr/^80 rows/m, '--validation-share', '0', $jsonl, "$tsv:9"),
	trains('none', qr/^80 rows/m, '--validation-share', '0', $jsonl, $tsv), 'a factor mixes otherwise');
put('rows.jsonl:2', '') if !-e path('rows.jsonl:2');
refuses('a file whose name looks like a factor', 1, qr/cannot tell what kind of file/, path('rows.jsonl:2'));
unlink path('rows.jsonl:2');
put('empty.jsonl', '');
foreach my $order ([ 0, 1, 2 ], [ 1, 0, 2 ], [ 1, 2, 0 ])
{
	my @files = (path('empty.jsonl'), $jsonl, $tsv);

	trains("an empty file, order @$order", qr/^80 rows/m, '--validation-share', '0', @files[@$order]);
}

# -------------------------------------------------------------------- the log
my ($status, $stderr) = train('--steps', '6', '--validate-every', '3', '--patience', '0', '--batch-tokens', '200', '--log', path('log.csv'), '--out', path('out.dlm'), $jsonl);
my @log = split /\n/, slurp_file(path('log.csv'));
is($log[0], 'step,tokens,seconds,loss,right,rate,gradient,validation_loss,validation_right', 'the first line of the log');
is_deeply([ map { /^(\d+)/ } @log ], [ 0, 1, 2, 3, 3, 4, 5, 6, 6 ], 'a line for each step and each validation');
is_deeply([ map { /^(\d+),.*,[\d.]+,[\d.]+$/ } @log ], [ 0, 3, 6 ], 'validations have figures');
is(scalar(grep { tr/,// != 8 } @log), 0, 'all lines have all columns');

# ------------------------------------------------- an interrupt, and going on
my @long = ('--steps', '400', '--batch-tokens', '400', '--patience', '0', '--average', '0.9', '--validate-every', '100', '--checkpoint', path('run.ckpt'), $jsonl, $tsv);
($status) = train('--log', path('whole.csv'), '--out', path('whole.dlm'), @long);
is($status, 0, 'a whole run');
unlink path('run.ckpt');
foreach my $signal ('INT', 'TERM')
{
	my $run = IPC::Run::start([ $program, 'train', '--threads', '1', path('base.dlm'), '--resume', '--log', path('parts.csv'), '--out', path('parts.dlm'), @long ], '2>', \my $err);
	my $before = -s path('parts.csv') // 0;

	sleep 0.02 while $run->pumpable && (-s path('parts.csv') // 0) < $before + 500;
	$run->signal($signal);
	$run->finish;
	is($run->result, 1, "SIG$signal ends it");
	like($err, qr/^dlm-model: stopped\nhint: Go on with --resume\./m, 'and it says how to go on');
	ok(-s path('run.ckpt'), 'there is a checkpoint');
	ok(!-e path('parts.dlm'), 'and no model');
}
my $checkpoint = slurp_file(path('run.ckpt'));
open(my $csv, '>>', path('parts.csv')) or die $!;
print $csv "399,1,1,1,1,1,1,,\n400,1,1,";	# what a run wrote that was killed later
close $csv;
($status, $stderr) = train('--resume', '--log', path('parts.csv'), '--out', path('parts.dlm'), @long);
is($status, 0, 'gone on');
is(digest('parts.dlm'), digest('whole.dlm'), 'to the bits of the whole run');
my $columns = sub { return [ map { my @c = split /,/, $_, -1; join ',', @c[ 0, 1, 3 .. 8 ] } split /\n/, slurp_file(path($_[0])) ] };
is_deeply($columns->('parts.csv'), $columns->('whole.csv'), 'and its log');
($status, $stderr) = train('--resume', '--out', path('again.dlm'), @long);
is(digest('again.dlm'), digest('whole.dlm'), 'a run that is over writes its model again');
is_deeply([ glob "$dir/.dlm* $dir/*.tmp" ], [], 'nothing else is left');

# ------------------------------------------- numbers that leave the finite
my @wild = ('--learning-rate', '1', '--warmup', '0', '--clip', '0', '--epsilon', '1e-30', '--weight-decay', '1', '--steps', '1000', '--schedule', 'constant',
	'--validation-share', '0', '--beta1', '0.99', '--beta2', '0', '--rank', '1', '--alpha', '1e5', '--batch-tokens', '200',
	'--checkpoint', path('wild.ckpt'), '--out', path('wild.dlm'), $jsonl);
($status) = train('--time-limit', '0.0001', @wild);
is($status, 0, 'the first step of a rate that is too high');
unlink path('wild.dlm');
my $good = slurp_file(path('wild.ckpt'));
($status, $stderr) = train('--resume', @wild);
is($status >> 8, 1, 'the next ones fail');
like($stderr, qr/^dlm-model: loss is not a finite number in step \d+, row \d+\nhint: Begin anew with a lower "learning_rate"; /m, 'with the step and the row');
ok(slurp_file(path('wild.ckpt')) eq $good, 'the last good checkpoint is kept');
ok(!-e path('wild.dlm'), 'and no model is written');
($status) = train('--resume', '--time-limit', '0.0001', @wild);
is($status, 0, 'but can be, of that checkpoint');
is(digest('wild.dlm') =~ /^\w{64}$/, 1, 'as a model');

# ------------------------------------------------------------------ bad input
put('no_column.tsv', "input\tanswer\nrain\twet\n");
put('ragged.tsv', "input\ttarget\nrain\twet\nsun\nwind\tdry\n");
put('bad.jsonl', json(2) . "{\"input\": \"rain\", \"target\": \n");
put('number.jsonl', json(2) . "{\"input\": \"rain\", \"target\": 5}\n");
put('list.jsonl', json(2) . "[1]\n");
put('labels.jsonl', json(2) . "{\"input\": \"rain\", \"target\": \"wet\", \"labels\": \"wet\"}\n");
put('zero.jsonl', json(2) . "{\"input\": \"ra\\u0000in\", \"target\": \"wet\"}\n");
put('none.jsonl', json(2) . "{\"input\": \"rain\", \"target\": \"damp\", \"labels\": [\"wet\", \"dry\"]}\n");
put('utf8.txt', "rain\n\xff\n");
put('rows.csv', json(2));
put('damaged.jsonl.gz', substr(slurp_file("$jsonl.gz"), 0, 100));
put('plain.jsonl.gz', json(5));
refuses('an empty file', 1, qr/there are no rows to train on/, path('empty.jsonl'));
refuses('an empty TSV', 1, qr/empty\.tsv" is empty/, put('empty.tsv', ''));
refuses('a missing column', 1, qr/no_column\.tsv" has neither a column "target" nor "text"/, path('no_column.tsv'));
refuses('a ragged TSV', 1, qr/line 3 of ".*ragged\.tsv" has 1 columns, the first has 2/, path('ragged.tsv'));
refuses('bad JSON', 1, qr/line 3 of ".*bad\.jsonl" is not valid JSON/, path('bad.jsonl'));
refuses('no object', 1, qr/line 3 of ".*list\.jsonl" is not a JSON object/, path('list.jsonl'));
refuses('a number', 1, qr/"target" of line 3 of ".*number\.jsonl" is not a text/, path('number.jsonl'));
refuses('labels', 1, qr/"labels" of line 3 of ".*labels\.jsonl" are not a list/, path('labels.jsonl'));
refuses('U+0000', 1, qr/line 3 of ".*zero\.jsonl" holds the character U\+0000/, path('zero.jsonl'));
refuses('a target that is no label', 1, qr/none\.jsonl": row 3: .*label/, path('none.jsonl'));
refuses('bytes that are not UTF-8', 1, qr/utf8\.txt": row 2: /, '--objective', 'text', path('utf8.txt'));
refuses('another kind of file', 1, qr/cannot tell what kind of file/, path('rows.csv'));
refuses('no file', 1, qr/could not open ".*missing\.jsonl": No such file/, path('missing.jsonl'));
refuses('a folder', 1, qr/could not read ".*folder\.jsonl"/, do { mkdir path('folder.jsonl'); path('folder.jsonl') });
refuses('damaged gzip', 1, qr/gzip could not read ".*damaged\.jsonl\.gz"/, path('damaged.jsonl.gz'));
refuses('no gzip', 1, qr/gzip could not read ".*plain\.jsonl\.gz"/, path('plain.jsonl.gz'));
refuses('a validation file', 1, qr/bad\.jsonl/, '--validation', path('bad.jsonl'), $jsonl);
SKIP:
{
	skip 'root reads everything', 3 if $> == 0;
	chmod 0, put('secret.jsonl', json(2));
	refuses('a file of others', 1, qr/could not open ".*secret\.jsonl": Permission denied/, path('secret.jsonl'));
}

# -------------------------------------------------------------------- adapters
my %bytes;

foreach my $weights ('f32', 'bf16')
{
	trains("an adapter in $weights", qr/rows/, '--mode', 'lora', '--adapter', path($weights), '--adapter-weights', $weights, $jsonl);
	$bytes{$weights} = -s path("$weights/adapter_model.safetensors");
	# it is a start, and leads from the base to a model of its own
	trains("from the adapter in $weights", qr/rows/, '--mode', 'lora', '--init', path($weights), $jsonl);
}
cmp_ok($bytes{bf16}, '<', 0.75 * $bytes{f32}, 'bf16 takes less');
refuses('an adapter in eight bits', 2, qr/--adapter-weights is f32 or bf16/, '--adapter', path('adapter'), '--adapter-weights', 'int8', $jsonl);

# -------------------------------------------------------------------- examples
sub examples
{
	my ($file, @arguments) = @_;

	return train('--steps', '3', '--batch-tokens', '200', '--dropout', '0', '--attention-dropout', '0', '--examples', path($file), @arguments, $jsonl);
}

($status, $stderr) = examples('examples', '--seed', '3');
is($status, 0, 'examples') or diag($stderr);
cmp_ok(-s path('examples'), '>', 1000, 'are written');
is((examples('again', '--seed', '3'))[0], 0, 'again');
is(slurp_file(path('again')), slurp_file(path('examples')), 'the same bytes again');
is((examples('again', '--seed', '4'))[0], 0, 'with another seed');
isnt(slurp_file(path('again')), slurp_file(path('examples')), 'other bytes for another seed');
refuses('examples and a model', 2, qr/--examples trains nothing/, '--examples', path('x'), $jsonl);
($status, $stderr) = examples('x', '--log', put('kept.csv', "a log\n"));
is($status >> 8, 2, 'examples and a log');
is(slurp_file(path('kept.csv')), "a log\n", 'it is left alone');
($status, $stderr) = examples('x', '--label-smoothing', '0.1');
is($status >> 8, 1, 'examples with smoothing');
like($stderr, qr/smoothing or dropout/, 'it says so');
($status, $stderr) = examples('nowhere/x');
is($status >> 8, 1, 'examples in no folder');
like($stderr, qr/cannot write ".*nowhere\/x": No such file/, 'it says so');

# ---------------------------------------------------------------- bad options
refuses('an unknown option', 2, qr/unknown option "--no-such"/, '--no-such', '1', $jsonl);
refuses('out of range', 1, qr/option "rank" must be an integer from 1 to 4096/, '--rank', '0', $jsonl);
refuses('no number', 2, qr/wrong value for "--rows"/, '--rows', 'many', $jsonl);
refuses('a bad part', 1, qr/--part must be two numbers/, '--part', '0:1.5', $jsonl);
refuses('a part with a tail', 1, qr/--part must be two numbers/, '--part', '0:0.5x', $jsonl);
refuses('an unknown objective', 1, qr/unknown objective/, '--objective', 'speech', $jsonl);
refuses('no rows', 2, qr/at least one file of rows/);
refuses('--resume alone', 2, qr/--resume needs --checkpoint/, '--resume', $jsonl);
refuses('a folder that is not there', 1, qr/cannot write ".*nowhere\/x\.ckpt": No such file/, '--checkpoint', path('nowhere/x.ckpt'), $jsonl);
refuses('an adapter of biases', 1, qr/only runs of mode "lora"/, '--mode', 'bias', '--adapter', path('adapter'), $jsonl);
refuses('too little memory', 1, qr/training needs \d+ MB, but the limit is 1 MB/, '--memory', '1', '--batch-tokens', '100000', '--part-tokens', '100000', $jsonl);
($status, $stderr) = train($jsonl);
is($status >> 8, 2, 'nothing to write');
put('torn.ckpt', substr($checkpoint, 0, 1000));
refuses('a torn checkpoint', 1, qr/torn\.ckpt" is damaged/, '--resume', '--checkpoint', path('torn.ckpt'), $jsonl);
put('other.ckpt', $checkpoint);
refuses('the checkpoint of other rows', 1, qr/of a run on other rows/, '--resume', '--checkpoint', path('other.ckpt'), $jsonl);

# ----------------------------------------------------------------- full disks
unlink path('refused.dlm');
($status, $stderr) = train(@few, path('out.dlm'), '--log', '/dev/full', $jsonl);
is($status >> 8, 1, 'a log on a full disk is told');
like($stderr, qr{could not write "/dev/full": No space left on device; the training goes on}, 'at once');
like($stderr, qr{"/dev/full" is not complete: No space left on device\nhint: All else was written\.}, 'and at the end');
is(digest('out.dlm'), $digest, 'and the model is there');
put('full.ckpt', $checkpoint);
foreach my $case ([ 'checkpoint', '--checkpoint', path('full.ckpt') ], [ 'model' ])
{
	my ($what, @options) = @$case;

	# no file may have more than 20 kB; the signal that this raises is ignored
	IPC::Run::run([ 'bash', '-c', q{trap '' XFSZ; ulimit -f 20; exec "$@"}, 'bash', $program, 'train', path('base.dlm'), @few, path('refused.dlm'), @options, $jsonl ],
		'>', \my $out, '2>', \my $err);
	is($? >> 8, 1, "no room for the $what");
	like($err, qr/no space|exceed the size limit/i, 'says so');
	ok(!-e path('refused.dlm'), 'no model');
	is_deeply([ glob "$dir/.dlm* $dir/*.tmp" ], [], 'nothing is left');
}
is(slurp_file(path('full.ckpt')), $checkpoint, 'the old checkpoint stays');

done_testing();
