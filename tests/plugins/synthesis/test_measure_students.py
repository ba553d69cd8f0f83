"""Students and the job around them: what is easy is learnt, what is noise is not, and an end in the middle changes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agentkit import jobs
from agentkit.errors import InvalidParams
from agentkit_synthesis.images.sources import load
from agentkit_synthesis.measure.augmenting import augmented
from agentkit_synthesis.measure.cells import Cell, read_result, write_result
from agentkit_synthesis.measure.measuring import MEASURE
from agentkit_synthesis.measure.params import MeasureParams
from agentkit_synthesis.measure.pictured import cells_of_images, read_images
from agentkit_synthesis.measure.results import results_of_images, results_of_traces
from agentkit_synthesis.measure.seeing import Lesson, count_weights, network, taught_cnn, taught_svm
from agentkit_synthesis.measure.speaking import Exercise, answers_of, taught
from agentkit_synthesis.measure.teaching import lesson_of
from agentkit_synthesis.measure.told import cells_of_traces, read_traces


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def lesson(*, random: bool = False, augment: bool = False, steps: int = 60, seed: int = 0) -> Lesson:
    """Images whose left or right half is bright; at random, labels have nothing to do with it."""
    rng = np.random.default_rng(5)
    labels = rng.integers(2, size=400)
    images = rng.random((400, 8, 8, 1), np.float32) * 0.3
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label : 4 * label + 4] += 0.6
    labels = rng.integers(2, size=400) if random else labels
    return Lesson(images[:100], labels[:100], images[100:], labels[100:], 2, augment, steps, seed)


@pytest.mark.parametrize("augment", [False, True])
def test_students_learn_what_is_easy(augment: bool) -> None:
    assert taught_cnn(lesson(augment=augment)) == 1.0
    assert taught_svm(lesson(augment=augment)) == 1.0


def test_students_stay_near_chance_where_labels_are_random() -> None:
    for learn in (taught_cnn, taught_svm):
        assert 0.4 < learn(lesson(random=True)) < 0.6  # 300 tosses: 0.5 +- 0.09 at three deviations


def test_a_lesson_gives_the_same_student_every_time() -> None:
    hard = lesson(random=True, augment=True, steps=8)
    before = torch.get_rng_state()
    assert taught_cnn(hard) == taught_cnn(hard)
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_fits_its_images() -> None:
    assert network(8, 1, 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert network(32, 3, 4)(torch.zeros(2, 3, 32, 32)).shape == (2, 4)
    assert count_weights(network(8, 1, 10)) == 32 * 9 + 64 + 32 * 64 * 9 + 128 + 64 * 16 * 10 + 10


def test_augmented_images_are_small_changes_of_the_images() -> None:
    image = torch.zeros(1, 1, 16, 16)
    image[0, 0, 6:10, 6:10] = 1.0
    found = augmented(image.repeat(200, 1, 1, 1), torch.Generator().manual_seed(0))
    places = torch.arange(16.0)
    mass = found.sum((1, 2, 3))
    middle = (found.sum((1, 2)) * places).sum(-1) / mass
    assert found.min() >= 0
    assert found.max() <= 1.0001
    assert float((middle - 7.5).abs().max()) < 0.125 * 16 + 0.5
    assert float(middle.std()) > 0.5
    assert float(abs(mass / 16 - 1).max()) < 0.35  # scaled by at most 1.1 each way
    flat = torch.full((3, 2, 8, 8), 0.25)
    assert torch.allclose(augmented(flat, torch.Generator().manual_seed(1)), flat)


def test_a_llama_learns_to_copy_and_its_loss_is_of_the_reply_alone() -> None:
    rng = np.random.default_rng(0)
    exercises = [Exercise([int(n)], [int(n)]) for n in rng.integers(4, 10, size=64)]
    model, read = taught(exercises, vocabulary=12, steps=60, seed=0)
    assert read == 60 * 32 * 4
    assert answers_of(model, [[n] for n in range(4, 10)], most=5) == [[n] for n in range(4, 10)]
    again, _ = taught(exercises, vocabulary=12, steps=3, seed=1)
    other, _ = taught(exercises, vocabulary=12, steps=3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), other.parameters(), strict=True))


def test_replies_do_not_depend_on_who_else_is_asked() -> None:
    model, _ = taught([Exercise([4, 5], [6, 7, 8])] * 32, vocabulary=12, steps=4, seed=0)
    asked = [[4, 5], [9], [5, 4], [6, 6, 6]]
    assert answers_of(model, asked, most=6) == [answers_of(model, [one], most=6)[0] for one in asked]


def bright(folder: Path, labels: str = "lr", each: int = 60, *, seed: int = 0, side: int = 8) -> Path:
    """Save images whose left or right half is bright."""
    rng = np.random.default_rng(seed)
    for place, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for n in range(each):
            pixels = rng.random((side, side)) * 80
            pixels[:, side // 2 * (place % 2) : side // 2 * (place % 2) + side // 2] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{n}.png")
    return folder


def params(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "data": str(tmp_path / "made"), "against": str(tmp_path / "real"), "out": str(tmp_path / "out"), "steps": 20, "seeds": 3,
        "size": 8, "shares": [0.1, 1.0], "curve": [0.1, 1.0], "generator_labels": 0, **more,
    }  # fmt: skip


def test_the_real_images_held_out_are_never_learnt(tmp_path: Path) -> None:
    bright(tmp_path / "made", each=30)
    checked = MeasureParams.parse(params(tmp_path, against="digits", size=None) | {"data": str(digits_of(tmp_path))})
    images = read_images(checked)
    held = {one.tobytes() for one in images.test.pixels}
    assert len(images.test) == 359
    assert not any(one.tobytes() in held for one in images.real.pixels)
    assert images.warnings == ()
    small, large = (images.subset(share, 7) for share in (0.01, 0.1))
    assert (len(small), len(large)) == (10, 143)
    assert set(small.names) < set(large.names)
    told = lesson_of(images, Cell(kind="images", student="cnn", arm="real + synthetic", share=0.01, seed=3, steps=5), 7)
    assert len(told.labels) == 10 + len(images.made)
    assert np.array_equal(told.labels[:10], small.labels["digit"])


def digits_of(tmp_path: Path) -> Path:
    """Save digits darkened a little, which makes them others, as a generator would write them; with their labels."""
    found = load("digits")
    folder, lines = tmp_path / "digits", []
    folder.mkdir()
    for n in range(100):
        Image.fromarray(np.minimum(found.pixels[n, :, :, 0], 250)).save(folder / f"{n}.png")
        labels = {"digit": str(found.labels["digit"][n])}
        lines.append(json.dumps({"file_name": f"{n}.png", "labels": labels, **labels}) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines))
    return folder


def test_a_measurement_of_images_and_its_end_in_the_middle(tmp_path: Path) -> None:
    bright(tmp_path / "made")
    bright(tmp_path / "real", each=100, seed=1)
    told = params(tmp_path)
    whole = jobs.run(MEASURE, told, run_dir=tmp_path / "whole")
    assert whole.status == "ok", whole.error
    files = [(tmp_path / "out" / name).read_bytes() for name in ("measure.json", "measure.md", "measure.png")]
    found = json.loads(files[0])["students"]["cnn"]
    rows = {(row["arm"], row["labels"]): row for row in found["rows"]}
    assert {labels for _, labels in rows} == {0, 16, 160}
    assert len(rows) == 10
    assert rows["synthetic", 0]["mean"] == 1.0
    assert rows["real", 160]["images"] == 160
    assert rows["real + synthetic", 16]["images"] == 136
    assert b"| real + synthetic | 16 | 136 | 100.0 % (all seeds alike)" in files[1]

    cut = {**told, "out": str(tmp_path / "cut")}
    budget = jobs.Budget(steps=4)
    first = jobs.run(MEASURE, cut, run_dir=tmp_path / "cut-run", budget=budget)
    assert first.status == "budget_exhausted"
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut-run" / "checkpoints").glob("*.json")}
    assert 4 <= len(done) < 30
    second = jobs.run(MEASURE, {**cut, "workers": 2}, run_dir=tmp_path / "cut-run")
    assert second.metrics == whole.metrics
    assert {name: (tmp_path / "cut-run" / "checkpoints" / name).stat().st_mtime_ns for name in done} == done
    assert [(tmp_path / "cut" / name).read_bytes() for name in ("measure.json", "measure.md", "measure.png")] == files


@pytest.mark.parametrize(
    ("made", "real", "told"),
    [
        ("lr", "ab", "/data: its labels .l, r. are not those of the real images .a, b."),
        ("l", "lr", "/data: all images have the same label"),
        ("lr", "l", "/against: all images have the same label"),
    ],
)
def test_labels_that_cannot_be_compared_are_named(tmp_path: Path, made: str, real: str, told: str) -> None:
    bright(tmp_path / "made", made)
    bright(tmp_path / "real", real, seed=1)
    with pytest.raises(InvalidParams, match=told):
        MEASURE.plan(params(tmp_path))


def test_too_few_images_and_no_real_ones(tmp_path: Path) -> None:
    bright(tmp_path / "made")
    bright(tmp_path / "real", each=40, seed=1)
    with pytest.raises(InvalidParams, match="/against: 64 real images to train on and 16 to test on are too few"):
        MEASURE.plan(params(tmp_path))
    with pytest.raises(InvalidParams, match="/against: images are measured against real ones"):
        MEASURE.plan(params(tmp_path, against=None))


def test_labels_of_one_side_other_sizes_and_copies_are_told(tmp_path: Path) -> None:
    bright(tmp_path / "made", "lrx", each=30)
    bright(tmp_path / "real", "lry", each=90, side=16)
    copied = read_images(MeasureParams.parse(params(tmp_path))).test.pixels[0]
    Image.fromarray(copied[:, :, 0]).save(tmp_path / "made" / "l" / "copy.png")
    images = read_images(MeasureParams.parse(params(tmp_path)))
    assert len(images.made) == 61
    assert [warning.partition(":")[0] for warning in images.warnings] == [
        "no real image is x", "no synthetic image is y", "1 synthetic images are pixel for pixel real ones that are held out",
    ]  # fmt: skip


def test_labels_that_the_generator_saw_are_used() -> None:
    checked = MeasureParams(data=Path("d"), out=Path("o"), shares=(0.1,), curve=(0.1, 1.0), seeds=3)
    cells = cells_of_images(checked)
    results = [{"score": 0.5 + 0.4 * cell.share, "labels": round(100 * cell.share), "images": 9} for cell in cells]
    found = results_of_images(cells, results, 60)["cnn"]["saved"]
    assert {row["arm"]: (row["mixed_in"], row["labels"], row["saved"]) for row in found} == {
        "real + synthetic": (10, 60, -50.0), "real, augmented": (10, 10, 0.0), "real + synthetic, augmented": (10, 60, -50.0),
    }  # fmt: skip


def traces(folder: Path, train: int = 60, test: int = 20, family: str = "sums") -> Path:
    folder.mkdir(exist_ok=True)
    for split, numbers in (("train", range(train)), ("test", range(1000, 1000 + test))):
        rows = [{"family": family, "messages": [{"role": "system", "content": "Think."}, {"role": "user", "content": f"What is {n} + 1?"}, {"role": "assistant", "content": f"{n} + 1 = {n + 1}\nAnswer: {n + 1}"}]} for n in numbers]  # fmt: skip
        with (folder / f"{split}.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def test_a_measurement_of_traces(tmp_path: Path) -> None:
    traces(tmp_path / "made")
    traces(tmp_path / "made", train=10, family="rare")
    told = {"data": str(tmp_path / "made"), "out": str(tmp_path / "out"), "steps": 10, "seeds": 1, "test_rows": 20}
    done = jobs.run(MEASURE, told, run_dir=tmp_path / "run")
    assert done.status == "ok", done.error
    found = json.loads((tmp_path / "out" / "measure.json").read_text())
    assert [(row["family"], row["of"]) for row in found["families"]] == [("sums", 20)]
    assert found["all"]["explained"]["too_few"] == 1
    assert done.warnings == ("rare: 10 rows to train on and 20 to score are too few; 50 and 20 are needed",)
    assert (tmp_path / "out" / "measure.png").read_bytes().startswith(b"\x89PNG")
    by_arm = found["students"]
    assert by_arm["explained"]["rows"] == by_arm["answers"]["rows"] == 60
    assert by_arm["explained"]["tokens"] > 1.2 * by_arm["answers"]["tokens"]
    assert by_arm["answers, as many tokens"]["tokens"] == pytest.approx(by_arm["explained"]["tokens"], rel=0.06)
    assert by_arm["explained"]["steps_taken"] == by_arm["answers"]["steps_taken"] == 10


def test_gains_are_paired_by_seed() -> None:
    score = {"explained": 50, "answers": 20, "answers, as many tokens": 30}
    cells = cells_of_traces(MeasureParams(data=Path("d"), out=Path("o")))
    about = {"of": {"sums": 100, "dates": 50}, "rows": 1, "steps_taken": 1, "tokens": 1, "weights": 1}
    results = [{"right": {"sums": score[cell.arm] + cell.seed, "dates": 10}, **about} for cell in cells]
    found = results_of_traces(cells, results)
    assert [row["family"] for row in found["families"]] == ["sums", "dates"]
    assert found["families"][0]["gain"]["mean"] == pytest.approx(0.3)
    assert found["families"][0]["explained"]["each"] == pytest.approx([0.5, 0.51, 0.52])
    assert found["families"][1]["gain"]["mean"] == 0.0
    assert found["all"]["gain"]["mean"] == pytest.approx(0.15)
    assert found["all"]["gain_at_equal_tokens"]["mean"] == pytest.approx(0.1)
    assert found["all"]["explained"]["each"] == pytest.approx([0.35, 0.355, 0.36])


def test_traces_of_some_systems_and_without_those_too_long(tmp_path: Path) -> None:
    traces(tmp_path / "made")
    checked = MeasureParams(data=tmp_path / "made", out=tmp_path / "out")
    assert len(read_traces(checked).train["sums"]) == 60
    assert len(read_traces(checked.model_copy(update={"systems": ("Think.",)})).train["sums"]) == 60
    with pytest.raises(InvalidParams, match=r"/data: .* has no explained traces"):
        read_traces(checked.model_copy(update={"systems": ("Be brief.",)}))
    long = {"family": "long", "prompt": "x" * 2001, "completion": "because\nAnswer: 3"}
    bare = {"family": "bare", "prompt": "2 + 1?", "completion": "Answer: 3"}
    with (tmp_path / "made" / "train.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in [long, bare] * 60)
    assert set(read_traces(checked).train) == {"sums"}


def test_traces_without_a_test_split_or_with_too_few_rows_are_refused(tmp_path: Path) -> None:
    checked = MeasureParams(data=traces(tmp_path / "made", train=30), out=tmp_path / "out")
    with pytest.raises(InvalidParams, match="/data: sums: 30 rows to train on and 20 to score are too few"):
        read_traces(checked)
    with pytest.raises(
        InvalidParams, match="/families: there are no explained traces of dates; there are some of sums"
    ):
        read_traces(MeasureParams(data=tmp_path / "made", out=tmp_path / "out", families=("dates",)))
    (tmp_path / "made" / "test.jsonl").unlink()
    with pytest.raises(InvalidParams, match=r"has no test\.jsonl"):
        MEASURE.plan({"data": str(tmp_path / "made"), "out": str(tmp_path / "out")})


def test_a_torn_result_is_no_result(tmp_path: Path) -> None:
    cell = Cell(kind="images", student="cnn", arm="real", share=0.5, seed=1, steps=9)
    assert read_result(tmp_path, cell) is None
    write_result(tmp_path, cell, {"score": 0.5})
    assert (read_result(tmp_path, cell) or {})["score"] == 0.5
    (tmp_path / f"{cell.key}.json").write_text('{"score": 0.')
    assert read_result(tmp_path, cell) is None


def test_a_measurement_stops_when_asked(tmp_path: Path) -> None:
    traces(tmp_path / "made")
    stop = threading.Event()
    stop.set()
    told = {"data": str(tmp_path / "made"), "out": str(tmp_path / "out"), "steps": 10}
    assert jobs.run(MEASURE, told, run_dir=tmp_path / "run", cancelled=stop).status == "cancelled"
    assert not (tmp_path / "out").exists()
