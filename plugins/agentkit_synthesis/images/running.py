"""The two jobs at work: a model trained and saved; images made, verified and exported.

Everything is made in the run's folder and stands where it was asked for once all is done.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from agentkit.jobs import JobContext
from agentkit_synthesis.images.candidates import check_for, sampler_of
from agentkit_synthesis.images.drawn import make_drawn
from agentkit_synthesis.images.files import contact_sheet, put
from agentkit_synthesis.images.finishing import Order, filled, made_already, put_in_place
from agentkit_synthesis.images.fitting import fit_judge, fit_model, images_of
from agentkit_synthesis.images.made import asked, trained_before
from agentkit_synthesis.images.making import Check, Sampler, Verdict
from agentkit_synthesis.images.modelling import ABOUT, ImageModel, Judging, about_model, load_model, save_model
from agentkit_synthesis.images.params import ImagesParams, SourceParams, TrainImagesParams
from agentkit_synthesis.images.pipelines import pipeline_sampler
from agentkit_synthesis.images.planning import cached_folder, is_drawn, order_for, threads_of

__all__ = ["make_images", "train_images"]

JUDGED = (
    "An image was kept where a classifier, trained on real images only, finds every label that was asked for with a probability of"
    " at least {confidence}; on {held_out:,} real images held out it finds {accuracy}."
)
UNVERIFIED = "Nothing has verified the labels: they are what the pipeline was asked for."


def train_images(params: TrainImagesParams, context: JobContext) -> dict[str, Any]:
    """Train a model of labelled images and put it where it was asked for."""
    torch.set_num_threads(threads_of(params))
    total = params.judging + params.steps
    if trained_before(params) is None:
        for warning in images_of(params).warnings:
            context.warn(warning)
        model = _trained(params, context, total)
        if model is None:
            return {}
        about = {**model.judging.about, "params": asked(params)}
        made = context.run_dir / "model"
        save_model(replace(model, judging=replace(model.judging, about=about)), made)
        put_in_place(made, params.out, force=params.force)
    for path in sorted(params.out.rglob("*")):
        if path.is_file():
            context.artifact(path, "model")
    context.step(total, total, phase="save")
    told = about_model(params.out)["about"]
    names = ("images", "labelled", "guessed", "held_out", "parameters", "judge_accuracy")
    return {"out": str(params.out), **{name: told[name] for name in names}}


def make_images(params: ImagesParams, context: JobContext) -> dict[str, Any]:
    """Make labelled images; trains a model first where there is none. Return the figures."""
    torch.set_num_threads(threads_of(params))
    if is_drawn(params):
        return make_drawn(params, context)
    order = order_for(params)
    if params.preview and not order.trained:
        return _real_preview(params, context)
    if (figures := made_already(params, order, context)) is not None:
        return figures
    before = 0 if order.trained else params.judging + params.steps
    if order.method == "pipeline":
        before = params.judging if params.source is not None else 0
    ready = _ready(params, order, context, before + len(order.wanted) + 1)
    if ready is None:
        return {}
    sample, check, about, judging = ready
    more = {
        "verified": judging is not None, "judge": dict(judging.about) if judging else {}, "threads": threads_of(params),
        "model_sha256": "" if order.method == "pipeline" else about_model(Path(order.model))["sha256"],
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    }  # fmt: skip
    return filled(params, order, context, sample, check, before=before, about=about, more=more)


def _ready(
    params: ImagesParams, order: Order, context: JobContext, total: int
) -> tuple[Sampler, Check, str, Judging | None] | None:
    """Return what samples and what checks, after training what has to be trained; None if stopped meanwhile."""
    if order.method == "pipeline":
        judging = _pipeline_judge(params, context, total)
        if judging is None and params.source is not None:
            return None
        sample = pipeline_sampler(
            order.model, order.values, seed=params.seed, steps=order.steps, guidance=order.guidance,
            template=params.prompt,
        )  # fmt: skip
        if judging is None:
            context.warn(UNVERIFIED)
            return sample, _unverified, UNVERIFIED, None
        return sample, _checking(params, order, judging), _about(params, judging), judging
    if not order.trained:
        model = _trained(params, context, total)
        if model is None:
            return None
        _keep(model, context, cached_folder(params))
    model = load_model(Path(order.model))
    for warning in model.judging.about["warnings"]:
        context.warn(warning)
    sampler = sampler_of(model, seed=params.seed, kind=params.sampler, steps=order.steps, guidance=order.guidance)
    return sampler, _checking(params, order, model.judging), _about(params, model.judging), model.judging


def _trained(params: SourceParams, context: JobContext, total: int) -> ImageModel | None:
    def told(phase: str, step: int, loss: float) -> None:
        context.step(min(step, total - 1), total, {"loss": round(loss, 5)} if step % 10 == 0 else None, phase=phase)

    return fit_model(params, images_of(params), context.checkpoint_dir, told=told, should_stop=context.should_stop)


def _pipeline_judge(params: ImagesParams, context: JobContext, total: int) -> Judging | None:
    if params.source is None:
        return None

    def told(phase: str, step: int, loss: float) -> None:
        context.step(min(step, total - 1), total, {"loss": round(loss, 5)} if step % 10 == 0 else None, phase=phase)

    return fit_judge(params, images_of(params), context.checkpoint_dir, told=told, should_stop=context.should_stop)


def _checking(params: ImagesParams, order: Order, judging: Judging) -> Check:
    return check_for(judging, list(order.values), confidence=params.confidence, keep_copies=params.keep_copies)


def _unverified(made: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> list[Verdict]:
    return [Verdict("", {"verified": False}) for _ in made]


def _about(params: ImagesParams, judging: Judging) -> str:
    accuracy = ", ".join(f"{name} right in {share:.1%}" for name, share in judging.about["judge_accuracy"].items())
    return JUDGED.format(confidence=params.confidence, held_out=judging.about["held_out"], accuracy=accuracy)


def _real_preview(params: ImagesParams, context: JobContext) -> dict[str, Any]:
    """Show ten of the real images, for there is no model yet."""
    images = images_of(params)
    index = np.random.default_rng(params.seed).permutation(len(images))[:10]
    some = images.chosen(np.sort(index))
    texts = [
        "\n".join(
            found[some.labels[name][n]] if some.labels[name][n] >= 0 else "?" for name, found in some.values.items()
        )
        for n in range(len(some))
    ]
    made = context.run_dir / "images"
    put(made / "contact.png", contact_sheet(list(some.pixels), texts))
    put_in_place(made, params.out, force=params.force)
    context.artifact(params.out / "contact.png", "preview")
    context.warn(f"no model of {params.real} has been trained yet; these are real images that one would learn from")
    context.step(1, 1)
    return {"out": str(params.out), "images": len(some), "real": True}


def _keep(model: ImageModel, context: JobContext, folder: Path) -> None:
    """Put a model where the next call finds it; another process may have been first."""
    made = context.run_dir / "model"
    save_model(model, made)
    if (folder / ABOUT).is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():  # a torn one
        shutil.rmtree(folder)
    shutil.move(made, folder)
