"""The examples of the documents, run: do they print what the documents say?

    python3 test/docs/examples.py [--write] [FILE.md ...]          README.md and docs/*.md

On the server that PG* names, each document in a new database with the extension. Checked are fenced blocks without a language whose lines begin with "=# ",
a statement to its semicolon and what it prints; and blocks of the language sql that one of the language text follows. A document's blocks share the database. Comments,
which no reader sees, say the rest:

    <!-- before: SQL -->                right above a block: what has to be there before it
    <!-- not run: why -->               right above a block: it is not run
    <!-- file PATH: SQL -->             right above a block: what the SQL returns is the file's text

What is compared are the lines: a document may leave out column names and "(2 rows)", and the job's number that a CALL returns. --write puts what came out in the
place of what the document says, in the same form. The last line is "N passed, N failed".
"""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = "=# "
FOOTER = re.compile(r"^\(\d+ rows?\)$")
RULE = re.compile(r"^-+(\+-+)*$")
ENDS = re.compile(r";\s*(--.*)?$")
COMMENT = re.compile(r"<!-- (before|not run|file [^:]+):\s(.*?) *-->", re.S)


def psql(database, sql, options=(), script=False):
    """What psql prints of a statement, or of each of several (script), messages first."""
    command = ["psql", "-Xq", "-d", database, *options, *(["-f", "-"] if script else ["-c", sql])]
    done = subprocess.run(command, input=sql if script else None, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    return re.sub(r"^psql:<stdin>:\d+: ", "", done.stdout, flags=re.M)


class Example:
    """A statement of a document and the lines that it is said to print: lines[first:last] of the document."""

    def __init__(self, sql, first):
        self.sql, self.first, self.last = sql, first, first

    def shape(self, printed, said):
        """What was printed in the form in which the document says it."""
        out = [line.rstrip() for line in printed.split("\n")]
        if self.sql.startswith("CALL"):
            out = [line for line in out if re.match(r"(NOTICE|WARNING|ERROR|DETAIL|HINT|CONTEXT): ", line)] if not any(map(RULE.match, said)) else out
        elif not any(map(RULE.match, said)):
            rule = next((i for i, line in enumerate(out) if RULE.match(line)), None)
            out = out if rule is None else out[:rule - 1] + out[rule + 1:]
        if not any(map(FOOTER.match, said)):
            out = [line for line in out if not FOOTER.match(line)]
        while out and not out[-1]:
            out.pop()
        return out


def examples_of(lines, first, last):
    """The examples of a block, lines[first:last]."""
    found, sql, i = [], None, first
    while i < last:
        line = lines[i]
        if line.startswith(PROMPT) or sql is not None:
            sql = line[len(PROMPT):] if sql is None else sql + "\n" + line
            if ENDS.search(line):
                found.append(Example(sql, i + 1))
                sql = None
        if found and sql is None:
            found[-1].last = i + 1
        i += 1
    if sql is not None:
        sys.exit(f"line {last}: the statement has no end: {sql}")
    return found


def fences(lines):
    """Each fenced block: its language, its first line and the line behind its last."""
    open_at = None
    for i, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if open_at is None:
            open_at, language = i + 1, line[3:].strip()
        else:
            yield language, open_at, i
            open_at = None


def blocks_of(lines):
    """
    Each block with a prompt, and each of text behind one of sql: the comments above it, its first line, the line behind its last, and
    its statements where they stand before it.
    """
    comments, sql, end = [], None, 0
    for language, first, last in fences(lines):
        between = "\n".join(lines[end:first - 1])
        above = re.search(r"(<!--(?:(?!-->).)*-->\s*)*\Z", between, re.S).group()
        if between[:-len(above) or None].strip():       # prose: what stood before it is not of this block
            comments, sql = [], None
        comments = comments + COMMENT.findall(above)
        prompted = language == "" and any(text.startswith(PROMPT) for text in lines[first:last])
        if prompted or (language == "text" and sql is not None):
            yield comments, first, last, None if prompted else sql
        if language != "sql":
            comments = []
        sql, end = "\n".join(lines[first:last]) if language == "sql" else None, last + 1


class Document:
    def __init__(self, path, write):
        self.path, self.write = path, write
        self.database = "docs_" + path.stem.lower().replace("-", "_")
        self.passed, self.failed = 0, 0

    def compare(self, what, said, got):
        if said == got:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED {what}\n  said:\n    " + "\n    ".join(said) + "\n  printed:\n    " + "\n    ".join(got))

    def compare_file(self, path, sql):
        got = psql(self.database, sql, ("-At",))
        if self.write and "ERROR:" not in got:
            (ROOT / path).write_text(got)
        self.compare(f"{self.path.name}: {path}", [] if (ROOT / path).read_text() == got else ["another text"], [])

    def prepare(self, kind, sql, line):
        """Do what a comment above the block at a line says."""
        if kind.startswith("file "):
            self.compare_file(kind.split(" ")[1], sql)
            return
        printed = psql(self.database, sql, ("-v", "ON_ERROR_STOP=1"))
        if "ERROR:" in printed:
            self.compare(f"{self.path.name}: before line {line}", [], printed.split("\n"))

    def block(self, comments, lines, first, last, sql):
        """Run a block, or the statements whose output it is; the lines that replace it."""
        new = list(lines[first:last])
        if any(kind == "not run" for kind, _ in comments):
            return new
        for kind, what in comments:
            self.prepare(kind, what, first + 1)
        if sql is not None:
            said = [line.rstrip() for line in new]
            got = [line.rstrip() for line in psql(self.database, sql, script=True).rstrip("\n").split("\n")]
            self.compare(f"{self.path.name}, line {first + 1}: {sql}", said, got)
            return got
        for example, printed in reversed([(e, self.run(e, lines)) for e in examples_of(lines, first, last)]):
            new[example.first - first:example.last - first] = printed
        return new

    def run(self, example, lines):
        """Run an example; the lines that replace what it is said to print."""
        said = [line.rstrip() for line in lines[example.first:example.last]]
        tail = [""] if said and not said[-1] else []
        said = said[:-1] if tail else said
        got = example.shape(psql(self.database, example.sql), said)
        self.compare(f"{self.path.name}, line {example.first}: {example.sql}", said, got)
        return got + tail

    def check(self):
        subprocess.run(["dropdb", "--if-exists", self.database], check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["createdb", self.database], check=True)
        psql(self.database, "CREATE EXTENSION dlm")
        lines = self.path.read_text().split("\n")
        blocks = [(first, last, self.block(comments, lines, first, last, sql)) for comments, first, last, sql in blocks_of(lines)]
        for first, last, new in reversed(blocks):
            lines[first:last] = new
        if self.write:
            self.path.write_text("\n".join(lines))
        subprocess.run(["dropdb", self.database], check=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--write", action="store_true")
    p.add_argument("files", nargs="*", type=pathlib.Path)
    args = p.parse_args()
    passed = failed = 0
    for path in args.files or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if not list(blocks_of(path.read_text().split("\n"))):
            continue
        document = Document(path, args.write)
        document.check()
        print(f"{path.name}: {document.passed} passed, {document.failed} failed")
        passed, failed = passed + document.passed, failed + document.failed
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
