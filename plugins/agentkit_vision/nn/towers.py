"""The two encoders of the embedded default: pictures and texts become tokens, and one vector each in a shared space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from agentkit.errors import UsageError
from agentkit_vision.nn import saving
from agentkit_vision.nn.blocks import Block

__all__ = ["ImageTower", "ImageTowerConfig", "TextTower", "TextTowerConfig"]

IMAGE, TEXT = "image_tower", "text_tower"
REDUCTION = 8  # pixels of a side that become one token
MEAN, SPREAD = 0.5, 0.25  # of a channel, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTowerConfig:
    """The shape of an image encoder: (size / 8) ** 2 tokens of `width`, and a vector of `dim`.

    Attributes:
        size: pixels of a side, a multiple of 8.
        stem: channels at half the size; twice as many at a quarter.
        width: of a token; a multiple of the heads.
        residuals: residual blocks of convolutions, at a quarter and at an eighth of the size each.
        layers: transformer layers over the tokens.
        heads: of their attention.
        dim: of the vector.
    """

    size: int = 48
    stem: int = 32
    width: int = 128
    residuals: int = 1
    layers: int = 1
    heads: int = 4
    dim: int = 128

    def __post_init__(self) -> None:
        """Refuse sizes that do not divide."""
        if self.size < REDUCTION or self.size % REDUCTION:
            raise UsageError(f"image tower: size is {self.size}; it is a multiple of {REDUCTION}")
        if self.width % self.heads:
            raise UsageError(f"image tower: width {self.width} is not a multiple of heads, {self.heads}")

    @property
    def tokens(self) -> int:
        """How many tokens a picture has."""
        return (self.size // REDUCTION) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTowerConfig:
    """The shape of a text encoder.

    Attributes:
        vocab: word ids, padding (0) and unknown (1) among them.
        length: most words of a text.
        width: of a token; a multiple of the heads.
        layers: transformer layers.
        heads: of their attention.
        dim: of the vector.
    """

    vocab: int
    length: int = 32
    width: int = 128
    layers: int = 2
    heads: int = 4
    dim: int = 128

    def __post_init__(self) -> None:
        """Refuse sizes that do not divide."""
        if self.width % self.heads:
            raise UsageError(f"text tower: width {self.width} is not a multiple of heads, {self.heads}")


def _convolution(inside: int, outside: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False)


class Residual(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Two convolutions whose result is added to what comes in (He et al. 2016, norms first)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), _convolution(channels, channels)
        self.norm2, self.conv2 = nn.BatchNorm2d(channels), _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, height, width), as it came."""
        inner = self.conv1(functional.relu(self.norm1(x)))
        out: Tensor = x + self.conv2(functional.relu(self.norm2(inner)))
        return out


class ImageTower(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A convolutional stem that makes the picture eight times smaller, then transformer layers over what is left.

    The stem normalises over the batch while it learns (Ioffe and Szegedy 2015, arXiv 1502.03167). Norms of one picture's groups of channels
    make its background decide how strongly a small pattern is seen, and learn patterns several times more slowly.
    """

    def __init__(self, config: ImageTowerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ImageTowerConfig()
        half, quarter, eighth = config.stem, 2 * config.stem, config.width
        self.stem = nn.Sequential(
            _convolution(3, half, stride=2),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            _convolution(half, quarter, stride=2),
            *(Residual(quarter) for _ in range(config.residuals)),
            nn.BatchNorm2d(quarter),
            nn.ReLU(),
            _convolution(quarter, eighth, stride=2),
            *(Residual(eighth) for _ in range(config.residuals)),
        )
        self.places = nn.Parameter(0.02 * torch.randn(config.tokens, eighth))
        self.blocks = nn.ModuleList(Block(eighth, heads=config.heads, hidden=4 * eighth) for _ in range(config.layers))
        self.norm = nn.LayerNorm(eighth)
        self.project = nn.Linear(eighth, config.dim, bias=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (batch, tokens, width), row by row from the top left, and vectors of length 1 (batch, dim).

        Args:
            pixels: (batch, size, size, 3), sRGB: uint8, 0 to 255, or floats, 0 to 1.

        Raises:
            UsageError: pictures of another size.
        """
        size = self.config.size
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (size, size, 3):
            raise UsageError(f"image tower: pictures are (batch, {size}, {size}, 3), not {tuple(pixels.shape)}")
        x = pixels.to(self.places.dtype) / 255 if pixels.dtype == torch.uint8 else pixels
        x = self.stem(((x - MEAN) / SPREAD).permute(0, 3, 1, 2))
        tokens = x.flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return tokens, functional.normalize(self.project(tokens.mean(1)), dim=-1)

    def save(self, folder: Path) -> None:
        """Write `image_tower.safetensors` (halves) and `image_tower.json`."""
        saving.save(self, self.config, folder, IMAGE)

    @classmethod
    def load(cls, folder: Path) -> ImageTower:
        """Return a saved tower.

        Raises:
            ModelNotFound: the folder holds none.
            ModelFileError: its files are damaged or do not belong together.
        """
        module = cls(saving.load_config(ImageTowerConfig, folder, IMAGE))
        saving.load_weights(module, folder, IMAGE)
        module.eval()
        return module


class TextTower(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A small transformer over words; padding is id 0."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        nn.init.normal_(self.embedding.weight)
        self.places = nn.Parameter(0.1 * torch.randn(config.length, config.width))
        self.blocks = nn.ModuleList(
            Block(config.width, heads=config.heads, hidden=4 * config.width) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, config.dim, bias=False)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (batch, length, width), zeros where there is padding, and vectors of length 1 (batch, dim).

        A text without words has a vector of zeros.

        Args:
            ids: (batch, length) integers below `vocab`, 0 for padding.

        Raises:
            UsageError: texts longer than the model takes.
        """
        if ids.ndim != 2 or ids.shape[1] > self.config.length:
            raise UsageError(f"text tower: word ids are (batch, at most {self.config.length}), not {tuple(ids.shape)}")
        mask = ids != 0
        tokens = self.embedding(ids) + self.places[: ids.shape[1]]
        for block in self.blocks:
            tokens = block(tokens, mask)
        tokens = torch.where(mask[..., None], self.norm(tokens), 0.0)
        pooled = tokens.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return tokens, functional.normalize(self.project(pooled), dim=-1)

    def save(self, folder: Path) -> None:
        """Write `text_tower.safetensors` (halves) and `text_tower.json`."""
        saving.save(self, self.config, folder, TEXT)

    @classmethod
    def load(cls, folder: Path) -> TextTower:
        """Return a saved tower.

        Raises:
            ModelNotFound: the folder holds none.
            ModelFileError: its files are damaged or do not belong together.
        """
        module = cls(saving.load_config(TextTowerConfig, folder, TEXT))
        saving.load_weights(module, folder, TEXT)
        module.eval()
        return module
