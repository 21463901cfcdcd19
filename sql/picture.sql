-- The denoising as a page and as a drawing: the rows of dlm_trace, in well-formed XML; texts and tokens stay data.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
\set llama :abs_srcdir '/test/models/llama'
SET client_min_messages = warning;
SELECT dlm_load_model('tiny & <small>', :'llama') IS NOT NULL AS loaded;
RESET client_min_messages;
\pset format unaligned
-- a drawing as it is, but for its style; the rows of a page's table
SELECT regexp_replace(dlm_trace_svg('rain [MASK:2] sun', steps => 2, model => 'tiny & <small>'), '<style>.*</style>', '<style/>');
CREATE FUNCTION pg_temp.page_rows(page text) RETURNS TABLE (step int, canvas text, changes text) LANGUAGE sql AS $$
	SELECT r.step, r.canvas, r.changes FROM XMLTABLE('/html/body/table/tbody/tr' PASSING xmlparse(DOCUMENT page)
		COLUMNS step int PATH 'th', canvas text PATH 'td[1]', changes text PATH 'td[2]') r;
$$;
SELECT * FROM pg_temp.page_rows(dlm_trace_html('The [MASK:3] of Germany is Berlin, and Paris is the [MASK:4].'));
-- what a step changed is marked in its canvas, tokens are shaded
SELECT xpath('/html/body/table/tbody/tr[3]/td[1]/*', xmlparse(DOCUMENT
	dlm_trace_html('The [MASK:3] of Germany is Berlin, and Paris is the [MASK:4].')));
-- the same steps, canvases and changes as dlm_trace has, with masks, re-masks and revised tokens
CREATE TEMP TABLE asked (n int, template text, steps int, options jsonb, model text);
INSERT INTO asked VALUES
	(1, 'I like [MASK:6] in the [MASK:6].', 8, '{"sampler": "reparam-uncond-stochastic0.5-linear"}', NULL),
	(2, 'I like [MASK:6] in the [MASK:6].', 12, '{"sampler": "reparam-cond-deterministic-linear"}', 'tiny & <small>'),
	(3, E'Name: [MASK:1-3]\r\n\tCity: [MASK]\n', NULL, NULL, NULL),
	(4, '[MASK]', NULL, NULL, 'tiny & <small>'),
	(5, '[MASK:2][MASK:2]', 1, NULL, 'tiny & <small>');
CREATE TEMP TABLE traced AS
	SELECT n, step, count(*) AS changes, min(replace(replace(canvas, '<|mask|>', '___'), E'\r', U&'\240D')) AS canvas, array_agg(DISTINCT event) AS events
	FROM asked, dlm_trace(template, steps, options => options, model => model) GROUP BY n, step;
SELECT DISTINCT unnest(events) AS events FROM traced ORDER BY 1;
SELECT n, bool_and(t.step IS NOT NULL AND p.step IS NOT NULL) AS steps, bool_and(t.canvas = p.canvas) AS canvas,
	bool_and(t.changes = cardinality(string_to_array(p.changes, '; '))) AS changes
FROM (SELECT n, p.* FROM asked, pg_temp.page_rows(dlm_trace_html(template, steps, options => options, model => model)) p WHERE step > 0) p
FULL JOIN traced t USING (n, step) GROUP BY n ORDER BY n;
-- the text is the answer; before the first step all is masked; the slider ends where the table does
CREATE FUNCTION pg_temp.number_of(page text, path text) RETURNS int LANGUAGE sql AS $$
	SELECT (xpath(path, xmlparse(DOCUMENT page)))[1]::text::int
$$;
SELECT n, (SELECT t FROM XMLTABLE('//p[@id="text"]' PASSING xmlparse(DOCUMENT page) COLUMNS t text PATH '.')) =
		replace(dlm_infill(template, steps, options => options, model => model), E'\r', U&'\240D') AS answer,
	pg_temp.number_of(page, 'number(//input/@max)') + 1 = pg_temp.number_of(page, 'count(//tbody/tr)') AS slider,
	pg_temp.number_of(page, 'count(//tbody/tr[1]//i)') AS masks, pg_temp.number_of(page, 'count(//tbody/tr[1]//b)') AS tokens
FROM asked, dlm_trace_html(template, steps, options => options, model => model) page ORDER BY n;
-- a page asks for nothing and is small
SELECT page ~ '^[\x01-\x7f]*$' AS ascii, page !~* '(https?:|//|url\(|@import|src=|href=)' AS alone, length(page) < 20000 AS small
FROM dlm_trace_html('I like [MASK:8] in the morning, and [MASK:8] in the evening.') page;
-- hostile text: nothing of it is markup, and a page shows all of it, control characters as their pictures
CREATE FUNCTION pg_temp.shown(value text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN c IN (E'\n', E'\t') THEN c WHEN c < ' ' COLLATE "C" THEN chr(9216 + ascii(c)) WHEN c = chr(127) THEN chr(9249)
		WHEN c = chr(133) OR ascii(c) & 65534 = 65534 THEN chr(65533) ELSE c END, '' ORDER BY n)
	FROM string_to_table(value, NULL) WITH ORDINALITY t (c, n)
$$;
CREATE TEMP TABLE hostile (n int, value text);
INSERT INTO hostile VALUES
	(1, '<script>alert("1")</script>'),
	(2, '''"></td><img src=x onerror=alert(1)>&amp;&lt;&#60;'),
	(3, '<!-- ]]> <![CDATA[ --> <?php ?>'),
	(4, '</style></title></text></svg>'),
	(5, 'é 日本 😀' || U&' e\0301 \202E \FFFE \FFFF \+01FFFF \0085'),
	(6, (SELECT string_agg(chr(i), '') FROM generate_series(1, 127) i)),
	(7, '{{7*7}} ${7} %s %n \u0041 \n');
SELECT n, page ~ '^[\x01-\x7f]*$' AND picture ~ '^[\x01-\x7f]*$' AND page || picture !~ '[\x01-\x08\x0b-\x1f\x7f]' AS ascii,
	length(page || picture) - length(replace(page || picture, '<script', '')) = length('<script') AS one_script,
	pg_temp.number_of(page, 'count(//*)') - pg_temp.number_of(plain, 'count(//*)') AS more_elements,
	pg_temp.number_of(page, 'count(//@*)') - pg_temp.number_of(plain, 'count(//@*)') AS more_attributes,
	pg_temp.number_of(picture, 'count(//*[not(contains("|svg|title|style|rect|text|path|line|", concat("|", local-name(), "|")))])') AS others_drawn,
	(SELECT canvas FROM pg_temp.page_rows(page) WHERE step = 0) = pg_temp.shown(value) || ' ______' || pg_temp.shown(value) AS shown
FROM hostile, LATERAL (SELECT dlm_quote(value) || ' [MASK:2]' || dlm_quote(value), 'tiny & <small>') q (template, model),
	dlm_trace_html(template, 1, model => model) page, dlm_trace_svg(template, 1, model => model) picture,
	dlm_trace_html('x [MASK:2]x', 1, model => q.model) plain
ORDER BY n;
-- whatever tokens are drawn, also parts of characters
SELECT count(xmlparse(DOCUMENT dlm_trace_html('In [MASK:12]', 4, 5, i, model => model))) AS pages,
	count(xmlparse(DOCUMENT dlm_trace_svg('In [MASK:12]', 4, 5, i, model => model))) AS pictures
FROM (VALUES (NULL, 2), ('tiny & <small>', 8)) m (model, n), generate_series(1, n) i;
-- long text is cut around gaps, in the text at the end it is not; a wide canvas takes several lines
SELECT length(page) < 5000 AS page, length(picture) < 15000 AS picture, page LIKE '%' || rtrim(t) || ' </p>%' AS whole,
	pg_temp.number_of(picture, 'number(/*/@width)') < 1000 AS narrow, pg_temp.number_of(picture, 'number(/*/@height)') AS height
FROM (SELECT repeat('long text ', 60)) t (t), dlm_trace_html('[MASK] ' || t, 1) page, dlm_trace_svg('[MASK:40] ' || t, 1) picture;
-- generation
SELECT (SELECT array_agg(step ORDER BY step) FROM pg_temp.page_rows(dlm_trace_generate_html('Name a fruit.', 8, 4)) WHERE step > 0) =
	(SELECT array_agg(DISTINCT step ORDER BY step) FROM dlm_trace_generate('Name a fruit.', 8, 4)) AS steps;
SELECT pg_temp.number_of(picture, 'count(//*[@class="m"])') AS masks
FROM dlm_trace_generate_svg('Name a fruit.', 4, 1, options => '{"length": "fixed"}') picture;
-- NULL and errors as those of the rows
SELECT dlm_trace_html('far too [MASK] for ' || repeat('it ', 10000), options => '{"on_overflow": "null"}') IS NULL AS html,
	dlm_trace_svg('no gap', options => '{"on_error": "null"}') IS NULL AS svg;
SELECT code, message FROM pg_temp.fails($$SELECT dlm_trace_svg('no gap')$$);
SELECT code, message FROM pg_temp.fails($$SELECT dlm_trace_generate_html('a', steps => 0)$$);
-- rows of a table
SELECT count(DISTINCT dlm_trace_svg('rain ' || i % 2 || ' [MASK]', 1, model => 'tiny & <small>')) AS pictures FROM generate_series(1, 4) i;
SELECT dlm_drop_model('tiny & <small>');
