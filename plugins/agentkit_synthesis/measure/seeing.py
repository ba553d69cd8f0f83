"""The students of images: a small convolutional network, and a support vector machine as a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.svm import SVC
from torch import Tensor, nn

from agentkit_synthesis.measure.augmenting import augmented

__all__ = ["Lesson", "count_weights", "network", "taught_cnn", "taught_svm"]

BATCH = 64
RATE = 3e-3  # peak of AdamW, up over a tenth of the steps and down to zero
DECAY = 0.01
WIDTH = 32  # channels of the first layer; they double where the side is halved
SMALLEST = 4  # side that is not halved any more
C = 10.0  # of the support vector machine


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a student learns from, and what it is asked.

    Attributes:
        images: [n, side, side, channels], 0 to 1.
        labels: [n], indices of classes.
        test_images, test_labels: the same, held out.
        classes: how many there are.
        augment: whether the images are shifted, turned and scaled.
        steps: of the optimiser.
        seed: of the weights and of the order.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    classes: int
    augment: bool
    steps: int
    seed: int


def network(side: int, channels: int, classes: int) -> nn.Sequential:
    """Return a network of convolutions of 3 x 3 with batch normalisation, pooled until the side is 4 to 7."""
    layers: list[nn.Module] = []
    before, width = channels, WIDTH
    while True:
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
        if side // 2 < SMALLEST:
            break
        layers.append(nn.MaxPool2d(2))
        side, width = side // 2, min(2 * width, 4 * WIDTH)
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.25), nn.Linear(before * side * side, classes))


def count_weights(model: nn.Module) -> int:
    """Return the number of weights."""
    return sum(weight.numel() for weight in model.parameters())


def taught_cnn(lesson: Lesson) -> float:
    """Train a network on one thread and return its accuracy on the test images, 0 to 1; the same lesson gives the same."""
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lesson.seed)
        model = network(lesson.images.shape[1], lesson.images.shape[3], lesson.classes)
        _train(model, _tensor(lesson.images), torch.from_numpy(lesson.labels), lesson)
    model.eval()
    with torch.no_grad():
        told = [model(part).argmax(1) for part in _tensor(lesson.test_images).split(512)]
    return float((torch.cat(told).numpy() == lesson.test_labels).mean())


def _train(model: nn.Module, images: Tensor, labels: Tensor, lesson: Lesson) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=lesson.steps, pct_start=0.1)
    chance = torch.Generator().manual_seed(lesson.seed)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(lesson.steps):
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(labels), generator=chance)])
        batch, order = order[:BATCH], order[BATCH:]
        shown = augmented(images[batch], chance) if lesson.augment else images[batch]
        loss = nn.functional.cross_entropy(model(shown), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def taught_svm(lesson: Lesson) -> float:
    """Fit a support vector machine with a Gaussian kernel; augmentation is eight altered copies of each image."""
    images, labels = lesson.images, lesson.labels
    if lesson.augment:
        chance = torch.Generator().manual_seed(lesson.seed)
        copies = [augmented(_tensor(images), chance).permute(0, 2, 3, 1).numpy() for _ in range(8)]
        images, labels = np.concatenate([images, *copies]), np.tile(labels, 9)
    if len(np.unique(labels)) < 2:
        return float((lesson.test_labels == labels[0]).mean())
    flat = images.reshape(len(images), -1)
    model = SVC(C=C, gamma="scale").fit(flat, labels)
    return float((model.predict(lesson.test_images.reshape(len(lesson.test_images), -1)) == lesson.test_labels).mean())


def _tensor(images: NDArray[np.float32]) -> Tensor:
    return cast("Tensor", torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
