"""Data made to order, as tools: labelled images, examples of a tool's use, explanations; how good they are, and whether they help.

Each tool is a job of this package under a name that says what it makes. Importing this module loads nothing heavy; a call does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from agentkit.errors import InvalidParams
from agentkit.job_tools import Wanted, job_tool, shown, within
from agentkit.protocols import Tool, ToolContext
from agentkit_synthesis.tool_texts import result_texts
from agentkit_synthesis.wishes import NAMED, PRODUCTS, image_wish

__all__ = ["TOOLS", "tools_beside"]

ToolName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
What = Annotated[str, Field(pattern=NAMED)]
Data = Annotated[
    str, Field(pattern=r"^[\w.-]*\w[/._-][\w./-]*$")
]  # `made/`, `red-circles`, `rows.jsonl`: no plain word
Folder = Annotated[str, Field(pattern=r"(^|/)[A-Za-z_][\w.-]*/?$")]
Subject = Literal["arithmetic", "dates", "sets_graphs", "tables", "logs_configs", "tool_choice", "code_reading"]


@job_tool(
    result_texts,
    what="words",
    count="context",
    keywords="images pictures photos imgs labelled labeled dataset diffusion draw synthesise synthetic",
)
def make_images(what: What, count: int, context: ToolContext, out: Folder | None = None) -> Wanted:
    """Make labelled images and say how good they are.

    Args:
        what: what they show, such as blue squares.
        count: how many.
        out: folder for them; named after what they show if left out.
    """
    wish = image_wish(what, context.workspace)
    name = "-".join((*wish.where.values(), "images") if wish.where else (Path(wish.source).name, "images"))
    return Wanted(
        home="agentkit_synthesis.images.jobs:IMAGES",
        params={
            "source": wish.source,
            "count": count,
            "where": [f"{attribute}={value}" for attribute, value in wish.where.items()],
            "attributes": list(wish.where),  # the others may come as they like, and are no labels
            **(
                {"method": context.settings["products"]}
                if wish.source == PRODUCTS and "products" in context.settings
                else {}
            ),
        },
        about=Path(name),
        out=_out(out, context),
        default_out=name,
        reads=(Path(wish.source),) if Path(wish.source).is_dir() else (),
    )


@job_tool(
    result_texts,
    tool="context",
    count="context",
    keywords="training examples traces rows data synthesise synthetic teach tool",
)
def make_examples(tool: ToolName, count: int, context: ToolContext, out: Folder | None = None) -> Wanted:
    """Make training examples for a tool.

    Args:
        tool: the tool's name.
        count: how many.
        out: folder for them; named after the tool if left out.
    """
    return Wanted(
        home="agentkit_synthesis.tooluse.jobs:TOOLS",
        params={"source": tool, "count": count},
        about=Path(tool),
        out=_out(out, context),
        default_out=f"{tool}-examples",
    )


@job_tool(
    result_texts,
    count="context",
    keywords="explained explanations traces worked solutions reasoning synthesise synthetic orca problems",
)
def make_explanations(
    count: int, context: ToolContext, subject: Subject | None = None, out: Folder | None = None
) -> Wanted:
    """Make problems with step-by-step explanations to train on.

    Args:
        count: how many.
        subject: what they are about; all subjects if left out.
        out: folder for them; explanations if left out.
    """
    name = f"{subject}-explanations" if subject else "explanations"
    return Wanted(
        home="agentkit_synthesis.traces.jobs:TRACES",
        params={"count": count, **({"families": [subject]} if subject else {})},
        about=Path(name),
        out=_out(out, context),
        default_out=name,
    )


@job_tool(
    result_texts, writes=False, data="context", keywords="#file quality duplicates leakage diversity balance dataset"
)
def report_quality(data: Data, context: ToolContext) -> Wanted:
    """Report how good a data set is.

    Args:
        data: its folder, such as made/, or its file.
    """
    path = within(data, context.workspace)
    return Wanted(
        home="agentkit_synthesis.quality.reporting:REPORT",
        params={"data": str(path), "out": str(_home(context) / f"{path.name}-quality")},
        about=path,
        reads=_read(path),
    )


@job_tool(
    result_texts,
    writes=False,
    data="context",
    against="context",
    keywords="synthetic real student labels saved help helps worth",
)
def measure_data(data: Data, context: ToolContext, against: Folder | None = None) -> Wanted:
    """Measure whether synthetic data helps a model that learns from it.

    Args:
        data: folder of the synthetic data, such as made/.
        against: real images to test on: a folder, or digits; none for explanations.
    """
    path = within(data, context.workspace)
    real = None if against is None else _real(against, context)
    return Wanted(
        home="agentkit_synthesis.measure.measuring:MEASURE",
        params={"data": str(path), "out": str(_home(context) / f"{path.name}-measured"), "against": real},
        about=path,
        reads=(*_read(path), *(_read(Path(real)) if real else ())),
    )


def _real(name: str, context: ToolContext) -> str:
    folder = within(name, context.workspace)
    if folder.is_dir():
        return str(folder)
    if name in ("digits", "products", "shop"):
        return name
    raise InvalidParams(
        f"/against: {shown(folder, context.workspace)} is no folder; name one, or digits, or products, or shop"
    )


def _home(context: ToolContext) -> Path:
    """Return where figures go that nobody asked to have in the workspace."""
    from agentkit import config  # noqa: PLC0415  so that a test's own home is seen

    return config.data_dir() / "reports"


def _out(name: str | None, context: ToolContext) -> Path | None:
    return None if name is None else within(name, context.workspace)


def _read(path: Path) -> tuple[Path, ...]:
    return (path,) if path.exists() else ()


def tools_beside(others: Sequence[str]) -> tuple[Tool, ...]:
    """Return the tools, of which `make_examples` takes no other name than one of `others`: a decoder is then held to those."""
    spec = make_examples.spec
    pattern = f"^({'|'.join(map(re.escape, others))})$"  # an enum would be shown to the model, whole
    properties = spec.parameters["properties"]
    properties = {**properties, "tool": {**properties["tool"], "pattern": pattern}}
    held = replace(make_examples, spec=replace(spec, parameters={**spec.parameters, "properties": properties}))
    return tuple(held if tool is make_examples else tool for tool in TOOLS)


TOOLS: tuple[Tool, ...] = (make_images, make_examples, make_explanations, report_quality, measure_data)
"""In the order in which they are shown."""
