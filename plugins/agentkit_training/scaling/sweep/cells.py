"""A cell of a sweep: one model trained on so many tokens, with all that its loss depends on and nothing else.

Neither the order in which cells are trained nor who trains them is part of one, so neither can change its loss.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from agentkit.errors import InvalidParams
from agentkit_training.llama import LlamaConfig
from agentkit_training.scaling.sweep.shapes import count_params, flops_per_token, shape
from agentkit_training.scaling.sweep.texts import Text

__all__ = ["EPOCHS", "Cell", "cell_for", "check_text"]

RECIPE = 1  # of the training; another one makes other cells
EPOCHS = 4  # that repeated tokens are worth about as much as fresh ones (Muennighoff et al. 2023, arXiv 2305.16264)
BATCH = 0.4  # tokens a step / square root of all tokens
RATE = 0.6  # learning rate of a Llama with width 1 and one layer at `RATE_BATCH` tokens a step
RATE_BATCH = 512
FEWEST_ROWS = 2
WARMUP = 0.05  # of all steps at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run to be made.

    Attributes:
        config: the model's shape.
        params: N, the embedding (which is the head) included.
        tokens: D, that are predicted in all; repeated ones count again.
        unique_tokens: those among them that are different.
        flops: for training, counted (see `shapes.flops_per_token`).
        rows: sequences a step.
        steps: of the optimiser.
        rate: the highest learning rate.
        warmup: steps until it is reached; from there it falls to zero, in a line, at the last step.
        seed: of the weights and of the order of the text.
        text: digest of what is read.
        budget: the FLOPs that were asked for; None where tokens were.
    """

    config: LlamaConfig
    params: int
    tokens: int
    unique_tokens: int
    flops: float
    rows: int
    steps: int
    rate: float
    warmup: int
    seed: int
    text: str
    budget: float | None = None

    @property
    def key(self) -> str:
        """A name that only equal cells share."""
        made_by = {**asdict(self), "budget": None, "recipe": RECIPE}
        digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
        return f"n{self.params}-d{self.tokens}-{digest[:12]}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Cell:
        """Return what `to_json` gave."""
        return cls(**{**data, "config": LlamaConfig(**data["config"])})


def cell_for(params: float, text: Text, *, seed: int, budget: float | None = None, tokens: float | None = None) -> Cell:
    """Return the cell of about `params` parameters for a budget of FLOPs, or for a number of tokens.

    The rules, so that no size is at a disadvantage (Porian et al. 2024, arXiv 2406.19146, found untuned learning rates and a long
    warm-up to be what set Kaplan's law apart):

    - rate = 0.6 / (width * sqrt(layers)) * sqrt(batch / 512): by width as in muP for Adam (Yang et al. 2022, arXiv
      2203.03466), by depth as in Yang et al. 2023 (arXiv 2310.02244), by batch as in Malladi et al. 2022 (arXiv 2205.10287).
      0.6 was tuned on passages that no sweep holds out.
    - batch = 0.4 * sqrt(tokens): a power of D that N has no part in (Bergsma et al. 2025, arXiv 2505.13738, with exponent 0.4).
    - warm-up for N tokens (Porian et al.), at most a twentieth of the run; then down to zero at the run's own end.

    Raises:
        InvalidParams: the model cannot be so small, or the budget is less than one step.
    """
    config = shape(params)
    wanted = tokens if tokens is not None else float(budget or 0) / flops_per_token(config)
    rows = max(FEWEST_ROWS, round(BATCH * math.sqrt(wanted) / config.context))
    batch = rows * config.context
    steps, size = round(wanted / batch), count_params(config)
    if steps < 1:
        asked = f"/budgets: {budget:.3g} FLOPs" if budget is not None else f"/tokens: {wanted:.3g}"
        raise InvalidParams(
            f"{asked} are less than one step of {batch} tokens for {size:,} parameters, "
            f"{batch * flops_per_token(config):.2g} FLOPs; give more, or smaller sizes"
        )
    own = hashlib.sha256(f"{seed} {size} {steps * batch} {text.digest}".encode()).digest()
    return Cell(
        config=config, params=size, tokens=steps * batch, unique_tokens=min(steps * batch, len(text.train)),
        flops=float(flops_per_token(config) * steps * batch), rows=rows, steps=steps,
        rate=RATE / (config.width * math.sqrt(config.layers)) * math.sqrt(batch / RATE_BATCH),
        warmup=max(1, min(size // batch, int(WARMUP * steps))),
        seed=int.from_bytes(own[:4], "big"), text=text.digest, budget=budget,
    )  # fmt: skip


def check_text(text: Text, cells: list[Cell]) -> None:
    """Raise `InvalidParams` where a cell would read the text more than four times."""
    most = max(cells, key=lambda cell: cell.tokens)
    if most.tokens > EPOCHS * len(text.train):
        raise InvalidParams(
            f"/text: {text.name} has {len(text.train):,} bytes to train on, and {most.params:,} parameters at {most.flops:.3g} "
            f"FLOPs would read {most.tokens:,}: more than {EPOCHS} times over; give {most.tokens // EPOCHS:,} bytes, smaller "
            "budgets, or larger sizes"
        )
    if min(len(text.held_out), len(text.train)) <= most.config.context:
        raise InvalidParams(f"/text: {text.name} has {len(text.held_out)} bytes held out; give more text")
