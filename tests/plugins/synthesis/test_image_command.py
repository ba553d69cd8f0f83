"""The commands of labelled images, with their jobs in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from agentkit_synthesis.images_command import image, images, train_images


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_products_are_drawn_and_one_is_made_again(home: Path) -> None:
    told = [
        "red",
        "--method",
        "render",
        "--count",
        "12",
        "--where",
        "colour=red",
        "--where",
        "shape=star|ring",
        "--json",
    ]
    done = CliRunner().invoke(images, told)
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)["data"]
    assert data["images"] == 12
    assert data["status"] == "ok"
    rows = [json.loads(line) for line in (home / "red" / "metadata.jsonl").read_text().splitlines()]
    assert {row["labels"]["shape"] for row in rows} == {"star", "ring"}
    again = CliRunner().invoke(image, ["red", rows[5]["id"], "again.png"])
    assert again.exit_code == 0, again.output
    with Image.open(home / "again.png") as one, Image.open(home / "red" / rows[5]["file_name"]) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_a_plan_says_what_it_would_take_and_does_nothing(home: Path) -> None:
    done = CliRunner().invoke(images, ["drawn", "--method", "render", "--count", "5000", "--plan"])
    assert done.exit_code == 0, done.output
    assert "5000 products are drawn" in done.output
    assert not (home / "drawn").exists()


def test_every_option_says_what_it_is() -> None:
    for command in (images, train_images):
        shown = CliRunner().invoke(command, ["--help"])
        assert shown.exit_code == 0
        assert "--source" in shown.output
        assert "--guess" in shown.output
