-- Tables of bench/soak.sh. Each of the writers 1 to 7 has tables of its own, and
-- a trigger notes every change of an answer in the writer's transaction: from
-- the ledger the tables' end can be checked exactly.
SET client_min_messages = warning;
CREATE EXTENSION dlm;

CREATE TABLE texts (id int PRIMARY KEY, body text NOT NULL, filler text NOT NULL) WITH (parallel_workers = 2);
ALTER TABLE texts ALTER filler SET STORAGE PLAIN;
INSERT INTO texts SELECT i, 'row ' || i || (ARRAY[' of rain', ' of sun', ''])[1 + i % 3], repeat('x', 1000) FROM generate_series(1, 200) AS i;
CREATE TABLE gaps (id int PRIMARY KEY, note text, tone text CHECK (tone IN ('light', 'dark')), level int CHECK (level BETWEEN 1 AND 4));
INSERT INTO gaps (id, note) SELECT i, 'note ' || i FROM generate_series(1, 20) AS i;
ANALYZE texts, gaps;

CREATE TABLE ledger (seq bigserial PRIMARY KEY, place name NOT NULL, id int NOT NULL, before text, after text);
-- what the sessions of pgbench do, in the transactions that do it
CREATE TABLE deed (writer int NOT NULL, kind text NOT NULL, state text NOT NULL, rows bigint NOT NULL);
CREATE TABLE kept (writer int NOT NULL, tone text NOT NULL, level int NOT NULL);

CREATE FUNCTION answer(record jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$SELECT nullif(concat_ws(' ', record ->> 'label', record ->> 'tone', record ->> 'level'), '')$$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger (place, id, before, after) VALUES (TG_TABLE_NAME, NEW.id, answer(to_jsonb(OLD)), answer(to_jsonb(NEW)));
    RETURN NULL;
END $$;

SELECT format('CREATE TABLE news_%1$s (id int PRIMARY KEY, body text NOT NULL, label text CHECK (label IN (''wet'', ''dry'', ''unknown'')));
    INSERT INTO news_%1$s SELECT id, body FROM texts;
    CREATE TRIGGER note AFTER UPDATE ON news_%1$s FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TABLE fill_%1$s (LIKE gaps INCLUDING ALL);
    INSERT INTO fill_%1$s (id, note) SELECT i, ''note '' || i FROM generate_series(1, 60) AS i;
    CREATE TRIGGER note AFTER UPDATE ON fill_%1$s FOR EACH ROW EXECUTE FUNCTION note()', writer)
FROM generate_series(1, 7) AS writer \gexec

-- One statement, whose error of any kind is caught: pgbench gives a client up at its first error.
CREATE FUNCTION attempt(writer int, kind text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text := '00000';
    n bigint := 0;
BEGIN
    BEGIN
        EXECUTE statement;
        GET DIAGNOSTICS n = ROW_COUNT;
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        state := SQLSTATE;
        n := 0;
    END;
    INSERT INTO deed VALUES (writer, kind, state, n);
    RETURN state;
END $$;
