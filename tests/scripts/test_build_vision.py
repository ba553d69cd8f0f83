"""The script that rebuilds the embedded picture model, on a budget of seconds: every stage, none of the quality."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the vision extra")
pytest.importorskip("transformers", reason="needs the vision extra")
pytest.importorskip("PIL", reason="needs the vision extra")

from agentkit import jobs  # noqa: E402
from agentkit_vision.embedded.folder import read_about  # noqa: E402
from agentkit_vision.world.reading import read_examples  # noqa: E402

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = {"encoder_steps": 3, "encoder_batch": 16, "steps": 3, "batch": 4, "width": 32, "layers": 1, "held_out": 0.1, "threads": 1}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, with small sets to measure with, and jobs in this process: it takes seconds to start one."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        build_vision = import_module("build_vision")
    finally:
        sys.path.remove(str(SCRIPTS))
    monkeypatch.setattr(build_vision, "SETS", {"train": (90, 0), "test": (20, 1), "pairs": (16, 2)})

    def done(job: jobs.Job, params: dict[str, Any], folder: Path) -> Any:
        result = jobs.run(job, params, run_dir=folder)
        assert result.status == "ok", result.error
        return result.metrics

    monkeypatch.setattr(build_vision, "done", done)
    return build_vision


def kind_and_colour(labels: Any) -> tuple[str, str]:
    return (labels["shape"] if labels["category"] == "shape" else labels["category"]), labels["colour"]


def test_a_colour_of_each_kind_is_held_out(script: Any) -> None:
    pairs = [dict(part.split("=") for part in one.split(",")) for one in script.held_out_pairs()]
    kinds = [pair.get("category", pair.get("shape")) for pair in pairs]
    assert len(pairs) == len(set(kinds)) == 16
    assert {pair["colour"] for pair in pairs} == set(script.COLOURS)  # no colour is spared


def test_the_sets_are_apart(script: Any, tmp_path: Path) -> None:
    sets = {name: script.draw(tmp_path, name, count, seed) for name, (count, seed) in script.SETS.items()}
    shown = {name: read_examples(folder) for name, folder in sets.items()}
    assert {name: len(found) for name, found in shown.items()} == {"train": 90, "test": 20, "pairs": 16}
    held_out = {
        (pair.get("category", pair.get("shape")), pair["colour"])
        for pair in (dict(part.split("=") for part in one.split(",")) for one in script.held_out_pairs())
    }
    seen = {name: {kind_and_colour(one.labels) for one in found} for name, found in shown.items()}
    assert not (seen["train"] | seen["test"]) & held_out
    assert seen["pairs"] <= held_out
    pixels = {name: {(folder / one.path).read_bytes() for one in shown[name]} for name, folder in sets.items()}
    assert not pixels["train"] & (pixels["test"] | pixels["pairs"])


def test_every_stage_and_again(script: Any, tmp_path: Path) -> None:
    model = script.build(tmp_path, count=90, options=SMALL)
    assert model == tmp_path / "model"
    about = read_about(model)
    assert about.language_model
    assert set(about.figures) == {"zero_shot", "answers"}
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert script.build(tmp_path, count=90, options=SMALL) == model  # nothing is left to do
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == written
    script.build(tmp_path, count=90, options={**SMALL, "seed": 5})  # asked for otherwise, it is made anew
    assert read_about(model).recipe["seed"] == 5


def test_what_is_said_on_the_command_line_is_what_is_built(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    told: list[Any] = []
    model = tmp_path / "made"
    model.mkdir()
    (model / "about.json").write_text(json.dumps({"name": "x"}))

    def build(folder: Path, *, count: int, options: Any) -> Path:
        told.append((folder, count, dict(options)))
        return model

    monkeypatch.setattr(script, "build", build)
    monkeypatch.setattr(script, "SHIPPED", tmp_path / "shipped")
    assert script.main(["--run-dir", str(tmp_path / "run"), "--count", "7", "--steps", "3"]) == 0
    assert not (tmp_path / "shipped").exists()
    assert script.main(["--install"]) == 0
    assert told == [(tmp_path / "run", 7, {"steps": 3}), (script.ROOT / "runs" / "vision", script.COUNT, {})]
    assert (tmp_path / "shipped" / "about.json").read_bytes() == (model / "about.json").read_bytes()
