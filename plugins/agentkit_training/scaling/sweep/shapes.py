"""The Llamas of a sweep: which shape has about N parameters, how many it has, and the FLOPs of a token.

The vocabulary is the 256 bytes, and the embedding is the head as well, so N counts it once. Shapes of one family at all sizes:
two layers or more (one cannot look up what it has just looked up, and is off the others' law), a width of about 32 times the
layers, a feed-forward layer of about 8/3 of the width.
"""

from __future__ import annotations

import math

from agentkit.errors import InvalidParams
from agentkit_training.llama import LlamaConfig

__all__ = ["CONTEXT", "SMALLEST", "count_params", "flops_per_token", "shape"]

CONTEXT = 64  # tokens read at once
VOCAB = 256
GRAIN = 8  # widths are multiples of it
NARROW = 64  # two heads below this width, four from it on
FEWEST_LAYERS = 2
ASPECT = 32.0  # width / layers
WIDENING = 8 / 3  # hidden / width, as in Llama
SMALLEST = 8_500


def shape(params: float) -> LlamaConfig:
    """Return the Llama of the family whose parameters are about `params`; 2 % off at most.

    Raises:
        InvalidParams: there is none so small.
    """
    if not params >= SMALLEST:
        raise InvalidParams(f"/sizes: {params:g} parameters; the smallest Llama on bytes has about {SMALLEST:,}")
    layers = max(FEWEST_LAYERS, round((params / (12 * ASPECT**2)) ** (1 / 3)))
    widths = range(2 * GRAIN, 1 + math.isqrt(int(params / (4 * layers))), GRAIN)
    return min((_of(params, layers, width) for width in widths), key=_oddness)


def count_params(config: LlamaConfig) -> int:
    """Return N: embedding (which is the head), every matrix, every norm."""
    return config.vocab * config.width + config.layers * _layer(config) + (2 * config.layers + 1) * config.width


def flops_per_token(config: LlamaConfig) -> int:
    """Return the training FLOPs of one token: 2 a weight forward, twice as much backward, and attention over the context.

    6 for each weight of a matrix, the head among them; the embedding's look-up is free. Attention is 12 * layers * context *
    width: queries with keys and weights with values over the whole context, also the masked half (Chowdhery et al. 2022,
    PaLM, appendix B, and TRL count so). Norms, rotation, softmax and the optimiser are left out, as everywhere.
    """
    weights = config.vocab * config.width + config.layers * _layer(config)
    return 6 * weights + 12 * config.layers * config.context * config.width


def _layer(config: LlamaConfig) -> int:
    return 4 * config.width**2 + 3 * config.width * config.hidden


def _of(params: float, layers: int, width: int) -> LlamaConfig:
    """Return the Llama of so many layers and such a width whose feed-forward layers make up for the rest."""
    left = params - (VOCAB + 2 * layers + 1) * width - 4 * layers * width**2
    heads = 2 if width < NARROW else 4
    return LlamaConfig(
        vocab=VOCAB, width=width, layers=layers, heads=heads, kv_heads=heads,
        hidden=max(2, 2 * round(left / (3 * layers * width) / 2)),
        context=CONTEXT, rope_base=1e4, rotary_pairs=width // heads // 2,
    )  # fmt: skip


def _oddness(config: LlamaConfig) -> float:
    """Return how far the feed-forward layers are from their proportion."""
    return abs(math.log(config.hidden / config.width / WIDENING))
