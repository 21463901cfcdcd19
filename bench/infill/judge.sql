-- Does a table take what was written into the gaps of a row? run.py loads this file.
--
-- A value is judged where it belongs: the row of the real table is updated with it, in a subtransaction that is always rolled back, so types, domains, CHECKs, foreign keys
-- and unique indexes all have their say.

CREATE SCHEMA IF NOT EXISTS infill;

-- Writes some columns of `filled` into a row and takes them back -> why the table refused, and the row as it would have been stored.
CREATE OR REPLACE FUNCTION infill.attempt(tab regclass, key_column name, key text, filled jsonb, columns text[], OUT refusal text, OUT stored jsonb) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('UPDATE %s t SET (%s) = (SELECT %s FROM jsonb_populate_record(NULL::%s, $1) v) WHERE t.%I::text = $2 RETURNING to_jsonb(t)',
                   tab, (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) c), (SELECT string_agg('v.' || quote_ident(c), ', ') FROM unnest(columns) c), tab, key_column)
    INTO STRICT stored
    USING (SELECT jsonb_object_agg(c, filled -> c) FROM unnest(columns) c), key;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN refusal := NULL;
    WHEN OTHERS THEN refusal := SQLSTATE || ' ' || SQLERRM;
END $$;

-- The columns of a table that are to be filled where they are NULL: no generated ones, no identities.
CREATE OR REPLACE FUNCTION infill.targets(tab regclass) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = tab AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''
$$;

-- -> {"together": why the whole row was refused or null, "cells": {column: {"value", "stored", "refusal"}}}; a cell that was left NULL has a null value.
CREATE OR REPLACE FUNCTION infill.judge(tab regclass, key_column name, key text, filled jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    before jsonb;
    gaps text[];
    written text[];
    cells jsonb := '{}';
    whole record;
    alone record;
    together text;
    c text;
BEGIN
    EXECUTE format('SELECT to_jsonb(t) FROM %s t WHERE t.%I::text = $1', tab, key_column) INTO STRICT before USING key;
    gaps := ARRAY(SELECT g FROM unnest(infill.targets(tab)) g WHERE before -> g = 'null');
    written := ARRAY(SELECT g FROM unnest(gaps) g WHERE coalesce(filled -> g, 'null') <> 'null');
    IF written <> '{}' THEN
        whole := infill.attempt(tab, key_column, key, filled, written);
        together := whole.refusal;
    END IF;
    FOREACH c IN ARRAY gaps LOOP
        IF c <> ALL (written) THEN
            cells := cells || jsonb_build_object(c, jsonb_build_object('value', NULL));
            CONTINUE;
        END IF;
        alone := whole;
        IF whole.refusal IS NOT NULL THEN
            alone := infill.attempt(tab, key_column, key, filled, ARRAY[c]);
        END IF;
        cells := cells || jsonb_build_object(c, jsonb_build_object('value', filled ->> c, 'stored', alone.stored ->> c, 'refusal', alone.refusal));
    END LOOP;
    RETURN jsonb_build_object('together', together, 'cells', cells);
END $$;
