"""What the networks are built of: attention of one sequence to another, and a feed-forward network. No biases but those of norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from agentkit.errors import UsageError

__all__ = ["ACTIVATIONS", "Activation", "Attention", "Block", "FeedForward"]

Activation = Literal["squared_relu", "gelu", "relu"]


def _squared_relu(x: Tensor) -> Tensor:
    return functional.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "squared_relu": _squared_relu,
    "gelu": functional.gelu,
    "relu": functional.relu,
}


class Attention(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Multi-head attention (Vaswani et al. 2017) of queries to a context, without biases; norms are the caller's."""

    def __init__(self, width: int, *, context_width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, heads * head_width, bias=False)
        self.k = nn.Linear(context_width, heads * head_width, bias=False)
        self.v = nn.Linear(context_width, heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width, bias=False)

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what each query reads, (batch, queries, width).

        Args:
            queries: (batch, queries, width).
            context: (batch, keys, context_width).
            mask: (batch, keys) bool, False where there is padding. A row without any key reads zeros.
        """
        q, k, v = (self._split(x) for x in (self.q(queries), self.k(context), self.v(context)))
        if mask is None:
            return self._join(functional.scaled_dot_product_attention(q, k, v))
        some = mask.any(-1)
        seen = (mask | ~some[:, None])[:, None, None, :]  # a softmax over nothing would be NaN
        read = self._join(functional.scaled_dot_product_attention(q, k, v, attn_mask=seen))
        return torch.where(some[:, None, None], read, 0.0)

    def weights(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return how much each query reads of each key, mean over heads, (batch, queries, keys); rows add to 1."""
        q, k = self._split(self.q(queries)), self._split(self.k(context))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        return scores.softmax(-1).mean(1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _join(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x.transpose(1, 2).flatten(-2))
        return out


class FeedForward(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """LayerNorm, then two matrices with an activation between them; the residual is the caller's."""

    def __init__(self, width: int, *, hidden: int, activation: Activation = "squared_relu") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise UsageError(f"activation: '{activation}' is none of {', '.join(ACTIVATIONS)}")
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position by itself."""
        out: Tensor = self.down(self.activation(self.up(self.norm(x))))
        return out


class Block(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A layer of a transformer that reads its own sequence both ways, norms first."""

    def __init__(self, width: int, *, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, context_width=width, heads=heads, head_width=width // heads)
        self.feed = FeedForward(width, hidden=hidden, activation="gelu")

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Add this layer's two contributions to `x` (batch, length, width); `mask` is False where there is padding."""
        normed = self.norm(x)
        x = x + self.attention(normed, normed, mask)
        return x + self.feed(x)
