"""Requests in a model's words: what is taken, and what keeps its own words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentkit import jobs
from agentkit.errors import ModelError
from agentkit.testing import ScriptedEngine
from agentkit.types import Step
from agentkit_synthesis.dataset.rows import Rejected
from agentkit_synthesis.tooluse.jobs import TOOLS
from agentkit_synthesis.tooluse.paraphrasing import SAMPLES, paraphrased
from agentkit_synthesis.tooluse.source import make, verify


def row_of(family: str) -> Mapping[str, Any]:
    for index in range(200):
        made = make({"families": {family: 1.0}, "domains": ["shop"]}, 4, index)
        if not isinstance(made, Rejected) and made["messages"][0]["role"] == "user":
            return made
    raise AssertionError(family)


def said(*texts: str) -> ScriptedEngine:
    return ScriptedEngine([Step(kind="final", text=text) for text in texts])


ROW = row_of("single")
TEXT = ROW["messages"][0]["content"]


def test_a_paraphrase_with_every_value_is_taken_and_verifies() -> None:
    better = f"Would you be so kind: {TEXT}"
    found = paraphrased(ROW, said(better), seed=0)
    assert found["messages"][0]["content"] == better
    assert found["messages"][1:] == ROW["messages"][1:]
    assert found["world"]["paraphrased"]
    assert verify(found) == []


@pytest.mark.parametrize(
    "text",
    ["", "Please do the thing that I want.", f"{TEXT} 77", f"{TEXT}\nThanks", TEXT, f"{TEXT} {'and so on ' * 80}"],
    ids=["nothing", "no value", "another number", "two lines", "the same", "too long"],
)
def test_what_does_not_hold_leaves_the_row_as_it_was(text: str) -> None:
    engine = said(*[text] * SAMPLES)
    assert paraphrased(ROW, engine, seed=0) == ROW
    assert len({request.sampling.seed for request in engine.requests}) == SAMPLES


def test_the_first_sample_that_holds_is_taken() -> None:
    found = paraphrased(ROW, said("Hm.", f"So: {TEXT}"), seed=0)
    assert found["messages"][0]["content"] == f"So: {TEXT}"


@pytest.mark.parametrize("family", ["ask", "decline"])
def test_what_turns_on_what_is_not_said_is_never_rewritten(family: str) -> None:
    engine = said()
    row = row_of(family)
    assert paraphrased(row, engine, seed=0) == row
    assert engine.requests == []


def test_the_job_has_its_requests_said_anew(tmp_path: Path) -> None:
    script = tmp_path / "model.json"
    script.write_text(json.dumps([{"final": "Hm."}] * 60))
    told = {"out": str(tmp_path / "out"), "count": 6, "paraphraser": f"scripted:{script}", "families": ["single"]}
    done = jobs.run(TOOLS, told, run_dir=tmp_path / "run")
    assert done.status == "ok", done.error
    rows = [
        json.loads(line)
        for name in ("train", "test")
        for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 6  # nothing held, so all kept their words
    assert not any("paraphrased" in row["world"] for row in rows)


def test_a_paraphraser_that_is_not_there_is_refused_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        TOOLS.plan({"out": str(tmp_path / "out"), "paraphraser": str(tmp_path / "none.gguf")})
