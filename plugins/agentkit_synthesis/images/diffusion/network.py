"""The network: diffusers' `UNet2DModel`, to whose time embedding the sum of one embedding for each attribute is added.

Each attribute has one row more than it has values: the null, which stands for `not given` and makes classifier-free guidance
possible. A model of one attribute is the usual class-conditional one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from agentkit_synthesis.images.diffusion.design import Design

__all__ = ["Denoiser", "dropped", "nulled"]

GROUPS = 8  # of the normalisations


class Denoiser(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Predicts noise, image or velocity from a noisy image, its timestep and its labels.

    The last layer begins at zero, so that the untrained loss is the mean square of what is predicted: 1 for noise.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        depth, channels = len(design.widths), design.channels * design.patch**2
        self.unet = UNet2DModel(
            sample_size=design.size // design.patch,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=design.widths,
            layers_per_block=design.layers,
            down_block_types=("DownBlock2D",) * depth,
            up_block_types=("UpBlock2D",) * depth,
            norm_num_groups=GROUPS,
            attention_head_dim=design.widths[-1] // 2,
            class_embed_type="identity",
            num_train_timesteps=design.timesteps,
        )
        nn.init.zeros_(self.unet.conv_out.weight)
        nn.init.zeros_(self.unet.conv_out.bias)
        wide = design.widths[0] * 4
        self.attributes = nn.ModuleList(nn.Embedding(null + 1, wide) for null in design.nulls)

    def forward(self, noisy: Tensor, timestep: Tensor, labels: Tensor) -> Tensor:
        """Return the prediction, of the shape of `noisy`.

        Args:
            noisy: (B, C, H, W), around -1 to 1.
            timestep: (B,) or (), int64, 0 to T - 1.
            labels: (B, attributes) int64; the number of its values is an attribute's null.
        """
        given = torch.stack([table(labels[:, n]) for n, table in enumerate(self.attributes)]).sum(0)
        packed = pixel_unshuffle(noisy, self.design.patch)
        found: Tensor = self.unet(packed, timestep, class_labels=given).sample
        return pixel_shuffle(found, self.design.patch)


def nulled(labels: Tensor, nulls: Sequence[int]) -> Tensor:
    """Return labels in which what is unknown (below 0) is its attribute's null."""
    return torch.where(labels < 0, torch.tensor(nulls), labels)


def dropped(labels: Tensor, nulls: Sequence[int], rate: float, *, generator: torch.Generator) -> Tensor:
    """Return labels of which some are nulls, for training: all of a row's at `rate`, and each alone at `rate` / 2.

    The first teaches the unconditional prediction that guidance starts from, the second to do without some attributes.
    """
    whole = torch.rand(len(labels), 1, generator=generator) < rate
    alone = torch.rand(labels.shape, generator=generator) < rate / 2
    gone = whole | alone if labels.shape[1] > 1 else whole
    return torch.where(gone, torch.tensor(nulls), labels)
