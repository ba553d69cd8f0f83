"""What a typed function with a docstring becomes, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

import pytest

from agentkit.errors import Cancelled, ToolError
from agentkit.protocols import ToolContext
from agentkit.tools import Limits, run_call, tool
from agentkit.tools.convert import bare_context
from agentkit.types import Done, Effect, Failed, Pending, ToolCall, ToolRules, Trust


class Colour(Enum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Spot:
    x: int
    y: int


@tool(effect="read", egress=False, sinks=("where",), grounded={"where": "context"})
def paint(
    where: str,
    context: ToolContext,
    colour: Colour = Colour.RED,
    size: int = 3,
    unit: Literal["mm", "cm"] | None = None,
) -> str:
    """Paint a
    wall.

    It dries slowly.

    Args:
        where: the wall,
            by name.
        size (int): how big: in units.

    Returns:
        What was painted.
    """
    return f"{where} {colour.name} {size} {unit} {context.run_id}"


@tool
def returns(what: str) -> Any:
    """Return something."""
    return {
        "none": None,
        "number": 3,
        "truth": True,
        "dict": {"a": [1, "é"]},
        "dataclass": Spot(1, 2),
        "bytes": b"caf\xc3\xa9 \xff",
        "done": Done(text="ok", data={1: Spot(3, 4)}),
        "failed": Failed(text="no", kind="denied"),
        "pending": Pending(kind="job", handle="j1"),
    }[what]


def run(what: Any, arguments: dict[str, Any], **options: Any) -> Any:
    return run_call(what, ToolCall(id="c1", tool=what.name, arguments=arguments), bare_context(), **options)


def test_the_signature_is_the_schema() -> None:
    assert paint.spec.name == "paint"
    assert paint.spec.description == "Paint a wall."
    assert paint.spec.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["where"],
        "properties": {
            "where": {"type": "string", "description": "the wall, by name."},
            "colour": {"enum": ["red", "green"], "type": "string", "default": "red"},
            "size": {"type": "integer", "default": 3, "description": "how big: in units."},
            "unit": {"enum": ["mm", "cm"], "type": "string"},
        },
    }
    assert list(paint.spec.parameters["properties"]) == ["where", "colour", "size", "unit"]


def test_keywords_are_rules_and_silence_is_irreversible_with_egress() -> None:
    assert paint.spec.rules == ToolRules(
        effect=Effect.READ, egress=False, sinks=("where",), grounded={"where": "context"}
    )
    assert returns.spec.rules == ToolRules(effect=Effect.IRREVERSIBLE, egress=True, trust=Trust.UNTRUSTED)


def test_arguments_are_converted_and_the_context_is_injected() -> None:
    assert run(paint, {"where": "north", "colour": "green", "size": "4"}).text == "north GREEN 4 None "
    assert paint.validate({"where": "a", "colour": "green"}) == {"where": "a", "colour": "green"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["'where' is missing", "paint takes (where, colour?, size?, unit?)"]),
        ({"where": "a", "sise": 3}, ["there is no argument 'sise', did you mean 'size'?"]),
        ({"where": "a", "size": "big"}, ["argument 'size'", "'big'"]),
        ({"where": "a", "context": "x"}, ["there is no argument 'context'"]),
    ],
)
def test_wrong_arguments_are_told_with_the_mend(arguments: dict[str, Any], words: list[str]) -> None:
    outcome = run(paint, arguments)
    assert isinstance(outcome, Failed)
    assert outcome.kind == "invalid"
    assert "\n" not in outcome.text
    for word in words:
        assert word in outcome.text


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        ("none", Done(text="done")),
        ("number", Done(text="3", data=3)),
        ("truth", Done(text="true", data=True)),
        ("dict", Done(text='{"a": [1, "é"]}', data={"a": [1, "é"]})),
        ("dataclass", Done(text='{"x": 1, "y": 2}', data={"x": 1, "y": 2})),
        ("bytes", Done(text="café \ufffd")),
        ("done", Done(text="ok", data={"1": {"x": 3, "y": 4}})),
        ("failed", Failed(text="no", kind="denied")),
        ("pending", Pending(kind="job", handle="j1")),
    ],
)
def test_what_is_returned_becomes_an_outcome(what: str, outcome: object) -> None:
    assert run(returns, {"what": what}) == outcome


def no_docstring(a: str) -> str:
    return a


def no_type(a) -> str:  # type: ignore[no-untyped-def]
    """Do."""
    return str(a)


def many(*things: str) -> str:
    """Do."""
    return str(things)


def unsayable(a: Callable[[], int]) -> str:
    """Do."""
    return str(a)


def lost(a: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
    """Do."""
    return str(a)


def misdocumented(path: str) -> str:
    """Do.

    Args:
        paht: where.
    """
    return path


@pytest.mark.parametrize(
    ("function", "rules", "mend"),
    [
        (no_docstring, {}, "no docstring"),
        (no_type, {}, "write a: str"),
        (many, {}, "give each its own"),
        (unsayable, {}, "JSON cannot say"),
        (lost, {}, "import it at module level"),
        (misdocumented, {}, "did you mean 'path'?"),
        (misdocumented.__code__, {}, "decorate a def"),
        (print, {"name": "two words"}, "cannot be used"),
    ],
)
def test_declarations_that_cannot_work_are_refused(function: Any, rules: dict[str, Any], mend: str) -> None:
    with pytest.raises(ToolError) as caught:
        tool(**rules)(function)
    assert mend in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "mend"),
    [
        ({"efect": "read"}, "did you mean 'effect'?"),
        ({"effect": "reed"}, "did you mean 'read'?"),
        ({"effect": "pure", "egress": True}, "cannot be pure"),
        ({"sinks": ("pth",)}, "did you mean 'path'?"),
        ({"sinks": "path"}, "write ('path',)"),
        ({"grounded": {"path": "anything"}}, "one of context, trusted, words, clause, numbers"),
        ({"timeout_s": 0}, "above 0"),
        ({"predict": True}, "takes the function"),
        ({"isolation": "cage"}, "neither"),
        ({"isolation": "worker"}, "top of a module"),
    ],
)
def test_rules_that_cannot_hold_are_refused(rules: dict[str, Any], mend: str) -> None:
    def local(path: str) -> str:
        """Do."""
        return path

    with pytest.raises(ToolError) as caught:
        tool(**rules)(local)
    assert mend in str(caught.value)


def test_companions_get_the_same_arguments() -> None:
    def dry(n: int, context: ToolContext) -> str:
        return f"would do {n + 1}"

    @tool(predict=dry)
    def do(n: int) -> str:
        """Do."""
        return str(n)

    assert do.spec.rules.predict
    assert not do.spec.rules.undo
    assert do.predict is not None
    assert str(do.predict({"n": 1}, bare_context())) == "would do 2"


def test_names_that_pydantic_keeps_for_itself_can_be_arguments() -> None:
    @tool
    def odd(schema: str, copy: int, _hidden: str = "x") -> str:
        """Do."""
        return f"{schema} {copy} {_hidden}"

    assert list(odd.spec.parameters["properties"]) == ["schema", "copy", "_hidden"]
    assert run(odd, {"schema": "a", "copy": 2, "_hidden": "b"}).text == "a 2 b"


def test_async_tools_run_time_out_and_are_cancelled() -> None:
    ended: list[str] = []

    @tool(timeout_s=0.2)
    async def slow(seconds: float) -> str:
        """Wait."""
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            ended.append("cleaned up")
            raise
        return "waited"

    assert run(slow, {"seconds": 0}) == Done(text="waited")
    outcome = run(slow, {"seconds": 60})
    assert isinstance(outcome, Failed)
    assert outcome.kind == "timeout"
    assert ended == ["cleaned up"]

    cancel = threading.Event()
    threading.Timer(0.05, cancel.set).start()
    context = replace(bare_context(), cancel=cancel)
    began = time.monotonic()
    call = ToolCall(id="1", tool="slow", arguments={"seconds": 60})
    with pytest.raises(Cancelled):
        run_call(slow, call, context, limits=Limits(timeout_s=30))
    assert time.monotonic() - began < 2


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, agentkit.tools; print([m for m in ('pydantic', 'langchain_core', 'asyncio') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
