"""Losses that put pictures and their texts into one space: CLIP's (Radford et al. 2021) and SigLIP's (Zhai et al. 2023, arXiv 2303.15343).

Texts that are equal within a batch are no wrong answers to each other's pictures: `groups` says which belong together, and all pairs
within a group count as right ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from agentkit.errors import UsageError

__all__ = ["ClipLoss", "SiglipLoss", "right_pairs"]

MOST = 100.0  # of the scale, as in CLIP


class _Scaled(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A learned scale of cosines, kept as its logarithm."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(start)))

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by, at most 100."""
        return self.log_scale.exp().clamp(max=MOST)

    def _logits(self, images: Tensor, texts: Tensor) -> Tensor:
        if images.ndim != 2 or images.shape != texts.shape:
            raise UsageError(f"contrastive loss: pictures and texts are pairs of vectors, not {tuple(images.shape)} and {tuple(texts.shape)}")  # fmt: skip
        one, other = (functional.normalize(x.float(), dim=-1) for x in (images, texts))
        return self.scale * one @ other.T


class ClipLoss(_Scaled):
    """Symmetric InfoNCE: each picture picks its text among the batch's, each text its picture; the mean of both cross-entropies."""

    def __init__(self) -> None:
        super().__init__(1 / 0.07)

    def forward(self, images: Tensor, texts: Tensor, groups: Tensor | None = None) -> Tensor:
        """Return the loss, in nats: ln(batch) where all vectors are equal.

        Args:
            images: (batch, dim), of any length.
            texts: (batch, dim), the i-th belongs to the i-th picture.
            groups: (batch,) integers, equal where texts are; the target is then spread evenly over a picture's right texts.

        Raises:
            UsageError: shapes that are not so.
        """
        logits = self._logits(images, texts)
        right = right_pairs(len(images), groups, logits.device)
        target = right / right.sum(1, keepdim=True)  # symmetric, as is `right`
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


class SiglipLoss(_Scaled):
    """Pairwise sigmoid loss: for every picture and text, whether they belong together; the sum over pairs, divided by the batch."""

    def __init__(self) -> None:
        super().__init__(10.0)
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, images: Tensor, texts: Tensor, groups: Tensor | None = None) -> Tensor:
        """Return the loss, in nats a picture; arguments and errors are those of `ClipLoss.forward`."""
        logits = self._logits(images, texts) + self.bias
        signs = 2 * right_pairs(len(images), groups, logits.device) - 1
        return -functional.logsigmoid(signs * logits).sum() / len(images)


def right_pairs(batch: int, groups: Tensor | None, device: torch.device | str = "cpu") -> Tensor:
    """Return 1.0 where picture i and text j belong together, else 0.0, (batch, batch).

    Raises:
        UsageError: `groups` is not one number for each pair.
    """
    if groups is None:
        return torch.eye(batch, device=device)
    if groups.shape != (batch,):
        raise UsageError(f"contrastive loss: groups is one number for each of {batch} pairs, not {tuple(groups.shape)}")
    return (groups[:, None] == groups[None, :]).float().to(device)
