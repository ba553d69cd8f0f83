"""How soon the command line is there: `agentkit --help`, and a question with its answer and its memory.

python -m benchmarks.startup [--model NAME] [--times 10] [--write]

Measures the installed `agentkit` command beside this Python, on the embedded model. Not while something trains.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import render
from benchmarks.figures import Measured
from benchmarks.judging import shows

QUESTION, ANSWER = "What is 15% of 200?", "30"
HELP_S, ANSWER_S, PEAK_MB = 0.3, 3.0, 350.0
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run of a command, start of the process to its end."""

    seconds: float
    peak_mb: float
    output: str


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description="How soon the command is there.")
    parser.add_argument("--model", help="another model than the embedded one")
    parser.add_argument("--times", type=int, default=10, help="runs of each (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/startup.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    measured = measure(wanted.model, wanted.times)
    command = "python -m benchmarks.startup --write"
    render.publish("startup", measured, command=command, began=began, write=wanted.write)
    return 0


def measure(model: str | None, times: int) -> list[Measured]:
    """Return the three figures; the first run of each warms the file cache and is not counted."""
    agentkit = str(Path(sys.executable).parent / "agentkit")
    with tempfile.TemporaryDirectory() as folder:
        helped = [run([agentkit, "--help"], Path(folder)) for _ in range(times + 1)][1:]
        asked = [agentkit, "run", "--output-format", "json", *(["-m", model] if model else []), QUESTION]
        answered = [run(asked, Path(folder)) for _ in range(times + 1)][1:]
    for ran in answered:
        if not shows(json.loads(ran.output)["data"]["answer"], ANSWER):
            raise SystemExit(f"'{QUESTION}' was not answered with {ANSWER}: {ran.output}")
    return [
        _median("help", "`agentkit --help`, median", [ran.seconds for ran in helped], "s", HELP_S),
        _median("first-answer", f"process start to the answer of '{QUESTION}', median",
                [ran.seconds for ran in answered], "s", ANSWER_S),
        _median("first-answer-memory", f"peak resident memory of '{QUESTION}', median",
                [ran.peak_mb for ran in answered], "MB", PEAK_MB),
    ]  # fmt: skip


def run(command: Sequence[str], folder: Path) -> Ran:
    """Run `command` with a home of its own in `folder`; raise SystemExit if it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENTKIT_")}
    environ: dict[str, Any] = {**kept, "AGENTKIT_HOME": str(folder / "home")}
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}: {errors.read()[-500:]}")
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        return Ran(seconds=seconds, peak_mb=used.ru_maxrss * unit / MEBIBYTE, output=output.read())


def _median(id: str, what: str, values: Sequence[float], unit: str, target: float) -> Measured:
    middle = statistics.median(values)
    return Measured(id=id, what=what, value=round(middle, 3), unit=unit, n=len(values), target=target,
                    interval=(round(min(values), 3), round(max(values), 3)))  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
