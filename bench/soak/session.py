"""A session that lives as long as the soak: a psql that is fed statement by statement and tells each one's SQLSTATE."""
import collections
import os
import subprocess


class Lost(Exception):
    """The session ended, which none of these may."""


Outcome = collections.namedtuple("Outcome", "state rows lines")


class Session:
    """statements: how often each (kind, SQLSTATE) came, counted by who calls run()."""

    def __init__(self, name):
        self.name = name
        self.psql = subprocess.Popen(["psql", "-qXAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                     env=dict(os.environ, PGAPPNAME=name))
        self.statements = collections.Counter()
        self.pid = int(self.must("SELECT pg_backend_pid();")[0])

    def run(self, statement):
        """Outcome of one statement; its last line is a mark of our own."""
        self.psql.stdin.write(statement + "\n\\echo <end> :SQLSTATE :ROW_COUNT\n")
        try:
            self.psql.stdin.flush()
        except BrokenPipeError:
            raise Lost(self.name) from None
        lines = []
        for line in self.psql.stdout:
            if line.startswith("<end> "):
                words = line.split()
                if len(words) != 3:         # no state: the connection is gone
                    raise Lost(self.name)
                return Outcome(words[1], int(words[2]), lines)
            lines.append(line.rstrip("\n"))
        raise Lost(self.name)

    def must(self, statement):
        """Lines of a statement that may not fail; tried again after a cancel that was meant for the one before."""
        for _ in range(20):
            outcome = self.run(statement)
            if outcome.state == "00000":
                return outcome.lines
            if outcome.state != "57014":
                break
        raise RuntimeError(f"{self.name}: {outcome.state}: {statement}")

    def close(self):
        self.psql.stdin.close()
        self.psql.wait(60)
