"""LangChain's tools as ours, and ours as LangChain's; MCP's annotations as rules.

A LangChain tool says nothing of what it does to the world, so it is irreversible with egress unless its metadata
says otherwise: MCP's hints (as langchain-mcp-adapters leaves them there), or our own rules under `"agentkit"`.
"""

from __future__ import annotations

import asyncio
import difflib
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.errors import ToolError
from agentkit.protocols import Tool, ToolContext
from agentkit.schema import problems
from agentkit.tools.declare import explain, rules_of, tool
from agentkit.tools.schema import simplify
from agentkit.types import Done, Failed, Outcome, ToolCall, ToolRules, ToolSpec

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def as_tool(thing: Tool | BaseTool | Callable[..., Any]) -> Tool:
    """Return a tool, a LangChain tool or a typed function as a tool.

    Raises:
        ToolError: it is none of them, or is declared wrongly.
    """
    if isinstance(thing, Tool):
        return thing
    langchain = sys.modules.get("langchain_core.tools")  # whoever holds such a tool has imported it
    if langchain is not None and isinstance(thing, langchain.BaseTool):
        return from_langchain(thing)
    if callable(thing):
        return tool(thing)
    raise ToolError(f"{thing!r} is no tool; pass a function, an agentkit Tool or a LangChain tool")


def from_langchain(source: BaseTool) -> Tool:
    """Return a LangChain tool as a tool of ours.

    Raises:
        ToolError: it needs arguments that only LangGraph's own tool node injects.
    """
    schema: Any = source.tool_call_schema
    model = None if isinstance(schema, dict) else schema
    parameters = simplify(schema if model is None else model.model_json_schema())
    parameters.setdefault("type", "object")
    _refuse_injected(source, parameters)
    spec = ToolSpec(
        name=source.name,
        description=" ".join(source.description.split()) or source.name.replace("_", " "),
        parameters=parameters,
        rules=rules_from_metadata(source.name, source.metadata or {}, parameters),
    )

    def run(arguments: Mapping[str, Any], context: ToolContext) -> Outcome:
        call = {"type": "tool_call", "name": source.name, "args": dict(arguments), "id": context.effect_id}
        sync = _has_sync(source)
        message = source.invoke(call) if sync else asyncio.run(source.ainvoke(call))
        return _outcome_of_message(message)

    def validate(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        from pydantic import ValidationError  # noqa: PLC0415  loaded by LangChain, where there is such a tool

        given = dict(arguments)
        check(given, spec)
        if model is None:
            if wrong := problems(given, parameters):
                raise ValueError(f"{'; '.join(wrong[:3])}. {_takes(spec)}")
            return given
        try:
            model.model_validate(given)
        except ValidationError as error:
            raise ValueError(explain(error, spec)) from error
        return given

    return Tool(spec=spec, run=run, validate=validate)


def to_langchain(source: Tool, context: ToolContext | None = None) -> BaseTool:
    """Return a tool of ours as LangChain's; a failure is a `ToolMessage` with status "error".

    Args:
        source: the tool. Its rules go along in `metadata["agentkit"]`.
        context: what the tool is handed; None: the current folder, no store, no nested calls.
    """
    from langchain_core.tools import StructuredTool, ToolException  # noqa: PLC0415  only for LangChain's users

    from agentkit.tools.run import run_call  # noqa: PLC0415

    def call(**arguments: Any) -> str:
        wanted = ToolCall(id=uuid.uuid4().hex, tool=source.name, arguments=arguments)
        outcome = run_call(source, wanted, context or bare_context())
        if isinstance(outcome, Failed):
            raise ToolException(outcome.text)
        return outcome.text

    return StructuredTool(
        name=source.name,
        description=source.spec.description,
        args_schema=dict(source.spec.parameters),
        func=call,
        handle_tool_error=True,
        metadata={"agentkit": asdict(source.spec.rules)},
    )


def bare_context(workspace: Path | None = None) -> ToolContext:
    """Return a context for a tool that runs outside an agent."""

    def call(name: str, arguments: Mapping[str, Any]) -> Outcome:
        return Failed(text=f"'{name}' cannot be called from here: no agent is running", kind="unknown_tool")

    return ToolContext(
        run_id="",
        effect_id=uuid.uuid4().hex,
        workspace=workspace or Path.cwd(),
        cancel=threading.Event(),
        deadline=None,
        emit=lambda kind, data: None,
        call=call,
    )


def rules_from_metadata(name: str, metadata: Mapping[str, Any], parameters: Mapping[str, Any]) -> ToolRules:
    """Return the rules that a LangChain tool's metadata states: ours, MCP's hints, or none."""
    ours = metadata.get("agentkit")
    if isinstance(ours, Mapping):  # what is behind these three does not travel through LangChain
        kept = {key: value for key, value in ours.items() if key not in {"predict", "undo", "reconcile", "isolation"}}
        return rules_of(name, kept, parameters)
    hints = {**metadata, **(metadata.get("annotations") or {})}
    if not any(isinstance(hints.get(hint), bool) for hint in HINTS):
        return ToolRules()
    destructive = hints.get("destructiveHint") is not False
    effect = "read" if hints.get("readOnlyHint") is True else "irreversible" if destructive else "write"
    return rules_of(
        name,
        {
            "effect": effect,
            "egress": hints.get("openWorldHint") is not False,
            "idempotent": hints.get("idempotentHint") is True,
        },
        parameters,
    )


def check(arguments: Mapping[str, Any], spec: ToolSpec) -> None:
    """Raise ValueError where arguments are missing, or unknown to a schema that lists all there are."""
    known = list(spec.parameters.get("properties", {}))
    for name in spec.parameters.get("required", ()):
        if name not in arguments:
            raise ValueError(f"argument '{name}' is missing. {_takes(spec)}")
    unknown = [name for name in arguments if name not in known]
    if unknown and spec.parameters.get("additionalProperties", False) is False:
        near = difflib.get_close_matches(unknown[0], known, 1, 0.5)
        hint = f", did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"there is no argument '{unknown[0]}'{hint}. {_takes(spec)}")


def _takes(spec: ToolSpec) -> str:
    required = spec.parameters.get("required", ())
    names = (name if name in required else f"{name}?" for name in spec.parameters.get("properties", {}))
    return f"{spec.name} takes ({', '.join(names)})"


def _has_sync(source: BaseTool) -> bool:
    from langchain_core.tools import BaseTool as Base  # noqa: PLC0415
    from langchain_core.tools import StructuredTool  # noqa: PLC0415
    from langchain_core.tools import Tool as Simple  # noqa: PLC0415

    if isinstance(source, StructuredTool | Simple):
        return source.func is not None
    return type(source)._run is not Base._run


def _refuse_injected(source: BaseTool, parameters: Mapping[str, Any]) -> None:
    if isinstance(source.args_schema, dict):
        return
    fields: Mapping[str, Any] = getattr(source.get_input_schema(), "model_fields", {})
    hidden = [
        name
        for name, info in fields.items()
        if (info.alias or name) not in parameters["properties"] and info.is_required() and name != "tool_call_id"
    ]
    if hidden:
        raise ToolError(
            f"LangChain tool '{source.name}' needs '{hidden[0]}', which only LangGraph's ToolNode injects; "
            "wrap it in a function that passes it"
        )


def _outcome_of_message(message: Any) -> Outcome:
    content = getattr(message, "content", message)
    artifact = getattr(message, "artifact", None)
    if isinstance(content, list):
        content = "\n".join(
            block if isinstance(block, str) else block.get("text") or f"[{block.get('type', 'something')} left out]"
            for block in content
        )
    if getattr(message, "status", "success") == "error":
        return Failed(text=str(content))
    return Done(text=content if isinstance(content, str) else str(content), data=artifact)
