"""Tool calls in training rows: the forms that are taken, and what is wrong with the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import InvalidParams
from agentkit_training.finetune.rows import read_rows

TOOL = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}  # fmt: skip
SAID = {"role": "user", "content": "add 1"}
DONE = {"role": "assistant", "content": "1."}
GIVEN = {"role": "tool", "name": "add", "content": "1"}


def called(arguments: Any, name: str = "add") -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}]}  # fmt: skip


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a": 1}'])
@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL])])
def test_arguments_and_tools_may_be_objects_or_json_text(arguments: Any, tools: Any, tmp_path: Path) -> None:
    row = {"messages": [SAID, called(arguments), GIVEN, DONE], "tools": tools}
    (found,) = read_rows(written(tmp_path, row), "text").rows
    assert found.data["tools"] == [TOOL]
    assert found.data["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert found.data["messages"][1]["content"] == ""


def test_the_nulls_of_parquet_are_left_out(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    row = {"messages": [SAID, called('{"a": 1}'), GIVEN, DONE], "tools": json.dumps([TOOL])}
    plain = {"messages": [SAID, DONE], "tools": None}
    write_table(pa.Table.from_pylist([row, plain]), tmp_path / "rows.parquet")
    first, second = read_rows(tmp_path / "rows.parquet", "text").rows
    assert first.data["messages"][0] == SAID
    assert first.data["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert second.data == {"messages": [SAID, DONE]}


@pytest.mark.parametrize(
    ("message", "tools", "said"),
    [
        (called("{a"), [TOOL], "a call of 'add' whose arguments are no JSON"),
        (called("[1]"), [TOOL], "a call of 'add' whose arguments are no object"),
        (called({}, "sub"), [TOOL], "calls 'sub', which is not among its tools"),
        (called({}, ""), [TOOL], "a call of no tool"),
        ({"role": "assistant", "tool_calls": "add"}, [TOOL], "`tool_calls` that are no list"),
        (called({"a": 1}), "[", "`tools` is no JSON"),
        (called({"a": 1}), [{"function": {}}], "`tools` is no list of functions with names"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(message: Any, tools: Any, said: str, tmp_path: Path) -> None:
    good = {"messages": [SAID, called({"a": 1}), GIVEN, DONE], "tools": [TOOL]}
    with pytest.raises(InvalidParams) as refused:
        read_rows(written(tmp_path, good, {"messages": [SAID, message, GIVEN, DONE], "tools": tools}), "text")
    assert "line 2: " in str(refused.value)
    assert said in str(refused.value)
