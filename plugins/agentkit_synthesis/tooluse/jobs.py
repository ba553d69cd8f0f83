"""Tool-use traces as a job: `agentkit synth tools`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from random import Random
from typing import Any

from agentkit.errors import JobError
from agentkit.jobs import Job, JobContext, JobPlan
from agentkit.models import resolve
from agentkit_synthesis.dataset.making import make_rows, refuse_other
from agentkit_synthesis.dataset.manifest import is_made
from agentkit_synthesis.tooluse.choosing import usable
from agentkit_synthesis.tooluse.own.drawing import draw_arguments
from agentkit_synthesis.tooluse.own.loading import load
from agentkit_synthesis.tooluse.own.rows import bench_of
from agentkit_synthesis.tooluse.params import ToolsParams

__all__ = ["SOURCE", "TOOLS"]

SOURCE = "agentkit_synthesis.tooluse.source:make"
ROW_BYTES = 4_000
ROWS_A_SECOND, OWN_ROWS_A_SECOND = 150.0, 40.0  # of one process; a first guess for the plan
CHUNK, OWN_CHUNK, PARAPHRASED_CHUNK = 256, 64, 8  # rows a worker makes at once
PROBES = 24  # calls before a tool is held to fail on everything
ABOUT = (
    "Conversations with invented tools. Each was executed against a small world with working tools behind it, "
    "and kept because its goal held on the world's state and the answer."
)
ABOUT_OWN = "Conversations with these tools: {names}. Every call in them was made, twice, and gave what is shown."


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what would be made and what it costs; runs no tool.

    Raises:
        InvalidParams: a parameter, or the tools, cannot be used; `out` exists.
        ModelError: there is no such paraphraser.
    """
    checked = ToolsParams.parse(params)
    options = checked.options
    if not is_made(
        checked.out, source=SOURCE, options=options, seed=checked.seed, count=checked.count, parquet=checked.parquet
    ):
        refuse_other(checked.out, force=checked.force)
    workers = _workers(checked)
    rate = ROWS_A_SECOND if checked.source is None else OWN_ROWS_A_SECOND
    told: dict[str, Any] = {"source": SOURCE, "options": options, "count": checked.count, "parquet": checked.parquet}
    if checked.source is not None:
        told["sha256"] = load(checked.source).sha256
    kind = (
        "invented tools"
        if checked.source is None
        else f"{len(options['tools'])} of your tools: {', '.join(options['tools'])}"
    )
    if checked.paraphraser is not None:
        resolve(checked.paraphraser, offline=True)
        kind += f", said in other words by {checked.paraphraser}, whose time is not known"
    return JobPlan(
        config=told,
        seconds=round(checked.count / (rate * workers) + 2.0 * (workers > 1), 1),
        memory_bytes=150_000_000 * workers,
        disk_bytes=2 * ROW_BYTES * checked.count,
        backend=f"{workers} processes",
        why=f"{checked.count} rows of {kind}",
    )


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Make the data set; tools that fail on everything are left out first.

    Raises:
        JobError: all of the tools fail on everything, or one hangs.
    """
    checked = ToolsParams.parse(params)
    options = checked.options
    about = ABOUT
    if checked.source is not None:
        for why in usable(load(checked.source), checked)[1]:
            context.warn(f"left out: {why}")
        options["tools"] = _that_work(options, context)
        about = ABOUT_OWN.format(names=", ".join(options["tools"]))
    return make_rows(
        SOURCE,
        options,
        count=checked.count,
        seed=checked.seed,
        workers=_workers(checked),
        out=checked.out,
        context=context,
        kind="tools",
        title="Tool-use traces",
        about=about,
        parquet=checked.parquet,
        force=checked.force,
        chunk=PARAPHRASED_CHUNK if checked.paraphraser else OWN_CHUNK if checked.source else CHUNK,
    )


def _that_work(options: Mapping[str, Any], context: JobContext) -> list[str]:
    """Return the tools that can do something with some of the values drawn for them."""
    good, bad = [], []
    for tool in load(options["from"]).named(options["tools"]):
        rng, error = Random(f"probe/{tool.name}"), ""
        with bench_of(options).open() as bench:
            for _ in range(PROBES):
                given = bench.call(tool.name, draw_arguments(tool.spec, rng).arguments)
                if given.ok:
                    good.append(tool.name)
                    break
                error = given.text.removeprefix("Error: ")
            else:
                bad.append(f"'{tool.name}' fails on each of {PROBES} sets of values drawn for it ({error[:200]})")
    if not good:
        raise JobError(
            f"no row can be verified: {'; '.join(bad)}; give examples in the descriptions of its arguments (`such as ...`), "
            "or enums, patterns and ranges in its types"
        )
    for why in bad:
        context.warn(f"left out: {why}")
    return good


def _workers(params: ToolsParams) -> int:
    if params.workers is not None:
        return params.workers
    if params.paraphraser is not None:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, params.count // CHUNK))


TOOLS = Job(name="tools", home="agentkit_synthesis.tooluse.jobs:TOOLS", plan=plan, run=run)
