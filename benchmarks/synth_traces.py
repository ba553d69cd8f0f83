"""Explanation traces: rows a second, memory, the verified share, duplicates, and the same bytes for every number of workers.

python -m benchmarks.synth_traces [--count 10000] [--large 200000] [--write]

Sets are made in an empty folder by the job itself, each in a process of its own; every row is then read from its file and executed
again. Memory is the largest resident set of a process that makes all rows itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkit_synthesis.traces.source import make
from agentkit_synthesis.traces.verifying import verify
from benchmarks import render
from benchmarks.figures import Measured, share

COMMAND = "python -m benchmarks.synth_traces --write"
SECONDS, VERIFIED, DUPLICATES, GROWTH = 300.0, 1.0, 0.001, 10.0
SMALL = 20_000  # rows of the smaller set whose memory is looked at
PREVIEW_S = 5.0
MAKE = """
import json, resource, sys, time
from pathlib import Path
from agentkit import jobs
from agentkit_synthesis.traces.jobs import TRACES
folder, params = Path(sys.argv[1]), json.loads(sys.argv[2])
began = time.monotonic()
done = jobs.run(TRACES, {"out": str(folder / "out"), **params}, run_dir=folder / "run")
seconds = time.monotonic() - began
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({"status": done.status, "error": done.error, "metrics": done.metrics, "seconds": seconds,
                  "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}))
"""


def made(folder: Path, **params: Any) -> Mapping[str, Any]:
    """Make a set in `folder` in a process of its own; return its figures."""
    folder.mkdir(parents=True)
    done = subprocess.run([sys.executable, "-c", MAKE, str(folder), json.dumps(params)], capture_output=True, text=True, check=False)  # fmt: skip
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"status": done.stderr}
    if found["status"] != "ok":
        raise SystemExit(f"{folder.name}: {found.get('error') or found['status']}")
    return found


def rows_of(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a set, from its files."""
    for name in ("train.jsonl", "test.jsonl"):
        with (folder / "out" / name).open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def digest(folder: Path) -> str:
    """Return a hash of all files of a set."""
    found = hashlib.sha256()
    for path in sorted((folder / "out").iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def measured(folder: Path, count: int, large: int) -> list[Measured]:
    """Return all figures; makes sets in `folder`."""
    began = time.perf_counter()
    for index in range(10):
        make({}, 0, index)
    preview = time.perf_counter() - began
    one = made(folder / "one", count=count, workers=1)
    two = made(folder / "two", count=count, workers=2)
    pairs = made(folder / "pairs", count=count, workers=2, pairs=True)
    same = digest(folder / "one") == digest(folder / "two")
    verified, hashes, users, total = 0, set(), set(), 0
    for row in rows_of(folder / "two"):
        total += 1
        verified += not verify(row)
        hashes.add(row["hash"])
        users.add(row["user"])
    with (folder / "pairs/out/pairs.jsonl").open(encoding="utf-8") as file:
        paired = sum(1 for _ in file)
    train = pairs["metrics"]["rows"]["train"]
    small, big = (made(folder / name, count=n, workers=1) for name, n in (("small", SMALL), ("large", large)))
    megabytes = [round(figures["bytes"] / 1e6, 1) for figures in (small, big)]
    return [
        Measured(id="traces-s-1", what=f"{count:,} explanation traces with 1 worker", value=round(one["seconds"], 1), unit="s", n=count, target=SECONDS),
        Measured(id="traces-s-2", what=f"{count:,} explanation traces with 2 workers", value=round(two["seconds"], 1), unit="s", n=count, target=SECONDS),
        Measured(id="traces-s-pairs", what=f"{count:,} explanation traces with preference pairs, 2 workers", value=round(pairs["seconds"], 1), unit="s", n=count, target=SECONDS),
        Measured(id="traces-rate-1", what="explanation traces a second, 1 worker, the process's start included", value=round(count / one["seconds"]), unit="rows/s", n=count),
        Measured(id="traces-rate-2", what="explanation traces a second, 2 workers, the processes' start included", value=round(count / two["seconds"]), unit="rows/s", n=count),
        Measured(id="traces-preview-s", what="ten rows without a set", value=round(preview, 3), unit="s", n=10, target=PREVIEW_S),
        share("traces-verified", "rows whose steps all execute to their results again, read from the files", verified, total, VERIFIED),
        share("traces-tried", "rows kept of those tried", total, int(two["metrics"]["tried"])),
        share("traces-paired", "training rows with a preference pair", paired, train),
        share("traces-same-bytes", "sets that are the same to the byte with 1 and 2 workers", int(same), 1, 1.0),
        Measured(id="traces-duplicates", what="rows that stand there twice, exactly", value=round(1 - len(hashes) / total, 6), unit="relative", n=total, target=DUPLICATES),
        Measured(id="traces-duplicate-questions", what="questions that stand there twice, exactly", value=round(1 - len(users) / total, 6), unit="relative", n=total, target=DUPLICATES),
        Measured(id="traces-memory-small", what=f"memory of making {SMALL:,} rows", value=megabytes[0], unit="MB", n=1),
        Measured(id="traces-memory-large", what=f"memory of making {large:,} rows", value=megabytes[1], unit="MB", n=1),
        Measured(id="traces-memory-growth", what=f"memory of {large:,} rows above that of {SMALL:,}", value=round(megabytes[1] - megabytes[0], 1), unit="MB", n=1, target=GROWTH),
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synth_traces", description="Explanation traces.")
    parser.add_argument("--count", type=int, default=10_000, help="rows of a set (default: %(default)s)")
    parser.add_argument("--large", type=int, default=200_000, help="rows of the largest (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/synthesis.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        rows = measured(Path(name), wanted.count, wanted.large)
    render.publish("synthesis", rows, command=COMMAND, began=began, write=wanted.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
