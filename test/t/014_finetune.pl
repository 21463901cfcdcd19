# dlm_finetune: no snapshot while it trains, cancel and kill at each phase, going
# on where it stopped, the background, rights, a full disk.
use strict;
use warnings;
use Fcntl qw(:mode);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('finetune', 'max_worker_processes = 1', 'max_logical_replication_workers = 0', 'restart_after_crash = on');
my $jobs = $node->data_dir . '/dlm_models/jobs';
my $rows = q{'SELECT body AS input, label AS target FROM weather ORDER BY id'};
# more steps than any of these tests waits for; a checkpoint after each slice
my $long = q{"steps": 1000000, "checkpoint_every": 0};

sub weather
{
	my ($server) = @_;

	$server->safe_psql(
		'postgres', q{
CREATE TABLE weather (id int PRIMARY KEY, body text, label text);
INSERT INTO weather SELECT i, (ARRAY['rain', 'sun', 'snow', 'wind'])[1 + i % 4] || ' ' || i, (ARRAY['wet', 'dry'])[1 + i % 2]
	FROM generate_series(1, 40) AS i;
GRANT SELECT ON weather TO PUBLIC});
	return;
}

# The newest job's number, and one of its columns.
sub newest { return $node->safe_psql('postgres', 'SELECT max(job_id) FROM dlm_jobs') }

sub job
{
	my ($id, $column) = @_;

	return $node->safe_psql('postgres', "SELECT $column FROM dlm_jobs WHERE job_id = $id");
}

# Path of a job's checkpoint.
sub checkpoint
{
	my ($id) = @_;
	my ($path) = glob("$jobs/*-$id/checkpoint");

	return $path;
}

sub wait_job
{
	my ($id, $condition) = @_;

	return $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM dlm_jobs WHERE job_id = $id AND ($condition)");
}

sub wait_name
{
	my ($name, $condition) = @_;

	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM dlm_jobs WHERE name = '$name' AND ($condition)");
	return $node->safe_psql('postgres', "SELECT job_id FROM dlm_jobs WHERE name = '$name'");
}

# Start a training in a session of its own; returns the session and the job, some steps into it.
sub start_training
{
	my ($name, $arguments) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_safe('\set VERBOSITY verbose');
	start_query($session, "CALL dlm_finetune('$name', 'tiny', $rows, options => '{$arguments}')");
	my $id = wait_name($name, q{state = 'running' AND step > 2});
	return ($session, $id);
}

# Whether the process of a job, of which $condition holds, has neither snapshot
# nor transaction id. It has both for the moment in which it writes the job's
# row, here after each slice, so it is looked for more than once: what a run
# keeps is there every time.
sub holds_nothing
{
	my ($id, $condition) = @_;

	return $node->poll_query_until('postgres', "SELECT s.backend_xmin IS NULL AND s.backend_xid IS NULL AND $condition
		FROM pg_stat_activity AS s JOIN dlm_jobs AS j USING (pid) WHERE j.job_id = $id");
}

weather($node);
load_tiny($node, 'tiny', 'llama');

# ------------------------------------------------------------ while it trains
my ($session, $id) = start_training('first', $long);
ok(holds_nothing($id, q{s.state = 'active'}), 'no snapshot and no transaction id');
is($node->safe_psql('postgres', "SELECT a.phase, a.task, a.model, a.steps, a.step > 0, a.tokens > 0, a.threads > 0
	FROM dlm_activity AS a JOIN dlm_jobs AS j USING (pid) WHERE j.job_id = $id"), 'train|finetune|tiny|1000000|t|t|t', 'dlm_activity shows it');
is(job($id, 'kind, name, base, owner, steps, finished IS NULL, message IS NULL'), 'finetune|first|tiny|postgres|1000000|t|t', 'so does dlm_jobs');
isnt(job($id, 'eta'), '', 'with the time left');
is($node->safe_psql('postgres', 'SELECT computing_sessions FROM dlm_stats_info()'), '1', 'and it counts among those that compute');
$node->safe_psql('postgres', q{SET lock_timeout = '2s'; UPDATE weather SET label = 'none'; DROP TABLE weather});
pass('the table can be changed and dropped');
my @files = glob("$jobs/*-$id/*");
ok(@files > 0, 'its rows and its checkpoint lie in a folder');
is(scalar(grep { ((stat)[2] & 0777) != 0600 } grep { /rows/ } @files), 0, 'rows are for their owner alone');
is((stat("$jobs"))[2] & 0777, 0700, 'so are folders');
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", '55006', qr/job $id is running/, 'a second process on it');
fails_with($node, "SELECT dlm_job_delete($id)", '55006', qr/job $id is running/, 'deleting it');

# ---------------------------------------------------- cancel, and going on
my $before = job($id, 'step');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM dlm_jobs WHERE job_id = $id");
ok(wait_job($id, q{state = 'cancelled'}), 'cancelled');
like($session->query('SELECT 1'), qr/1/, 'the session goes on');
like($session->{stderr}, qr/57014.*HINT:  CALL dlm_finetune\(NULL, NULL, NULL, job_id => $id\)/s, 'and says how the training does');
$session->quit;
at_rest($node, 'after a cancel');
ok(-s checkpoint($id), 'the checkpoint is kept');
cmp_ok(job($id, 'step'), '>=', $before - 1, 'and the figures');

fails_with($node, "CALL dlm_finetune('other', NULL, NULL, job_id => $id)", '22023', qr/another name/, 'another name');
fails_with($node, "CALL dlm_finetune(NULL, 'dlm-135m', NULL, job_id => $id)", '22023', qr/another base/, 'another base');
fails_with($node, "CALL dlm_finetune(NULL, NULL, 'SELECT 1', job_id => $id)", '22023', qr/another query/, 'another query');
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, options => '{\"steps\": 1}', job_id => $id)", '22023', qr/other options/, 'other options');
my $digest = $node->safe_psql('postgres', q{SELECT digest FROM dlm_models WHERE name = 'tiny'});
load_tiny($node, 'paper', 'paper');
$node->safe_psql('postgres', q{ALTER SERVER tiny RENAME TO away; ALTER SERVER paper RENAME TO tiny});
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", '55000', qr/no longer the one/, 'another model under the name of the base');
$node->safe_psql('postgres', q{ALTER SERVER tiny RENAME TO paper; ALTER SERVER away RENAME TO tiny});

# it ends by its time
$node->safe_psql('postgres', "CALL dlm_finetune('first', 'tiny', $rows, options => '{$long, \"time_limit\": \"1ms\"}', job_id => $id)");
is(job($id, 'state'), 'done', 'gone on without its table, until its time was over');
like(job($id, 'message'), qr/time limit was reached at step \d+ of 1000000/, 'which it says');
cmp_ok(job($id, 'step'), '>', $before - 1, 'from its checkpoint on');
ok(!glob("$jobs/*-$id"), 'its folder is gone');
like($node->safe_psql('postgres', q{SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'first')}), qr/wet|dry/, 'the model works');
weather($node);

# ---------------------------------------------------- numbers that leave the finite
my $wild = q{"steps": 1000, "checkpoint_every": 0, "learning_rate": 1, "warmup": 0, "clip": 0, "epsilon": 1e-30, "weight_decay": 1,
	"schedule": "constant", "validation_share": 0, "beta1": 0.99, "beta2": 0, "rank": 1, "alpha": 1e5};
fails_with($node, "CALL dlm_finetune('wild', 'tiny', $rows, options => '{$wild}')", 'XX001', qr/loss is not a finite number in step \d+, row \d+/,
	'a rate that is too high');
$id = newest();
is(job($id, q{state, step > 0, message ~ 'not a finite number'}), 'failed|t|t', 'the job says so');
$before = job($id, 'step');
my $good = slurp_file(checkpoint($id));
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", 'XX001', qr/not a finite number/, 'it comes there again');
ok(slurp_file(checkpoint($id)) eq $good, 'and its checkpoint stays');
# these factors are finite and their product is not; all the same, a limit that is over ends a job before another step
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, options => '{\"time_limit\": \"1ms\"}', job_id => $id)", 'XX001',
	qr/holds values that are not finite/, 'weights that are no model');
is(job($id, q{state, step}), "failed|$before", 'nor another step');
$node->safe_psql('postgres', "SELECT dlm_job_delete($id)");

# ------------------------------------------------------- other ways to stop
($session, $id) = start_training('second', $long);
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM dlm_jobs WHERE job_id = $id");
ok(wait_job($id, q{state = 'interrupted' AND pid IS NULL}), 'a session that is ended leaves an interrupted job');
eval { $session->quit };
($session, undef) = ($node->background_psql('postgres', on_error_stop => 0));
start_query($session, "SET statement_timeout = '3s';\nCALL dlm_finetune(NULL, NULL, NULL, job_id => $id)");
ok(wait_job($id, q{state = 'cancelled'}), 'statement_timeout cancels');
$session->quit;
($session, undef) = ($node->background_psql('postgres', on_error_stop => 0));
start_query($session, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)");
wait_job($id, q{state = 'running'});
$session->{run}->kill_kill;
ok(wait_job($id, q{state = 'interrupted'}), 'a client that vanishes ends it');
my ($file) = glob("$jobs/*-$id/rows");
my $content = slurp_file($file);
$content =~ s/rain/RAIN/;
open(my $handle, '>', $file) or die $!;
binmode $handle;
print $handle $content;
close $handle;
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", 'XX001', qr/rows that job $id has read are damaged/, 'damaged rows');
unlink $file or die $!;
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", '58P01', qr/rows that job $id has read/, 'rows that are gone');
$node->safe_psql('postgres', "SELECT dlm_job_delete($id)");
ok(!glob("$jobs/*-$id"), 'deleted with its folder');
at_rest($node, 'after all that');

# ------------------------------------------------------- while it reads rows
my $slow = q{'SELECT body AS input, label || pg_sleep(1) AS target FROM weather'};
foreach my $background ('false', 'true')
{
	$session = $node->background_psql('postgres', on_error_stop => 0);
	start_query($session, "CALL dlm_finetune('slow', 'tiny', $slow, options => '{\"background\": $background}')");
	$id = wait_name('slow', q{state = 'reading'});
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM dlm_jobs WHERE job_id = $id");
	$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM dlm_jobs WHERE name = \'slow\'');
	ok(!glob("$jobs/*-$id"), "background $background: a cancel while it reads leaves nothing");
	$session->quit;
	worker_gone($node);

	$session = $node->background_psql('postgres', on_error_stop => 0);
	start_query($session, "CALL dlm_finetune('slow', 'tiny', $slow, options => '{\"background\": $background}')");
	$id = wait_name('slow', q{state = 'reading'});
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM dlm_jobs WHERE job_id = $id");
	ok(wait_job($id, q{state = 'interrupted'}), "background $background: a session that is ended while it reads");
	eval { $session->quit };
	worker_gone($node);
	fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", '55000', qr/before it had read its rows/, 'going on with it');
	$node->safe_psql('postgres', "SELECT dlm_job_delete($id)");
}
at_rest($node, 'after reading');

# ------------------------------------------------------------ in the background
$node->safe_psql('postgres', q{
CREATE ROLE trainer LOGIN; CREATE ROLE other LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats;
GRANT USAGE ON FOREIGN DATA WRAPPER dlm TO trainer, other; GRANT USAGE ON FOREIGN SERVER tiny TO trainer;
ALTER ROLE trainer SET default_transaction_read_only = on; ALTER ROLE trainer SET lock_timeout = '10ms'});
my @as_trainer = (extra_params => [ '-U', 'trainer' ]);
my $mine = qq{SET default_transaction_read_only = off; CALL dlm_finetune('mine', 'tiny', $rows, options => '{$long, "background": true}')};
fails_with($node, qq{CALL dlm_finetune('mine', 'tiny', $rows, options => '{$long, "background": true}')}, '25006', qr/read-only/,
	'a read-only session', @as_trainer);
$id = $node->safe_psql('postgres', $mine, @as_trainer);
ok(wait_job($id, q{state = 'running' AND step > 2}), 'it runs after its session has gone');
ok(holds_nothing($id, qq{(s.usename, s.backend_type, s.query) = ('trainer', 'dlm finetune', 'dlm_finetune, job $id')}),
	'as the user of the session, with no snapshot');
is($node->safe_psql('postgres', 'SELECT count(*) FROM dlm_jobs', extra_params => [ '-U', 'other' ]), '0', 'others do not see it');
is($node->safe_psql('postgres', "SELECT owner, state FROM dlm_jobs WHERE job_id = $id", extra_params => [ '-U', 'watcher' ]),
	'trainer|running', 'pg_read_all_stats does');
fails_with($node, "SELECT dlm_job_delete($id)", '42501', qr/must be owner/, 'another deletes it', extra_params => [ '-U', 'other' ]);
fails_with($node, "SELECT pg_cancel_backend(" . job($id, 'pid') . ')', '42501', qr/must be a/, 'another cancels it', extra_params => [ '-U', 'other' ]);

fails_with($node, "CALL dlm_finetune('second', 'tiny', $rows, options => '{\"background\": true}')", '53000',
	qr/no background worker is free/, 'no free worker');
is(newest(), $id, 'of which no job is left');
is(scalar(my @left = glob("$jobs/*")), 1, 'and no folder');

$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM dlm_jobs WHERE job_id = $id", @as_trainer);
ok(wait_job($id, q{state = 'cancelled'}), 'its user cancels it');
worker_gone($node);
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", '42501', qr/must be owner/, 'another goes on with it',
	extra_params => [ '-U', 'other' ]);
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER tiny FROM trainer');
fails_with($node, "SET default_transaction_read_only = off; CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", '42501',
	qr/permission denied for foreign server tiny/, 'its owner has lost the right', @as_trainer);
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER tiny TO trainer');
$node->safe_psql('postgres', "CALL dlm_finetune(NULL, NULL, NULL, options => '{\"background\": true, \"checkpoint_every\": 0}', job_id => $id)");
ok(wait_job($id, q{state = 'running'}), 'a superuser goes on with it');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM dlm_jobs WHERE job_id = $id");
ok(wait_job($id, q{state = 'interrupted'}), 'ended in the background: interrupted');
worker_gone($node);
$node->safe_psql('postgres', "CALL dlm_finetune(NULL, NULL, NULL, options => '{\"background\": true, \"time_limit\": \"1ms\"}', job_id => $id)");
ok(wait_job($id, q{state = 'done'}), 'and done');
is($node->safe_psql('postgres', q{SELECT owner FROM dlm_models WHERE name = 'mine'}), 'trainer', 'the model is its owner\'s');

# ------------------------------------------------ the name is taken meanwhile
($session, $id) = start_training('taken', $long);
load_tiny($node, 'taken', 'paper');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM dlm_jobs WHERE job_id = $id");
wait_job($id, q{state = 'cancelled'});
$session->quit;
fails_with($node, "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)", '42710', qr/"taken" already exists/, 'going on under a name that is taken');
$node->safe_psql('postgres', q{SELECT dlm_drop_model('taken')});
# the limit is of all parts of the run, and leaves time to take the name
my $until = $node->safe_psql('postgres', "SELECT ceil(seconds) + 8 FROM dlm_job WHERE job_id = $id");
$session = $node->background_psql('postgres', on_error_stop => 0);
start_query($session, "CALL dlm_finetune(NULL, NULL, NULL, options => '{\"time_limit\": $until}', job_id => $id)");
wait_job($id, q{state = 'running'});
load_tiny($node, 'taken', 'paper');
ok(wait_job($id, q{state = 'failed'}), 'a name taken during the run');
like(job($id, 'message'), qr/"taken" already exists\. The trained model is kept.*job_id => $id/, 'its message says what to do');
$session->quit;
$node->safe_psql('postgres', "CALL dlm_finetune('spare', NULL, NULL, job_id => $id)");
is(job($id, 'state, name'), 'done|spare', 'the model under another name');
like($node->safe_psql('postgres', q{SELECT dlm_classify('rain', ARRAY['wet', 'dry'], model => 'spare')}), qr/wet|dry/, 'which works');

# --------------------------------------------------------------- kill -9
my $whole = q{"steps": 400, "checkpoint_every": 0};
$node->safe_psql('postgres', "CALL dlm_finetune('whole', 'tiny', $rows, options => '{$whole}')");
foreach my $background ('false', 'true')
{
	my $name = "killed $background";

	$session = $node->background_psql('postgres', on_error_stop => 0);
	start_query($session, "CALL dlm_finetune('$name', 'tiny', $rows, options => '{$whole, \"background\": $background}')");
	$id = wait_name($name, q{state = 'running' AND step > 5});
	my $offset = -s $node->logfile;
	kill 'KILL', job($id, 'pid');
	ok($node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset), "$name: the server restarts");
	eval { $session->quit };
	$node->poll_query_until('postgres', 'SELECT true');
	is(job($id, q{state, step BETWEEN 1 AND 399}), 'interrupted|t', "$name: interrupted after the restart");
	$node->safe_psql('postgres', "CALL dlm_finetune(NULL, NULL, NULL, job_id => $id)");
	is($node->safe_psql('postgres', "SELECT count(DISTINCT digest) FROM dlm_models WHERE name IN ('whole', '$name')"), '1',
		"$name: the model is that of a run that was not stopped");
}
$node->stop;

# -------------------------------------------------------------- a full disk
SKIP:
{
	my $full = $ENV{DLM_TEST_FULL_DISK};
	skip 'test/t/run.sh could not mount a small tmpfs (needs root)', 1 unless $full;
	my $file = "$node->{_basedir}/base.dlm";

	# the base is a link, so that the small disk has room for the rows
	system_or_bail('cp', $node->data_dir . "/dlm_models/$digest.dlm", $file);
	symlink($file, "$full/$digest.dlm") or die $!;
	$node->append_conf('postgresql.conf', "dlm.model_directory = '$full'");
	$node->start;
	fails_with($node, "CALL dlm_finetune('full', 'tiny', $rows, options => '{$long}')", '53100', qr/checkpoint/, 'a full disk at a checkpoint');
	$id = newest();
	is(job($id, q{state, step > 0}), 'failed|t', 'the job has failed, and can go on');
	$node->safe_psql('postgres', q{INSERT INTO weather SELECT i, repeat('rain', 100), 'wet' FROM generate_series(100, 1000) AS i});
	fails_with($node, "CALL dlm_finetune('full', 'tiny', $rows, options => '{$long}')", '53100', qr/rows of job/, 'a full disk while it reads');
	is(newest(), $id, 'leaves nothing');
	$node->safe_psql('postgres', "SELECT dlm_job_delete($id)");
	is_deeply([ glob("$full/jobs/*") ], [], 'nothing is left on the disk');
	$node->stop;
	# the next test finds the disk as this one did
	unlink "$full/$digest.dlm" or die $!;
	rmdir "$full/jobs" or die $!;
}

done_testing();
