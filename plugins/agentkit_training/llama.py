"""A Llama in plain PyTorch that llama.cpp can run unchanged.

Guarantees: the same logits as llama.cpp's `llama` architecture once written by `gguf_writer`
(RMSNorm, rotary positions in the rotate-half layout, SwiGLU, grouped keys, tied embeddings).
Only the first `rotary_pairs` pairs of a head turn with position; the others stand still, so that
matching by content works at any distance. llama.cpp gets this as `rope_freqs.weight`.
Does not cover generation: llama.cpp does that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Llama", "LlamaConfig", "rope_factors"]

STILL = 1e30
"""Divides the angle of a pair that must not turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaConfig:
    """The shape of a Llama; the defaults are sprout's."""

    vocab: int = 4096
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4
    hidden: int = 512
    context: int = 4096
    rope_base: float = 1e8
    rotary_pairs: int = 12
    norm_eps: float = 1e-5

    @property
    def head_width(self) -> int:
        """How many numbers one head has."""
        return self.width // self.heads


def rope_factors(config: LlamaConfig) -> Tensor:
    """What each pair's angle is divided by: 1 where it turns, `STILL` where it does not."""
    factors = torch.full((config.head_width // 2,), STILL)
    factors[: config.rotary_pairs] = 1.0
    return factors


class Norm(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Scale to a root mean square of one, then by a learned weight."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised over its last dimension, in its own precision."""
        x32 = x.float()
        scale = torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)
        return x32 * scale * self.weight


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + half) of the last dimension by its angle."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class Attention(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Causal attention with rotary positions; keys and values may be shared by several heads."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        kv_width = config.kv_heads * config.head_width
        self.q = nn.Linear(config.width, config.width, bias=False)
        self.k = nn.Linear(config.width, kv_width, bias=False)
        self.v = nn.Linear(config.width, kv_width, bias=False)
        self.o = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Mix each position with those before it."""
        batch, length, width = x.shape
        q = self.q(x).view(batch, length, self.heads, -1).transpose(1, 2)
        k = self.k(x).view(batch, length, self.kv_heads, -1).transpose(1, 2)
        v = self.v(x).view(batch, length, self.kv_heads, -1).transpose(1, 2)
        q, k = _rotate(q, cos, sin).to(v.dtype), _rotate(k, cos, sin).to(v.dtype)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.kv_heads)
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class FeedForward(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """SwiGLU."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.hidden, bias=False)
        self.up = nn.Linear(config.width, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position by itself."""
        out: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """One layer: attention, then feed-forward, each added to what comes in."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = Norm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.feed_norm = Norm(config.width, config.norm_eps)
        self.feed = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Add this layer's two contributions to the residual stream."""
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed(self.feed_norm(x))


class Llama(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The whole model; `hidden_states` and `logits` are apart so that a loss can skip positions."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = Norm(config.width, config.norm_eps)
        half = config.head_width // 2
        turns = config.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
        turns = turns / rope_factors(config).double()
        angles = torch.arange(config.context, dtype=torch.float64)[:, None] * turns
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)
        self._start()

    def _start(self) -> None:
        nn.init.normal_(self.embedding.weight, std=self.config.width**-0.5)
        for name, weight in self.named_parameters():
            if weight.ndim == 2 and name != "embedding.weight":
                fan_in = weight.shape[1]
                silent = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(weight, std=fan_in**-0.5 * (0.0 if silent else 1.0))

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """Return the normalised state after the last layer, (batch, length, width)."""
        length = tokens.shape[1]
        cos, sin = self.get_buffer("cos")[:length], self.get_buffer("sin")[:length]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def logits(self, states: Tensor) -> Tensor:
        """Score every token for each state."""
        return functional.linear(states, self.embedding.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next token at each position."""
        return self.logits(self.hidden_states(tokens))
