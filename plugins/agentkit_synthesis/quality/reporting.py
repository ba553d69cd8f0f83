"""The job `report`: what a data set is worth, as report.json and report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from agentkit.extensions import Plugin
from agentkit.jobs import Job, JobContext, JobPlan, write_atomic
from agentkit_synthesis.quality.folders import Dataset, open_dataset
from agentkit_synthesis.quality.params import ReportParams

__all__ = ["JSON", "PAGE", "REPORT", "headline"]

JSON, PAGE = "report.json", "report.html"
NEEDS = ("datasketch", "scipy", "sklearn", "PIL")
ROWS_S = 4_000  # rows a second that are read, about
NEAR_S = 2_500  # rows a second that are compared
START_S = 3.0
ROW_BYTES = 700  # where a file's rows are not counted


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what a report would read and cost.

    Raises:
        InvalidParams: a parameter is off, or there is nothing to report on.
        MissingDependency: the extra `synth` is not installed.
    """
    checked = ReportParams.parse(params)
    Plugin(name="report", needs=NEEDS, extra="synth").require()
    data = open_dataset(checked.data)
    size = sum(path.stat().st_size for path in _files(data))
    rows = size / ROW_BYTES
    near = min(rows, checked.near_rows)
    told = {name: value for name, value in checked.model_dump(mode="json").items() if name != "data"}
    stamp = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _files(data))
    return JobPlan(
        config={**told, "data": str(checked.data), "files": json.dumps(stamp) if len(stamp) < 20 else _digest(stamp)},
        seconds=START_S + rows / ROWS_S + near / NEAR_S,
        memory_bytes=int(200e6 + 60 * rows + 12_000 * near),
        disk_bytes=4_000_000,
        backend="this machine",
        why=f"{data.kind}, {size:,} bytes",
    )


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Make the report and write it; return its headline."""
    checked = ReportParams.parse(params)
    data = open_dataset(checked.data)
    if data.kind == "texts":
        from agentkit_synthesis.quality.text_report import report_texts  # noqa: PLC0415  datasketch, scipy

        found = report_texts(data, checked, context)
    else:
        from agentkit_synthesis.quality.image_report import report_images  # noqa: PLC0415  sklearn, Pillow

        found = report_images(data, checked, context)
    from agentkit_synthesis.quality.page import page  # noqa: PLC0415

    report = {"name": data.name, **found, "class_columns": _class_columns(found), "warnings": list(context.warnings)}
    out = checked.out or data.home
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / JSON, json.dumps({name: value for name, value in report.items() if name not in ("grid", "class_columns")}, indent=1, ensure_ascii=False) + "\n")  # fmt: skip
    write_atomic(out / PAGE, page(report))
    context.artifact(out / JSON, "report")
    context.artifact(out / PAGE, "report")
    context.step(100, 100, phase="done")
    return {**headline(report), "report": str(out / PAGE)}


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few figures that say most, by name; small enough for a model to read."""
    verified, leakage = report["verified"], report["leakage"]
    told: dict[str, Any] = {"rows": sum(report["rows"].values()), "kind": report["kind"]}
    if executed := verified.get("executed"):
        told |= {"verified_share": executed["share"], "verified_rows": executed["rows"]}
    elif claimed := verified.get("claimed"):
        told["said_to_be_verified"] = claimed["right"] / claimed["rows"]
    told |= {f"duplicate_{name}": one["share"] for name, one in report["duplicates"].items()}
    if report["kind"] == "texts":
        told |= {name: report["diversity"]["whole"][name] for name in ("distinct_2", "self_similarity")}
        if "problems" in leakage:
            told |= {"test_problems_in_train": leakage["problems"]["share"]}
            told |= {f"test_prompts_leaked_{length}": one["share"] for length, one in leakage["prompt"].items()}
    else:
        told |= {"near_duplicates": report["near"]["share"]} if "near" in report else {}
        told |= {name: report["diversity"][name] for name in ("effective_images",) if name in report["diversity"]}
        told |= {name: report["real"][name] for name in ("precision", "recall") if name in report.get("real", {})}
    evenness = {name: one.get("evenness") for name, one in report["balance"].items() if name in ("family", "label")}
    return {**told, **{f"evenness_of_{name}": value for name, value in evenness.items()}}


def _class_columns(found: Mapping[str, Any]) -> list[str]:
    """Return what the table of classes shows."""
    known = ("rows", "duplicate_prompts", "duplicate_rows", "near", "looked_at", "tokens", "vocabulary", "distinct_2", "self_similarity", "compression", "mean_distance", "effective_images", "precision", "recall")  # fmt: skip
    return [name for name in known if any(name in row for row in found["classes"])]


def _files(data: Dataset) -> list[Path]:
    return list(data.files.values()) or [path for path in data.home.rglob("*") if path.is_file() and path.name not in (JSON, PAGE)]  # fmt: skip


def _digest(stamp: object) -> str:
    return sha256(json.dumps(stamp).encode()).hexdigest()


REPORT = Job(name="report", home="agentkit_synthesis.quality.reporting:REPORT", plan=plan, run=run)
