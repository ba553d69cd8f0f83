"""The shipped model on what people try first: the right tool, the right result, and an answer that is one plain sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit import Agent, Done, tool
from agentkit.config import EngineSettings, ExtensionSettings, Settings, StoreSettings


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    workspace = tmp_path / "work"
    workspace.mkdir()
    (workspace / "numbers.txt").write_text("3\n4\n5\n")
    (workspace / "notes.txt").write_text("hello there\n")
    settings = Settings(
        engine=EngineSettings(threads=1),
        store=StoreSettings(url=str(tmp_path / "agentkit.db")),
        extensions=ExtensionSettings(only=("basics",)),
    )
    with Agent(workspace=workspace, settings=settings) as opened:
        yield opened


@pytest.mark.parametrize(
    ("request_", "tools", "answer"),
    [
        ("What is 15% of 200?", ["calculator"], r"[^.]*\b30\b\.?"),
        ("add up the numbers in numbers.txt", ["read_file", "calculator"], r"[^.]*(numbers\.txt)?[^.]*\b12\b\.?"),
        ("read notes.txt", ["read_file"], r".*hello there\.?"),
        ("which files are here", ["list_files"], r"[^.]*notes\.txt\nnumbers\.txt\.?"),
        ("write a poem about spring", [], r"I cannot write poems: none of my tools does that\.?"),
    ],
)
def test_first_requests(agent: Agent, request_: str, tools: list[str], answer: str) -> None:
    result = agent.run(request_)
    assert [step.tool for step in result.steps] == tools
    assert re.fullmatch(answer, result.answer.strip()), result.answer


REPORT = "It got better in 30 steps: loss 0.6931 -> 0.6512, accuracy 50% -> 67%, on 12 rows. It took 20 s"


@tool(effect="pure", grounded={"data": "context"}, keywords=("train steps",))
def fine_tune(data: str, steps: int) -> Done:
    """Fine-tune a model on a data file."""
    return Done(text=REPORT, brief="it got better")


def test_a_long_result_is_quoted_whole_by_who_has_read_its_brief(tmp_path: Path) -> None:
    settings = Settings(engine=EngineSettings(threads=1), store=StoreSettings(url=str(tmp_path / "agentkit.db")))
    with Agent(tools=[fine_tune], workspace=tmp_path, settings=settings) as agent:
        result = agent.run("fine-tune on votes.jsonl for 30 steps")
    assert [(step.tool, step.arguments) for step in result.steps] == [
        ("fine_tune", {"data": "votes.jsonl", "steps": 30})
    ]
    assert REPORT in result.answer
