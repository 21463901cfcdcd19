"""A client that stays: mixed calls at the top level of a session, each answer checked, each row that was written counted."""
import random
import threading
import time

import calls
from session import Session

# weight of each kind of step
STEPS = {"read": 8, "bad": 3, "label": 4, "fill": 2, "row": 2, "pin": 2, "cursor": 2, "subtransaction": 2, "long": 3}
EXPECTED = {"00000", "57014"}


class Writer(threading.Thread):
    """done: rows that the server has acknowledged, by what was done; wrong: what may not be."""

    def __init__(self, number, until, answers, digest, models):
        super().__init__(name=f"writer {number}")
        self.number, self.until, self.answers, self.digest, self.models = number, until, answers, digest, models
        self.random = random.Random(number)
        self.session = Session(f"stays {number}")
        self.done = {"label": 0, "row": 0, "pin": 0}
        self.fills = []
        self.wrong = []
        self.usual = {}

    def call(self, kind, statement, states=EXPECTED):
        """Outcome of a statement, half of them with a time limit that ends some of them."""
        if self.random.random() < 0.6:
            self.limit(1 + int(self.random.random() * 1.3 * self.usual.get(kind, 50)))
        begun = time.monotonic()
        outcome = self.session.run(statement)
        if outcome.state == "00000":
            took = (time.monotonic() - begun) * 1000
            self.usual[kind] = 0.9 * self.usual.get(kind, took) + 0.1 * took
        self.limit(0)
        self.session.statements[kind, outcome.state] += 1
        if outcome.state not in states:
            self.wrong.append(f"{kind}: {outcome.state}: {statement}")
        return outcome

    def limit(self, ms):
        """A transaction that an error has ended takes no setting, and takes back those it was given."""
        for _ in range(20):
            if self.session.run(f"SET statement_timeout = {ms};").state != "57014":
                return

    def checked(self, kind, states=EXPECTED, part=None):
        """A read of the model that changes under its name: one of two answers; or of one that stays."""
        model = self.random.choice(("m", "m", "first", "second"))
        part = self.random.choice((1, 6)) if part is None else part
        outcome = self.call(kind, calls.read(kind, model, part), states)
        legal = {self.answers[kind, part, m] for m in (("first", "second") if model == "m" else (model,))}
        if outcome.state == "00000" and set(outcome.lines) - legal:
            self.wrong.append(f"{kind} of {model}, part {part}: another answer")

    def read(self):
        kind = self.random.choice([k for k in calls.READS if k != "long"])
        if kind == "parallel":
            self.session.must(calls.WORKERS)
        self.checked(kind)
        if kind == "parallel":
            self.session.must(calls.NO_WORKERS)
        if self.random.random() < 0.2:
            # a model that comes and goes
            self.call("embed", "SELECT count(dlm_embed(body, model => 'passing')) FROM texts WHERE id % 8 = 1;", EXPECTED | {"42704"})

    def long(self):
        self.checked("long")

    def bad(self):
        statement, state = self.random.choice(calls.BAD)
        self.call("bad", statement.replace("{models}", self.models), {state, "57014"})

    def label(self):
        part = self.random.randrange(8)
        outcome = self.call("label", f"UPDATE news_{self.number} SET label = dlm_classify(body, {calls.LABELS}, model => 'm') WHERE id % 8 = {part};")
        if outcome.state == "00000":
            self.done["label"] += outcome.rows

    def row(self):
        outcome = self.call("row", f"INSERT INTO kept SELECT {self.number}, (f).tone, (f).level "
                            "FROM (SELECT dlm_infill_row(g, model => 'm') AS f FROM gaps AS g OFFSET 0) AS q;")
        if outcome.state == "00000":
            self.done["row"] += outcome.rows

    def pin(self):
        outcome = self.call("pin", f"INSERT INTO pinned (writer, body) SELECT {self.number}, body FROM texts WHERE id % 16 = {self.random.randrange(16)};")
        if outcome.state == "00000":
            self.done["pin"] += outcome.rows

    def fill(self):
        """The table is emptied and filled; a fill that was stopped goes on, or the table is emptied again."""
        table = f"fill_{self.number}"
        self.session.must(f"UPDATE {table} SET tone = NULL, level = NULL WHERE tone IS NOT NULL OR level IS NOT NULL;")
        outcome = self.call("fill", f"CALL dlm_infill_table('{table}', batch => {self.random.choice((7, 20, 60))}, model => 'm');")
        job = self.session.must(f"SELECT max(job_id) FROM dlm_jobs WHERE name = 'public.{table}' AND state <> 'done';")[0]
        if outcome.state == "57014" and job and self.random.random() < 0.7:
            self.call("fill", f"CALL dlm_infill_table(NULL, job_id => {job});", EXPECTED)

    def cursor(self):
        """A cursor that is left half read: its transaction ends, or it is held and closed later."""
        hold = self.random.random() < 0.3
        self.session.must("CLOSE ALL;")
        self.session.must("BEGIN;")
        self.call("cursor", f"DECLARE half CURSOR {'WITH HOLD' if hold else ''} FOR SELECT dlm_infill(body || ' and [MASK:2] end', model => 'm') FROM texts WHERE id % 4 = 1;",
                  EXPECTED | {"25P02"})
        for _ in range(self.random.randrange(3)):
            self.call("cursor", f"FETCH {self.random.randrange(1, 12)} FROM half;", EXPECTED | {"25P02"})
        self.call("cursor", self.random.choice(("COMMIT;", "COMMIT;", "ROLLBACK;")))
        self.session.run("ROLLBACK;")

    def subtransaction(self):
        aborted = EXPECTED | {"25P02"}
        self.session.must("BEGIN;")
        for _ in range(3):
            self.call("subtransaction", "SAVEPOINT one;", aborted)
            statement, state = self.random.choice(calls.BAD)
            self.call("subtransaction", statement.replace("{models}", self.models), aborted | {state})
            self.call("subtransaction", "ROLLBACK TO one;", aborted | {"3B001"})
            self.checked(self.random.choice(("score", "classify")), aborted)
        self.session.run("ROLLBACK;")
        self.call("subtransaction", "DO $$BEGIN FOR i IN 1 .. 5 LOOP BEGIN PERFORM dlm_infill(body || CASE WHEN id = 9 * i THEN '' ELSE ' [MASK:2]' END, model => 'm') "
                  "FROM texts WHERE id < 40; EXCEPTION WHEN invalid_parameter_value THEN NULL; END; END LOOP; END$$;")

    def run(self):
        kinds, weights = list(STEPS), list(STEPS.values())
        try:
            while time.monotonic() < self.until:
                getattr(self, self.random.choices(kinds, weights)[0])()
            self.session.run("ROLLBACK;")
            self.limit(0)
        except Exception as e:          # whatever ended it is a failed check
            self.wrong.append(f"session ended: {e!r}")
