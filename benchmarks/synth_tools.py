"""Tool-use traces: how fast they are made, how many verify, of what families they are, and whether goals notice wrong calls.

Each data set is made by the job, as `agentkit synth tools` does. Every row of it is then verified again, from its line alone.

python -m benchmarks.synth_tools [--count 10000] [--own 500] [--workers 2] [--mutated 1000] [--write]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from agentkit import jobs
from agentkit_synthesis.tooluse.checking import calls_of
from agentkit_synthesis.tooluse.jobs import TOOLS
from agentkit_synthesis.tooluse.mutation import Mutations, mutations
from agentkit_synthesis.tooluse.source import verify
from benchmarks import render
from benchmarks.figures import SHARE, Measured, share

COMMAND = "python -m benchmarks.synth_tools --write"
AREA = "synthesis"
SECONDS = 300.0  # for 10,000 rows on two cores


def made(folder: Path, **params: Any) -> tuple[Path, float, Mapping[str, Any]]:
    """Return a data set's folder, the seconds that it took, and the job's figures."""
    began = time.perf_counter()
    done = jobs.start(TOOLS, {"out": str(folder / "out"), **params}, run_dir=folder / "run").wait()
    if done.status != "ok":
        raise SystemExit(f"{done.status}: {done.error}")
    return folder / "out", time.perf_counter() - began, done.metrics


def lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a data set."""
    for name in ("train.jsonl", "test.jsonl"):
        with (folder / name).open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def verified(folder: Path) -> tuple[int, int, int]:
    """Return how many rows verify again, how many there are, and how many calls are in them."""
    good = rows = calls = 0
    for row in lines(folder):
        good += not verify(row)
        rows += 1
        calls += len(calls_of(row))
    return good, rows, calls


def invented(folder: Path, count: int, workers: int, mutated: int) -> Iterator[Measured]:
    """Yield the figures of invented tools."""
    out, seconds, told = made(folder, count=count, workers=workers)
    print(f"{count:,} rows in {seconds:.1f} s", file=sys.stderr)
    speed = f"seconds to make {count:,} verified traces of invented tools, {workers} workers"
    target = SECONDS * count / 10_000
    yield Measured(id="tool-traces-seconds", what=speed, value=round(seconds, 2), unit="s", n=count, target=target)
    yield Measured(
        id="tool-traces-rate", what="traces a second", value=round(count / seconds, 1), unit="rows/s", n=count
    )
    good, rows, calls = verified(out)
    yield share(
        "tool-traces-replay",
        f"traces whose {calls:,} calls give again what is stored, and whose goal holds",
        good,
        rows,
        1.0,
    )
    yield share("tool-traces-kept", "draws that verified and were kept", told["count"], told["tried"])
    for family, number in told["families"].items():
        yield share(f"tool-traces-{family}", f"traces of the family {family}", number, told["count"])
    yield from mutation(mutations(islice(lines(out), mutated), Random(0)))


def mutation(found: Mutations) -> Iterator[Measured]:
    """Yield how many calls with one argument changed are noticed."""
    tried, noticed, by_goal = (sum(one.values()) for one in (found.tried, found.noticed, found.by_goal))
    yield share(
        "tool-traces-mutated",
        "calls with one argument changed after which a trace does not verify, results not compared",
        noticed,
        tried,
    )
    yield share(
        "tool-traces-mutated-goal", "of them, those that the state or the answer alone gives away", by_goal, tried
    )
    for family, number in sorted(found.tried.items()):
        yield share(
            f"tool-traces-mutated-{family}", f"the same, in the family {family}", found.noticed.get(family, 0), number
        )
    for place, number in sorted(found.unnoticed.items()):
        print(f"not noticed: {place}: {number}", file=sys.stderr)


def own(folder: Path, count: int, workers: int) -> Iterator[Measured]:
    """Yield the figures of a real tool: the calculator."""
    out, seconds, _ = made(folder, count=count, workers=workers, source="calculator")
    what = f"seconds to make {count:,} verified traces of the bundled calculator, {workers} workers"
    yield Measured(id="tool-traces-own-seconds", what=what, value=round(seconds, 2), unit="s", n=count)
    good, rows, calls = verified(out)
    yield share(
        "tool-traces-own-replay",
        f"traces of the calculator whose {calls:,} calls give again what is stored",
        good,
        rows,
        1.0,
    )
    requests = {next(one["content"] for one in row["messages"] if one["role"] == "user") for row in lines(out)}
    yield Measured(
        id="tool-traces-own-distinct",
        what="first requests of them that are different",
        value=round(len(requests) / rows, 4),
        unit=SHARE,
        n=rows,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.synth_tools", description="What tool-use traces are worth."
    )
    parser.add_argument("--count", type=int, default=10_000, help="traces of invented tools (default: %(default)s)")
    parser.add_argument("--own", type=int, default=500, help="traces of the calculator (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument(
        "--mutated", type=int, default=1_000, help="traces whose calls are changed (default: %(default)s)"
    )
    parser.add_argument("--write", action="store_true", help=f"put the rows into benchmarks/results/{AREA}.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        found = [
            *invented(Path(scratch, "invented"), wanted.count, wanted.workers, wanted.mutated),
            *own(Path(scratch, "own"), wanted.own, wanted.workers),
        ]
    render.publish(AREA, found, command=COMMAND, began=began, write=wanted.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
