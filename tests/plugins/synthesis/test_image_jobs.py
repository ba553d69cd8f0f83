"""Labelled images to order, end to end, with a model of digits that is trained for a moment."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agentkit import jobs
from agentkit.errors import InvalidParams, JobError, ModelFileError
from agentkit.jobs import Budget, JobResult
from agentkit_synthesis.images.jobs import IMAGES, TRAIN_IMAGES
from agentkit_synthesis.images.making import Maker, Verdict
from agentkit_synthesis.images.remaking import remake
from agentkit_synthesis.images.renderer import ATTRIBUTES
from agentkit_synthesis.images.sources import load

torch.set_num_threads(1)
NOTHING = np.zeros((0, 1), np.int64)
BRIEF: dict[str, Any] = {"train_steps": 200, "judge_steps": 120, "batch": 32, "threads": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model of digits; it is poor, and enough to be sampled from."""
    home = tmp_path_factory.mktemp("model")
    done = jobs.run(TRAIN_IMAGES, {"out": str(home / "digits"), **BRIEF}, run_dir=home / "run")
    assert done.status == "ok", done.error
    assert done.metrics["judge_accuracy"]["digit"] > 0.9
    return home / "digits"


def ordered(home: Path, **params: Any) -> JobResult:
    asked = {"out": str(home / "out"), "threads": 1, "sampling_steps": 10, "confidence": 0.5, "at_once": 16, **params}
    return jobs.run(IMAGES, asked, run_dir=home / "run")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def digest(folder: Path) -> str:
    """Return a hash of all files but what names places."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def test_a_model_is_a_folder_that_diffusers_reads(model: Path) -> None:
    from diffusers import DDPMScheduler, UNet2DModel

    assert UNet2DModel.from_pretrained(model / "unet").config.class_embed_type == "identity"
    assert DDPMScheduler.from_pretrained(model / "scheduler").config.prediction_type == "v_prediction"
    assert "| digit | 0.9" in (model / "README.md").read_text()


def test_a_training_that_was_cut_off_at_its_very_end_is_done(model: Path, tmp_path: Path) -> None:
    before = (model / "model.json").read_bytes()
    done = jobs.run(TRAIN_IMAGES, {"out": str(model), **BRIEF}, run_dir=tmp_path / "run")
    assert done.status == "ok"
    assert (model / "model.json").read_bytes() == before
    with pytest.raises(InvalidParams, match="exists"):
        TRAIN_IMAGES.plan({"out": str(model), **BRIEF, "seed": 1})


@pytest.fixture(scope="module")
def made(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    done = ordered(home, model=str(model), count=30)
    assert done.status == "ok", done.error
    assert done.metrics["images"] == 30
    assert done.metrics["verified"] is True
    return home / "out"


def test_images_are_exactly_what_was_asked_for(made: Path) -> None:
    found = rows(made)
    assert Counter(row["labels"]["digit"] for row in found) == {str(digit): 3 for digit in range(10)}
    assert len({row["id"] for row in found}) == 30
    assert all(row["confidence"] >= 0.5 and row["nearest"] > 0 and row["verified"] for row in found)
    loaded = load(made, size=8)
    assert loaded.pixels.shape == (30, 8, 8, 1)
    assert len(loaded.values["digit"]) == 10
    assert {path.name for path in made.iterdir() if path.is_dir()} == set("0123456789")  # an ImageFolder


def test_the_folder_says_what_it_is(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["count"] == 30
    assert manifest["labels"]["digit"]["7"] == 3
    assert manifest["tried"] == 30 + sum(manifest["rejected"].values())
    assert (made / "README.md").read_text().startswith("---\n")
    with Image.open(made / "contact.png") as sheet:
        assert sheet.width > 500


def test_hugging_face_reads_the_folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = datasets.load_dataset("imagefolder", data_dir=str(made), split="train", cache_dir=str(tmp_path))
    assert len(found) == 30
    assert sorted(set(found["digit"])) == list("0123456789")
    assert found[0]["image"].size == (8, 8)


def test_labels_are_judged_by_somebody_else_too(made: Path) -> None:
    from sklearn.svm import SVC

    real, synthetic = load("digits"), load(made, size=8)
    other = SVC(C=10).fit(real.pixels.reshape(len(real), -1), real.labels["digit"])
    right = other.predict(synthetic.pixels.reshape(30, -1)) == synthetic.labels["digit"]
    assert right.mean() >= 0.8  # the model is a poor one


def test_the_same_seed_makes_the_same_images_also_when_stopped(model: Path, made: Path, tmp_path: Path) -> None:
    asked = {"out": str(tmp_path / "out"), "threads": 1, "sampling_steps": 10, "confidence": 0.5, "at_once": 16}
    asked |= {"model": str(model), "count": 30}
    stopped = jobs.run(IMAGES, asked, run_dir=tmp_path / "run", budget=Budget(steps=1))
    assert stopped.status == "budget_exhausted"
    assert not (tmp_path / "out").exists()
    with (tmp_path / "run" / "images" / "batches.jsonl").open("a") as file:
        file.write('{"batch": 99, "targets": [[')  # torn by a crash
    done = jobs.run(IMAGES, asked, run_dir=tmp_path / "run")
    assert done.status == "ok", done.error
    assert digest(tmp_path / "out") == digest(made)


def test_an_image_is_made_again_from_its_id(made: Path) -> None:
    row = rows(made)[20]
    with Image.open(made / row["file_name"]) as opened:
        assert np.array_equal(remake(made, row["id"])[:, :, 0], np.asarray(opened))
    for wrong in ("images-0-999999", "images-5-0", "else", "images-0--1"):
        with pytest.raises(InvalidParams, match="has no image"):
            remake(made, wrong)
    with pytest.raises(InvalidParams, match="is no set of images"):
        remake(made / "7", row["id"])


def test_an_order_that_was_filled_is_not_made_again(model: Path, made: Path) -> None:
    done = ordered(made.parent, model=str(model), count=30)
    assert done.status == "ok"
    assert done.metrics["images"] == 30
    fresh = jobs.run(
        IMAGES,
        {
            "out": str(made),
            "threads": 1,
            "sampling_steps": 10,
            "confidence": 0.5,
            "at_once": 16,
            "model": str(model),
            "count": 30,
        },
        run_dir=made.parent / "cut-off",
    )
    assert fresh.status == "ok"
    assert fresh.metrics["tried"] == done.metrics["tried"]
    with pytest.raises(InvalidParams, match="exists"):
        ordered(made.parent, model=str(model), count=31)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return an order of a user's own folder, of 32 grey images."""
    home, rng = tmp_path_factory.mktemp("mine"), np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        (home / name).mkdir()
        for n in range(16):
            pixels = np.clip(rng.normal(level, 25, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(home / name / f"{n}.png")
    return {"source": str(home), "size": 8, "train_steps": 20, "judge_steps": 20, "batch": 16, "count": 6, "keep_copies": True,
            "guidance": 1.0}  # fmt: skip


@pytest.fixture(scope="module")
def trained(mine: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill the order once; return the home that now holds the model, with the images in it."""
    home = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTKIT_HOME", str(home / "home"))
        done = ordered(home, **mine)
    assert done.status == "ok", done.error
    return home


def test_a_source_is_trained_once_and_then_sampled(
    mine: dict[str, Any], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_HOME", str(trained / "home"))
    plan = IMAGES.plan({"out": str(tmp_path / "out"), **mine})
    assert "from the model in" in plan.why
    second = ordered(tmp_path, **mine)
    assert second.status == "ok"
    assert not (tmp_path / "run" / "checkpoints" / "diffusion.pt").exists()
    assert digest(trained / "out") == digest(tmp_path / "out")
    look = ordered(tmp_path / "look", **{**mine, "preview": True})
    assert look.metrics["images"] == 10


def test_an_order_stopped_in_training_goes_on_to_the_same_images(
    mine: dict[str, Any], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    asked = {"threads": 1, "sampling_steps": 10, "confidence": 0.5, "at_once": 16, "out": str(tmp_path / "out"), **mine}
    plan = IMAGES.plan(asked)
    assert plan.seconds > 0
    assert plan.flops > 1e9
    assert "trained first" in plan.why
    for steps in (8, 18):  # while the judge is trained, and while the model is
        stopped = jobs.run(IMAGES, asked, run_dir=tmp_path / "run", budget=Budget(steps=steps))
        assert stopped.status == "budget_exhausted"
    done = jobs.run(IMAGES, asked, run_dir=tmp_path / "run")
    assert done.status == "ok", done.error
    assert digest(trained / "out") == digest(tmp_path / "out")


def test_drawn_products_have_exact_boxes_and_the_labels_asked_for(tmp_path: Path) -> None:
    done = ordered(tmp_path, method="render", count=40, where=["shape=circle", "colour=red"], at_once=None)
    assert done.status == "ok", done.error
    found = rows(tmp_path / "out")
    assert all(row["labels"]["shape"] == "circle" and row["labels"]["colour"] == "red" for row in found)
    assert set(found[0]["labels"]) == set(ATTRIBUTES)
    assert done.metrics["tried"] == 40
    coco = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert len(coco["images"]) == 40
    assert len(coco["annotations"]) == sum(int(row["labels"]["count"]) for row in found)
    names = {one["id"]: one["file_name"] for one in coco["images"]}
    for one in coco["annotations"][:20]:
        x, y, wide, high = one["bbox"]
        with Image.open(tmp_path / "out" / names[one["image_id"]]) as opened:
            pixels = np.asarray(opened).astype(int)
        middle = pixels[y + high // 2, x + wide // 2]
        assert middle[0] > middle[1]
        assert middle[0] > middle[2]
        assert one["area"] <= wide * high
        assert one["attributes"]["colour"] == "red"
    with Image.open(tmp_path / "out" / found[7]["file_name"]) as opened:
        assert np.array_equal(remake(tmp_path / "out", found[7]["id"]), np.asarray(opened))


def test_preview_shows_products_or_the_real_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    drawn = ordered(tmp_path / "a", source="products", preview=True)
    assert drawn.metrics["images"] == 10
    assert (tmp_path / "a" / "out" / "contact.png").exists()
    real = ordered(tmp_path / "b", source="digits", preview=True)
    assert real.metrics["real"] is True
    assert "no model of digits" in real.warnings[0]
    assert (tmp_path / "b" / "out" / "contact.png").exists()


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"where": ["digit=11"]}, "/where/0: digit has no value '11'"),
        ({"where": ["digit=1", "digit=2"]}, "digit cannot be 1 and 2 at once"),
        ({"where": ["shape=circle"]}, "no attribute 'shape'"),
        ({"count": 0}, "/count"),
        ({"size": 9}, "/size"),
        ({"source": "digits", "size": 16}, "/size: digits are 8 x 8"),
        ({"source": "no/such/folder"}, "is no folder"),
        ({"method": "render", "source": "digits"}, "/method: only products can be rendered"),
        ({"method": "render", "model": "x"}, "/model: rendering uses none"),
        ({"method": "render", "where": ["count=2", "position=left"]}, "no real image is all of that"),
        ({"method": "render", "attributes": ["weight"]}, "/attributes/0"),
        ({"model": "no-such-model"}, "/model: no-such-model is neither"),
        ({"colour": "red"}, "/colour: no such parameter"),
    ],
)
def test_impossible_orders_are_refused_before_anything_is_done(
    tmp_path: Path, params: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidParams, match=told):
        IMAGES.plan({"out": str(tmp_path / "out"), **params})


def test_a_damaged_model_is_named(model: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(model, tmp_path / "copy")
    (tmp_path / "copy" / "judge.safetensors").write_bytes(b"damaged")
    done = ordered(tmp_path, model=str(tmp_path / "copy"), count=2)
    assert done.status == "failed"
    assert "judge.safetensors is missing or changed" in done.error
    (tmp_path / "copy" / "model.json").write_text("{}")
    with pytest.raises(ModelFileError, match="no model of"):
        ordered(tmp_path, model=str(tmp_path / "copy"), count=2)


def test_a_model_that_makes_nothing_right_is_given_up(model: Path, tmp_path: Path) -> None:
    done = ordered(tmp_path, model=str(model), count=4, guidance=0.0, confidence=1.0, sampling_steps=1, at_once=256)
    assert done.status == "failed"
    assert "JobError: none of 512 images is what was asked for" in done.error
    assert "train longer" in done.error


def test_a_combination_that_never_comes_out_right_is_named(tmp_path: Path) -> None:
    wanted = np.array([[0], [1], [0], [1]])

    def check(_: Any, targets: Any) -> list[Verdict]:
        return [Verdict("" if row[0] == 0 else "with another digit") for row in targets]

    maker = Maker(
        wanted, NOTHING, {"digit": ("zero", "one")}, sample=lambda numbers, _: np.zeros((len(numbers), 8, 8, 1), np.uint8),
        check=check, folder=tmp_path, seed=0, at_once=4, most_tries=10,
    )  # fmt: skip
    with pytest.raises(JobError, match=r"digit=one: 0 of 2 after \d+ tries .*with another digit"):
        maker.run(told=lambda kept: None, should_stop=lambda: False)
    assert maker.kept == 2


def test_surplus_is_not_kept_and_values_that_no_folder_can_be_called_are(tmp_path: Path) -> None:
    maker = Maker(
        np.array([[0], [1]]), NOTHING, {"path": ("a/b", "a b")}, sample=lambda numbers, _: np.zeros((len(numbers), 8, 8, 1), np.uint8),
        check=lambda made, _: [Verdict("")] * len(made), folder=tmp_path, seed=0, at_once=8, most_tries=10,
    )  # fmt: skip
    assert maker.run(told=lambda kept: None, should_stop=lambda: False)
    assert sorted(path.parent.name for path in tmp_path.rglob("*.png")) == ["a_b-0", "a_b-1"]
    assert maker.why == {"not needed any more": 6}


def test_others_take_the_place_of_a_combination_that_cannot_be_had(tmp_path: Path) -> None:
    values = {"shape": ("a", "b"), "colour": ("r", "g", "b")}

    def check(_: Any, targets: Any) -> list[Verdict]:
        return [Verdict("with another colour" if row.tolist() == [1, 0] else "") for row in targets]

    def maker() -> Maker:
        return Maker(
            np.array([[0, 0], [1, 0]]), np.array([[0, 1], [1, 2], [1, 1]]), values, check=check, folder=tmp_path, seed=0,
            sample=lambda numbers, _: np.zeros((len(numbers), 8, 8, 1), np.uint8), at_once=4, most_tries=2,
        )  # fmt: skip

    first = maker()
    assert not first.run(told=lambda kept: None, should_stop=lambda: bool(first.replaced))
    rest = maker()
    assert rest.replaced == first.replaced == [(1, 0)]
    assert rest.run(told=lambda kept: None, should_stop=lambda: False)
    last = json.loads((tmp_path / "batches.jsonl").read_text().splitlines()[-1])
    assert last["targets"] == [[1, 2]] * 4


RENDER = """
import sys
from pathlib import Path
from agentkit import jobs
from agentkit_synthesis.images.jobs import IMAGES
done = jobs.run(IMAGES, {"out": sys.argv[1] + "/out", "method": "render", "count": int(sys.argv[2]), "at_once": 8}, run_dir=Path(sys.argv[1] + "/run"))
print(done.status, done.error)
"""


def test_a_killed_process_goes_on_to_the_same_images(tmp_path: Path) -> None:
    whole = ordered(tmp_path / "whole", method="render", count=400, at_once=8)
    assert whole.status == "ok", whole.error
    for name in ("killed",):
        process = subprocess.Popen([sys.executable, "-c", RENDER, str(tmp_path / name), "400"], env=dict(os.environ))
        batches = tmp_path / name / "run" / "images" / "batches.jsonl"
        deadline = time.monotonic() + 60
        while not batches.exists() or batches.stat().st_size < 30_000:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "killed" / "out").exists()
    done = jobs.run(
        IMAGES, {"out": str(tmp_path / "killed" / "out"), "method": "render", "count": 400, "at_once": 8},
        run_dir=tmp_path / "killed" / "run",
    )  # fmt: skip
    assert done.status == "ok", done.error
    assert digest(tmp_path / "killed" / "out") == digest(tmp_path / "whole" / "out")


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        [sys.executable, "-c", RENDER, str(tmp_path), "400"], capture_output=True, text=True, preexec_fn=small_files,
        check=False,
    )  # fmt: skip
    assert "failed JobError" in done.stdout, done.stderr
    assert "batches.jsonl: cannot be written" in done.stdout
