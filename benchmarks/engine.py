"""How much work the engine saves, against the ways a user would go without it, in one run on one file.

python -m benchmarks.engine [--realistic] [--model PATH] [--repeats 5] [--only WORKLOAD ...] [--plot FILE] [--write]

Everything is teacher-forced or of a fixed length, so the weights do not matter. Times are ratios of medians over
interleaved repetitions with bootstrap intervals; token counts are exact. The peers: llama-cpp-python's class `Llama` at
its best settings and, for the tree, llama-server if `python -m benchmarks.llama_server` has built it. `--realistic`
makes a random model of the shape of Llama 3.2 1B for the time of the run; the targets are for that one. Not while
anything else runs.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agentkit.engine.llama.library import physical_cores
from agentkit.models import resolve
from benchmarks import engine_plot, figures, random_llama, render
from benchmarks.engine_adapters import adapters
from benchmarks.engine_bench import SEED, Bench
from benchmarks.engine_branch import best_of
from benchmarks.engine_drafts import drafts
from benchmarks.engine_loop import cancel, loop
from benchmarks.engine_rank import order, rank
from benchmarks.engine_tree import radix, sessions, tree
from benchmarks.engine_turns import turns
from benchmarks.figures import Measured

TARGETS = {
    "tree-time": 0.5, "tree-tokens": 1 / 2.4, "server-tokens": 1 / 1.6, "rank-full": 0.5, "rank-choose": 0.05,
    "rank-gap": 1.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing measured, and about how many seconds it takes on the realistic model, for the progress bar."""

    run: Callable[[Bench, int], list[Measured]]
    seconds: float


WORKLOADS = {
    "tree": Workload(tree, 700),
    "radix": Workload(radix, 150),
    "sessions": Workload(sessions, 40),
    "turns": Workload(turns, 200),
    "best-of-k": Workload(best_of, 200),
    "rank": Workload(rank, 40),
    "order": Workload(order, 80),
    "drafts": Workload(drafts, 80),
    "adapters": Workload(adapters, 20),
    "cancel": Workload(cancel, 5),
    "loop": Workload(loop, 40),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    wanted = _arguments(argv)
    began = time.monotonic()
    area = "engine-1b" if wanted.realistic else "engine"
    with tempfile.TemporaryDirectory() as folder:
        path = wanted.model or resolve("sprout").path
        if wanted.realistic:
            path = random_llama.write(Path(folder) / "random-1b.gguf")
        threads = wanted.threads or (physical_cores() if wanted.realistic else 1)
        bench = Bench(Path(str(path)), threads, build=wanted.build)
        measured = measure(bench, wanted.only, wanted.repeats)
        bench.close()
    targets = TARGETS if wanted.realistic else {}
    measured = [replace(one, target=targets.get(one.id, one.target)) for one in measured]
    command = f"python -m benchmarks.engine{' --realistic' if wanted.realistic else ''} --write"
    rows = render.publish(area, measured, command=command, began=began, write=wanted.write)
    if wanted.plot:
        figures.write_whole(wanted.plot, engine_plot.draw(rows))
    return 0


def measure(bench: Bench, names: Sequence[str], repeats: int) -> list[Measured]:
    """Return what the workloads of these names found, with a progress bar on stderr."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    found = []
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=900.0) as progress:
        task = progress.add_task("", total=sum(WORKLOADS[name].seconds for name in names))
        for name in names:
            workload = WORKLOADS[name]
            progress.update(task, description=name)
            bench.rng = Random(SEED)  # whatever else is measured
            bench.tick = partial(_advance, progress, task, workload)
            found += workload.run(bench, repeats)
            if not progress.console.is_terminal:  # a bar that nobody can see moving
                print(f"{name}: done", file=sys.stderr, flush=True)
    return found


def _advance(progress: Progress, task: TaskID, workload: Workload, share: float) -> None:
    progress.advance(task, share * workload.seconds)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description="How much work the engine saves.")
    parser.add_argument("--model", type=Path, help="a GGUF (default: sprout)")
    parser.add_argument("--realistic", action="store_true", help="a random model of 1.1 billion weights instead")
    parser.add_argument("--threads", type=int, help="default: 1 for sprout, the physical cores for a bigger one")
    parser.add_argument("--repeats", type=int, default=5, help="of what takes minutes fewer (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--build", type=Path, metavar="DIR", help="where llama-server was built")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios as an SVG")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/")
    return parser.parse_args(argv)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the peer's process and the random model must not stay
    raise SystemExit(main())
