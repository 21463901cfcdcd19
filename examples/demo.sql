-- The demo's table: 400 messages with the right answer beside each.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS dlm;
DROP TABLE IF EXISTS messages;
CREATE TABLE messages (
    id          int PRIMARY KEY,
    kind        text NOT NULL,          -- what is asked: label, infill, generate
    instruction text NOT NULL,
    body        text NOT NULL,
    truth       text NOT NULL,
    answer      text                    -- what the model says
);
\copy messages (id, kind, instruction, body, truth) FROM 'examples/messages.tsv'
ANALYZE messages;
