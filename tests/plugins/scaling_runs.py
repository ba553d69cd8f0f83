"""What scaling laws are tested on: runs made from a law, sizes about the optimum of each budget; and prose of random words."""

from __future__ import annotations

import random

import numpy as np

from agentkit_training.scaling import Law, Run

WORDS = [
    "the",
    "loss",
    "falls",
    "with",
    "data",
    "and",
    "size",
    "until",
    "none",
    "is",
    "left",
    "of",
    "what",
    "can",
    "go",
]
BUDGETS = tuple(float(flops) for flops in np.geomspace(1e18, 1e22, 5))


def made(
    law: Law,
    *,
    noise: float = 0.0,
    seed: int = 0,
    unique_tokens: float | None = None,
    budgets: tuple[float, ...] = BUDGETS,
    sizes: int = 9,
) -> list[Run]:
    """A run for each budget and size; the optimum of the budget by 1/8 to 8."""
    rng, runs = np.random.default_rng(seed), []
    for flops in budgets:
        best = law.optimum(flops)[0]
        for params in best * np.geomspace(1 / 8, 8, sizes):
            tokens = flops / (6 * params)
            unique = None if unique_tokens is None else min(tokens, unique_tokens)
            loss = law.predict(params, tokens, unique) * np.exp(noise * rng.standard_normal())
            runs.append(Run(float(params), float(tokens), float(loss), unique))
    return runs


def prose(size: int, seed: int = 0) -> bytes:
    """Different passages of random words, `size` bytes or a little more."""
    chance, passages, length = random.Random(seed), list[str](), 0
    while length < size:
        passages.append(" ".join(chance.choices(WORDS, k=30)))
        length += len(passages[-1]) + 2
    return "\n\n".join(passages).encode()
