"""A small world for tests of training: drawn pictures on disk, and a training of seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import load_file

from agentkit_synthesis.images.renderer import draw
from agentkit_synthesis.images.worlds import SHOP, WORLDS
from agentkit_training.sprout_hf import WEIGHTS, write_folder
from agentkit_training.tokenizer import TextTokenizer

ROOT = Path(__file__).parents[3]
SPROUT = ROOT / "agentkit" / "models" / "weights" / "sprout.gguf"
BRIEF: Mapping[str, Any] = {
    "held_out": 0.15, "encoder_steps": 6, "encoder_batch": 16, "steps": 6, "batch": 8, "width": 64, "layers": 1,
    "threads": 1, "precision": "float32", "save_every": 4,
}  # fmt: skip


def drawn(folder: Path, count: int, seed: int = 0) -> Path:
    """Draw pictures of the shop with their labels."""
    folder.mkdir(parents=True)
    lines = []
    for n in range(count):
        scene = WORLDS[SHOP].random_scene(np.random.default_rng((seed, n)))
        Image.fromarray(draw(scene, 48).pixels).save(folder / f"{n}.png")
        lines.append(json.dumps({"file_name": f"{n}.png", "labels": WORLDS[SHOP].labels(scene)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def order(data: Path, out: Path, language_model: Path, **more: Any) -> dict[str, Any]:
    """Return what a brief training is asked for."""
    return {**BRIEF, "data": str(data), "out": str(out), "language_model": str(language_model), **more}


def sprout_hf(folder: Path) -> Path:
    """Write the shipped language model as a folder that transformers loads."""
    floats, tokenizer = load_file(WEIGHTS / "sprout-f16.safetensors"), TextTokenizer.load(WEIGHTS / "tokenizer.json")
    return write_folder(floats, tokenizer, folder)
