"""Flamingo's tanh-gated cross-attention between the layers of a frozen Llama (Alayrac et al. 2022, arXiv 2204.14198, figure 4).

A comparison in PyTorch: llama.cpp's `llama` architecture has no place for these layers. Every text token attends to all latents;
Flamingo's rule for texts with several pictures between their words (only the last one before a token) is not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from agentkit.errors import UsageError
from agentkit_vision.nn.blocks import Activation, Attention, FeedForward
from agentkit_vision.nn.saving import freeze

__all__ = ["GatedBlock", "GatedConfig", "GatedLlama"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedConfig:
    """The shape of the layers that are put in.

    Attributes:
        latent_width: of a latent.
        every: a block stands before each layer of the language model whose number, from 0, is a multiple of it.
        heads: of the cross-attention.
        head_width: numbers in a head.
        feed: the hidden layer of the feed-forward network, in widths of the language model.
        activation: of it; Flamingo's is squared ReLU.
    """

    latent_width: int
    every: int = 1
    heads: int = 8
    head_width: int = 64
    feed: int = 4
    activation: Activation = "squared_relu"

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        for name in ("latent_width", "every", "heads", "head_width", "feed"):
            if getattr(self, name) < 1:
                raise UsageError(f"gated cross-attention: {name} is {getattr(self, name)}; it is at least 1")


class GatedBlock(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """`y + tanh(a) * Attention(LN(y), latents)`, then `y + tanh(b) * FeedForward(LN(y))`; both gates start at 0, where nothing changes."""

    def __init__(self, width: int, config: GatedConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(
            width, context_width=config.latent_width, heads=config.heads, head_width=config.head_width
        )
        self.feed = FeedForward(width, hidden=config.feed * width, activation=config.activation)
        self.attention_gate = nn.Parameter(torch.zeros(()))
        self.feed_gate = nn.Parameter(torch.zeros(()))

    def forward(self, y: Tensor, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return `y` (batch, length, width) after looking at `latents` (batch, K, latent_width).

        `mask` (batch, K) is False where a latent is not to be seen; without any, attention adds nothing.
        """
        y = y + self.attention_gate.tanh() * self.attention(self.norm(y), latents, mask)
        return y + self.feed_gate.tanh() * self.feed(y)


class GatedLlama(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A frozen `LlamaForCausalLM` with gated blocks before its layers. One call at a time: the blocks are hooked in for its duration."""

    def __init__(self, model: Any, config: GatedConfig) -> None:
        super().__init__()
        self.config = config
        self.model = freeze(model)
        layers = len(model.model.layers)
        self.places = tuple(range(0, layers, config.every))
        self.blocks = nn.ModuleList(GatedBlock(model.config.hidden_size, config) for _ in self.places)

    def train(self, mode: bool = True) -> GatedLlama:
        """Set the blocks' mode; the language model stays in that of use."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, ids: Tensor, latents: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
        """Return the logits of the next token, (batch, length, vocabulary).

        Args:
            ids: token ids (batch, length).
            latents: (batch, K, latent_width), or (batch, frames, K, latent_width).
            mask: (batch, K) or (batch, frames, K) bool, False where a latent is not to be seen.
            options: of the language model: `attention_mask`, `position_ids`, ...

        Raises:
            UsageError: latents of another width, or not one set of them for each text.
        """
        if latents.ndim not in {3, 4} or latents.shape[-1] != self.config.latent_width or len(latents) != len(ids):
            wanted = f"({len(ids)}, K, {self.config.latent_width})"
            raise UsageError(f"gated cross-attention: latents are {wanted}, with frames before K or without, not {tuple(latents.shape)}")  # fmt: skip
        with self._hooked(latents.flatten(1, -2), None if mask is None else mask.flatten(1)):
            logits: Tensor = self.model(input_ids=ids, **options).logits
        return logits

    @contextmanager
    def _hooked(self, latents: Tensor, mask: Tensor | None) -> Iterator[None]:
        """Run each block before its layer, on what the layer would have read."""

        def look(block: nn.Module, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (block(inputs[0], latents, mask), *inputs[1:])

        layers = self.model.model.layers
        handles = [
            layers[place].register_forward_pre_hook(partial(look, block))
            for place, block in zip(self.places, self.blocks, strict=True)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
