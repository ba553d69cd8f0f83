"""From what was asked for to a row source's options: which of the user's tools can be used, and which families are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentkit.errors import InvalidParams
from agentkit.protocols import Tool
from agentkit_synthesis.tooluse.own.drawing import check_drawable
from agentkit_synthesis.tooluse.own.loading import Loaded, load, runnable
from agentkit_synthesis.tooluse.own.rows import OWN_SHARES
from agentkit_synthesis.tooluse.rows import SHARES

if TYPE_CHECKING:
    from agentkit_synthesis.tooluse.params import ToolsParams

__all__ = ["options_of", "usable"]


def options_of(params: ToolsParams) -> dict[str, Any]:
    """Return the options of the rows.

    Raises:
        InvalidParams: the tools cannot be loaded, none of them may be run, or nothing can be drawn for them.
    """
    options: dict[str, Any] = {"distractors": params.distractors, "test_share": params.test_share}
    if params.paraphraser is not None:
        options["paraphraser"] = params.paraphraser
    if params.references:
        options["references"] = True
    if params.source is None:
        if params.families:
            options["families"] = {family: SHARES[family] for family in params.families}
        return options
    known = {**OWN_SHARES, "recovery": params.errors or OWN_SHARES["ask"]}
    if params.families:
        options["families"] = {family: known[family] for family in params.families}
    names = [tool.name for tool in usable(load(params.source), params)[0]]
    told = {"errors": params.errors, "allow_effects": params.allow_effects, "timeout_s": params.timeout_s}
    return {"from": params.source, "tools": names, **told, **options}


def usable(loaded: Loaded, params: ToolsParams) -> tuple[list[Tool], list[str]]:
    """Return the tools that may be run and that arguments can be drawn for, and why the others are left out.

    Raises:
        InvalidParams: there is none.
    """
    left = list(loaded.skipped)
    tools = []
    held = [tool.name for tool in loaded.tools if not runnable(tool, allow_effects=params.allow_effects)]
    if held:
        left.append(
            f"{', '.join(held)}: may change something, and is not run; say effect='pure' or 'read' where it does not, give it "
            "a dry run (predict), or allow effects in a temporary folder with --allow-effects"
        )
    for tool in loaded.tools:
        if tool.name in held:
            continue
        try:
            check_drawable(tool.spec)
            tools.append(tool)
        except InvalidParams as error:
            left.append(str(error).removeprefix("/source: "))
    if not tools:
        raise InvalidParams(f"/source: no tool of {params.source} can be used: {'; '.join(left)}")
    return tools, left
