"""A model of labelled images as a folder: what samples it, what judges its labels, and what its images must not repeat.

model.json          design, what it was trained on, how good its judge is
unet/ scheduler/    as diffusers saves them
attributes.safetensors, judge.safetensors, reference.npz
README.md           its card
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import DDPMScheduler, UNet2DModel
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from agentkit.errors import JobError, ModelFileError
from agentkit.jobs import write_atomic
from agentkit_synthesis.images.diffusion.design import Design
from agentkit_synthesis.images.diffusion.network import Denoiser
from agentkit_synthesis.images.diffusion.sampling import scheduler_for
from agentkit_synthesis.images.verifying.classifier import Classifier
from agentkit_synthesis.images.verifying.nearness import Reference

__all__ = ["ABOUT", "ImageModel", "Judging", "about_model", "load_model", "save_model"]

ABOUT, FORMAT = "model.json", "agentkit-images/1"
ATTRIBUTES, JUDGE, REFERENCE = "attributes.safetensors", "judge.safetensors", "reference.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What made images are held to.

    Attributes:
        judge: trained on real images only.
        reference: the training images, to tell copies by.
        possible: (M, attributes) combinations of labels to ask for.
        about: what all was trained on and how, plain data.
    """

    judge: Classifier
    reference: Reference
    possible: NDArray[np.int64]
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModel:
    """A model that can be sampled from and whose images can be judged.

    Attributes:
        network: with averaged weights.
        scheduler: the forward process.
        judging: what its images are held to.
    """

    network: Denoiser
    scheduler: DDPMScheduler
    judging: Judging

    @property
    def design(self) -> Design:
        """Sizes and attributes."""
        return self.network.design


def save_model(model: ImageModel, folder: Path) -> None:
    """Write a model into a folder, `model.json` last.

    Raises:
        JobError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.network.unet.save_pretrained(folder / "unet")
        model.scheduler.save_pretrained(folder / "scheduler")
        save_file(model.network.attributes.state_dict(), folder / ATTRIBUTES)
        save_file(model.judging.judge.state_dict(), folder / JUDGE)
    except (OSError, SafetensorError) as error:
        raise JobError(
            f"{folder}: the model cannot be written ({error}); free some space, or choose another folder"
        ) from error
    kept, buffer = model.judging.reference, io.BytesIO()
    np.savez(
        buffer, pixels=kept.pixels, features=kept.features, limits=[kept.pixel_limit, kept.feature_limit],
        possible=model.judging.possible,
    )  # fmt: skip
    write_atomic(folder / REFERENCE, buffer.getvalue())
    write_atomic(folder / "README.md", _card(model))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: _sha256(folder / name) for name in names if name != ABOUT}
    told = {"format": FORMAT, "design": model.design.to_json(), "about": dict(model.judging.about), "files": files}
    write_atomic(folder / ABOUT, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def about_model(folder: Path) -> dict[str, Any]:
    """Return what `model.json` says, without loading anything; with `sha256`, of the whole.

    Raises:
        ModelFileError: the folder holds no model of this kind.
    """
    try:
        data = (folder / ABOUT).read_bytes()
        told: dict[str, Any] = json.loads(data)
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']!r}, not {FORMAT!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{folder}: no model of `agentkit synth train-images` ({error})") from error
    return {**told, "sha256": hashlib.sha256(data).hexdigest()}


def load_model(folder: Path) -> ImageModel:
    """Load a model.

    Raises:
        ModelFileError: a file is missing, or is not what was saved.
    """
    told = about_model(folder)
    wrong = [n for n, digest in told["files"].items() if not (folder / n).is_file() or _sha256(folder / n) != digest]
    if wrong:
        raise ModelFileError(f"{folder}: {', '.join(wrong)} is missing or changed; train the model again")
    design = Design.from_json(told["design"])
    network = Denoiser(design)
    network.unet.load_state_dict(UNet2DModel.from_pretrained(folder / "unet").state_dict())
    network.attributes.load_state_dict(load_file(folder / ATTRIBUTES))
    judge = Classifier(design.channels, design.size, design.values)
    judge.load_state_dict(load_file(folder / JUDGE))
    with np.load(folder / REFERENCE) as kept:
        limits = kept["limits"]
        reference = Reference(kept["pixels"], kept["features"], float(limits[0]), float(limits[1]))
        possible = kept["possible"]
    for module in (network, judge):
        module.eval().requires_grad_(False)
    judging = Judging(judge=judge, reference=reference, possible=possible, about=told["about"])
    return ImageModel(network=network, scheduler=scheduler_for(design), judging=judging)


def _card(model: ImageModel) -> str:
    about, design = model.judging.about, model.design
    judged = [f"| {name} | {share:.4f} |" for name, share in about["judge_accuracy"].items()]
    lines = [
        "---", "library_name: diffusers", "tags: [agentkit, synthetic, diffusion]", "---", "",
        f"# Labelled images of {about['source']}", "",
        f"A diffusion model of {design.size} x {design.size} images with the attributes {', '.join(design.values)}: diffusers'"
        f" `UNet2DModel` with {about['parameters']:,} parameters, trained for {about['recipe']['steps']:,} steps of"
        f" {about['recipe']['batch']} on {about['images']:,} images, {about['labelled']:,} of them with all labels"
        + (f", {about['guessed']:,} with labels that the judge guessed." if about["guessed"] else "."), "",
        "Images are sampled with `agentkit synth images OUT --model FOLDER`, which keeps those whose labels the judge confirms.", "",
        f"The judge is a convolutional network trained on the labelled ones of these images. On {about['held_out']:,} real images held out:",
        "", "| attribute | right |", "|---|---:|", *judged, "",
        "What the training images have, the model has: their biases, and where they are of people, people's likeness.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
