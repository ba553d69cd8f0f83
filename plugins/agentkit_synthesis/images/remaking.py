"""Any image of a data set again, from its id: its whole batch is made as it was, and the one image taken out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.candidates import sampler_of
from agentkit_synthesis.images.drawn import Drawing
from agentkit_synthesis.images.exporting import FORMAT, MANIFEST
from agentkit_synthesis.images.making import BATCHES, Sampler, image_id
from agentkit_synthesis.images.modelling import about_model, load_model
from agentkit_synthesis.images.pipelines import find_pipeline, pipeline_sampler
from agentkit_synthesis.images.worlds import WORLDS

__all__ = ["remake"]


def remake(folder: Path, id: str) -> NDArray[np.uint8]:
    """Return an image (H, W, C) of the data set in `folder`, made anew: on the same machine, to the bit.

    Raises:
        InvalidParams: the folder is no set of images of agentkit, it has no such image, or its model is another one now.
        ModelFileError: its model is gone.
    """
    manifest = _manifest(folder)
    seed, at_once = int(manifest["seed"]), int(manifest["at_once"])
    number = int(id.rpartition("-")[2]) if id.rpartition("-")[2].isdigit() else -1
    if number < 0 or id != image_id(seed, number) or number >= manifest["tried"]:
        raise InvalidParams(f"/id: {folder} has no image {id}; ids are in its metadata.jsonl")
    with (folder / BATCHES).open(encoding="utf-8") as file:
        line = next(line for n, line in enumerate(file) if n == number // at_once)
    targets = np.array(json.loads(line)["targets"], np.int64)
    numbers = [number // at_once * at_once + n for n in range(len(targets))]
    torch.set_num_threads(int(manifest.get("threads", 1)))
    made: NDArray[np.uint8] = _sampler(manifest, seed)(numbers, targets)[number % at_once]
    return made


def _sampler(manifest: dict[str, Any], seed: int) -> Sampler:
    values = {name: tuple(found) for name, found in manifest["values"].items()}
    if manifest["method"] == "render":
        drawn = WORLDS.get(manifest["source"], WORLDS["products"])
        return Drawing(values, seed=seed, size=manifest["size"], world=drawn).sample
    steps, guidance, model = manifest["steps"], manifest["guidance"], manifest["model"]
    if manifest["method"] == "pipeline":
        if find_pipeline(model) != manifest["provenance"]["pipeline"]:
            raise InvalidParams(f"/model: {model} is not the pipeline any more that these images were made with")
        return pipeline_sampler(model, values, seed=seed, steps=steps, guidance=guidance, template=manifest["prompt"])
    if about_model(Path(model))["sha256"] != manifest["model_sha256"]:
        raise InvalidParams(f"/model: {model} is not the model any more that these images were made with")
    return sampler_of(load_model(Path(model)), seed=seed, kind=manifest["sampler"], steps=steps, guidance=guidance)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidParams(f"/folder: {folder} is no set of images that agentkit made ({error})") from error
    return found
