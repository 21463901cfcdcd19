"""What the benchmarks of SQL statements share: the labels of the demo's rows, the call that chooses among them, and a way to run a script. The server is that of the environment."""
import subprocess
import sys

LABELS = ("weather", "alarm", "book flight", "pay bill", "recipe", "directions", "translate", "shopping list", "credit score", "tell joke")


def classify(text):
    """The SQL call that labels an expression."""
    return f"dlm_classify({text}, ARRAY[" + ", ".join(f"'{label}'" for label in LABELS) + "])"


def psql(script):
    """The lines that a script prints; its error ends the program."""
    done = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1"], input=script, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.splitlines()
