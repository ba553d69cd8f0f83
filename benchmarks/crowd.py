"""Many processes on one database: is any run lost, is the database ever "locked", is it whole afterwards?

python -m benchmarks.crowd [--processes 8] [--runs 200] [--only sqlite|postgres] [--write]

Each process does its runs one after the other, each with two calls and an answer, while the others do theirs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from agentkit.store import open_store
from benchmarks import databases, render
from benchmarks.crowd_member import member
from benchmarks.figures import Measured


def measure(kind: str, processes: int, runs: int) -> list[Measured]:
    """Return what became of so many runs of so many processes."""
    with tempfile.TemporaryDirectory(prefix="agentkit-crowd-") as name, databases.fresh(kind, Path(name)) as url:
        folder = Path(name)
        began = time.monotonic()
        ends = _all(url, processes, runs, folder)
        seconds = time.monotonic() - began
        said = [json.loads(line) for path in folder.glob("report-*") for line in path.read_text().splitlines()]
        lost = lost_runs(url, said, processes * runs)
        errors = [row["error"] for row in said if row["error"]]
        errors += [f"a process ended with status {end}" for end in ends if end]
        damage = _damage(url)
    for line in dict.fromkeys([*errors, *damage]):
        print(f"{kind}: {line}", file=sys.stderr)
    about, n = f"{processes} processes x {runs} runs on one {kind} database", processes * runs
    locked = sum("locked" in error for error in errors)
    return [
        Measured(id=f"store-crowd-lost-{kind}", what=f"{about}: runs that are not in it whole", value=lost, unit="runs",
                 n=n, target=0.0),
        Measured(id=f"store-crowd-locked-{kind}", what=f"{about}: runs told that the database is locked", value=locked,
                 unit="runs", n=n, target=0.0),
        Measured(id=f"store-crowd-errors-{kind}", what=f"{about}: runs and processes that failed", value=len(errors),
                 unit="runs", n=n, target=0.0),
        Measured(id=f"store-crowd-damage-{kind}", what=f"{about}: complaints of its integrity check", value=len(damage),
                 unit="complaints", n=n, target=0.0),
        Measured(id=f"store-crowd-seconds-{kind}", what=f"{about}: time for all", value=round(seconds, 1), unit="s", n=n),
    ]  # fmt: skip


def lost_runs(url: str, said: Sequence[dict[str, Any]], expected: int) -> int:
    """Return how many runs the database does not have as they were: row, both effects, all events."""
    with closing(open_store(url=url)) as store:
        whole = 0
        for row in said:
            run = store.run(row["run_id"]) or {}
            events = store.events(row["run_id"])
            seqs = [event["seq"] for event in events]
            done = [effect.state for effect in store.effects(row["run_id"])]
            whole += (
                (run.get("state"), run.get("answer")) == ("ended", row["answer"])
                and seqs == sorted(set(seqs))
                and [events[0]["type"], events[-1]["type"]] == ["run_started", "run_ended"]
                and done == ["done", "done"]
            )
    return expected - whole


def _all(url: str, processes: int, runs: int, folder: Path) -> list[int | None]:
    spawn = multiprocessing.get_context("forkserver")
    spawn.set_forkserver_preload(["benchmarks.crowd_member"])
    reports = [folder / f"report-{number}" for number in range(processes)]
    members = [
        spawn.Process(target=member, args=(url, number, runs, str(report))) for number, report in enumerate(reports)
    ]
    for one in members:
        one.start()
    with Progress(console=Console(stderr=True)) as progress:
        shown = progress.add_task(f"{processes} processes", total=processes * runs)
        while any(one.is_alive() for one in members):
            time.sleep(0.2)
            progress.update(shown, completed=sum(_lines(report) for report in reports))
        progress.update(shown, completed=processes * runs)
    return [one.exitcode for one in members]


def _lines(report: Path) -> int:
    return report.read_bytes().count(b"\n") if report.exists() else 0


def _damage(url: str) -> list[str]:
    if "://" in url:
        return []
    with closing(sqlite3.connect(url)) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    return [] if found == ["ok"] else found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd", description="Many processes on one database.")
    parser.add_argument("--processes", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--runs", type=int, default=200, help="of each process (default: %(default)s)")
    parser.add_argument(
        "--only", choices=("sqlite", "postgres"), help="this database; default: both, where there is one"
    )
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/reliability.json")
    wanted = parser.parse_args(argv)
    kinds = [wanted.only] if wanted.only else ["sqlite", *(["postgres"] if databases.server() else [])]
    if "postgres" not in kinds and not databases.server():
        print(databases.MISSING, file=sys.stderr)
    began = time.monotonic()
    measured = [row for kind in kinds for row in measure(kind, wanted.processes, wanted.runs)]
    command = f"python -m benchmarks.crowd --processes {wanted.processes} --runs {wanted.runs} --write"
    render.publish("reliability", measured, command=command, began=began, write=wanted.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
