"""Pipelines of diffusers that draw from a text: Stable Diffusion and others, from a folder or by their Hugging Face id.

The text is made from the labels. Nothing is asked of the network when agentkit or the hub is set to be offline.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from numpy.typing import NDArray

from agentkit import config
from agentkit.errors import InvalidParams, JobError, ModelFileError, OfflineModelUnavailable
from agentkit_synthesis.images.balance import Values
from agentkit_synthesis.images.candidates import STREAM
from agentkit_synthesis.images.making import Sampler, numbers_to_seeds

__all__ = ["GUIDANCE", "INDEX", "STEPS", "find_pipeline", "pipeline_sampler", "prompt_for"]

INDEX = "model_index.json"
STEPS, GUIDANCE = 25, 7.5
Pixels = NDArray[np.uint8]


def find_pipeline(name: str) -> str:
    """Return what a pipeline's result depends on: a hash of a folder's index and files, or the id.

    Raises:
        InvalidParams: the folder holds no pipeline, or it is no folder and no id.
    """
    folder = Path(name).expanduser()
    if (folder / INDEX).is_file():
        digest = hashlib.sha256((folder / INDEX).read_bytes())
        for path in sorted(folder.rglob("*.safetensors")):
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
        return digest.hexdigest()
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InvalidParams(
            f"/model: {name} is neither a model of train-images nor a pipeline of diffusers, nor an id like org/model"
        )
    return f"hf:{name}"


def prompt_for(template: str | None, labels: dict[str, str]) -> str:
    """Return the text for labels: the template with `{attribute}` filled in, or one that names them all.

    Raises:
        InvalidParams: the template names an attribute that is not there.
    """
    if template is None:
        return "a photo, " + ", ".join(f"{name}: {value}" for name, value in labels.items())
    try:
        return template.format(**labels)
    except (KeyError, IndexError, ValueError) as error:
        raise InvalidParams(
            f"/prompt: {template!r} cannot be filled in ({error}); it may have {', '.join(labels)}"
        ) from error


def pipeline_sampler(
    name: str, values: Values, *, seed: int, steps: int, guidance: float, template: str | None
) -> Sampler:
    """Load a pipeline; return what samples a batch from it.

    Raises:
        OfflineModelUnavailable: it would have to be downloaded, and cannot be.
        ModelFileError: it cannot be loaded.
        InvalidParams: the template does not fit the labels.
    """
    prompt_for(template, {key: found[0] for key, found in values.items()})
    pipeline = _loaded(name)

    def sample(numbers: Sequence[int], targets: NDArray[np.int64]) -> Pixels:
        rows = [
            {key: found[at] for (key, found), at in zip(values.items(), row, strict=True)} for row in targets.tolist()
        ]
        generators = [torch.Generator("cpu").manual_seed(one) for one in numbers_to_seeds(seed, numbers, STREAM)]
        try:
            found = pipeline(
                prompt=[prompt_for(template, row) for row in rows], generator=generators, num_inference_steps=steps,
                guidance_scale=guidance, output_type="np",
            ).images  # fmt: skip
        except TypeError as error:
            raise JobError(
                f"{name}: this pipeline is not called with a prompt ({error}); take one that draws from text"
            ) from error
        pixels: Pixels = np.rint(np.clip(np.asarray(found), 0, 1) * 255).astype(np.uint8)
        return pixels

    return sample


def _loaded(name: str) -> Any:
    folder = Path(name).expanduser()
    here = folder.is_dir()
    offline = bool(config.load().settings.engine.offline) or os.environ.get("HF_HUB_OFFLINE", "") in {"1", "true"}
    try:
        found = DiffusionPipeline.from_pretrained(
            str(folder) if here else name, local_files_only=here or offline, use_safetensors=True
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError, RuntimeError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if here:
            raise ModelFileError(f"{name}: diffusers cannot load this pipeline ({first})") from error
        why = "downloading is switched off" if offline else f"the hub did not give it ({first})"
        raise OfflineModelUnavailable(
            f"/model: {name} is not in the cache, and {why}; download it where there is a network with `hf download {name}`"
            " and copy the cache, or give a folder"
        ) from error
    found.set_progress_bar_config(disable=True)
    return found.to("cuda") if torch.cuda.is_available() else found
