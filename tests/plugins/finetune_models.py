"""A model of a few thousand weights that speaks `plain/1`, and rows to train it on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agentkit_training.llama import Llama, LlamaConfig
from agentkit_training.sprout_hf import WEIGHTS, write_folder
from agentkit_training.tokenizer import TextTokenizer

SHAPE = LlamaConfig(width=32, layers=2, heads=2, kv_heads=1, hidden=64, context=256, rotary_pairs=4)
NAMES, THINGS = ("Ann", "Bob", "Cy", "Dee", "Eve", "Flo", "Gus", "Hal"), ("apples", "books", "cars", "dogs", "eggs")


def tiny(folder: Path) -> Path:
    """Write the model."""
    torch.manual_seed(0)
    model = Llama(SHAPE)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o.weight", "down.weight")):  # they start at nothing
                torch.nn.init.normal_(weight, std=0.1)
    return write_folder(model.state_dict(), TextTokenizer.load(WEIGHTS / "tokenizer.json"), folder, SHAPE)


def pairs(count: int) -> list[dict[str, Any]]:
    """Return preferences that can be learned: the number, and no excuse."""
    return [
        {
            "prompt": [{"role": "user", "content": f"{_name(n)} has {n} {_thing(n)}. How many?"}],
            "chosen": [{"role": "assistant", "content": f"{n} {_thing(n)}"}],
            "rejected": [{"role": "assistant", "content": f"{_name(n)} did not say."}],
        }
        for n in range(2, 2 + count)
    ]


def chats(count: int) -> list[dict[str, Any]]:
    """Return conversations with the same answers."""
    return [{"messages": [*row["prompt"], *row["chosen"]]} for row in pairs(count)]


def prompts(count: int) -> list[dict[str, Any]]:
    """Return the same questions, each with its number."""
    return [{"prompt": row["prompt"], "answer": n} for n, row in enumerate(pairs(count), 2)]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _name(n: int) -> str:
    return NAMES[n % len(NAMES)]


def _thing(n: int) -> str:
    return THINGS[n * 7 % len(THINGS)]
