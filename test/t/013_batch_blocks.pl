# Batches inside of what opens and closes transactions, sub-transactions and
# portals around them: PL/pgSQL blocks, cursors, procedures that commit,
# InitPlans, rescans, several nodes of one statement.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use DlmTest;

my $node = new_node('batch_blocks', 'max_parallel_workers_per_gather = 0', 'jit = off', 'autovacuum = off');
my $tiny = "model => 'tiny'";
my $told = "dlm_infill('a [MASK:2] in ' || dlm_quote(body), $tiny)";

load_tiny($node, 'tiny', 'llama');
$node->safe_psql('postgres', q{
CREATE TABLE r (id int PRIMARY KEY, body text, label text);
INSERT INTO r SELECT i, 'row ' || i FROM generate_series(1, 400) AS i;
VACUUM ANALYZE r;
CREATE FUNCTION may_fail(value text, bad boolean) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF bad THEN
		RAISE EXCEPTION 'no % today', value;
	END IF;
	RETURN value;
END $$;
CREATE FUNCTION caught(value text, bad boolean) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN may_fail(value, bad);
EXCEPTION WHEN OTHERS THEN
	RETURN 'caught';
END $$;
CREATE FUNCTION looked_up(n int) RETURNS text LANGUAGE sql STABLE AS 'SELECT body FROM r WHERE id = n OR id = 1 ORDER BY id DESC LIMIT 1';
CREATE FUNCTION counted(n int) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	c refcursor;
	value text;
BEGIN
	OPEN c FOR SELECT body FROM r;
	FETCH c INTO value;
	RETURN value || n;
END $$;
});

# A query gives the same with and without batches, and says nothing beside it.
sub same
{
	my ($test, $sql, $pattern) = @_;
	my %got;

	foreach my $batching ('on', 'off')
	{
		my ($rc, $out, $err) = $node->psql('postgres', "SET dlm.enable_batching = $batching; $sql", on_error_stop => 0);

		$got{$batching} = $out . ($err =~ s/^psql:<stdin>:\d+: //mgr);
	}
	is($got{on}, $got{off}, "$test: as without batches");
	like($got{on}, $pattern // qr/^[0-9a-f]{32}/, "$test: it has an answer");
	return;
}

sub digest
{
	my ($expression, $from) = @_;

	return "SELECT md5(string_agg($expression, ',' ORDER BY id)) FROM " . ($from // 'r');
}

# ------------------------------------------- arguments, each batch's in a subtransaction
my %arguments = (
	'a plpgsql function' => 'may_fail(body, false)',
	'a function that catches errors' => 'caught(body, id % 3 = 0)',
	'a SQL function' => 'looked_up(id)',
	'a function that leaves a cursor open' => 'counted(id)',
	'a LIMIT in an InitPlan' => 'upper(body || (SELECT body FROM r LIMIT 1))',
	'an EXISTS in an InitPlan' => 'upper(body || EXISTS (SELECT FROM r AS other WHERE other.id > 5))',
	'an InitPlan in a branch' => 'CASE WHEN id % 2 = 0 THEN upper(body || (SELECT body FROM r LIMIT 1)) ELSE body END',
	'a sub-select of the row' => 'upper((SELECT other.body FROM r AS other WHERE other.id = r.id))',
	'a sub-select that stops early' => 'upper((SELECT other.body FROM r AS other WHERE other.id >= r.id ORDER BY id LIMIT 1))');

foreach my $kind (sort keys %arguments)
{
	same($kind, digest($told =~ s/\bbody\b/$arguments{$kind}/r));
}
same('an error of row 200', digest($told =~ s/\bbody\b/may_fail(body, id = 200)/r), qr/no row 200 today/);
same('an error that LIMIT does not reach', "SELECT count(x) FROM (SELECT " . ($told =~ s/\bbody\b/may_fail(body, id = 200)/r)
	  . ' AS x FROM r ORDER BY id LIMIT 199) AS q', qr/^199/);

# ------------------------------------------------------------------------- rescans
my $sampled = "dlm_infill('a [MASK:3] of ' || (body IS NULL), seed => v.x, temperature => 2, $tiny)";

same('a parameter that changes between rescans', digest('l.id || l.told', "(VALUES (1::bigint), (2), (3)) AS v(x),
	LATERAL (SELECT v.x || ' ' || id AS id, $sampled AS told FROM r WHERE id < 5 OFFSET 0) AS l"));
same('a correlated sub-select', digest("v.x || v.told", "(SELECT v.x AS id, v.x, (SELECT string_agg($sampled, ',' ORDER BY id)
	FROM r WHERE id < 5) AS told FROM (VALUES (1::bigint), (2), (3)) AS v(x)) AS v"));
my $changed = $node->safe_psql('postgres', "SELECT count(DISTINCT told) FROM (VALUES (1::bigint), (2), (3)) AS v(x),
	LATERAL (SELECT $sampled AS told FROM r WHERE id < 3 OFFSET 0) AS l");
is($changed, '3', 'three seeds give three answers');

# ------------------------------------------- several nodes, with little memory for answers
my $little = 'SET dlm.batch_mem = 64; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;';

same('a node over another that is further on', "$little " . digest("dlm_infill('b [MASK] ' || dlm_quote(told), $tiny) || told",
	"(SELECT id, $told AS told FROM r OFFSET 0) AS q WHERE md5(told) < 'a'"));
same('nodes that take turns', "$little " . digest('a.told || b.told', "(SELECT id, $told AS told FROM r OFFSET 0) AS a
	JOIN (SELECT id AS other, $told AS told FROM r WHERE id < 30 OFFSET 0) AS b ON b.other = a.id % 29 + 1 WHERE a.id < 90"));
same('a union', digest('told', "(SELECT id, $told AS told FROM r UNION ALL SELECT 1000 + id, $told FROM r) AS u"));

# ------------------------------------------------------------------ PL/pgSQL and SPI
same('a block that catches the error of a batch', qq{
CREATE TEMP TABLE seen (n int, what text);
DO \$\$
DECLARE
	n int := 0;
	what text;
BEGIN
	FOR i IN 1 .. 5 LOOP
		BEGIN
			FOR what IN SELECT } . ($told =~ s/\bbody\b/may_fail(body, id = 10 * i)/r) . qq{ FROM r ORDER BY id LOOP
				n := n + 1;
			END LOOP;
		EXCEPTION WHEN raise_exception THEN
			INSERT INTO seen VALUES (n, SQLERRM);
		END;
	END LOOP;
END \$\$;
SELECT string_agg(n || ' ' || what, ',' ORDER BY n) FROM seen}, qr/^9 no row 10 today,28 no row 20 today,57 /);

same('a cursor that outlives blocks', qq{
CREATE TEMP TABLE seen (what text);
DO \$\$
DECLARE
	c CURSOR FOR SELECT $told AS what FROM r ORDER BY id;
	row record;
BEGIN
	OPEN c;
	FOR i IN 1 .. 300 LOOP
		BEGIN
			FETCH c INTO row;
			INSERT INTO seen VALUES (row.what);
			IF i % 7 = 0 THEN
				RAISE EXCEPTION 'undo';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
END \$\$;
SELECT count(*), md5(string_agg(what, ',' ORDER BY what)) FROM seen}, qr/^258\|/);

same('a procedure that commits and rolls back between rows', qq{
CREATE TABLE seen (id int, what text);
DO \$\$
DECLARE
	row record;
	n int := 0;
BEGIN
	FOR row IN SELECT id, $told AS what FROM r ORDER BY id LOOP
		INSERT INTO seen VALUES (row.id, row.what);
		n := n + 1;
		IF n % 10 = 0 THEN
			ROLLBACK;
		ELSIF n % 5 = 0 THEN
			COMMIT;
		END IF;
	END LOOP;
END \$\$;
SELECT count(*), md5(string_agg(what, ',' ORDER BY id)) FROM seen;
DROP TABLE seen}, qr/^200\|/);

same('a cursor that is held over its transaction', qq{
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT } . ($told =~ s/\bbody\b/may_fail(body, false)/r) . qq{ FROM r ORDER BY id;
FETCH 3 FROM c;
SAVEPOINT s;
FETCH 3 FROM c;
ROLLBACK TO s;
FETCH 3 FROM c;
COMMIT;
FETCH 3 FROM c;
CLOSE c}, qr/row 12$/);

same('a savepoint around a batch that fails', qq{
BEGIN;
UPDATE r SET label = 'before' WHERE id = 1;
SAVEPOINT s;
UPDATE r SET label = } . ($told =~ s/\bbody\b/may_fail(body, id = 300)/r) . qq{;
ROLLBACK TO s;
UPDATE r SET label = $told WHERE id < 100 AND id > 1;
SELECT count(label), min(label), max(label) FROM r;
ROLLBACK}, qr/^99\|a .*\|before/m);

same('triggers that see the rows before', qq{
BEGIN;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.label := NEW.label || (SELECT count(label) FROM r); RETURN NEW; END';
CREATE TRIGGER note BEFORE UPDATE ON r FOR EACH ROW EXECUTE FUNCTION note();
UPDATE r SET label = } . ($told =~ s/\bbody\b/may_fail(body, false)/r) . qq{;
} . digest('label') . qq{;
ROLLBACK}, qr/^[0-9a-f]{32}/m);

unlike(slurp_log($node), qr/WARNING|leak|PANIC|TRAP/, 'the server has nothing to warn of');
at_rest($node, 'at the end');
$node->stop;

done_testing();
