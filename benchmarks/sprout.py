"""How well the embedded model does: held-out requests, requests written by hand, percentages, sums over files.

python -m benchmarks.sprout [--model PATH] [--n 500] [--slice 50] [--write] [--ranker-weight W] [--errors FILE]
python -m benchmarks.sprout --fit [--n 500]     the ranker's weight, fitted on the dev split

Every request goes through the real engine and the real state machine. The 500 are asked twice: with the lexical
ranker's prior, and by the model alone. `--slice` takes fewer of everything, always the same ones, for a look.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agentkit.config import EngineSettings
from agentkit.engine import open_engine
from benchmarks import figures, fitting, render, sprout_rows, sprout_tasks
from benchmarks.answering import Bench
from benchmarks.sprout_tasks import Job, Judged

SEED = 1
TASKS = ("set", "hand", "percent", "sum", "lists")
DETAILS = figures.RESULTS / "details" / "sprout.json"
COMMAND = "python -m benchmarks.sprout --write"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    wanted = _parser().parse_args(argv)
    if wanted.fit:
        return fit(wanted.model, wanted.seed, wanted.n)
    began = time.monotonic()
    bench = Bench.open(wanted.model)
    weight = wanted.ranker_weight
    if weight is None:
        weight = bench.engine.capabilities.tool_prior_weight or fitting.UNFITTED
    judged = run(bench, jobs(wanted), weight)
    measured = sprout_rows.measured(judged, wanted.seed, weight)
    rows = figures.rows(measured, command=_command(wanted), seconds=time.monotonic() - began)
    show(rows, judged)
    report = {"model_sha256": bench.engine.capabilities.fingerprint, "seed": wanted.seed, "ranker_weight": weight,
              "rows": [asdict(row) for row in rows], "confusions": sprout_rows.confusions(judged)}  # fmt: skip
    bench.close()
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    if wanted.json:
        figures.write_whole(wanted.json, text)
    if wanted.errors:
        wrong = [one.to_json() for one in judged if not one.right_task]
        figures.write_whole(wanted.errors, "\n".join(wrong) + "\n")
    if wanted.write:
        figures.write("sprout", rows)
        figures.write_whole(DETAILS, text)
    return 0


def jobs(wanted: argparse.Namespace) -> list[tuple[Job, bool]]:
    """Return what is to be asked, each with whether the ranker is on; the 500 stand there twice."""
    part = wanted.slice
    small = None if part is None else max(4, part // 5)
    made = {
        "set": lambda: sprout_tasks.held_out(wanted.seed, wanted.n, keep=part),
        "hand": lambda: sprout_tasks.handwritten(keep=small),
        "percent": lambda: sprout_tasks.percents(keep=small),
        "sum": lambda: sprout_tasks.sums(keep=small),
        "lists": lambda: sprout_tasks.lists(wanted.seed, keep=small),
    }
    found: list[tuple[Job, bool]] = []
    for task in wanted.only or TASKS:
        asked = made[task]()
        found += [(job, True) for job in asked]
        if task in {"set", "hand"}:
            found += [(job, False) for job in asked]
    return found


def run(bench: Bench, asked: Sequence[tuple[Job, bool]], weight: float) -> list[Judged]:
    """Ask and judge all of them, with a bar that says how long it takes."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    judged: list[Judged] = []
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        shown = bar.add_task("", total=len(asked))
        for job, ranked in asked:
            bar.update(shown, description=f"{job.task}{'' if ranked else ', model alone'}")
            judged.append(job.do(bench, weight if ranked else 0.0))
            bar.advance(shown)
    return judged


def show(rows: Sequence[figures.Row], judged: Sequence[Judged]) -> None:
    """Print the figures, and what is most often taken for what."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(render.table([("sprout", list(rows))]))
    for name, confused in sprout_rows.confusions(judged).items():
        if confused:
            drawn = Table("wanted", "got", "times", title=f"wrong tool: {name}", title_justify="left", box=None)
            for one in confused:
                drawn.add_row(one["wanted"], one["got"], str(one["times"]))
            console.print(drawn)


def fit(model: str, seed: int, n: int) -> int:
    """Print the right-tool share on the dev split at each weight, and the weight to take."""
    engine = open_engine(EngineSettings(model=model, offline=True))
    shares = fitting.grid(engine, seed, n)
    engine.close()
    best = fitting.best(shares)
    drawn = Table("weight", "right tool", "seen", "never seen", title=f"dev split, {n} requests, seed {seed}", box=None)
    for one in shares:
        mark = " <" if one.weight == best else ""
        drawn.add_row(f"{one.weight:g}", f"{one.all:.3f}{mark}", f"{one.seen:.3f}", f"{one.unseen:.3f}")
    Console(stderr=True).print(drawn)
    print(best)
    return 0


def _command(wanted: argparse.Namespace) -> str:
    """Return the command that measures these rows; what a model lies at is nobody's business."""
    parts = [COMMAND]
    if wanted.n != 500:
        parts.append(f"--n {wanted.n}")
    if wanted.slice:
        parts.append(f"--slice {wanted.slice}")
    if wanted.ranker_weight is not None:
        parts.append(f"--ranker-weight {wanted.ranker_weight:g}")
    return " ".join(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sprout", description="How well the model does.")
    add: Any = parser.add_argument
    add("--model", default="sprout", help="a GGUF, or a model's name (default: %(default)s)")
    add("--n", type=int, default=500, help="generated requests (default: %(default)s)")
    add("--seed", type=int, default=SEED, help="of the generated requests (default: %(default)s)")
    add("--slice", type=int, help="only so many of the generated requests, and a fifth of that of the others")
    add("--only", action="append", choices=TASKS, help="only this part; can be repeated")
    add("--ranker-weight", type=float, help="default: what the model's file says")
    add("--fit", action="store_true", help="print the ranker's weight that does best on the dev split")
    add("--write", action="store_true", help="put the rows into benchmarks/results/sprout.json")
    add("--json", type=Path, metavar="FILE", help="write the rows and confusions here")
    add("--errors", type=Path, metavar="FILE", help="write what went wrong here, as JSON Lines")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
