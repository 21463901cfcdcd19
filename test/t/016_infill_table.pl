# dlm_infill_table and dlm_infill_row among other sessions, and on tables of
# people who mean harm: locked, changed and deleted rows, cancel and kill at any
# moment, rights that must not be lent, tables that are altered meanwhile.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('infill', 'restart_after_crash = on', "dlm.default_model = 'tiny'", 'max_parallel_workers = 2');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub newest { return sql('SELECT max(job_id) FROM dlm_jobs') }

# state and counts of a job: rows, written, unsure, skipped, failed
sub job
{
	my ($id) = @_;

	return sql(qq{SELECT concat_ws('|', state, counts ->> 'rows', counts ->> 'written', counts ->> 'unsure', counts ->> 'skipped',
		counts ->> 'failed') FROM dlm_jobs WHERE job_id = $id});
}

# A fill in a session of its own; returns when it waits for an advisory lock.
sub start_fill
{
	my ($lock, $call, @settings) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_safe($_) for '\set VERBOSITY verbose', 'SET client_min_messages = warning', @settings;
	start_query($session, $call);
	ok(wait_for_lock($lock), "the fill waits for lock $lock");
	return $session;
}

sub wait_for_lock
{
	my ($lock) = @_;

	return $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = $lock AND objsubid = 1 AND NOT granted");
}

# What the statement prints on standard error.
sub noise
{
	my ($statement) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $statement, extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	return $err;
}

load_tiny($node, 'tiny', 'llama');
sql(q{
CREATE TYPE tone AS ENUM ('light', 'dark');
CREATE TABLE seen (id int);
-- the lock whose number is the row's, taken for as long as it takes to get it
CREATE FUNCTION wait_for(lock int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_lock(lock);
	PERFORM pg_advisory_unlock(lock);
	RETURN true;
END $$;
CREATE FUNCTION pace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM wait_for(NEW.id);
	INSERT INTO seen VALUES (NEW.id);
	RETURN NEW;
END $$;
CREATE FUNCTION paced(name text, rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, note text, tone tone, level int CHECK (level BETWEEN 1 AND 4))', name);
	EXECUTE format('INSERT INTO %I (id, note) SELECT i, ''note '' || i FROM generate_series(1, %s) AS i', name, rows);
	EXECUTE format('CREATE TRIGGER pace BEFORE UPDATE OF tone ON %I FOR EACH ROW EXECUTE FUNCTION pace()', name);
END $$});

# ------------------------------------------------------------ locked, changed, deleted
sql(q{SELECT paced('busy', 8)});
my $other = $node->background_psql('postgres', on_error_stop => 0);
my $holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query_safe('SELECT pg_advisory_lock(1), pg_advisory_lock(2)');
my $fill = start_fill(1, q{CALL dlm_infill_table('busy', '{tone,level}')});
sql(q{UPDATE busy SET note = 'changed', level = 3 WHERE id = 2});
sql(q{DELETE FROM busy WHERE id = 5});
sql(q{UPDATE busy SET tone = 'dark', level = 2 WHERE id = 6});
$other->query_safe(q{BEGIN; SELECT 1 FROM busy WHERE id IN (3, 4) FOR UPDATE});
$holder->query_safe('SELECT pg_advisory_unlock(1)');
# row 2 is visited again, and waits; by then row 3 is free, and row 4 locked once more
ok(wait_for_lock(2), 'a row that was changed is visited again');
$other->query_safe(q{COMMIT; BEGIN; SELECT 1 FROM busy WHERE id = 4 FOR UPDATE});
$holder->query_safe('SELECT pg_advisory_unlock(2)');
$fill->query_safe('SELECT 1');
is(job(newest()), 'done|8|5|0|3|0', 'a row that is locked at the end, one that is gone and one without gaps any more are skipped');
is(sql(q{SELECT string_agg(id || CASE WHEN tone IS NULL THEN ':' ELSE '' END, ',' ORDER BY id) FROM busy}), '1,2,3,4:,6,7,8', 'the others are written');
is(sql(q{SELECT note || level FROM busy WHERE id = 2}), 'changed3', 'what another session wrote stays');
is(sql(q{SELECT tone || level::text FROM busy WHERE id = 6}), 'dark2', 'all of it');
is(sql(q{SELECT count(*) - count(DISTINCT id) FROM seen WHERE id <> 6}), '0', 'no row was written twice');
$other->query_safe('COMMIT');
$fill->quit;

# ------------------------------------------------------------ ways to stop, and going on
sub begin_stop
{
	my ($name, @settings) = @_;

	sql("SELECT paced('$name', 30); TRUNCATE seen");
	$holder->query_safe('SELECT pg_advisory_lock(16)');
	my $session = start_fill(16, "CALL dlm_infill_table('$name', '{tone,level}', batch => 7)", @settings);
	return ($session, newest());
}

sub end_stop
{
	my ($name, $id, $state) = @_;

	$node->poll_query_until('postgres', "SELECT state = '$state' FROM dlm_jobs WHERE job_id = $id");
	is(job($id), "$state|14|14|0|0|0", "$name: $state, with the counts of the batches that were committed");
	is(sql("SELECT count(tone) FROM $name"), '14', "$name: and their rows");
	$holder->query_safe('SELECT pg_advisory_unlock_all()');
	sql("SET DateStyle = 'SQL, DMY'; CALL dlm_infill_table(NULL, job_id => $id)");
	is(job($id), 'done|30|30|0|0|0', "$name: goes on behind them");
	is(sql("SELECT count(tone) || ' ' || count(level) FROM $name"), '30 30', "$name: all rows are filled");
	is(sql('SELECT count(*) || \' \' || count(DISTINCT id) FROM seen'), '30 30', "$name: none twice");
	fails_with($node, "CALL dlm_infill_table(NULL, job_id => $id)", '55000', qr/job $id is done/, "$name: once more");
	at_rest($node, $name);
	return;
}

my $id;
($fill, $id) = begin_stop('cancelled');
fails_with($node, "CALL dlm_infill_table(NULL, job_id => $id)", '55006', qr/job $id is running/, 'a second session on it');
fails_with($node, "SELECT dlm_job_delete($id)", '55006', qr/job $id is running/, 'deleting it');
sql("SELECT pg_cancel_backend(pid) FROM dlm_jobs WHERE job_id = $id");
like($fill->query('SELECT 1'), qr/1/, 'the session goes on after a cancel');
like($fill->{stderr}, qr/57014.*job_id => $id/s, 'and says how the fill does');
end_stop('cancelled', $id, 'cancelled');
$fill->quit;

# between the last row of a batch and its commit: the batch is rolled back, and the job must not have gone past it
sql(q{SELECT paced('uncommitted', 30); TRUNCATE seen;
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.state = 'running' AND NEW.step = 21 THEN
		RAISE query_canceled;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER stop BEFORE UPDATE ON dlm_job FOR EACH ROW EXECUTE FUNCTION stop()});
fails_with($node, q{CALL dlm_infill_table('uncommitted', '{tone,level}', batch => 7)}, '57014', qr/query_canceled/, 'a stop when the batch is written and not committed');
$id = newest();
sql('DROP TRIGGER stop ON dlm_job');
end_stop('uncommitted', $id, 'cancelled');

($fill, $id) = begin_stop('timed_out', q{SET statement_timeout = '6s'});
end_stop('timed_out', $id, 'cancelled');
$fill->quit;

($fill, $id) = begin_stop('terminated');
sql("SELECT pg_terminate_backend(pid) FROM dlm_jobs WHERE job_id = $id");
end_stop('terminated', $id, 'interrupted');
eval { $fill->quit };

($fill, $id) = begin_stop('killed');
my $offset = -s $node->logfile;
kill 'KILL', sql("SELECT pid FROM dlm_jobs WHERE job_id = $id");
$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
eval { $_->quit } for $fill, $holder, $other;
$node->poll_query_until('postgres', 'SELECT true');
$holder = $node->background_psql('postgres', on_error_stop => 0);
end_stop('killed', $id, 'interrupted');

# ------------------------------------------------------------ a table that is altered meanwhile
sub while_filling
{
	my ($name, $change) = @_;

	sql("SELECT paced('$name', 12)");
	$holder->query_safe('SELECT pg_advisory_lock(6)');
	my $session = start_fill(6, "CALL dlm_infill_table('$name', '{tone,level}', batch => 3)");
	my $job = newest();
	my $changer = $node->background_psql('postgres', on_error_stop => 0);
	start_query($changer, $change);
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'relation' AND NOT granted}) if $change =~ /TABLE/;
	$holder->query_safe('SELECT pg_advisory_unlock_all()');
	$session->query('SELECT 1');
	$changer->query('SELECT 1');
	my $err = $session->{stderr};
	eval { $_->quit } for $session, $changer;
	is(sql('SELECT 1'), '1', "$name: the server is alive");
	return ($job, $err);
}

my $err;
($id, $err) = while_filling('loses_column', 'ALTER TABLE loses_column DROP COLUMN level');
like($err, qr/42703.*level/s, 'a column that is dropped: an error');
like(job($id), qr/^failed\|[369]\|/, 'after whole batches');
fails_with($node, "CALL dlm_infill_table(NULL, job_id => $id)", '42703', qr/level/, 'and the job cannot go on');
sql("SELECT dlm_job_delete($id)");
($id, $err) = while_filling('is_dropped', 'DROP TABLE is_dropped');
like($err, qr/42P01.*is_dropped/s, 'a table that is dropped: an error');
fails_with($node, "CALL dlm_infill_table(NULL, job_id => $id)", '42P01', qr/does not exist/, 'and the job cannot go on');
sql("SELECT dlm_job_delete($id)");
($id, $err) = while_filling('swapped', 'BEGIN; ALTER TABLE swapped RENAME TO swapped_away; SELECT paced(\'swapped\', 12); COMMIT');
is(job($id), 'done|12|12|0|0|0', 'a table that is renamed is filled to its end');
is(sql('SELECT count(a.tone) || \' \' || count(b.tone) FROM swapped_away AS a JOIN swapped AS b USING (id)'), '12 0', 'and not the one that has its name now');
($id, $err) = while_filling('gets_label', q{ALTER TYPE tone ADD VALUE 'grey'});
is(job($id), 'done|12|12|0|0|0', 'an enum that gets a label');

# ------------------------------------------------------------ in the caller's transaction
sql(q{CREATE TABLE quiet (id int PRIMARY KEY, tone tone); INSERT INTO quiet SELECT generate_series(1, 5)});
my $jobs = sql('SELECT count(*) FROM dlm_jobs');
is(sql(q{BEGIN; CALL dlm_infill_table('quiet', options => '{"commit": false, "provenance": "quiet_notes"}');
	SELECT count(tone) || ' ' || (SELECT count(*) FROM quiet_notes) FROM quiet; ROLLBACK;
	SELECT count(tone) FROM quiet; SELECT to_regclass('quiet_notes') IS NULL;
	SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}) =~ s/^\d+\n//r, "5 5\n0\nt\n0", 'commit => false, rolled back: no rows, no notes, no lock');
is(sql('SELECT count(*) FROM dlm_jobs'), $jobs, 'and no job');
like(noise(q{BEGIN; CALL dlm_infill_table('quiet', filter => 'id / 0 = 1', options => '{"commit": false}')}), qr/22012/, 'one that fails');
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'leaves no lock');

# ------------------------------------------------------------ row security
sql(q{
CREATE ROLE reader LOGIN;
GRANT USAGE ON FOREIGN SERVER tiny TO reader;
GRANT ALL ON seen TO reader;
CREATE TABLE place (id int PRIMARY KEY, name text, hidden boolean);
INSERT INTO place VALUES (1, 'Rome', true), (2, 'Oslo', false), (3, 'Bern', true);
ALTER TABLE place ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON place USING (NOT hidden);
CREATE TABLE trip (id int PRIMARY KEY, owner name, place int REFERENCES place, tone tone);
INSERT INTO trip (id, owner) SELECT i, CASE WHEN i % 2 = 0 THEN 'reader' ELSE 'other' END FROM generate_series(1, 8) AS i;
ALTER TABLE trip ENABLE ROW LEVEL SECURITY;
CREATE POLICY sees ON trip FOR SELECT USING (owner = current_user);
CREATE POLICY writes ON trip FOR UPDATE USING (owner = current_user) WITH CHECK (tone = 'dark');
GRANT SELECT, UPDATE ON trip TO reader;
ANALYZE});
my @reader = (extra_params => [ '-U', 'reader', '-v', 'VERBOSITY=verbose' ]);
is($node->safe_psql('postgres', q{SELECT reason FROM dlm_infill_columns('trip') WHERE "column" = 'place'}, @reader),
	'you may not read the table that its foreign key refers to', 'a foreign key to a table without the right to read it');
is($node->safe_psql('postgres', q{SELECT count(dlm_infill_row(t, '{"columns": ["tone"]}')) FROM trip AS t}, @reader), '4', 'others can be filled');
sql('GRANT SELECT ON place TO reader');
is($node->safe_psql('postgres', q{SELECT DISTINCT (dlm_infill_row(t)).place FROM trip AS t}, @reader), '2', 'only rows that the caller sees are candidates');
$node->safe_psql('postgres', q{CALL dlm_infill_table('trip', '{tone}', options => '{"choices": {"tone": ["light"]}}')}, @reader);
is(job(newest()), 'done|4|0|0|0|4', 'a policy that refuses the new row is that row\'s failure');
like(sql('SELECT message FROM dlm_jobs ORDER BY job_id DESC LIMIT 1'), qr/row-level security/, 'which is told');
$node->safe_psql('postgres', q{CALL dlm_infill_table('trip', '{tone,place}', options => '{"choices": {"tone": ["dark"]}}')}, @reader);
is(sql(q{SELECT string_agg(DISTINCT concat_ws(' ', owner, place, tone), ',') FROM trip}), 'other,reader 2 dark', 'rows that are not seen are not filled');

# ------------------------------------------------------------ a hostile table
sql(q{
CREATE ROLE evil LOGIN;
GRANT USAGE ON FOREIGN SERVER tiny TO evil;
CREATE SCHEMA h AUTHORIZATION evil});
my $hostile = q{
SET search_path = h;
CREATE TABLE loot (who text, how text);
CREATE FUNCTION steal(how text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO h.loot VALUES (current_user::pg_catalog.text, how);
	BEGIN EXECUTE 'ALTER ROLE evil SUPERUSER'; INSERT INTO h.loot VALUES ('super', how); EXCEPTION WHEN OTHERS THEN NULL; END;
	IF session_user <> 'evil' THEN
		BEGIN EXECUTE 'CREATE TEMP TABLE caught (x int)'; INSERT INTO h.loot VALUES ('temp', how); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'SET ROLE NONE'; INSERT INTO h.loot VALUES ('role', how); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; INSERT INTO h.loot VALUES ('session', how); EXCEPTION WHEN OTHERS THEN NULL; END;
		PERFORM pg_catalog.set_config('search_path', 'h, pg_catalog', false);
	END IF;
	RETURN true;
END $$;
CREATE FUNCTION ok(anyelement, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN h.steal($2); END $$;
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM h.steal(TG_NAME); RETURN NEW; END $$;
CREATE TYPE mood AS ENUM ('it''s "a"', '[MASK]', E'\u00fc b');
CREATE DOMAIN some_mood AS mood CHECK (h.ok(VALUE, 'domain'));
CREATE DOMAIN some_int AS int CHECK (h.ok(VALUE, 'domain of numbers'));
CREATE TABLE numbers (k some_int PRIMARY KEY, label text);
INSERT INTO numbers VALUES (1, 'One'), (2, 'Two');
CREATE TABLE moods (k mood PRIMARY KEY, label text);
INSERT INTO moods VALUES ('[MASK]', 'mask'), (E'\u00fc b', 'umlaut');
CREATE TABLE "it's a ""table""" ("the ""id""" varchar(20), m mood, "[MASK]" some_mood, "sp ace:\u00e9" some_int,
	z int CHECK (z BETWEEN 1 AND 3 AND h.ok(z, 'check')), number some_int REFERENCES numbers, mood mood REFERENCES moods,
	made boolean GENERATED ALWAYS AS (ok(z, 'generated')) STORED, PRIMARY KEY ("the ""id""", m));
COMMENT ON COLUMN "it's a ""table"""."[MASK]" IS E'a [MASK:x] \\\\ (comment\nof two lines';
INSERT INTO "it's a ""table""" VALUES ('a [MASK] "x"', '[MASK]'), ('b''b', '[MASK]'), (E'\u00fc', 'it''s "a"');
INSERT INTO "it's a ""table""" SELECT 'z' || i, '[MASK]', '[MASK]', 1, 1, 1, '[MASK]' FROM generate_series(1, 30) AS i;
ANALYZE "it's a ""table""";
CREATE FUNCTION to_mood(text) RETURNS mood LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM h.steal('cast'); RETURN '[MASK]'; END $$;
CREATE FUNCTION from_mood(mood) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM h.steal('cast'); RETURN 'a'; END $$;
CREATE FUNCTION to_moods(text) RETURNS mood[] LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM h.steal('cast'); RETURN '{}'; END $$;
CREATE CAST (text AS mood) WITH FUNCTION to_mood(text) AS ASSIGNMENT;
CREATE CAST (text AS mood[]) WITH FUNCTION to_moods(text) AS ASSIGNMENT;
CREATE CAST (mood AS text) WITH FUNCTION from_mood(mood) AS ASSIGNMENT;
CREATE FUNCTION text(mood) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM h.steal('function'); RETURN 'a'; END $$;
CREATE TRIGGER "before" BEFORE UPDATE ON "it's a ""table""" FOR EACH ROW EXECUTE FUNCTION fires();
CREATE CONSTRAINT TRIGGER deferred AFTER UPDATE ON "it's a ""table""" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fires();
CREATE INDEX ON "it's a ""table""" (ok("the ""id""", 'index'));
} =~ s/\\u00e9/\x{e9}/r;
for my $type (qw(varchar text mood))
{
	$hostile .= qq{CREATE FUNCTION op($type, $type) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
		\$\$ BEGIN PERFORM h.steal('operator'); RETURN true; END \$\$;\n};
	$hostile .= "CREATE OPERATOR $_ (LEFTARG = $type, RIGHTARG = $type, PROCEDURE = op);\n" for qw(= > <);
}
utf8::encode($hostile);
$node->safe_psql('postgres', "$hostile TRUNCATE loot", extra_params => [ '-U', 'evil' ]);

my $table = q{h."it''s a ""table"""};
my %uses = (
	'dlm_infill_columns' => "SELECT FROM dlm_infill_columns('$table')",
	'dlm_infill_preview' => "SELECT FROM dlm_infill_preview('$table')",
	'dlm_infill_row' => qq{SELECT dlm_infill_row(t) FROM h."it's a ""table""" AS t},
	'dlm_infill_row alone' => qq{SET dlm.enable_batching = off; SELECT dlm_infill_row(t) FROM h."it's a ""table""" AS t},
	'dlm_infill_table' => qq{CALL dlm_infill_table('$table', batch => 1, options => '{"provenance": "notes"}')},
	'dlm_infill_undo' => q{SELECT dlm_infill_undo('notes')});
for my $path ('public', 'h, public', 'h, public, pg_catalog')
{
	for my $use (sort keys %uses)
	{
		next if $use eq 'dlm_infill_undo' && $path eq 'public';
		my $err = noise("SET search_path = $path;\n$uses{$use};\nSELECT pg_catalog.set_config('x.y', 'z', false)");
		unlike($err, qr/ERROR|FATAL/, "$use with search path $path") or diag($err);
		is(sql("SELECT string_agg(DISTINCT who, ',') FILTER (WHERE who <> 'evil') FROM h.loot"), '', "... and the table gained nothing")
		  or diag(sql('SELECT DISTINCT who, how FROM h.loot'));
	}
}
is(sql(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'evil'}), 'f', 'its owner is no superuser');
cmp_ok(sql(q{SELECT count(DISTINCT how) FROM h.loot}), '>=', 5, 'all of it was run');
is(sql("SET search_path = public, pg_catalog; SELECT FROM dlm_infill_preview('$table', batch => 1); SHOW search_path"), "public, pg_catalog", 'nor is the search path changed');

# ------------------------------------------------------------ arguments that mean harm
fails_with($node, q{CALL dlm_infill_table('pg_catalog.pg_description', '{description}')}, '42501', qr/is a system catalog/, 'a catalog');
my $two = q{true); SELECT NULL::text, NULL::quiet, NULL::jsonb FROM (SELECT 1 AS id) AS "dlm row" WHERE (true};
fails_with($node, "SELECT * FROM dlm_infill_preview('quiet', filter => '$two')", '42601', qr/syntax error/, 'a filter that is two queries');
fails_with($node, "SELECT * FROM dlm_infill_preview('quiet', filter => 'true) OR (true')", '42601', qr/syntax error/, 'a filter that ends its condition');
fails_with($node, "SELECT * FROM dlm_infill_preview('quiet', filter => 'true $_')", '42601', qr/filter must be one condition/, "a filter with $_")
  for 'LIMIT 1', 'ORDER BY 1', 'FOR UPDATE', 'UNION SELECT', 'GROUP BY 1', '; SELECT 1';
fails_with($node, q{CALL dlm_infill_table('quiet', options => '{"provenance": "pg_class"}')}, '42804', qr/cannot hold where values come from/, 'provenance in a catalog');
sql('CREATE VIEW seen_view AS TABLE seen');
fails_with($node, q{CALL dlm_infill_table('quiet', options => '{"provenance": "seen_view"}')}, '42809', qr/is no table/, 'provenance in a view');
fails_with($node, q{SELECT dlm_infill_undo('seen')}, '42804', qr/cannot hold/, 'undoing what is no provenance');
sql(q{CREATE TABLE odd (LIKE notes);
INSERT INTO odd ("table", key, "column", value, written, at) SELECT t, k::jsonb, c, '3', true, now()
	FROM (VALUES ('trip'::regclass), ('4711'::oid)) AS a (t), unnest('{id,place,zzz}'::name[]) AS c,
	unnest(ARRAY['{}', '[]', '1', 'null', '{"id": null}', '{"id": 1}', '{"id": {"a": 1}}', '{"zzz": "1"}', '[{"id": "1"}]']) AS k;
ALTER TABLE odd ALTER key DROP NOT NULL, ALTER "table" DROP NOT NULL, ALTER value DROP NOT NULL;
INSERT INTO odd ("table", key, "column", value, written, at) VALUES (NULL, '{}', 'id', 'x', true, now()), ('trip', NULL, 'id', 'x', true, now()), ('trip', '{"id": "1"}', 'id', NULL, true, now())});
is(sql(q{SELECT dlm_infill_undo('odd')}), '0', 'notes that make no sense change nothing');
sql(q{INSERT INTO quiet VALUES (77, 'dark');
CREATE TABLE h.trap (LIKE notes); ALTER TABLE h.trap OWNER TO evil;
INSERT INTO h.trap ("table", key, "column", value, written, at) VALUES ('quiet', '{"id": "77"}', 'tone', 'dark', true, now())});
fails_with($node, q{SELECT dlm_infill_undo('h.trap')}, '42501', qr/may not update column/, 'notes of somebody who may not change the table');
sql(q{CREATE TABLE has_bool (id int PRIMARY KEY, b boolean, x int CHECK (x = 2)); INSERT INTO has_bool VALUES (1, false)});
is(sql(q{SELECT dlm_infill_row(t, '{"choices": {"b": ["true"]}}') FROM has_bool AS t}), '(1,f,2)', 'a known value that is none of the choices');

# ------------------------------------------------------------ places to call it from
sql(q{CREATE TABLE many (id int PRIMARY KEY, tone tone, level int CHECK (level BETWEEN 1 AND 4)) WITH (parallel_workers = 2);
INSERT INTO many SELECT generate_series(1, 40); ANALYZE many});
sql(q{CREATE TABLE days (id int PRIMARY KEY, day date) WITH (parallel_workers = 2); INSERT INTO days SELECT generate_series(1, 40)});
my $parallel = q{SET force_parallel_mode = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;};
my $serial = sql('SELECT md5(string_agg(dlm_infill_row(m)::text, \',\' ORDER BY id)) FROM many AS m');
is(sql("$parallel SELECT md5(string_agg(dlm_infill_row(m)::text, ',' ORDER BY id)) FROM many AS m"), $serial, 'where a parallel plan is wanted');
is(sql("$parallel SELECT count((dlm_infill_row(d, '{\"patterns\": {\"day\": \"2000-02-(2[0-9]|3[0-9])\"}}')).day) FROM days AS d"), '40', 'days that are none');
like(sql("$parallel EXPLAIN (COSTS OFF) SELECT dlm_infill_row(m) FROM many AS m"), qr/^((?!Gather).)*$/s, 'which it is not: it could not try the next value where one is not legal');
is(sql(q{BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT dlm_infill_row(m) FROM many AS m; COMMIT; MOVE 38 IN c; FETCH ALL FROM c}) =~ s/[^\n]//gr, "\n", 'a cursor that is held');
sql(q{CREATE VIEW filled AS SELECT (dlm_infill_row(m)).* FROM many AS m;
CREATE MATERIALIZED VIEW kept AS SELECT dlm_infill_row(m) AS r FROM many AS m; REFRESH MATERIALIZED VIEW kept;
CREATE TABLE made AS SELECT (dlm_infill_row(m)).* FROM many AS m});
is(sql('SELECT count(tone) || \' \' || count(level) FROM filled'), '40 40', 'a view');
is(sql('SELECT count((r).tone) FROM kept'), '40', 'a materialized view');
is(sql('SELECT count(tone) FROM made'), '40', 'CREATE TABLE AS');
is(sql(q{DO $$ DECLARE r many; n int := 0; BEGIN FOR r IN SELECT (dlm_infill_row(m)).* FROM many AS m LOOP r := dlm_infill_row(r); n := n + r.level; END LOOP;
	SELECT m.* INTO r FROM many AS m LIMIT 1; r := dlm_infill_row(r); ASSERT r.level BETWEEN 1 AND 4 AND n >= 40; END $$; SELECT 1}), '1', 'PL/pgSQL');
like(noise(q{PREPARE p AS SELECT dlm_infill_row(m) FROM many AS m WHERE id = 1; EXECUTE p; ALTER TABLE many ADD extra tone; EXECUTE p}), qr/^$|0A000: cached plan/, 'a prepared statement whose table changes');
is(sql(q{UPDATE many AS m SET (tone, level) = (SELECT (f).tone, (f).level FROM (SELECT dlm_infill_row(m) AS f OFFSET 0) AS s);
	SELECT count(tone) || ' ' || count(level) FROM many}), '40 40', 'UPDATE ... SET (a, b) = (SELECT ...)');

# ------------------------------------------------------------ odd shapes
sql(q{CREATE TYPE pair AS (a tone, b int); CREATE DOMAIN checked AS pair CHECK ((VALUE).b IS NULL OR (VALUE).b = 3);
CREATE TABLE pairs (p checked); INSERT INTO pairs VALUES (ROW('dark', NULL))});
fails_with($node, "$_ SELECT dlm_infill_row(p) FROM pairs", '0A000', qr/rows of domain checked/, 'a domain over a row')
  for '', 'SET dlm.enable_batching = off;';
is(sql(q{SELECT (dlm_infill_row(p::pair, '{"choices": {"b": ["3"]}}')::checked).b FROM pairs}), '3', 'but its row');
sql(q{CREATE TABLE twice (id int PRIMARY KEY, a int CHECK (a BETWEEN 0 AND 9), g int GENERATED ALWAYS AS (a * 2) STORED CHECK (g > 16),
	h int GENERATED ALWAYS AS (10 / a) STORED); INSERT INTO twice SELECT generate_series(1, 3)});
sql(q{CALL dlm_infill_table('twice')});
is(sql(q{SELECT string_agg(a || ' ' || g, ',') FROM twice}), '9 18,9 18,9 18', 'checks of generated columns');
sql(q{CREATE TABLE types (k "char", f float8, d date, i interval, c varchar(4), x int CHECK (x BETWEEN 1 AND 3), c3 char(3), n name, u numeric(6, 2),
	b bit(4), vb varbit(5), v interval, e inet, ts timestamptz, tt timetz, day date, m money, r real, id uuid, PRIMARY KEY (k, f, d, i, c));
INSERT INTO types SELECT 'a', i / 3.0, '2020-01-31'::date - i, i * '1 day 1 second'::interval, 'k', NULL FROM generate_series(1, 7) AS i});
my $formats = q{SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kolkata'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -12};
sql(qq{$formats; CALL dlm_infill_table('types', batch => 2, options => '{"provenance": "type_notes"}')});
is(job(newest()), 'done|7|7|0|0|0', 'keys and cells of many types in a session with formats of its own');
is(sql(q{SELECT count(*) FROM types WHERE num_nulls(x, c3, n, u, b, vb, v, e, ts, tt, day, m, r, id) > 0}), '0', 'are all written');
is(sql(q{SET DateStyle = 'German'; SET TimeZone = 'America/New_York'; SET IntervalStyle = 'iso_8601'; SELECT dlm_infill_undo('type_notes')}), 7 * 14,
	'and undone in another');
is(sql(q{SELECT count(*) FROM types WHERE num_nonnulls(x, c3, n, u, b, vb, v, e, ts, tt, day, m, r, id) > 0}), '0', 'all of them');
sql('CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES');
is(sql('SELECT dlm_infill_row(n) FROM nothing AS n'), '()', 'a row without columns');
is(sql(q{SELECT count(*) FROM dlm_infill_columns('nothing')}), '0', 'has none that can be filled');
sql('CREATE TABLE wide (' . join(', ', map { "c$_ boolean DEFAULT true" } 1 .. 1598) . ', id int PRIMARY KEY, gap tone)');
sql('INSERT INTO wide (id) VALUES (1), (2)');
is(sql(q{SELECT count((dlm_infill_row(w, '{"show": ["id"]}')).gap) FROM wide AS w}), '2', 'a row of 1600 columns');
sql(q{CALL dlm_infill_table('wide', '{gap}', options => '{"show": ["id"]}')});
is(sql('SELECT count(gap) FROM wide'), '2', 'is written, too');
sql(q{CREATE TABLE big (id int PRIMARY KEY, body text, gap tone, level int CHECK (level BETWEEN 1 AND 4), CHECK (tableoid > 0 AND level > 0));
ALTER TABLE big ADD dropped text DEFAULT 'x'; INSERT INTO big SELECT i, repeat(md5(i::text), 40000) FROM generate_series(1, 3) AS i; ALTER TABLE big DROP dropped;});
like(noise(q{SELECT dlm_infill_row(b) FROM big AS b}), qr/54000/, 'a row that is longer than the model takes');
sql(q{CALL dlm_infill_table('big')});
is(job(newest()), 'done|3|0|0|0|3', 'is one that fails');
sql(q{CALL dlm_infill_table('big', options => '{"show": ["id"]}')});
is(job(newest()), 'done|3|3|0|0|0', 'unless it is not shown');
is(sql('SELECT count(gap) || \' \' || min(length(body)) FROM big'), '3 1280000', 'and its text is whole');
sql('CREATE TABLE long (id int PRIMARY KEY, body text, gap tone); INSERT INTO long SELECT i, repeat(\'some words \', 500) FROM generate_series(1, 4) AS i');
like(noise(q{SET dlm.memo_mem = 0; SET dlm.max_session_memory = '1MB'; CALL dlm_infill_table('long')}), qr/53200/, 'dlm.max_session_memory is respected');
like(job(newest()), qr/^failed\|0\|/, 'and ends the fill');
sql('CALL dlm_infill_table(NULL, job_id => ' . newest() . ')');
is(job(newest()), 'done|4|4|0|0|0', 'which goes on with more');

# ------------------------------------------------------------ at the end
is(sql(q{SELECT count(*) FROM dlm_jobs WHERE state IN ('running', 'reading')}), '0', 'no job is running');
is(sql('SELECT count(dlm_job_delete(job_id)) > 0 FROM dlm_jobs'), 't', 'all can be deleted');
is(sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no lock is left');
at_rest($node, 'at the end');
eval { $holder->quit };
$node->stop;
done_testing();
