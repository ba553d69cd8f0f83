"""What fills the slots: a trained model's samples, judged; or drawn scenes, which are right by construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from agentkit_synthesis.images.balance import Values
from agentkit_synthesis.images.diffusion.sampling import guided, noise_for, run_sampler, sampler_for
from agentkit_synthesis.images.files import fitted
from agentkit_synthesis.images.making import Check, Sampler, Verdict
from agentkit_synthesis.images.modelling import ImageModel, Judging
from agentkit_synthesis.images.renderer import Scene, draw, random_scene, things_of
from agentkit_synthesis.images.verifying.classifier import judge

__all__ = ["STREAM", "Drawing", "check_for", "numbers_to_seeds", "sampler_of", "scene_of"]

STREAM = {"noise": 1, "scene": 2}
Pixels = NDArray[np.uint8]


def numbers_to_seeds(seed: int, numbers: Sequence[int], stream: int) -> list[int]:
    """Return a seed of its own for each candidate."""
    return [int(np.random.SeedSequence((seed, stream, n)).generate_state(1, np.uint64)[0] >> 1) for n in numbers]


def sampler_of(model: ImageModel, *, seed: int, kind: Literal["ddim", "ddpm"], steps: int, guidance: float) -> Sampler:
    """Return what samples a batch from a model."""
    design = model.design
    shape = (design.channels, design.size, design.size)

    def sample(numbers: Sequence[int], targets: NDArray[np.int64]) -> Pixels:
        noise, generators = noise_for(numbers_to_seeds(seed, numbers, STREAM["noise"]), shape)
        predict = guided(model.network, torch.from_numpy(targets), design.nulls, guidance)
        scheduler = sampler_for(model.scheduler, kind)
        found = run_sampler(predict, scheduler, noise, steps=steps, generators=generators if kind == "ddpm" else None)
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


def scene_of(seed: int, number: int, target: Sequence[int], values: Values) -> Scene:
    """Return the scene of a drawn candidate."""
    where = {name: found[index] for (name, found), index in zip(values.items(), target, strict=True)}
    return random_scene(np.random.default_rng(numbers_to_seeds(seed, [number], STREAM["scene"])[0]), where)


class Drawing:
    """Draws candidates; `check` notes what `sample` drew last."""

    def __init__(self, values: Values, *, seed: int, size: int) -> None:
        self._values, self._seed, self._size = values, seed, size
        self._notes: list[dict[str, Any]] = []

    def sample(self, numbers: Sequence[int], targets: NDArray[np.int64]) -> Pixels:
        """Draw a batch."""
        made, self._notes = [], []
        for number, target in zip(numbers, targets.tolist(), strict=True):
            scene = scene_of(self._seed, number, target, self._values)
            drawn = draw(scene, self._size)
            made.append(drawn.pixels)
            things = [
                {**told, "box": list(box), "area": round(area, 2)}
                for told, box, area in zip(things_of(scene), drawn.boxes, drawn.areas, strict=True)
            ]
            self._notes.append({"verified": True, "things": things})
        return np.stack(made)

    def check(self, made: Pixels, targets: NDArray[np.int64]) -> list[Verdict]:
        """Keep all: a scene's labels are what it was drawn from."""
        return [Verdict("", notes) for notes in self._notes]
