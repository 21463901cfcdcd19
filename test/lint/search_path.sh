#!/usr/bin/env bash
# The install scripts and the upgrade scripts are safe against objects that others put into the search
# path: in views, and in any function body or default, every function, operator,
# table and type that is not our own is written pg_catalog.NAME or
# OPERATOR(pg_catalog.OP). Types of arguments need no schema, pg_catalog comes
# first and one name is one type; overloads and operators are chosen by their
# arguments, from all schemas. An upgrade may replace what an earlier version
# has made. Each rule is tried on a bad script first.
set -u
exec python3 - sql/extension/*.sql <<'PYTHON'
import re
import sys

# Words of SQL that may stand before a parenthesis in a view and are no functions.
SYNTAX = set("and as by case else exists filter from group having in join on or order over partition select then union using values "
             "when where with".split())
# These look an operator up by name, and cannot be told from which schema.
HIDDEN_OPERATORS = re.compile(r"\b(in|like|ilike|similar|between|nullif|natural|using|symmetric)\b|\bis\s+(not\s+)?distinct\b|\bcase\s+(?!when\b)")


def statements(script):
    """Statements without comments, meta-commands and the content of literals; bodies between dollars stay."""
    script = re.sub(r"^\\.*$", "", script, flags=re.M)
    out, at = [""], 0
    token = re.compile(r"--[^\n]*|/\*.*?\*/|[eE]?'(?:[^']|'')*'|\"[^\"]*\"|;|.", re.S)
    for m in token.finditer(re.sub(r"\$\w*\$", " ", script)):
        t = m.group()
        if t.startswith(("--", "/*")):
            continue
        if t == ";":
            out.append("")
        elif t[-1] == "'":
            out[-1] += "''"
        else:
            out[-1] += t
    return [re.sub(r"\s+", " ", s).strip() for s in out if s.strip()]


def own(script_statements):
    names = set()
    for s in script_statements:
        m = re.match(r"CREATE (?:FUNCTION|VIEW|TYPE|TABLE|PROCEDURE|AGGREGATE|OPERATOR CLASS) (\w+)", s, re.I)
        if m:
            names.add(m.group(1).lower())
    return names


def complaints_of_code(code, names):
    """What is not qualified in an expression or a query."""
    code = code.lower()
    rest = re.sub(r"operator ?\( ?pg_catalog ?\. ?[^\s()]+ ?\)", " ", code)
    for m in re.finditer(r"operator ?\( ?([^)]*)\)", rest):
        yield "operator %s" % m.group(1)
    for m in re.finditer(r"(?<![\w.\"])(\w+) ?\(", rest):
        if m.group(1) not in SYNTAX | names:
            yield "function %s" % m.group(1)
    for m in re.finditer(r"\b(?:from|join) (?:only |lateral )*(?!select\b)([\w.\"]+)", rest):
        for table in [m.group(1)]:
            if not table.startswith("pg_catalog.") and table not in names:
                yield "relation %s" % table
    if re.search(r"\bfrom [^()]*?,", re.sub(r"\([^()]*\)", "", re.sub(r"^.*?\bfrom\b", "from", rest)).split(" where ")[0]):
        yield "a list of relations: write JOIN"
    for m in re.finditer(r":: ?([\w.]+)|\bcast ?\(.*? as ([\w.]+)", rest):
        name = m.group(1) or m.group(2)
        if not name.startswith("pg_catalog.") and name not in names:
            yield "type %s" % name
    for m in HIDDEN_OPERATORS.finditer(rest):
        yield "\"%s\", which looks an operator up" % m.group().strip()
    for m in re.finditer(r"[+\-*/<>=~!@#%^&|`?]+", re.sub(r"\bcount ?\( ?\* ?\)", "", rest)):
        yield "operator %s" % m.group()


def complaints(s, names, earlier):
    replaced = re.match(r"CREATE OR REPLACE (?:FUNCTION|VIEW) (\w+)", s, re.I)
    if replaced and replaced.group(1).lower() in earlier:
        s = re.sub(r"^CREATE OR REPLACE", "CREATE", s, flags=re.I)
    if re.search(r"\bOR REPLACE\b|\bIF NOT EXISTS\b", s, re.I):
        yield "takes over an object of that name that was there"
    if re.search(r"\bSECURITY DEFINER\b", s, re.I) and not re.search(r"\bSET search_path\b", s, re.I):
        yield "SECURITY DEFINER without SET search_path"
    if re.match(r"CREATE (TEMP |RECURSIVE |MATERIALIZED )*VIEW ", s, re.I):
        yield from complaints_of_code(re.split(r"\bAS\b", s, 1, re.I)[1], names)
    elif re.match(r"CREATE (FUNCTION|PROCEDURE) ", s, re.I):
        for default in re.findall(r"(?:\bDEFAULT|=) ([^,]*?)(?= ?,| ?\)(?: RETURNS| LANGUAGE|$))", s, re.I):
            if not re.fullmatch(r"NULL|''|-?[\d.]+|true|false", default.strip(), re.I):
                yield "a default that is no literal: %s" % default
        if not re.search(r"\bLANGUAGE C\b", s, re.I) and not re.search(r"\bSET search_path\b", s, re.I):
            body = re.search(r"\b(?:RETURN|AS|BEGIN ATOMIC)\b(?! TABLE)(.*)$", s, re.I)
            yield from complaints_of_code(body.group(1) if body else "", names)
            if body is None or body.group(1).strip().startswith("''"):
                yield "a body that cannot be read: write RETURN or BEGIN ATOMIC"
    elif re.match(r"CREATE TABLE \w+ \(", s, re.I):
        # columns of plain types and their keys alone: whatever else looks names up
        for m in re.finditer(r"\b(DEFAULT|CHECK|REFERENCES|INHERITS|LIKE|USING|EXCLUDE|PARTITION|COLLATE|GENERATED (ALWAYS|BY DEFAULT) AS (?!IDENTITY))", s, re.I):
            yield "%s in a table" % m.group(1)
    elif re.match(r"CREATE AGGREGATE ", s, re.I):
        # its functions are the extension's own, which stand first in the script's search path
        for m in re.finditer(r"\b(\w*FUNC) *= *([\w.]+)", s, re.I):
            if m.group(2).lower() not in names:
                yield "%s %s" % (m.group(1), m.group(2))
        for m in re.finditer(r"\b(SORTOP|INITCOND|MINITCOND)\b", s, re.I):
            yield "%s in an aggregate" % m.group(1)
    elif re.fullmatch(r"SELECT pg_catalog\.pg_extension_config_dump\(''(::pg_catalog\.regclass)?, ''\)", s, re.I):
        pass                    # the table is found in the script's search path, where our own schema stands first
    elif exchange := re.fullmatch(r'DO BEGIN IF EXISTS (\(.*\)) THEN ALTER SERVER "[\w-]+" OPTIONS \([^()]*\)', s, re.I):
        yield from complaints_of_code(exchange.group(1), names)     # what follows its first semicolon is looked at as statements are
    elif re.match(r"(DO|SELECT|INSERT|UPDATE|DELETE|CREATE (RULE|TRIGGER|CAST|OPERATOR|EVENT|TABLE|INDEX))\b", s, re.I):
        yield "a kind of statement that this check does not know"


def check(script, earlier=frozenset()):
    """earlier: names that the versions before have made, for an upgrade script."""
    found = statements(script)
    names = own(found) | earlier
    return ["%s...: %s" % (s[:60], c) for s in found for c in complaints(s, names, earlier)]


OURS = "CREATE FUNCTION ours(a int) RETURNS int LANGUAGE C AS 'MODULE_PATHNAME', 'ours';"
BAD = [
    "CREATE VIEW v AS SELECT upper(a.b) FROM ours(1) AS a;",
    "CREATE VIEW v AS SELECT a.b FROM pg_database AS a;",
    "CREATE VIEW v AS SELECT a.b FROM pg_catalog.pg_database AS a JOIN pg_roles AS r ON true;",
    "CREATE VIEW v AS SELECT a.b FROM pg_catalog.pg_database AS a, pg_roles AS r;",
    "CREATE VIEW v AS SELECT a.b + 1 FROM ours(1) AS a;",
    "CREATE VIEW v AS SELECT a.b FROM ours(1) AS a WHERE a.b = 1;",
    "CREATE VIEW v AS SELECT a.b OPERATOR(public.=) 1 FROM ours(1) AS a;",
    "CREATE VIEW v AS SELECT a.b::text FROM ours(1) AS a;",
    "CREATE VIEW v AS SELECT CAST(a.b AS text) FROM ours(1) AS a;",
    "CREATE VIEW v AS SELECT a.b FROM ours(1) AS a WHERE a.b IN (1, 2);",
    "CREATE VIEW v AS SELECT a.b IS DISTINCT FROM a.c FROM ours(1) AS a;",
    "CREATE VIEW v AS SELECT CASE a.b WHEN 1 THEN 2 END FROM ours(1) AS a;",
    "CREATE VIEW v AS SELECT a.b FROM ours(1) AS a JOIN pg_catalog.pg_roles USING (b);",
    "CREATE VIEW v AS SELECT (SELECT count(*) FROM pg_catalog.pg_roles) FROM ours(1) AS a;",
    "CREATE OR REPLACE VIEW v AS SELECT a.b FROM ours(1) AS a;",
    "CREATE FUNCTION f(a int DEFAULT random()) RETURNS int LANGUAGE C AS 'x', 'f';",
    "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT abs(a)';",
    "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql RETURN a + 1;",
    "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS $$ SELECT abs(a) $$;",
    "CREATE FUNCTION f(a int) RETURNS int LANGUAGE C SECURITY DEFINER AS 'x', 'f';",
    "DO $$ BEGIN PERFORM 1; END $$;",
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_foreign_server) THEN ALTER SERVER \"s\" OPTIONS (SET a 'b'); END IF; END $$;",
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_foreign_server WHERE srvname = 's') THEN ALTER SERVER \"s\" OPTIONS (SET a 'b'); END IF; END $$;",
    "CREATE TABLE t (a int DEFAULT f());",
    "CREATE TABLE t (a int, CHECK (a > 1));",
    "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1) STORED);",
    "CREATE TABLE t AS SELECT 1;",
    "CREATE PROCEDURE f(a int DEFAULT random()) LANGUAGE C AS 'x', 'f';",
]
GOOD = [
    "CREATE VIEW v AS SELECT a.b OPERATOR(pg_catalog.||) 'in = x', pg_catalog.upper(a.c)::pg_catalog.text FROM ours(1) AS a "
    "LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.b;",
    "CREATE FUNCTION f(a int DEFAULT NULL, b text DEFAULT '=') RETURNS TABLE (c int) LANGUAGE C AS 'x', 'f';",
    "CREATE PROCEDURE f(a int, INOUT b bigint DEFAULT NULL) LANGUAGE C AS 'x', 'f';",
    "CREATE TABLE t (a bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b text NOT NULL);",
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_foreign_server WHERE srvname OPERATOR(pg_catalog.=) 's') THEN "
    "ALTER SERVER \"s\" OPTIONS (SET a 'b'); END IF; END $$;",
]

wrong = ["not found: " + s for s in BAD if not check(OURS + s)]
wrong += ["%s: %s" % (c, s) for s in GOOD for c in check(OURS + s)]
UPGRADE = "CREATE OR REPLACE VIEW v AS SELECT a.b FROM ours(1) AS a;"
if check(UPGRADE, {"v", "ours"}) or not check(UPGRADE, {"ours"}) or not check(UPGRADE.replace("a.b", "abs(a.b)"), {"v", "ours"}):
    wrong.append("an upgrade that replaces a view is misjudged")

scripts = {path: open(path).read() for path in sys.argv[1:]}
installs = {path for path in scripts if re.search(r"--[\d.]+\.sql$", path) and path.count("--") == 1}
made = set().union(*(own(statements(scripts[path])) for path in installs))
for path, script in scripts.items():
    wrong += ["%s: %s" % (path, c) for c in check(script, frozenset() if path in installs else made)]
print("\n".join(wrong), end="\n" if wrong else "")
sys.exit(1 if wrong else 0)
PYTHON
