"""Staying with a job on the terminal: a bar with rate, time left and figures, and what Ctrl-C does meanwhile."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.cli.output import colourful, say
from agentkit.jobs.texts import duration

if TYPE_CHECKING:
    from agentkit.jobs import Job, JobResult

__all__ = ["follow_job", "run_job", "sparkline"]

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 24  # of a curve
SHOWN = 4  # figures beside a bar


def run_job(job: Job, params: Mapping[str, Any], folder: Path) -> JobResult:
    """Start a job in a process of its own, stay with it, and return what it came to.

    Ctrl-C asks it to write a checkpoint and end; a second one leaves it to do so. The same call goes on from there.

    Raises:
        InvalidParams, JobError: as `jobs.start`; the job failed, or its process ended without a result.
    """
    from agentkit import jobs
    from agentkit.errors import JobError

    handle = jobs.JobHandle(folder)
    try:
        handle = jobs.start(job, params, run_dir=folder)
        follow_job(folder)
    except KeyboardInterrupt:
        if not jobs.cancel(folder):  # it had not begun, or is done
            raise
        say("stopping after this step; the same command goes on from there")
    done = handle.wait()
    if done.status == "failed":
        raise JobError(f"{done.error}; `agentkit jobs show {folder}` has more")
    return done


def follow_job(folder: Path) -> None:
    """Show a job's steps on stderr until it ends: a bar on a terminal, a line each elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from agentkit import jobs

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))  # fmt: skip
    first: Mapping[str, Any] | None = None  # step of this start
    losses: list[float] = []
    with Progress(*columns, console=Console(stderr=True), disable=not colourful(sys.stderr)) as bar:
        shown = bar.add_task(folder.name, total=None, rate="", figures="")
        for event in jobs.follow(folder):
            if event["type"] == "started":
                first = None
            if event["type"] != "step":
                continue
            if not colourful(sys.stderr):
                say(_line(event))
                continue
            first = first or event
            seconds = event["t"] - first["t"]
            rate = f"{(event['step'] - first['step']) / seconds:.3g}/s" if seconds > 0 else ""
            if _number(event.get("metrics", {}).get("loss")):
                losses.append(event["metrics"]["loss"])
            told = f"{sparkline(losses)} {_figures(event)}".strip()
            bar.update(shown, completed=event["step"], total=event.get("total"), rate=rate, figures=told)


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """Return a curve of one line, `width` characters at most: means of equal stretches, from the least to the greatest."""
    if len(values) < 2:
        return ""
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    least, most = min(means), max(means)
    span = (most - least) or 1.0
    return "".join(BARS[min(len(BARS) - 1, int((mean - least) / span * len(BARS)))] for mean in means)


def _line(event: Mapping[str, Any]) -> str:
    total = f"/{event['total']}" if event.get("total") else ""
    left = f", {duration(event['eta_s'])} left" if event.get("eta_s") is not None else ""
    return f"step {event['step']}{total}  {_figures(event)}{left}"


def _figures(event: Mapping[str, Any]) -> str:
    numbers = [(name, value) for name, value in event.get("metrics", {}).items() if _number(value)]
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers[:SHOWN])


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
