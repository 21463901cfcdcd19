-- What the planner and the reader are told about every object of the extension.
CREATE TEMP VIEW member AS
SELECT p.proname AS name, p.*
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dlm');
-- inference functions: STABLE (the pinned ones IMMUTABLE), PARALLEL SAFE, not STRICT, priced, with a support function
SELECT name, provolatile AS volatile, proparallel AS parallel,
	proisstrict AS strict, procost AS cost, prorows AS "rows", prosupport AS support
FROM member
WHERE prosupport <> 0
ORDER BY name, pronargs, proargtypes::text;
-- the others
SELECT name, provolatile AS volatile, proparallel AS parallel, proisstrict AS strict
FROM member
WHERE prosupport = 0
ORDER BY name, pronargs, proargtypes::text;
-- every inference function takes a model, as its last argument, NULL by default; the IMMUTABLE ones a digest, as the first
SELECT name, pg_get_function_arguments(oid)
FROM member
WHERE prosupport <> 0 AND pg_get_function_arguments(oid) !~
	CASE provolatile WHEN 'i' THEN '^digest text, (?!.*model)' ELSE 'model text DEFAULT NULL::text$' END;
-- a pinned form has the arguments of the other, but for the digest and the model, and gives the same
SELECT a.name, pg_get_function_arguments(a.oid)
FROM member a
WHERE a.name ~ '_pinned$' AND NOT EXISTS (SELECT FROM member b WHERE b.name || '_pinned' = a.name AND b.prorettype = a.prorettype AND
	'digest text, ' || regexp_replace(pg_get_function_arguments(b.oid), ', model text.*$', '') = pg_get_function_arguments(a.oid));
-- no object without a comment; from 18 on row types of views and types of arrays are members too
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS "without comment"
FROM pg_depend d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dlm')
	AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_foreign_server'::regclass,
					  'pg_foreign_data_wrapper'::regclass, 'pg_type'::regclass)
	AND obj_description(d.objid, d.classid::regclass::name) IS NULL
	AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
		WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND (t.typcategory = 'A' OR c.relkind <> 'c'))
ORDER BY 1;
SELECT obj_description('dlm_label'::regtype, 'pg_type');
-- the columns of the views are an interface
SELECT attrelid::regclass AS view, string_agg(attname || ' ' || format_type(atttypid, atttypmod), E'\n' ORDER BY attnum) AS columns
FROM pg_attribute
WHERE attrelid IN ('dlm_activity'::regclass, 'dlm_models'::regclass, 'dlm_stats'::regclass) AND attnum > 0
GROUP BY attrelid ORDER BY attrelid::regclass::text;
SELECT pg_get_function_arguments('dlm_stats_info'::regproc);
-- every argument has a name
SELECT name, proargnames FROM member
WHERE pronargs > 0 AND (proargnames IS NULL OR '' = ANY (proargnames[1:pronargs])) ORDER BY 1;
-- C functions do not read the search path: the names of the library carry a prefix
SELECT name, prosrc FROM member WHERE probin IS NOT NULL AND prosrc !~ '^dlm_' ORDER BY 1;
