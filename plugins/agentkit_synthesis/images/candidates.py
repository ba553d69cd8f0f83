"""What fills the slots: a trained model's samples, and the judge's verdict on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from agentkit_synthesis.images.diffusion.sampling import guided, noise_for, run_sampler, sampler_for
from agentkit_synthesis.images.files import fitted
from agentkit_synthesis.images.making import Check, Sampler, Verdict, numbers_to_seeds
from agentkit_synthesis.images.modelling import ImageModel, Judging
from agentkit_synthesis.images.verifying.classifier import judge

__all__ = ["STREAM", "check_for", "sampler_of"]

STREAM = 1  # of seeds
Pixels = NDArray[np.uint8]


def sampler_of(model: ImageModel, *, seed: int, kind: Literal["ddim", "ddpm"], steps: int, guidance: float) -> Sampler:
    """Return what samples a batch from a model, in the precision that it was trained in."""
    design = model.design
    shape = (design.channels, design.size, design.size)

    def sample(numbers: Sequence[int], targets: NDArray[np.int64]) -> Pixels:
        noise, generators = noise_for(numbers_to_seeds(seed, numbers, STREAM), shape)
        predict = guided(model.network, torch.from_numpy(targets), design.nulls, guidance)
        with torch.autocast("cpu", torch.bfloat16, enabled=model.judging.about["recipe"]["precision"] == "bfloat16"):
            found = run_sampler(
                predict, sampler_for(model.scheduler, kind), noise, steps=steps,
                generators=generators if kind == "ddpm" else None,
            )  # fmt: skip
        scaled = ((found.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        pixels: Pixels = scaled.permute(0, 2, 3, 1).contiguous().numpy()
        return pixels

    return sample


def check_for(judging: Judging, names: Sequence[str], *, confidence: float, keep_copies: bool) -> Check:
    """Return what keeps an image: the judge finds every label that was asked for, surely enough, and it is no copy."""

    def check(made: Pixels, targets: NDArray[np.int64]) -> list[Verdict]:
        shown = fitted(made, judging.about["size"], judging.about["channels"])
        judged = judge(judging.judge, shown)
        near = judging.reference.nearest(shown, judged.features)
        verdicts = []
        for n, target in enumerate(targets):
            wrong = [name for at, name in enumerate(names) if judged.found[n, at] != target[at]]
            sure = float(judged.sure[n].min())
            notes = {
                "verified": True, "confidence": round(sure, 4), "nearest": round(float(near.pixels[n]), 4),
                "nearest_features": round(float(near.features[n]), 4),
            }  # fmt: skip
            why = (
                f"with another {wrong[0]}" if wrong
                else "unsure" if sure < confidence
                else "like a training image" if near.copies[n] and not keep_copies
                else ""
            )  # fmt: skip
            verdicts.append(Verdict(why, notes))
        return verdicts

    return check
