"""Synthesis as tools: asked for in a run, planned before a person is asked, done for real, and answered with figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, jobs
from agentkit.approvals import ApprovalRequest
from agentkit.config import PolicySettings, Settings, StoreSettings
from agentkit.schema import problems
from agentkit.testing import ScriptedEngine
from agentkit.types import RunResult, Step, StopReason, ToolCall
from agentkit_synthesis import plugin
from agentkit_synthesis.tools import TOOLS as MADE

pytest.importorskip("diffusers")

TOOLS = [replace(tool, settings={"products": "render"}) for tool in MADE]  # drawn, for a model takes minutes


class Bench:
    """An agent on a scripted model, in a home and a workspace of its own."""

    def __init__(self, place: Path) -> None:
        self.home, self.work = place / "home", place / "work"
        self.work.mkdir()
        self.asked: list[ApprovalRequest] = []

    def run(self, tool: str, arguments: Mapping[str, Any], *, answer: bool | None = None) -> RunResult:
        settings = Settings(
            store=StoreSettings(url=str(self.home / "agentkit.db")),
            policy=PolicySettings(allow_tools=(tool,) if answer is None else ()),
        )
        call = Step(kind="calls", calls=(ToolCall(id="c0", tool=tool, arguments=arguments),))
        engine = ScriptedEngine([call, Step(kind="final", text="That is all.")])

        def approve(request: ApprovalRequest) -> bool:
            self.asked.append(request)
            assert jobs.list_jobs(self.home / "jobs") == []  # nothing runs before the answer
            return bool(answer)

        with Agent(engine, TOOLS, settings=settings, workspace=self.work, approve=approve) as agent:
            return agent.run("make it")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    return Bench(tmp_path)


def test_examples_of_a_tool(bench: Bench) -> None:
    done = bench.run("make_examples", {"tool": "calculator", "count": 20})
    assert done.stop_reason == StopReason.DONE
    (step,) = done.steps
    assert step.result.startswith("20 training examples (")
    assert "all of them executed and verified" in step.result
    assert "They are in calculator-examples" in step.result
    rows = [row for name in ("train", "test") for row in lines(bench.work / "calculator-examples" / f"{name}.jsonl")]
    assert len(rows) == 20
    called = {
        call["function"]["name"] for row in rows for one in row["messages"] for call in one.get("tool_calls") or ()
    }
    assert called == {"calculator"}


def test_images_and_how_good_they_are(bench: Bench) -> None:
    done = bench.run("make_images", {"what": "labelled images of red circles", "count": 12})
    (step,) = done.steps
    assert step.ok, step.result
    assert step.result.startswith("12 labelled images, drawn: labels are exact")
    rows = lines(bench.work / "red-circle-images" / "metadata.jsonl")
    assert {(row["shape"], row["colour"]) for row in rows} == {("circle", "red")}
    report = bench.run("report_quality", {"data": "red-circle-images"}).steps[0]
    assert report.ok, report.result
    assert "12 rows" in report.result


def test_explanations_and_their_quality(bench: Bench) -> None:
    done = bench.run("make_explanations", {"count": 30, "subject": "dates"})
    (step,) = done.steps
    assert step.result.startswith("30 training examples (")
    assert "by kind: dates 30" in step.result
    (step,) = bench.run("report_quality", {"data": "dates-explanations/"}).steps
    assert "100.0% of 30 verified again" in step.result
    assert not (bench.work / "dates-explanations" / "report.json").exists()  # a read leaves the workspace as it is


def test_a_decoder_is_held_to_the_tools_that_are_installed() -> None:
    (tool,) = (tool for tool in plugin.tools() if tool.name == "make_examples")
    schema = tool.spec.parameters["properties"]["tool"]
    assert not problems("calculator", schema)
    for word in ("training", "five", "u", "make_examples", "calculators"):
        assert problems(word, schema), word


def test_the_plan_is_shown_and_no_means_no(bench: Bench) -> None:
    done = bench.run("make_examples", {"tool": "calculator", "count": 500}, answer=False)
    assert done.stop_reason != StopReason.DONE or not done.steps[0].ok
    (request,) = bench.asked
    assert "500 rows of 1 of your tools: calculator" in str(request)
    assert jobs.list_jobs(bench.home / "jobs") == []
    assert list(bench.work.iterdir()) == []


def test_the_plan_of_images_says_that_a_model_is_trained_first(bench: Bench) -> None:
    bench.run("make_images", {"what": "digits", "count": 50}, answer=False)
    assert "no model of digits is here yet: one is trained first" in str(bench.asked[0])


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("make_images", {"what": "red blue circles", "count": 5}, "two of one colour"),
        ("make_images", {"what": "digits", "count": 0}, "/count"),
        ("make_examples", {"tool": "calculatr", "count": 5}, "calculatr"),
        ("make_examples", {"tool": "run_command", "count": 5}, "run_command"),  # it would change something
        ("measure_data", {"data": "no-such"}, "no-such"),
        ("report_quality", {"data": "no-such"}, "no-such"),
        ("report_quality", {"data": "here/../../else.where"}, "outside the workspace"),
        ("make_explanations", {"count": 10, "out": "../up"}, "outside the workspace"),
    ],
)
def test_what_cannot_be_is_an_answer_that_says_why(
    bench: Bench, tool: str, arguments: dict[str, Any], told: str
) -> None:
    (step,) = bench.run(tool, arguments).steps
    assert not step.ok
    assert told in step.result
    assert jobs.list_jobs(bench.home / "jobs") == []
