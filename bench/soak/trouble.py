"""Who disturbs: cancels and ended sessions, models that change, settings that change, and the sessions of pgbench that all this happens to."""
import os
import random
import re
import subprocess
import threading
import time

from session import Session

HERE = os.path.dirname(os.path.abspath(__file__))
SETTINGS = {
    "dlm.cache_mem": ("0", "64kB", "256kB", "1MB"),
    "dlm.batch_size": ("1", "8", "64"),
    "dlm.batch_mem": ("1MB", "64MB"),
    "dlm.enable_batching": ("on", "on", "off"),
    "dlm.max_threads": ("1", "2", "4"),
    "dlm.threads_per_worker": ("1", "2"),
    "dlm.memo_mem": ("0", "1MB"),
}


class Loop(threading.Thread):
    """Calls step() until the time is over."""

    def __init__(self, name, until):
        super().__init__(name=name)
        self.until = until
        self.random = random.Random(name)
        self.wrong = []
        self.session = Session(name)

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.step()
            self.end()
        except Exception as e:          # whatever ended it is a failed check
            self.wrong.append(f"{self.name}: {e!r}")

    def end(self):
        pass


class Canceller(Loop):
    """Cancels whoever computes, at random moments; now and then ends a session of pgbench."""

    def __init__(self, until):
        super().__init__("canceller", until)
        self.sent, self.ended = 0, 0

    def step(self):
        time.sleep(self.random.expovariate(1 / 0.08))
        if self.random.random() < 0.01:
            self.ended += len(self.session.must("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench' "
                                                "AND state = 'active' ORDER BY random() LIMIT 1;"))
        else:
            self.sent += len(self.session.must("SELECT pg_cancel_backend(pid) FROM dlm_activity WHERE phase IS NOT NULL ORDER BY random() LIMIT 1;"))


class Swapper(Loop):
    """Replaces, drops and loads models, forgets the cache's answers, changes settings for all."""

    def __init__(self, until, models):
        super().__init__("swapper", until)
        self.models = models
        self.swaps, self.loads, self.settings, self.turn = 0, 0, 0, 0

    def tried(self, statement, states=("00000", "57014")):
        outcome = self.session.run(statement)
        self.session.statements["models", outcome.state] += 1
        if outcome.state not in states:
            self.wrong.append(f"swapper: {outcome.state}: {statement}")
        return outcome.state == "00000"

    def step(self):
        self.turn += 1
        self.swaps += self.tried(f"SELECT dlm_load_model('m', '{self.models}/{('llama', 'qwen2')[self.turn % 2]}', replace => true);")
        if self.turn % 3 == 0:
            self.tried("SELECT dlm_drop_model('passing');", ("00000", "57014", "42704"))
            self.loads += self.tried(f"SELECT dlm_load_model('passing', '{self.models}/{self.random.choice(('llada', 'bert'))}');", ("00000", "57014", "42710"))
        if self.turn % 20 == 0:
            self.tried("SELECT dlm_cache_reset();")
        if self.turn % 4 == 0:
            name = self.random.choice(list(SETTINGS))
            self.settings += self.tried(f"ALTER SYSTEM SET {name} = '{self.random.choice(SETTINGS[name])}';")
            self.tried("SELECT pg_reload_conf();")
        time.sleep(self.random.uniform(0.3, 1.2))


class Bench(threading.Thread):
    """A client of pgbench; when its session is ended, or fails outside a block, another one begins."""

    def __init__(self, number, until, protocol):
        super().__init__(name=f"pgbench {number}")
        self.number, self.until, self.protocol = number, until, protocol
        self.transactions, self.begun = 0, 0

    def run(self):
        while (left := self.until - time.monotonic()) > 1:
            self.begun += 1
            done = subprocess.run(["pgbench", "-n", "-c", "1", "-M", self.protocol, "-T", str(int(left)), "-D", f"writer={self.number}",
                                   "-f", f"{HERE}/mixed.sql@9", "-f", f"{HERE}/plain.sql@1"],
                                  capture_output=True, text=True, env=dict(os.environ, PGAPPNAME="pgbench"))
            found = re.search(r"transactions actually processed: (\d+)", done.stdout)
            self.transactions += int(found.group(1)) if found else 0
            time.sleep(0.05)
