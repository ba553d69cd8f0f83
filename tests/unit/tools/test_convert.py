"""LangChain's tools here, and ours there."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain_core.tools import InjectedToolArg, StructuredTool, ToolException
from langchain_core.tools import tool as langchain_tool

from agentkit.errors import ToolError
from agentkit.tools import Registry, as_tool, from_langchain, run_call, to_langchain, tool
from agentkit.tools.convert import bare_context
from agentkit.types import Done, Effect, Failed, ToolCall, ToolRules


@langchain_tool
def weather(city: str, days: int = 1) -> str:
    """Tell the weather.

    Fine print.
    """
    if city == "Nowhere":
        raise ToolException("no such city")
    return f"{city}: sun for {days}"


@tool(effect="pure", trust="trusted", references=("text",))
def upper(text: str) -> str:
    """Write in capitals."""
    if not text:
        raise ValueError("nothing to write")
    return text.upper()


def run(source: Any, **arguments: Any) -> Any:
    return run_call(source, ToolCall(id="c1", tool=source.name, arguments=arguments), bare_context())


def test_a_langchain_tool_works_here() -> None:
    ours = from_langchain(weather)
    assert ours.spec.name == "weather"
    assert ours.spec.parameters["required"] == ["city"]
    assert ours.spec.parameters["properties"]["days"] == {"type": "integer", "default": 1}
    assert ours.spec.rules == ToolRules()  # irreversible, with egress
    assert run(ours, city="Oslo", days=2) == Done(text="Oslo: sun for 2")
    assert run(ours, city="Nowhere") == Failed(text="ToolException: no such city")
    assert run(ours, days=2).kind == "invalid"
    assert run(ours, city="Oslo", when="now").kind == "invalid"


def test_an_async_only_tool_of_a_json_schema_works_here() -> None:
    async def ask(**arguments: Any) -> tuple[list[dict[str, str]], dict[str, int]]:
        return [{"type": "text", "text": f"got {arguments['n']}"}, {"type": "image", "data": "..."}], {"n": 1}

    remote = StructuredTool(
        name="remote.ask",
        description="Ask.",
        args_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        coroutine=ask,
        response_format="content_and_artifact",
    )
    ours = from_langchain(remote)
    assert run(ours, n=3) == Done(text="got 3\n[image left out]", data={"n": 1})
    assert "integer" in run(ours, n="three").text
    assert "did you mean 'n'?" in run(ours, n=1, nn=2).text
    assert "missing" in run(ours).text


@pytest.mark.parametrize(
    ("hints", "effect", "egress", "idempotent"),
    [
        ({"readOnlyHint": True}, Effect.READ, True, False),
        ({"readOnlyHint": True, "openWorldHint": False}, Effect.READ, False, False),
        ({"destructiveHint": False, "idempotentHint": True}, Effect.WRITE, True, True),
        ({"destructiveHint": True}, Effect.IRREVERSIBLE, True, False),
        ({"annotations": {"readOnlyHint": True}}, Effect.READ, True, False),
        ({"title": "x", "readOnlyHint": None}, Effect.IRREVERSIBLE, True, False),
    ],
)
def test_mcp_annotations_are_rules(hints: dict[str, Any], effect: Effect, egress: bool, idempotent: bool) -> None:
    rules = from_langchain(weather.model_copy(update={"metadata": hints})).spec.rules
    assert (rules.effect, rules.egress, rules.idempotent) == (effect, egress, idempotent)


def test_ours_is_a_langchain_tool_and_comes_back_the_same() -> None:
    theirs = to_langchain(upper)
    assert theirs.invoke({"text": "abc"}) == "ABC"
    message = theirs.invoke({"type": "tool_call", "id": "7", "name": "upper", "args": {"text": ""}})
    assert message.status == "error"
    assert message.content == "ValueError: nothing to write"
    assert from_langchain(theirs).spec == upper.spec
    assert run(from_langchain(theirs), text="abc") == Done(text="ABC")


def test_injected_arguments_are_refused() -> None:
    @langchain_tool
    def secret(a: str, token: Annotated[str, InjectedToolArg]) -> str:
        """Do."""
        return a + token

    with pytest.raises(ToolError, match="'token'"):
        from_langchain(secret)


def test_as_tool_takes_all_kinds() -> None:
    def plain(a: str) -> str:
        """Do."""
        return a

    assert as_tool(upper) is upper
    assert as_tool(plain).name == "plain"
    assert as_tool(weather).name == "weather"
    with pytest.raises(ToolError, match="is no tool"):
        as_tool(3)  # type: ignore[arg-type]


def test_a_registry_knows_its_tools() -> None:
    registry = Registry([upper, as_tool(weather)])
    assert registry.names == ("upper", "weather")
    assert [spec.name for spec in registry.specs] == ["upper", "weather"]
    assert registry.get("upper") is upper
    assert registry.get("lower") is None
    assert "weather" in registry
    assert len(registry) == len(list(registry)) == 2
    assert registry.unknown("wether") == Failed(
        text="no tool is called 'wether'; did you mean 'weather'?", kind="unknown_tool"
    )
    with pytest.raises(ToolError, match="two tools are called 'upper'"):
        Registry([upper, upper])
