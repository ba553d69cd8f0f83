from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agentkit_synthesis.images.labelled import UNKNOWN, LabelledImages, split
from agentkit_synthesis.images.sources import load
from agentkit_synthesis.images.verifying.classifier import (
    Classifier,
    ClassifierRecipe,
    accuracy,
    judge,
    train_classifier,
)
from agentkit_synthesis.images.verifying.nearness import calibrated, small

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sides() -> tuple[LabelledImages, LabelledImages]:
    return split(load("digits"))


@pytest.fixture(scope="module")
def judging(sides: tuple[LabelledImages, LabelledImages], tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    found = train_classifier(sides[0], ClassifierRecipe(steps=120, batch=32), tmp_path_factory.mktemp("judge"))
    assert found is not None
    return found


def test_the_judge_learns_and_is_measured_on_images_held_out(
    sides: tuple[LabelledImages, LabelledImages], judging: Classifier
) -> None:
    assert accuracy(judging, sides[1])["digit"] > 0.9
    judged = judge(judging, sides[1].pixels)
    assert judged.found.shape == judged.sure.shape == (len(sides[1]), 1)
    assert (judged.sure >= 0.1).all()
    assert (judged.sure <= 1).all()
    np.testing.assert_allclose(np.linalg.norm(judged.features, axis=1), 1, rtol=1e-5)


def test_the_judge_is_surer_where_it_is_right(
    sides: tuple[LabelledImages, LabelledImages], judging: Classifier
) -> None:
    judged, told = judge(judging, sides[1].pixels), sides[1].labels["digit"]
    sure = judged.sure[:, 0] > 0.9
    assert (judged.found[sure, 0] == told[sure]).mean() > (judged.found[~sure, 0] == told[~sure]).mean()


def test_unknown_labels_have_no_part_in_it(tmp_path: Path) -> None:
    images = load("digits").chosen(np.arange(60))
    doubled = LabelledImages(
        pixels=images.pixels, values={"digit": images.values["digit"], "other": ("x", "y")}, names=images.names, source="test",
        labels={"digit": images.labels["digit"], "other": np.full(60, UNKNOWN)},
    )  # fmt: skip
    told: list[float] = []
    found = train_classifier(doubled, ClassifierRecipe(steps=5), tmp_path, told=lambda step, loss: told.append(loss))
    assert found is not None
    assert np.isfinite(told).all()
    assert np.isnan(accuracy(found, doubled)["other"])


def test_a_judge_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    images, recipe = load("digits").chosen(np.arange(60)), ClassifierRecipe(steps=8, batch=8, save_every=3)
    whole = train_classifier(images, recipe, _made(tmp_path / "whole"))
    folder, steps = _made(tmp_path / "parts"), []
    first = train_classifier(
        images, recipe, folder, told=lambda step, _: steps.append(step), should_stop=lambda: len(steps) == 5
    )
    assert first is None
    rest = train_classifier(images, recipe, folder, told=lambda step, _: steps.append(step))
    assert steps == list(range(1, 9))
    assert whole is not None
    assert rest is not None
    for one, other in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_copies_are_known_and_new_images_are_not(
    sides: tuple[LabelledImages, LabelledImages], judging: Classifier
) -> None:
    train, held_out = sides
    features = [judge(judging, one.pixels).features for one in sides]
    reference = calibrated(train.pixels, features[0], held_out.pixels, features[1])
    again = reference.nearest(train.pixels[:50], features[0][:50])
    assert again.copies.all()
    assert again.pixels.max() == 0
    noisy = np.clip(
        train.pixels[:50].astype(int) + np.random.default_rng(0).integers(-8, 9, train.pixels[:50].shape), 0, 255
    )
    assert (
        reference.nearest(noisy.astype(np.uint8), judge(judging, noisy.astype(np.uint8)).features).copies.mean() > 0.9
    )
    assert reference.nearest(held_out.pixels, features[1]).copies.mean() < 0.03  # one in a hundred by each distance


def test_pixel_distance_is_the_root_mean_square_at_most_sixteen_a_side() -> None:
    black, grey = np.zeros((1, 32, 32, 3), np.uint8), np.full((1, 32, 32, 3), 51, np.uint8)
    assert small(black).shape == (1, 16 * 16 * 3)
    assert float(np.linalg.norm(small(black) - small(grey))) == pytest.approx(0.2)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
