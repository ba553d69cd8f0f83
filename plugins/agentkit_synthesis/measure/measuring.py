"""The job `measure`: students taught on synthetic and real data, tested on real data that is held out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkit.errors import InvalidParams
from agentkit.extensions import Plugin
from agentkit.jobs import Job, JobContext, JobPlan, write_atomic
from agentkit_synthesis.measure.cells import Cell, read_result, write_result
from agentkit_synthesis.measure.params import MeasureParams
from agentkit_synthesis.quality.folders import Dataset, open_dataset

if TYPE_CHECKING:
    from agentkit_synthesis.measure.pictured import Images
    from agentkit_synthesis.measure.told import Traces

__all__ = ["JSON", "MEASURE", "PICTURE", "TABLE", "labels_seen"]

JSON, TABLE, PICTURE = "measure.json", "measure.md", "measure.png"
NEEDS = ("torch", "transformers", "sklearn", "scipy", "matplotlib", "PIL")
FREE = frozenset({"data", "out", "workers"})  # what the figures do not depend on, or what is named by its digest
WORKER_BYTES = 600_000_000


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what a measurement would teach and cost; reads the data, and probes a step of each student.

    Raises:
        InvalidParams: a parameter is off, or the data cannot be measured: too little, one class, other labels, no test split.
        MissingDependency: the extra `synth` is not installed.
    """
    checked = MeasureParams.parse(params)
    Plugin(name="measure", needs=NEEDS, extra="synth").require()
    from agentkit_synthesis.measure.costs import costs_of  # noqa: PLC0415  torch

    source = _read(checked, open_dataset(checked.data))
    cells = source.cells(checked)
    seconds = costs_of(checked, source, cells)
    workers = min(checked.workers, len(cells))
    told = {name: value for name, value in checked.model_dump(mode="json").items() if name not in FREE}
    return JobPlan(
        config={**told, "data": source.digest, "students": len(cells)},
        seconds=seconds / workers + 5,
        memory_bytes=WORKER_BYTES * workers,
        disk_bytes=2_000_000,
        backend="torch on the CPU",
        why=f"{len(cells)} students so small are fastest with one thread each: {workers} side by side",
    )


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Teach every student that is not taught yet; write figures, table and picture; return the figures."""
    checked = MeasureParams.parse(params)
    data = open_dataset(checked.data)
    source = _read(checked, data)
    for warning in source.warnings:
        context.warn(warning)
    cells = source.cells(checked)
    if not _taught(checked, cells, context):
        return {}
    results = [read_result(context.checkpoint_dir, cell) or {} for cell in cells]
    found = _told(checked, data, cells, results, context)
    context.step(len(cells), len(cells), phase="students")
    return found


def _read(params: MeasureParams, data: Dataset) -> Images | Traces:
    """Return what students learn from."""
    if data.kind == "images":
        from agentkit_synthesis.measure.pictured import read_images  # noqa: PLC0415  sklearn

        return read_images(params)
    from agentkit_synthesis.measure.told import read_traces  # noqa: PLC0415  torch

    if params.against is not None:
        raise InvalidParams("/against: traces are measured on their own test split; leave it out")
    return read_traces(params)


def _taught(params: MeasureParams, cells: Sequence[Cell], context: JobContext) -> bool:
    """Teach what is not taught; return whether all are."""
    from agentkit_synthesis.measure.crew import teach_all  # noqa: PLC0415
    from agentkit_synthesis.measure.teaching import teach  # noqa: PLC0415  torch

    folder = context.checkpoint_dir
    left = [cell for cell in cells if read_result(folder, cell) is None]
    done = len(cells) - len(left)
    context.step(min(done, len(cells) - 1), len(cells), phase="students")

    def told(cell: Cell, result: dict[str, Any]) -> None:
        nonlocal done
        write_result(folder, cell, result)
        done += 1
        context.event("student", {"arm": cell.arm, "share": cell.share, "seed": cell.seed, "score": result["score"]})  # fmt: skip
        context.step(min(done, len(cells) - 1), len(cells), {"score": result["score"]}, phase="students")

    given = {**params.model_dump(mode="json"), "workers": 1}
    teach_all(teach, given, left, params.workers, told=told, should_stop=context.should_stop)
    return all(read_result(folder, cell) is not None for cell in cells)


def _told(params: MeasureParams, data: Dataset, cells: Sequence[Cell], results: Sequence[Mapping[str, Any]], context: JobContext) -> dict[str, Any]:  # fmt: skip
    """Write what was found, and return it."""
    from agentkit_synthesis.measure import plots, tables  # noqa: PLC0415  matplotlib
    from agentkit_synthesis.measure.results import results_of_images, results_of_traces  # noqa: PLC0415

    params.out.mkdir(parents=True, exist_ok=True)
    if data.kind == "images":
        seen = _generator_labels(params, data, context)
        students = results_of_images(cells, results, seen)
        found: dict[str, Any] = {"kind": "images", "generator_labels": seen, "students": students}
        plots.plot_images(students, params.out / PICTURE, title=data.name, generator_labels=seen)
        parts = [tables.markdown(rows) for one in found["students"].values() for rows in (tables.image_table(one), tables.saved_table(one))]  # fmt: skip
    else:
        found = {"kind": "traces", **results_of_traces(cells, results)}
        plots.plot_traces(found, params.out / PICTURE, title=data.name)
        parts = [tables.markdown(tables.trace_table(found))]
    write_atomic(params.out / JSON, json.dumps({**found, "warnings": context.warnings}, indent=1) + "\n")
    write_atomic(params.out / TABLE, "\n".join(parts))
    for name in (JSON, TABLE, PICTURE):
        context.artifact(params.out / name, "measurement")
    return found


def _generator_labels(params: MeasureParams, data: Dataset, context: JobContext) -> int:
    """Return the real labels that the generator saw."""
    known = params.generator_labels if params.generator_labels is not None else labels_seen(data.manifest)
    if known is None:
        context.warn("it is not known how many real labels the generator saw: those are not taken off what is saved; give generator_labels")  # fmt: skip
        return 0
    return known


def labels_seen(manifest: Mapping[str, Any]) -> int | None:
    """Return how many labelled images a manifest says that the generator learnt from, wherever in it; None if it does not."""
    found = manifest.get("labelled")
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    inner = (labels_seen(value) for value in manifest.values() if isinstance(value, Mapping))
    return next((value for value in inner if value is not None), None)


MEASURE = Job(name="measure", home="agentkit_synthesis.measure.measuring:MEASURE", plan=plan, run=run)
