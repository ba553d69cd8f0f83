"""Labelled images as jobs: what `agentkit synth images` and `agentkit synth train-images` start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams, MissingDependency
from agentkit.jobs import Job, JobContext, JobPlan
from agentkit_synthesis.images.made import made_before, trained_before
from agentkit_synthesis.images.params import ImagesParams, TrainImagesParams

__all__ = ["IMAGES", "NEEDS", "TRAIN_IMAGES"]

NEEDS = ("torch", "diffusers", "safetensors", "sklearn", "PIL")


def plan_training(params: Mapping[str, Any]) -> JobPlan:
    """Return what training a model would do and cost; loads the images, and tries a few steps.

    Raises:
        InvalidParams: a parameter, a file or a label cannot be used.
        MissingDependency: the extra is not installed.
    """
    checked = TrainImagesParams.parse(params)
    if trained_before(checked) is None:
        _free(checked.out, force=checked.force)
    _require()
    from agentkit_synthesis.images import planning  # noqa: PLC0415  heavy

    return planning.plan_training(checked)


def train(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Train a model of labelled images."""
    from agentkit_synthesis.images.running import train_images  # noqa: PLC0415  heavy

    return train_images(TrainImagesParams.parse(params), context)


def plan_images(params: Mapping[str, Any]) -> JobPlan:
    """Return what making images would do and cost; loads the source, and tries a few steps.

    Raises:
        InvalidParams: a parameter, a condition or a file cannot be used.
        ModelFileError: the model cannot be read.
        MissingDependency: the extra is not installed.
    """
    checked = ImagesParams.parse(params)
    if made_before(checked) is None:
        _free(checked.out, force=checked.force)
    if checked.method == "render":
        _require(("PIL",))
        from agentkit_synthesis.images.drawn import plan_drawn  # noqa: PLC0415  Pillow is of the extra

        return plan_drawn(checked)
    _require()
    from agentkit_synthesis.images.planning import plan_images as planned  # noqa: PLC0415  heavy

    return planned(checked)


def make(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Make labelled images."""
    checked = ImagesParams.parse(params)
    if checked.method == "render":
        from agentkit_synthesis.images.drawn import make_drawn  # noqa: PLC0415  Pillow is of the extra

        return make_drawn(checked, context)
    from agentkit_synthesis.images.running import make_images  # noqa: PLC0415  heavy

    return make_images(checked, context)


def _require(needs: tuple[str, ...] = NEEDS) -> None:
    """Refuse where the extra is not installed; keep libraries from calling home."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    absent = [name for name in needs if find_spec(name) is None]
    if absent:
        raise MissingDependency(f"images need {', '.join(absent)}: pip install 'agentkit-local[synth]'")


def _free(out: Path, *, force: bool) -> None:
    if out.exists() and not (force and out.is_dir()):
        raise InvalidParams(f"/out: {out} exists; name another folder, or force it")


TRAIN_IMAGES = Job(
    name="train-images", home="agentkit_synthesis.images.jobs:TRAIN_IMAGES", plan=plan_training, run=train
)
IMAGES = Job(name="images", home="agentkit_synthesis.images.jobs:IMAGES", plan=plan_images, run=make)
