"""The judge of labels: a small convolutional network with a head for each attribute, trained on real images only.

What the generator made never enters its training. It is measured on real images that it has not seen, and says so.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from agentkit.jobs import write_atomic
from agentkit_synthesis.images.diffusion.training import as_tensor
from agentkit_synthesis.images.labelled import UNKNOWN, LabelledImages

__all__ = ["Classifier", "ClassifierRecipe", "Judged", "accuracy", "judge", "train_classifier"]

FEATURES = 64
JUDGED_AT_ONCE = 256
SHIFT, NOISE = 1, 0.05  # augmentation: pixels each way, and of a standard deviation in -1 to 1
CHECKPOINT = "classifier.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRecipe:
    """How to train it: steps of `batch` images with AdamW, whose rate falls from `rate` to zero as a cosine."""

    steps: int = 800
    batch: int = 64
    rate: float = 2e-3
    seed: int = 1
    save_every: int = 200


@dataclass(frozen=True, slots=True)
class Judged:
    """What the classifier says of N images.

    Attributes:
        found: (N, attributes) the likeliest value of each.
        sure: (N, attributes) the probability of that value.
        features: (N, F) what the heads see, of length 1.
    """

    found: NDArray[np.int64]
    sure: NDArray[np.float32]
    features: NDArray[np.float32]


class Classifier(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Three convolutions, a mean and a maximum over what is left of the image, and a linear head for each attribute."""

    def __init__(self, channels: int, size: int, values: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        stride = 2 if size > 16 else 1
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, stride=1, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=stride, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        )  # fmt: skip
        self.features = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * 16, FEATURES), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(FEATURES, len(found)) for found in values.values())

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return features (B, F) and each attribute's logits for images (B, C, H, W) from -1 to 1."""
        found = self.features(self.body(images))
        return found, [head(found) for head in self.heads]


def train_classifier(
    images: LabelledImages,
    recipe: ClassifierRecipe,
    folder: Path,
    *,
    told: Callable[[int, float], None] = lambda step, loss: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Classifier | None:
    """Train on labelled images, from the checkpoint in `folder` if there is one; return None if it was stopped.

    Labels that are not known have no part in the loss. Images are moved by a pixel and made a little noisy.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = Classifier(images.pixels.shape[3], images.size, images.values)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=0.01)
    labels, first = torch.from_numpy(images.table), 0
    path = folder / CHECKPOINT
    if path.exists():
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
    network.train()
    for step in range(first, recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        loss = _loss(network, images.pixels, labels, recipe, step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        told(step + 1, float(loss.detach()))
        stop = should_stop()
        if stop or (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps:
            _save(path, {"step": step + 1, "network": network.state_dict(), "optimiser": optimiser.state_dict()})
        if stop and step + 1 < recipe.steps:
            return None
    network.eval().requires_grad_(False)
    return network


@torch.inference_mode()  # type: ignore[untyped-decorator]
def judge(network: Classifier, pixels: NDArray[np.uint8]) -> Judged:
    """Return what the classifier says of images (N, H, W, C)."""
    found, sure, features = [], [], []
    for start in range(0, len(pixels), JUDGED_AT_ONCE):
        seen, logits = network(as_tensor(pixels[start : start + JUDGED_AT_ONCE]))
        shares = [one.softmax(1).max(1) for one in logits]
        found.append(torch.stack([one.indices for one in shares], 1))
        sure.append(torch.stack([one.values for one in shares], 1))
        features.append(functional.normalize(seen, dim=1))
    return Judged(torch.cat(found).numpy(), torch.cat(sure).numpy(), torch.cat(features).numpy())


def accuracy(network: Classifier, images: LabelledImages) -> dict[str, float]:
    """Return the share of right answers for each attribute, over the images whose label is known."""
    found, told = judge(network, images.pixels).found, images.table
    shares = {}
    for n, name in enumerate(images.attributes):
        known = told[:, n] != UNKNOWN
        shares[name] = float((found[known, n] == told[known, n]).mean()) if known.any() else float("nan")
    return shares


def _loss(
    network: Classifier, pixels: NDArray[np.uint8], labels: Tensor, recipe: ClassifierRecipe, step: int
) -> Tensor:
    seed = int(np.random.SeedSequence((recipe.seed, step)).generate_state(1, np.uint64)[0] >> 1)
    chance = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(pixels), (recipe.batch,), generator=chance)
    down, right = (int(torch.randint(-SHIFT, SHIFT + 1, (), generator=chance)) for _ in range(2))
    padded = functional.pad(as_tensor(pixels[rows.numpy()]), (SHIFT,) * 4, mode="replicate")
    high, wide = pixels.shape[1:3]
    moved = padded[:, :, SHIFT + down : SHIFT + down + high, SHIFT + right : SHIFT + right + wide]
    _, logits = network(moved + NOISE * torch.randn(moved.shape, generator=chance))
    wanted = labels[rows]
    losses = [
        functional.cross_entropy(one, wanted[:, n], ignore_index=UNKNOWN, reduction="sum")
        / (wanted[:, n] != UNKNOWN).sum().clamp(min=1)
        for n, one in enumerate(logits)
    ]
    return torch.stack(losses).sum()


def _save(path: Path, state: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomic(path, buffer.getvalue())
