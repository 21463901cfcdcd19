-- A tour: label messages, correct the doubtful ones, teach a model, fill columns, audit, undo.
--   psql -X -e -f examples/tour.sql        (after make demo, or on any server with the extension; some minutes on two cores)
-- It works in a schema of its own, dlm_tour, which it drops first. docs/tour.md tells what comes out. The messages are made up; CC0.
\set ON_ERROR_STOP on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS dlm;
SELECT count(dlm_drop_model(name)) AS dropped FROM dlm_models WHERE name = 'tour';
DROP SCHEMA IF EXISTS dlm_tour CASCADE;
CREATE SCHEMA dlm_tour;
SET search_path = dlm_tour, public;
SET client_min_messages = notice;

-- 1. A table

CREATE TYPE queue AS ENUM ('delivery', 'payment', 'return', 'repair');
CREATE TYPE department AS ENUM ('furniture', 'kitchen', 'electronics', 'sports', 'shoes');
CREATE TABLE product (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO product VALUES (11, 'lamp'), (12, 'kettle'), (13, 'chair'), (14, 'bike'), (15, 'phone'), (16, 'boots');
CREATE TABLE message (
    id int PRIMARY KEY,
    body text NOT NULL,
    truth queue NOT NULL,                   -- what a person says
    label queue, margin float8,             -- what the model says, and its lead over the second best label
    checked boolean NOT NULL DEFAULT false, -- has a person looked at the label?
    product int REFERENCES product,
    department department
);
INSERT INTO message (id, body, truth) VALUES
    (1, 'My lamp was due on Monday and is still not here.', 'delivery'),
    (2, 'Where is my parcel? The kettle should have come last week.', 'delivery'),
    (3, 'The driver left the chair with a neighbour I do not know.', 'delivery'),
    (4, 'Can you send the bike to my office instead of my home?', 'delivery'),
    (5, 'Tracking says that the phone has been in the same depot for six days.', 'delivery'),
    (6, 'Two weeks, and no sign of my boots. This is a joke.', 'delivery'),
    (7, 'Please do not ring before nine when you bring the chair.', 'delivery'),
    (8, 'The box arrived, but the lamp is not in it.', 'delivery'),
    (9, 'I have moved. Please use my new address for the kettle.', 'delivery'),
    (10, 'Nobody was at home when the courier brought the phone. What now?', 'delivery'),
    (11, 'When will the bike be with me?', 'delivery'),
    (12, 'The boots came to the wrong town. Unbelievable.', 'delivery'),
    (13, 'You have charged me twice for the kettle.', 'payment'),
    (14, 'My card was refused when I wanted to buy the lamp.', 'payment'),
    (15, 'May I pay for the bike in three parts?', 'payment'),
    (16, 'I need an invoice for the chair with the name of my company.', 'payment'),
    (17, 'The voucher was not taken off the price of the boots.', 'payment'),
    (18, 'The bill for the phone is 20 euros too high. I am furious.', 'payment'),
    (19, 'Which cards do you accept?', 'payment'),
    (20, 'You took the money for the chair, but there is no order.', 'payment'),
    (21, 'How do I get a receipt for the lamp?', 'payment'),
    (22, 'The price of the kettle on my statement is not the one on your page.', 'payment'),
    (23, 'I paid for the phone by bank transfer yesterday. Have you got it?', 'payment'),
    (24, 'Why did you take 15 euros more than the boots cost? Shame on you.', 'payment'),
    (25, 'The boots are too small. How do I send them back?', 'return'),
    (26, 'I do not like the colour of the lamp and want to give it back.', 'return'),
    (27, 'I ordered the wrong phone. Can I swap it for the larger one?', 'return'),
    (28, 'The chair does not fit under my desk, so I would like to return it.', 'return'),
    (29, 'Please send me a label for sending the kettle back.', 'return'),
    (30, 'How many days do I have to change my mind about the bike?', 'return'),
    (31, 'My husband has bought the same lamp. May I bring mine back?', 'return'),
    (32, 'I sent the boots back ten days ago and have heard nothing. Not good enough.', 'return'),
    (33, 'I do not want the chair any more. What do I do with it?', 'return'),
    (34, 'Can I exchange the kettle for a black one?', 'return'),
    (35, 'The phone was a present and is not wanted. Can it go back?', 'return'),
    (36, 'You sent a red bike, I wanted a blue one. Take it away.', 'return'),
    (37, 'The kettle leaks at the bottom.', 'repair'),
    (38, 'The lamp flickers whenever I touch the switch.', 'repair'),
    (39, 'After one week the screen of the phone is black.', 'repair'),
    (40, 'A wheel of the bike wobbles. Can somebody look at it?', 'repair'),
    (41, 'One leg of the chair is broken, and I fell. I am very angry.', 'repair'),
    (42, 'The sole of the boots is coming off.', 'repair'),
    (43, 'The phone gets so hot that I cannot hold it.', 'repair'),
    (44, 'Do you have a new battery for the phone? The old one is dead.', 'repair'),
    (45, 'The kettle no longer switches itself off. This is dangerous!', 'repair'),
    (46, 'The brakes of the bike squeal. Is that normal?', 'repair'),
    (47, 'The chair squeaks, otherwise I love it. Thank you!', 'repair'),
    (48, 'The zip of the boots is stuck after two days. Useless.', 'repair');

-- 2. Label the rows

UPDATE message SET (label, margin) =
    (SELECT f.label::queue, f.margin FROM dlm_classify_full(body, enum_range(NULL::queue)::text[]) AS f);
SELECT count(*) AS rows, count(*) FILTER (WHERE label = truth) AS right FROM message;

-- 3. Find the doubtful ones, and correct them; look at every fourth row, too

SELECT id, body, label, round(margin::numeric, 3) AS margin FROM message ORDER BY margin LIMIT 8;
UPDATE message SET label = truth, checked = true WHERE id % 2 = 0;

-- 4. Teach a model with the corrected rows, and label the others again

CALL dlm_finetune('tour', 'dlm-135m',
    'SELECT body AS input, label AS target, enum_range(NULL::queue) AS labels FROM message WHERE checked ORDER BY id',
    options => '{"epochs": 5, "validation_share": 0}');
SELECT state, step, loss, finished - started AS took FROM dlm_jobs ORDER BY job_id DESC LIMIT 1;
SELECT count(*) AS rows, count(*) FILTER (WHERE label = truth) AS right_before FROM message WHERE NOT checked;
UPDATE message SET label = dlm_classify(body, enum_range(NULL::queue)::text[], model => 'tour')::queue WHERE NOT checked;
SELECT count(*) AS rows, count(*) FILTER (WHERE label = truth) AS right_after FROM message WHERE NOT checked;

-- 5. Fill two columns: look first, then write

SELECT * FROM dlm_infill_columns('message') WHERE "column" IN ('product', 'department');
SELECT key ->> 'id' AS id, "column", value, round(confidence::numeric, 3) AS confidence
FROM dlm_infill_preview('message', '{product,department}', batch => 4, options => '{"show": ["body"]}');
CALL dlm_infill_table('message', '{product,department}',
    options => '{"show": ["body"], "min_confidence": 0.6, "provenance": "filled"}');
SELECT m.id, body, p.name AS product, department FROM message AS m LEFT JOIN product AS p ON p.id = m.product ORDER BY m.id LIMIT 9;

-- 6. Audit

SELECT "column", written, count(*), round(avg(confidence)::numeric, 2) AS confidence FROM filled GROUP BY 1, 2 ORDER BY 1, 2;
SELECT m.id, body, p.name AS product, round(confidence::numeric, 3) AS confidence
FROM filled AS f JOIN message AS m ON m.id = (f.key ->> 'id')::int JOIN product AS p ON p.id = f.value::int
WHERE "column" = 'product' AND written AND body !~* p.name;
SELECT p.name AS product, department, count(*) FROM message AS m JOIN product AS p ON p.id = m.product
WHERE department IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2;
SELECT key ->> 'id' AS id, "column", value, round(confidence::numeric, 3) AS confidence
FROM filled WHERE key IN ('{"id": "4"}', '{"id": "9"}') ORDER BY 1, 2;
UPDATE message SET department = 'sports' WHERE body ~ 'bike';
UPDATE message SET department = 'electronics' WHERE body ~ 'phone';
UPDATE message SET product = NULL, department = NULL WHERE id = 19;

-- 7. Undo: what was corrected since stays

SELECT dlm_infill_undo('filled') AS cleared;
SELECT count(product) AS products, count(department) AS departments FROM message;
SELECT id, product, department FROM message WHERE product IS NOT NULL OR department IS NOT NULL ORDER BY id;
SELECT key, "column", value FROM filled WHERE written AND key IN ('{"id": "4"}', '{"id": "19"}') ORDER BY 1, 2;
