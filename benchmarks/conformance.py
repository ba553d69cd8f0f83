"""LangGraph's own conformance suite, all of it, against the savers that the agent uses.

python -m benchmarks.conformance [--write]

`langgraph-checkpoint-conformance` skips what a saver does not implement; here a capability that is skipped counts as
failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.report import CapabilityReport, ProgressCallbacks

from agentkit.store import checkpointer, open_store
from benchmarks import databases, figures, render
from benchmarks.figures import Measured


def report(kind: str, folder: Path, *, verbose: bool = False) -> CapabilityReport:
    """Return what the suite says of the saver on a database of that kind."""
    numbers = count()

    async def savers() -> AsyncIterator[Any]:
        here = folder / str(next(numbers))  # the suite wants an empty one for each capability
        here.mkdir()
        with databases.fresh(kind, here) as url, closing(open_store(url=url)) as store:
            yield checkpointer(store)

    registered = checkpointer_test(f"agentkit on {kind}")(savers)
    return asyncio.run(validate(registered, progress=ProgressCallbacks.verbose() if verbose else None))


def failures(found: CapabilityReport) -> list[str]:
    """Return what failed or was not tested."""
    failed = [f"{name}: {text}" for name, result in found.results.items() for text in result.failures]
    return failed + [f"{name}: skipped" for name, result in found.results.items() if result.passed is None]


def measure(kind: str, folder: Path) -> Measured:
    """Return the share of the suite's tests that pass."""
    found = report(kind, folder)
    for line in failures(found):
        print(f"{kind}: {line}", file=sys.stderr)
    results = found.results.values()
    right = sum(result.tests_passed for result in results)
    n = right + sum(result.tests_failed + result.tests_skipped for result in results)
    return figures.share(
        f"store-conformance-{kind}",
        f"langgraph-checkpoint-conformance: tests that the {kind} saver passes",
        right,
        n,
        1.0,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description="LangGraph's own suite.")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/reliability.json")
    wanted = parser.parse_args(argv)
    kinds = ["sqlite", *(["postgres"] if databases.server() else [])]
    if len(kinds) == 1:
        print(databases.MISSING, file=sys.stderr)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        measured = []
        for kind in kinds:
            here = Path(folder, kind)
            here.mkdir()
            measured.append(measure(kind, here))
    render.publish(
        "reliability", measured, command="python -m benchmarks.conformance --write", began=began, write=wanted.write
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
