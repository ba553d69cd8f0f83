"""Fetch the chat templates that llama.cpp tests itself with, out of llama-cpp-python's source distribution.

    python tests/templates/fetch.py

The version is the one that `constraints.txt` pins. They are kept in `$AGENTKIT_TEST_CACHE`, else in `tests/.cache`,
and fetched once: 76 MB, of which 0.4 MB are kept. pip asks the source distribution for its metadata and
compiles nothing. Prints the folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "llama-cpp-python"
FOLDER = "/vendor/llama.cpp/models/templates/"


def fetch(cache: Path) -> Path:
    """Return the folder of templates inside `cache`; fetches them if it is not there."""
    version = pinned()
    target = cache / f"templates-{version}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        folder = Path(temporary)
        download(version, folder)
        found = folder / "templates"
        found.mkdir()
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            for member in archive:
                if FOLDER in member.name and member.name.endswith(".jinja"):
                    file = archive.extractfile(member)
                    assert file is not None
                    (found / Path(member.name).name).write_bytes(file.read())
        found.rename(target)
    return target


def pinned() -> str:
    """Return the version that the project is tested with."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{PACKAGE}==(\S+)$", lines, re.MULTILINE)
    if found is None:
        raise SystemExit(f"constraints.txt pins no {PACKAGE}; run `pip freeze` in an environment that works")
    return found[1]


def download(version: str, folder: Path) -> None:
    """Fetch the source distribution into `folder`; ends the program with pip's own reason if that fails."""
    words = ["pip", "download", "--quiet", "--no-deps", "--retries", "1", "--no-binary", PACKAGE]
    done = subprocess.run(
        [sys.executable, "-m", *words, "--dest", str(folder), f"{PACKAGE}=={version}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SystemExit(f"{PACKAGE} {version}: pip cannot fetch the source distribution ({why})")


if __name__ == "__main__":
    print(fetch(Path(os.environ.get("AGENTKIT_TEST_CACHE") or ROOT / "tests" / ".cache")))
