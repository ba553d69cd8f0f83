"""Real images to a model: the judge and the diffusion model are trained side by side on the same part of them.

A fifth of the images is held out: the judge is measured there, and what counts as a copy is learnt there. Neither network sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.balance import product_combinations, seen_combinations
from agentkit_synthesis.images.diffusion.design import Design, design_for
from agentkit_synthesis.images.diffusion.training import Recipe, Trainer, fit
from agentkit_synthesis.images.labelled import LabelledImages, split
from agentkit_synthesis.images.learnable import learnable
from agentkit_synthesis.images.modelling import ImageModel, Judging
from agentkit_synthesis.images.params import SourceParams
from agentkit_synthesis.images.sources import load
from agentkit_synthesis.images.verifying.classifier import (
    Classifier,
    ClassifierRecipe,
    accuracy,
    judge,
    train_classifier,
)
from agentkit_synthesis.images.verifying.nearness import Vectors, calibrated
from agentkit_synthesis.images.worlds import WORLDS

__all__ = ["design_of", "divided", "fit_judge", "fit_model", "images_of", "precision_of", "recipe_of"]

HELD_OUT = 0.2
Told = Callable[[str, int, float], None]  # phase, steps done in all phases, loss


def images_of(params: SourceParams) -> LabelledImages:
    """Load the real images that params name.

    Raises:
        InvalidParams: they cannot be used.
    """
    found = load(
        params.real, size=params.size, attributes=params.attributes, count=params.rendered, seed=params.seed,
        skip_bad=params.skip_bad,
    )  # fmt: skip
    return learnable(found)


def design_of(params: SourceParams, images: LabelledImages) -> Design:
    """Return the model's shape."""
    return design_for(
        images.size, images.pixels.shape[3], images.values, prediction=params.prediction, schedule=params.schedule
    )


def precision_of(params: SourceParams) -> Literal["float32", "bfloat16"]:
    """Return the precision of training: bfloat16 takes two thirds of the time where the processor has it, on larger images."""
    if params.precision != "auto":
        return params.precision
    has_it = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bfloat16" if has_it and not params.small else "float32"


def recipe_of(params: SourceParams) -> Recipe:
    """Return how the diffusion model is trained."""
    return Recipe(
        steps=params.steps, batch=params.batch, rate=params.rate, drop=params.drop, ema=params.ema,
        min_snr=params.min_snr, precision=precision_of(params), save_every=params.save_every, seed=params.seed,
    )  # fmt: skip


def divided(params: SourceParams, images: LabelledImages) -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """Return the images to learn from, those of them whose labels are known, and those held out.

    Raises:
        InvalidParams: a value has no image left to learn it from.
    """
    train, held_out = split(images, HELD_OUT, seed=0)
    if params.labelled < 1:
        train = train.forgotten(params.labelled, seed=params.seed)
    labelled = train.known()
    _enough(labelled, held_out)
    return (train if params.unlabelled else labelled), labelled, held_out


def fit_judge(
    params: SourceParams, images: LabelledImages, folder: Path, *, told: Told, should_stop: Callable[[], bool]
) -> Judging | None:
    """Train the judge and learn what a copy is, from what `folder` holds of an earlier start; return None if stopped."""
    seen, labelled, held_out = divided(params, images)
    recipe = ClassifierRecipe(steps=params.judging, seed=params.seed + 1, save_every=params.save_every)
    judge_ = train_classifier(
        labelled, recipe, folder, told=lambda step, loss: told("judge", step, loss), should_stop=should_stop
    )
    if judge_ is None:
        return None
    reference = calibrated(seen.pixels, _features(judge_, seen), held_out.pixels, _features(judge_, held_out))
    about = {
        "source": images.source, "size": images.size, "channels": images.pixels.shape[3], "images": len(seen), "labelled": len(labelled), "held_out": len(held_out),
        "judge_accuracy": {name: round(share, 4) for name, share in accuracy(judge_, held_out).items()},
        "judge_recipe": asdict(recipe), "warnings": list(images.warnings),
    }  # fmt: skip
    drawn = WORLDS.get(images.source)
    possible = product_combinations(images.attributes, drawn) if drawn else seen_combinations(labelled)
    return Judging(judge=judge_, reference=reference, possible=possible, about=about)


def fit_model(
    params: SourceParams, images: LabelledImages, folder: Path, *, told: Told, should_stop: Callable[[], bool]
) -> ImageModel | None:
    """Train the judge, then the diffusion model; steps are told as those of both together. Return None if stopped."""
    judging = fit_judge(params, images, folder, told=told, should_stop=should_stop)
    if judging is None:
        return None
    seen, guessed = _guessed(divided(params, images)[0], judging.judge, params.guess)
    trainer = Trainer(seen, design_of(params, images), recipe_of(params))
    network = fit(
        trainer, folder, told=lambda step, loss: told("diffusion", params.judging + step, loss), should_stop=should_stop
    )
    if network is None:
        return None
    about = {
        **judging.about, "digest": images.digest, "guessed": guessed, "recipe": asdict(trainer.recipe), "threads": torch.get_num_threads(),
        "parameters": sum(one.numel() for one in network.parameters()), "torch": torch.__version__,
    }  # fmt: skip
    return ImageModel(network=network, scheduler=trainer.scheduler, judging=replace(judging, about=about))


def _guessed(images: LabelledImages, judge_: Classifier, least: float) -> tuple[LabelledImages, int]:
    """Return the images with the judge's label where none is known and it is sure enough, and how many got one.

    After You et al. 2023 (arXiv 2302.10586): with few labels, a conditional model learns each class from more images than have one.
    """
    if least >= 1 or not (images.table < 0).any():
        return images, 0
    judged = judge(judge_, images.pixels)
    sure = (images.table < 0) & (judged.sure >= least)
    table = np.where(sure, judged.found, images.table)
    return replace(images, labels={name: table[:, n] for n, name in enumerate(images.attributes)}), int(
        sure.any(axis=1).sum()
    )


def _features(network: Classifier, images: LabelledImages) -> Vectors:
    found: Vectors = judge(network, images.pixels).features
    return found


def _enough(labelled: LabelledImages, held_out: LabelledImages) -> None:
    """Refuse what no judge can be trained on: a value without a labelled image."""
    for name, values in labelled.values.items():
        absent = [value for n, value in enumerate(values) if n not in labelled.labels[name]]
        if absent:
            raise InvalidParams(
                f"/source: no image to learn {name}={absent[0]} from is left once a fifth is held out; add some of it"
            )
    if len(held_out) == 0:
        raise InvalidParams("/source: all images are equal; nothing can be held out")
