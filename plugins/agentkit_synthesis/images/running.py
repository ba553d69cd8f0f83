"""The two jobs at work: a model trained and saved; images made, verified and exported.

Everything is made in the run's folder and stands where it was asked for once all is done.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agentkit.errors import InvalidParams, JobError
from agentkit.jobs import JobContext
from agentkit_synthesis.dataset.manifest import versions
from agentkit_synthesis.images.candidates import Drawing, check_for, sampler_of
from agentkit_synthesis.images.exporting import export
from agentkit_synthesis.images.files import contact_sheet, put
from agentkit_synthesis.images.fitting import fit_judge, fit_model, images_of
from agentkit_synthesis.images.made import asked, made_before
from agentkit_synthesis.images.making import NOT_NEEDED, Check, Maker, Sampler, Verdict
from agentkit_synthesis.images.modelling import ABOUT, ImageModel, Judging, about_model, load_model, save_model
from agentkit_synthesis.images.params import ImagesParams, SourceParams, TrainImagesParams
from agentkit_synthesis.images.pipelines import pipeline_sampler
from agentkit_synthesis.images.planning import Order, cached_folder, order_for, threads_of

__all__ = ["make_images", "train_images"]

RENDERED = "Labels are what the scenes were drawn from."
JUDGED = (
    "An image was kept where a classifier, trained on real images only, finds every label that was asked for with a probability of"
    " at least {confidence}; on {held_out:,} real images held out it finds {accuracy}."
)
UNVERIFIED = "Nothing has verified the labels: they are what the pipeline was asked for."


def train_images(params: TrainImagesParams, context: JobContext) -> dict[str, Any]:
    """Train a model of labelled images and put it where it was asked for."""
    torch.set_num_threads(threads_of(params))
    total = params.judging + params.steps
    images = images_of(params)
    for warning in images.warnings:
        context.warn(warning)
    model = _trained(params, context, total)
    if model is None:
        return {}
    made = context.run_dir / "model"
    save_model(model, made)
    _moved(made, params.out, force=params.force)
    for path in sorted(params.out.rglob("*")):
        if path.is_file():
            context.artifact(path, "model")
    context.step(total, total, phase="save")
    about = model.judging.about
    return {"out": str(params.out), "images": about["images"], "labelled": about["labelled"], "held_out": about["held_out"],
            "parameters": about["parameters"], "judge_accuracy": about["judge_accuracy"]}  # fmt: skip


def make_images(params: ImagesParams, context: JobContext) -> dict[str, Any]:
    """Make labelled images; trains a model first where there is none. Return the figures."""
    torch.set_num_threads(threads_of(params))
    order = order_for(params)
    if params.preview and order.how == "train":
        return _real_preview(params, context)
    if (manifest := made_before(params)) and manifest["provenance"] == dict(order.provenance):
        context.step(1, 1)
        return _figures(params, manifest)
    before = params.judging + params.steps if order.how == "train" else params.judging if order.how == "pipeline" else 0
    total = before + len(order.wanted) + 1
    ready = _ready(params, order, context, total)
    if ready is None:
        return {}
    sample, check, about, judging = ready
    folder = context.run_dir / "images"
    folder.mkdir(exist_ok=True)
    maker = Maker(
        order.wanted, order.values, sample=sample, check=check, folder=folder, seed=params.seed, at_once=order.at_once,
        most_tries=params.most_tries,
    )  # fmt: skip

    def told(kept: int) -> None:
        context.step(before + kept, total, {"kept": kept, "tried": maker.tried}, phase="make")

    if not maker.run(told=told, should_stop=context.should_stop):
        return {}
    manifest = _manifest(params, order, maker, judging)
    export(folder, manifest, values=order.values, size=order.size, about=about)
    _moved(folder, params.out, force=params.force)
    for name in ("metadata.jsonl", "manifest.json", "README.md", "contact.png", "annotations.json"):
        if (params.out / name).exists():
            context.artifact(params.out / name, "dataset")
    context.step(total, total, phase="export")
    return _figures(params, manifest)


def _ready(
    params: ImagesParams, order: Order, context: JobContext, total: int
) -> tuple[Sampler, Check, str, Judging | None] | None:
    """Return what samples and what checks, after training what has to be trained; None if stopped meanwhile."""
    if order.how == "render":
        drawing = Drawing(order.values, seed=params.seed, size=order.size)
        return drawing.sample, drawing.check, RENDERED, None
    if order.how == "pipeline":
        judging = _pipeline_judge(params, context, total)
        if judging is None and params.source is not None:
            return None
        sample = pipeline_sampler(
            str(params.model), order.values, seed=params.seed, steps=order.steps, guidance=order.guidance,
            template=params.prompt,
        )  # fmt: skip
        if judging is None:
            context.warn(UNVERIFIED)
            return sample, _unverified, UNVERIFIED, None
        return sample, _checking(params, order, judging), _about(params, judging), judging
    if order.how == "train":
        model = _trained(params, context, total)
        if model is None:
            return None
        _keep(model, context, cached_folder(params))
    assert order.model is not None
    model = load_model(order.model)
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


def _figures(params: ImagesParams, manifest: Mapping[str, Any]) -> dict[str, Any]:
    wrong = sum(count for why, count in manifest["rejected"].items() if why.startswith("with another"))
    return {
        "out": str(params.out), "images": manifest["count"], "tried": manifest["tried"], "rejected": manifest["rejected"],
        "verified": manifest["verified"], "agreement_before": round(1 - wrong / manifest["tried"], 4),
        "judge_accuracy": manifest["judge"].get("judge_accuracy", {}),
    }  # fmt: skip


def _verified_share(maker: Maker) -> float:
    """Return the share of candidates that passed, needed or not."""
    return round((maker.kept + maker.why[NOT_NEEDED]) / maker.tried, 4)


def _manifest(params: ImagesParams, order: Order, maker: Maker, judging: Judging | None) -> dict[str, Any]:
    """Return what the images depend on; no time and no place but the model's, so that equal images have equal manifests."""
    return {
        "kind": "images", "method": {"render": "render", "pipeline": "pipeline"}.get(order.how, "diffusion"),
        "source": params.source or params.model or params.real, "model": str(order.model or params.model or ""),
        "model_sha256": about_model(order.model)["sha256"] if order.model else "",
        "provenance": dict(order.provenance), "where": list(params.where), "seed": params.seed, "count": len(order.wanted),
        "tried": maker.tried, "verified_share": _verified_share(maker),
        "rejected": dict(sorted(maker.why.items())), "values": {name: list(found) for name, found in order.values.items()},
        "size": order.size, "at_once": order.at_once, "sampler": params.sampler, "steps": order.steps,
        "guidance": order.guidance, "confidence": params.confidence, "prompt": params.prompt, "threads": threads_of(params),
        "verified": order.how == "render" or judging is not None, "params": asked(params), "judge": dict(judging.about) if judging else {}, "versions": {**versions(), "torch": torch.__version__},
    }  # fmt: skip


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
    _moved(made, params.out, force=params.force)
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


def _moved(made: Path, out: Path, *, force: bool) -> None:
    """Put a finished folder where it was asked for: whole, or not at all."""
    if out.exists() and not force:
        raise InvalidParams(f"/out: {out} exists; name another folder, or force it")
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.move(made, partial)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except OSError as error:
        raise JobError(
            f"{out}: cannot be written ({error.strerror}); free some space, or choose another folder"
        ) from error
