"""Explanation traces as a job: what `agentkit synth traces` starts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from agentkit.errors import OfflineModelUnavailable
from agentkit.jobs import Job, JobContext, JobPlan
from agentkit_synthesis.dataset.making import make_rows, refuse_other
from agentkit_synthesis.dataset.manifest import is_made, versions
from agentkit_synthesis.traces.params import TracesParams
from agentkit_synthesis.traces.source import SOLVER, make

__all__ = ["SOURCE", "TRACES"]

KIND, SOURCE = "traces", "agentkit_synthesis.traces.source:make"
TRIED = 60  # rows that a plan makes to see how long they take
MEMORY = 100_000_000  # bytes of a process, about
CHUNK, TAUGHT_CHUNK = 256, 1  # rows a worker makes at once
PATIENCE, TAUGHT_PATIENCE = 200, 20  # rows without one that verified
ABOUT = (
    "Explanation traces: a system message, a problem, its solution step by step in the style that the system message asks for, and "
    "the answer. Problems and steps are by program. Each step holds an expression; an evaluator that shares no calculation with "
    "the solver executed every one, and a row was kept only if all of them and the answer held. `messages` is what a model is trained on; the "
    "last line of every reply is `Answer: ...`."
)


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what making the set would cost; makes a few rows to see.

    Raises:
        InvalidParams: a parameter cannot be used, or `out` exists and holds something else.
        ModelError: there is no such teacher.
    """
    checked = TracesParams.parse(params)
    options, workers = checked.options, _workers(checked)
    about: dict[str, Any] = {"source": SOURCE, "options": options, "seed": checked.seed, "count": checked.count}
    if not is_made(checked.out, **about, parquet=checked.parquet):
        refuse_other(checked.out, force=checked.force)
    config = {**about, "parquet": checked.parquet, "versions": versions()}
    if checked.teacher != SOLVER:
        backend = _teacher(checked.teacher)
        return JobPlan(config=config, backend=backend, why=f"{checked.teacher} was asked for, {options['samples']} samples a problem at most")  # fmt: skip
    began = time.perf_counter()
    size = sum(len(json.dumps(make(options, checked.seed, index))) for index in range(TRIED))
    seconds = (time.perf_counter() - began) / TRIED
    return JobPlan(
        config=config,
        seconds=round(checked.count * seconds / workers, 1),
        memory_bytes=MEMORY * (workers + 1 if workers > 1 else 1),
        disk_bytes=int(checked.count * size / TRIED * (1.5 if checked.parquet else 1)),
        backend=f"{workers} processes" if workers > 1 else "this process",
        why="problems and solutions are by program",
    )


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Make the set."""
    checked = TracesParams.parse(params)
    taught = checked.teacher != SOLVER
    return make_rows(
        SOURCE,
        checked.options,
        count=checked.count,
        seed=checked.seed,
        workers=_workers(checked),
        out=checked.out,
        context=context,
        kind=KIND,
        title="Explanation traces",
        about=ABOUT + (f" The explanations are by {checked.teacher}." if taught else ""),
        pairs=checked.pairs,
        parquet=checked.parquet,
        force=checked.force,
        chunk=TAUGHT_CHUNK if taught else CHUNK,
        patience=TAUGHT_PATIENCE if taught else PATIENCE,
    )


def _teacher(name: str) -> str:
    """Return what sort of model a teacher is; nothing is downloaded yet.

    Raises:
        ModelError: there is no such model, or it would have to be downloaded and may not.
    """
    from agentkit import config  # noqa: PLC0415  only with a model
    from agentkit.models import resolve  # noqa: PLC0415

    try:
        return f"{resolve(name, offline=True).kind} model"
    except OfflineModelUnavailable:
        if config.load().settings.engine.offline:
            raise
        return "gguf model, to be downloaded"


def _workers(params: TracesParams) -> int:
    if params.workers is not None:
        return params.workers
    if params.teacher != SOLVER:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, params.count // CHUNK))


TRACES = Job(name="traces", home="agentkit_synthesis.traces.jobs:TRACES", plan=plan, run=run)
