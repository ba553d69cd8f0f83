"""List the figures, measure some of them anew, or say which do not hold.

python -m benchmarks                 all rows as a table
python -m benchmarks sprout          measure an area, or a row by its id, anew
python -m benchmarks --check         what does not hold; exit status 1 if anything does not
python -m benchmarks --render        write docs/figures.md
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import figures, render


def main(argv: Sequence[str] | None = None, *, folder: Path = figures.RESULTS) -> int:
    """Do what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The project's figures.")
    parser.add_argument("names", nargs="*", metavar="ID|AREA", help="measure these anew")
    parser.add_argument("--check", action="store_true", help="print what does not hold; exit 1 if anything does not")
    parser.add_argument("--render", action="store_true", help="write docs/figures.md")
    wanted = parser.parse_args(argv)
    if wanted.names:
        status = measure(wanted.names, folder)
        if status:
            return status
    found = list(figures.areas(folder))
    if wanted.render:
        figures.write_whole(figures.ROOT / "docs" / "figures.md", render.page(found, figures.mistakes(folder)))
    if wanted.check:
        return check(found)
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(render.table(found))
    return 0


def check(found: Sequence[tuple[str, list[figures.Row]]]) -> int:
    """Print the rows whose target is missed; return 1 if there are any, or no rows at all."""
    rows = [row for _, rows in found for row in rows]
    missed = [row for row in rows if row.holds is False]
    for row in missed:
        print(f"{row.id}: {render.number(row, row.value)}, wanted {render.target(row)} ({row.what}); {row.command}")
    if not rows:
        print("there are no figures; run python -m benchmarks.sprout --write")
    return 1 if missed or not rows else 0


def measure(names: Sequence[str], folder: Path) -> int:
    """Run the commands behind `names`, each once; return the first exit status that is not 0."""
    found = dict(figures.areas(folder))
    by_id = {row.id: row for rows in found.values() for row in rows}
    commands: dict[str, None] = {}
    for name in names:
        chosen = found.get(name) or ([by_id[name]] if name in by_id else [])
        if not chosen:
            print(f"{name}: no such row or area; python -m benchmarks lists them", file=sys.stderr)
            return 2
        commands.update((row.command, None) for row in chosen)
    for command in commands:
        print(f"$ {command}", file=sys.stderr)
        words = shlex.split(command)
        words[0] = sys.executable if words[0] == "python" else words[0]
        status = subprocess.run(words, cwd=figures.ROOT, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
