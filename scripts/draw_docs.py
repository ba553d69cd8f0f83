"""Draw the pictures of the documentation from real runs: docs/graph.svg and docs/terminal.svg.

    python scripts/draw_docs.py

The first is the compiled state machine, the second what a terminal shows while the embedded model does two tasks.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 92
TASKS = ("What is 15% of 200?", "add up the numbers in numbers.txt")
FILES = {"numbers.txt": "12\n30\n7.5\n"}


def main() -> None:
    """Draw both pictures."""
    agentkit = Path(sys.executable).parent / "agentkit"
    subprocess.run([agentkit, "graph", "--svg", DOCS / "graph.svg"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        shown = [seen(agentkit, task, Path(folder)) for task in TASKS]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for text in shown:
        console.print(Text.from_ansi(text))
    drawn = console.export_svg(title="agentkit", unique_id="agentkit")
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # a picture fetches nothing
    (DOCS / "terminal.svg").write_text(drawn, encoding="utf-8")


def seen(agentkit: Path, task: str, folder: Path) -> str:
    """Return what a terminal shows when `task` is run in `folder`, the command line included."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "AGENTKIT_HOME": str(folder / "home"), "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    process = subprocess.Popen(
        [agentkit, "run", task], cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    while piece := read(ours):
        said += piece
    if process.wait():
        raise SystemExit(f"{task!r} ended with {process.returncode}: {said.decode(errors='replace')}")
    lines = said.decode("utf-8").replace("\r\n", "\n").split("\n")
    kept = [re.split(r"\r?\x1b\[(?:2)?K", line)[-1] for line in lines]  # what was written over is gone
    return f'\x1b[1;32m$ \x1b[0magentkit run "{task}"\n' + "\n".join(kept)


def read(descriptor: int) -> bytes:
    """Return what comes next; empty at the end, which a terminal reports as an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


if __name__ == "__main__":
    main()
