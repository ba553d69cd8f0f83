"""The Perceiver resampler of Flamingo (Alayrac et al. 2022, arXiv 2204.14198, section 3.1 and figure 5).

Any number of visual tokens becomes a fixed number of latents: in each layer learned latents attend to the tokens and to themselves,
`latents + Attention(LN(latents), [LN(x); LN(latents)])`, then `latents + FeedForward(LN(latents))`; a norm comes last. Frames of a
video are told apart by a learned time embedding. Flamingo reads all frames at once; with `per_frame` each frame has latents of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from agentkit.errors import UsageError
from agentkit_vision.nn import saving
from agentkit_vision.nn.blocks import Activation, Attention, FeedForward

__all__ = ["PerceiverResampler", "ResamplerConfig", "multiply_adds"]

KIND = "resampler"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResamplerConfig:
    """The shape of a resampler.

    Attributes:
        input_width: of a visual token.
        width: of a latent inside; tokens of another width are first projected to it.
        latents: how many come out, for each frame or for all.
        layers: 1 to 6.
        heads: of each attention.
        head_width: numbers in a head.
        feed: the hidden layer of a feed-forward network, in widths.
        activation: of it; Flamingo's is squared ReLU.
        frames: most frames of a video; with 1 there is no time embedding.
        per_frame: each frame has its own latents; else all frames are read at once, as in the paper.
        output_width: the width of the language model, to which latents are projected after the last norm; None leaves them.
        output_rms: the root mean square of the projected latents before training: that of the language model's embeddings.
    """

    input_width: int = 128
    width: int = 256
    latents: int = 16
    layers: int = 2
    heads: int = 4
    head_width: int = 64
    feed: int = 4
    activation: Activation = "squared_relu"
    frames: int = 1
    per_frame: bool = True
    output_width: int | None = None
    output_rms: float = 1.0

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        for name in ("input_width", "width", "latents", "layers", "heads", "head_width", "feed", "frames"):
            if getattr(self, name) < 1:
                raise UsageError(f"resampler: {name} is {getattr(self, name)}; it is at least 1")


class Layer(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Latents read tokens and themselves, then each is transformed by itself."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm_x = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.attention = Attention(width, context_width=width, heads=config.heads, head_width=config.head_width)
        self.feed = FeedForward(width, hidden=config.feed * width, activation=config.activation)

    def forward(self, latents: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return new latents (batch, K, D) from tokens `x` (batch, N, D); `mask` is (batch, N + K)."""
        queries = self.norm_latents(latents)
        latents = latents + self.attention(queries, torch.cat((self.norm_x(x), queries), dim=1), mask)
        return latents + self.feed(latents)

    def weights(self, latents: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return what the latents look at, (batch, K, N + K)."""
        queries = self.norm_latents(latents)
        return self.attention.weights(queries, torch.cat((self.norm_x(x), queries), dim=1), mask)


class PerceiverResampler(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Turns N visual tokens of each frame into K latents."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.config = config
        narrow = config.input_width == config.width
        self.input = nn.Identity() if narrow else nn.Linear(config.input_width, config.width, bias=False)
        self.latents = nn.Parameter(torch.randn(config.latents, config.width))
        self.time = nn.Parameter(0.02 * torch.randn(config.frames, config.width)) if config.frames > 1 else None
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.output: nn.Module = nn.Identity()
        if config.output_width is not None:
            self.output = nn.Linear(config.width, config.output_width, bias=False)
            nn.init.normal_(self.output.weight, std=config.output_rms * config.width**-0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return latents: (B, T, K, D), or (B, 1, K, D) where all frames are read at once; D is `output_width` if given.

        Args:
            x: visual tokens, (B, T, N, input_width), or (B, N, input_width) for one frame.
            mask: (B, T, N), or (B, N) for one frame; bool, False where a token is padding. What padding holds does not matter.

        Raises:
            UsageError: a shape is not one of these.
        """
        tokens, seen = self._prepare(x, mask)
        latents = self.latents.expand(tokens.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(latents, tokens, seen)
        out: Tensor = self.output(self.norm(latents))
        return out.unflatten(0, (x.shape[0], -1))

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return how much each latent looks at each token in the last layer, mean over heads; shapes as for `forward`.

        (B, T, K, N), or (B, 1, K, T * N) where all frames are read at once. What is missing to 1 went to the latents.
        """
        tokens, seen = self._prepare(x, mask)
        latents = self.latents.expand(tokens.shape[0], -1, -1)
        *first, last = self.layers
        for layer in first:
            latents = layer(latents, tokens, seen)
        weights: Tensor = last.weights(latents, tokens, seen)
        return weights[..., : tokens.shape[1]].unflatten(0, (x.shape[0], -1))

    def save(self, folder: Path) -> None:
        """Write `resampler.safetensors` (halves) and `resampler.json`."""
        saving.save(self, self.config, folder, KIND)

    @classmethod
    def load(cls, folder: Path) -> PerceiverResampler:
        """Return a saved resampler.

        Raises:
            ModelNotFound: the folder holds none.
            ModelFileError: its files are damaged or do not belong together.
        """
        module = cls(saving.load_config(ResamplerConfig, folder, KIND))
        saving.load_weights(module, folder, KIND)
        module.eval()
        return module

    def _prepare(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return tokens with their time, (rows, N, D), and the mask of tokens and latents, (rows, N + K)."""
        config = self.config
        if x.ndim == 3:
            x, mask = x[:, None], None if mask is None else mask[:, None] if mask.ndim == 2 else mask
        if x.ndim != 4 or x.shape[-1] != config.input_width:
            raise UsageError(f"resampler: tokens are (B, T, N, {config.input_width}) or (B, N, {config.input_width}), not {tuple(x.shape)}")  # fmt: skip
        if not 1 <= x.shape[1] <= config.frames:
            raise UsageError(f"resampler: it takes 1 to {config.frames} frames, not {x.shape[1]}")
        if mask is not None:
            if mask.shape != x.shape[:3] or mask.dtype != torch.bool:
                raise UsageError(f"resampler: the mask is bool {tuple(x.shape[:3])}, not {mask.dtype} {tuple(mask.shape)}")  # fmt: skip
            x = x.masked_fill(~mask[..., None], 0.0)
        tokens = self.input(x)
        if self.time is not None:
            tokens = tokens + self.time[: x.shape[1], None]
        whole = (0, 1) if config.per_frame else (1, 2)
        tokens = tokens.flatten(*whole)
        if mask is None:
            return tokens, None
        mask = mask.flatten(*whole)
        return tokens, torch.cat((mask, mask.new_ones(len(mask), config.latents)), dim=1)


def multiply_adds(config: ResamplerConfig, tokens: int, *, frames: int = 1) -> int:
    """Return the multiply-adds of a forward pass for one picture of `tokens` tokens a frame; norms are not counted.

    A layer is linear in the tokens: `q` and `out` cost K * D * H, `k` and `v` (N + K) * D * H each, scores and mixing K * (N + K) * H
    each, the feed-forward network 2 * K * feed * D * D, with H = heads * head_width.
    """
    width, inner, k = config.width, config.heads * config.head_width, config.latents
    n, times = (tokens, frames) if config.per_frame else (tokens * frames, 1)
    layer = 2 * k * width * inner + 2 * (n + k) * width * inner + 2 * k * (n + k) * inner + 2 * k * config.feed * width**2  # fmt: skip
    projected = 0 if config.input_width == width else n * config.input_width * width
    out = k * width * (config.output_width or 0)
    return times * (projected + config.layers * layer + out)
