"""Training as a job: whole, stopped and gone on with, refused with reasons, and on pictures as people have them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from PIL import Image  # noqa: E402

from agentkit import jobs  # noqa: E402
from agentkit.errors import InvalidParams  # noqa: E402
from agentkit_vision.embedded import EmbeddedEncoder, EmbeddedEye  # noqa: E402
from agentkit_vision.embedded.folder import read_about  # noqa: E402
from agentkit_vision.training import connector, contrast, fitting  # noqa: E402
from agentkit_vision.training.jobs import TRAIN, plan  # noqa: E402
from tests.plugins.vision.training_toys import SPROUT, drawn, order, sprout_hf  # noqa: E402

FILES = ("image_tower", "text_tower", "resampler", "questions/text_tower")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def fewer_words() -> Iterator[None]:
    """Texts to gather words from: hundreds instead of tens of thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "corpus", lambda data, *, seed, count=0: contrast.corpus(data, seed=seed, count=300))
        patch.setattr(fitting, "question_corpus", lambda data, *, seed: connector.question_corpus(data, seed=seed, count=300))  # fmt: skip
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    drawn(folder / "data", 84)
    sprout_hf(folder / "sprout")
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> tuple[Path, jobs.JobResult]:
    done = jobs.run(TRAIN, order(place / "data", place / "model", place / "sprout", gguf=str(SPROUT)), run_dir=place / "run")  # fmt: skip
    return place / "model", done


def hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest() for name in FILES}


def test_a_training_ends_in_a_model_that_opens(trained: tuple[Path, jobs.JobResult]) -> None:
    folder, done = trained
    assert (done.status, done.error) == ("ok", "")
    assert done.metrics["pictures"] + done.metrics["held_out"] == 84
    assert {Path(one.path).name for one in done.artifacts} >= {"about.json", "resampler.safetensors", "words.json"}
    assert EmbeddedEye(folder).see_pixels(np.zeros((48, 48, 3), np.uint8), "what is it").shape == (8, 256)
    assert EmbeddedEncoder(folder).embed_texts(["red"]).shape == (1, 128)
    assert not folder.with_name("model.new").exists()
    assert (folder / "resampler.safetensors").stat().st_mode == (folder / "about.json").stat().st_mode


def test_a_model_says_what_it_is(trained: tuple[Path, jobs.JobResult], place: Path) -> None:
    folder, done = trained
    about = read_about(folder)
    assert about.size == 64
    assert about.reads_words
    assert about.language_model == hashlib.sha256(SPROUT.read_bytes()).hexdigest()
    assert set(about.vocabulary) == {"category", "shape", "colour", "size", "count", "position", "texture", "background"}  # fmt: skip
    assert about.figures == {name: done.metrics[name] for name in ("zero_shot", "answers")}
    assert about.recipe["encoder_steps"] == 6
    assert str(place) not in (folder / "about.json").read_text()  # nothing of where things lay


def test_stopped_in_both_stages_and_gone_on_with_it_is_the_same_to_the_bit(
    trained: tuple[Path, jobs.JobResult], place: Path, tmp_path: Path
) -> None:
    told = order(place / "data", tmp_path / "model", place / "sprout", gguf=str(SPROUT))
    stopped, stages = 0, set()
    for _ in range(6):
        done = jobs.run(TRAIN, told, run_dir=tmp_path / "run", budget=jobs.Budget(steps=5))
        if done.status == "ok":
            break
        assert done.status == "budget_exhausted"
        assert not (tmp_path / "model").exists()
        stopped += 1
        stages |= {path.stem for path in (tmp_path / "run" / "checkpoints").glob("*.pt")}
    assert done.status == "ok"
    assert stopped >= 2
    assert stages == {"towers", "connector"}
    assert hashes(tmp_path / "model") == hashes(trained[0])


def test_cancelled_it_leaves_nothing_where_the_model_was_to_be(place: Path, tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    told = order(place / "data", tmp_path / "model", place / "sprout")
    assert jobs.run(TRAIN, told, run_dir=tmp_path / "run", cancelled=cancelled).status == "cancelled"
    assert not (tmp_path / "model").exists()


def test_a_finished_training_is_not_done_again(trained: tuple[Path, jobs.JobResult], place: Path) -> None:
    folder, done = trained
    before = (folder / "about.json").stat().st_mtime_ns
    told = order(place / "data", folder, place / "sprout", gguf=str(SPROUT))
    with pytest.raises(InvalidParams, match="holds something already"):
        jobs.run(TRAIN, told, run_dir=place / "run")
    again = jobs.run(TRAIN, {**told, "force": True}, run_dir=place / "run")
    assert again.metrics == done.metrics
    assert (folder / "about.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": "nowhere"}, "nowhere is no folder"),
        ({"language_model": "nowhere"}, "/language_model: .*nowhere holds no model"),
        ({"gguf": "nowhere.gguf"}, "/gguf: .*nowhere.gguf is no file"),
        ({"size": 50}, "/size"),
        ({"held_out": 0.9}, "/held_out"),
        ({"steps": 0}, "/steps"),
        ({"stepps": 3}, "stepps"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    changed: dict[str, Any], said: str, place: Path, tmp_path: Path
) -> None:
    paths = {name: str(tmp_path / value) for name, value in changed.items() if isinstance(value, str)}
    told = {**order(place / "data", tmp_path / "model", place / "sprout"), **changed, **paths}
    with pytest.raises(InvalidParams, match=said):
        plan(told)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_labels_and_a_place_that_is_taken_are_refused(place: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copyfile(place / "data" / "0.png", bare / "0.png")
    with pytest.raises(InvalidParams, match="bare"):
        plan(order(bare, tmp_path / "model", place / "sprout"))
    with pytest.raises(InvalidParams, match="bare holds something already"):
        plan(order(place / "data", bare, place / "sprout"))
    assert plan(order(place / "data", bare, place / "sprout", force=True)).backend == "torch"


def test_a_plan_tells_its_cost_and_changes_with_the_labels(place: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(place / "data", data)
    told = order(data, tmp_path / "model", place / "sprout")
    first = plan(told)
    assert first.seconds > 15
    assert plan({**told, "steps": 600}).seconds > first.seconds
    table = data / "metadata.jsonl"
    table.write_text(table.read_text().replace('"red"', '"scarlet"'))
    assert plan(told).config["digest"] != first.config["digest"]


def test_a_folder_of_two_classes_will_do(place: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shade in (("cat", 60), ("dog", 190)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for n in range(42):
            pixels = rng.normal(shade, 12, (40, 64, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{n}.jpg")
    told = order(tmp_path / "pets", tmp_path / "model", place / "sprout", encoder_steps=12)
    done = jobs.run(TRAIN, told, run_dir=tmp_path / "run")
    assert (done.status, done.error) == ("ok", "")
    assert set(done.metrics["zero_shot"]) == {"label"}
    assert {name: set(found) for name, found in read_about(tmp_path / "model").vocabulary.items()} == {"label": {"cat", "dog"}}  # fmt: skip
    encoder = EmbeddedEncoder(tmp_path / "model")
    assert {name: set(found) for name, found in encoder.attributes.items()} == {"label": {"cat", "dog"}}
    assert encoder.unknown("a cat, a dog, a zebra") == ["zebra"]


def table(folder: Path, rows: list[dict[str, str]]) -> Path:
    """Write a CSV of pictures of one colour each."""
    shades = {"red": (200, 30, 30), "blue": (30, 30, 200)}
    folder.mkdir()
    for n, row in enumerate(rows):
        row["file"] = f"{n}.png"
        Image.new("RGB", (48, 48), shades.get(row.get("colour", ""), (90, 90, 90))).save(folder / row["file"])
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_pictures_of_which_only_the_colour_is_known_keep_it(place: Path, tmp_path: Path) -> None:
    """Some pictures lose their colour in training, where something else can be said of them; some rows say nothing at all."""
    rows = [{"colour": ("red", "blue", "")[n % 3]} for n in range(130)]
    data = table(tmp_path / "colours", rows)
    done = jobs.run(TRAIN, order(data, tmp_path / "model", place / "sprout", batch=32), run_dir=tmp_path / "run")
    assert (done.status, done.error) == ("ok", "")
    assert done.metrics["pictures"] + done.metrics["held_out"] == sum(bool(row["colour"]) for row in rows)


def test_captions_longer_than_the_text_tower_reads_are_cut(place: Path, tmp_path: Path) -> None:
    rows = [{f"quality{chr(97 + k)}": ("rather high", "rather low")[(n >> k) & 1] for k in range(14)} for n in range(84)]  # fmt: skip
    data = table(tmp_path / "many", rows)
    done = jobs.run(TRAIN, order(data, tmp_path / "model", place / "sprout"), run_dir=tmp_path / "run")
    assert (done.status, done.error) == ("ok", "")


def test_progress_is_told_in_order(trained: tuple[Path, jobs.JobResult], place: Path) -> None:
    lines = [json.loads(line) for line in (place / "run" / "events.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["type"] == "step"]
    assert steps == sorted(steps)
    assert steps[-1] == 6 + 6 + 1
