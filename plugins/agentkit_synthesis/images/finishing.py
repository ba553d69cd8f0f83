"""What both ways of making images share: slots filled, folder exported and put in its place, figures told."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import InvalidParams, JobError
from agentkit.jobs import JobContext
from agentkit_synthesis.dataset.manifest import versions
from agentkit_synthesis.images.balance import spelled
from agentkit_synthesis.images.exporting import export
from agentkit_synthesis.images.made import asked, made_before
from agentkit_synthesis.images.making import NOT_NEEDED, Check, Maker, Sampler
from agentkit_synthesis.images.params import ImagesParams

__all__ = ["Order", "filled", "made_already", "put_in_place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made, resolved.

    Attributes:
        method: render, diffusion or pipeline.
        wanted: (count, attributes) labels.
        spare: other labels to fall back on where some cannot be had.
        values: attribute -> the names of its values.
        size: side of the images; 0 where a pipeline decides.
        channels: 1 or 3.
        provenance: what the result depends on besides params: hashes.
        at_once, steps, guidance, precision: of the sampling.
        model: the model's folder, the one it will be in where it is trained first; or a pipeline's name.
        trained: whether the model is there.
    """

    method: str
    wanted: NDArray[np.int64]
    spare: NDArray[np.int64]
    values: Mapping[str, tuple[str, ...]]
    size: int
    channels: int = 3
    provenance: Mapping[str, Any]
    at_once: int
    steps: int = 0
    guidance: float = 0.0
    precision: str = "float32"
    model: str = ""
    trained: bool = True


def made_already(params: ImagesParams, order: Order, context: JobContext) -> dict[str, Any] | None:
    """Return the figures of `out` where it holds just this already: the run was cut off at its very end."""
    manifest = made_before(params)
    if manifest is None or manifest["provenance"] != dict(order.provenance):
        return None
    context.step(1, 1)
    return _figures(params, manifest)


def filled(
    params: ImagesParams,
    order: Order,
    context: JobContext,
    sample: Sampler,
    check: Check,
    *,
    before: int,
    about: str,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the images in the run's folder and put them where they were asked for; return the figures, none if stopped.

    Args:
        params: what was asked for.
        order: the same, resolved.
        context: of the job.
        sample: makes candidates.
        check: says which are kept.
        before: steps of the job that came before.
        about: a sentence for the card: how labels were verified.
        more: for the manifest: `verified`, `judge`, `model_sha256`, `versions`, `threads`.
    """  # fmt: skip
    total = before + len(order.wanted) + 1
    folder = context.run_dir / "images"
    folder.mkdir(exist_ok=True)
    maker = Maker(
        order.wanted, order.spare, order.values, sample=sample, check=check, folder=folder, seed=params.seed, at_once=order.at_once,
        most_tries=params.most_tries, sure=order.method == "render",
    )  # fmt: skip

    def told(kept: int) -> None:
        context.step(before + kept, total, {"kept": kept, "tried": maker.tried}, phase="make")

    if not maker.run(told=told, should_stop=context.should_stop):
        return {}
    if maker.replaced:
        context.warn(
            f"{len(maker.replaced)} combinations of labels could not be had and others took their place, the first of them"
            f" {spelled(maker.replaced[0], order.values)}; the manifest names all"
        )
    manifest = _manifest(params, order, maker, more)
    export(folder, manifest, values=order.values, size=order.size, about=about)
    put_in_place(folder, params.out, force=params.force)
    for name in ("metadata.jsonl", "manifest.json", "README.md", "contact.png", "annotations.json"):
        if (params.out / name).exists():
            context.artifact(params.out / name, "dataset")
    context.step(total, total, phase="export")
    return _figures(params, manifest)


def put_in_place(made: Path, out: Path, *, force: bool) -> None:
    """Put a finished folder where it was asked for: whole, or not at all.

    Raises:
        InvalidParams: something is there already.
        JobError: it cannot be written.
    """
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


def _manifest(params: ImagesParams, order: Order, maker: Maker, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the images depend on; no time and no place but the model's, so that equal images have equal manifests."""
    passed = maker.kept + maker.why[NOT_NEEDED]
    return {
        "kind": "images", "method": order.method, "source": params.source or params.model or params.real, "model": order.model,
        "provenance": dict(order.provenance), "where": list(params.where), "seed": params.seed, "count": len(order.wanted),
        "tried": maker.tried, "verified_share": round(passed / maker.tried, 4), "rejected": dict(sorted(maker.why.items())),
        "replaced": [spelled(row, order.values) for row in maker.replaced],
        "values": {name: list(found) for name, found in order.values.items()}, "size": order.size, "at_once": order.at_once,
        "sampler": params.sampler, "steps": order.steps, "guidance": order.guidance, "confidence": params.confidence,
        "prompt": params.prompt, "params": asked(params), **more, "versions": {**versions(), **more.get("versions", {})},
    }  # fmt: skip


def _figures(params: ImagesParams, manifest: Mapping[str, Any]) -> dict[str, Any]:
    wrong = sum(count for why, count in manifest["rejected"].items() if why.startswith("with another"))
    return {
        "out": str(params.out), "images": manifest["count"], "tried": manifest["tried"], "rejected": manifest["rejected"],
        "verified": manifest["verified"], "agreement_before": round(1 - wrong / manifest["tried"], 4),
        "replaced": len(manifest["replaced"]), "judge_accuracy": manifest["judge"].get("judge_accuracy", {}),
    }  # fmt: skip
