"""Teaching one cell, in whatever process: its data is read once a process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit_synthesis.images.labelled import LabelledImages
from agentkit_synthesis.measure.cells import Cell
from agentkit_synthesis.measure.params import MeasureParams
from agentkit_synthesis.measure.pictured import ARMS, Images, read_images
from agentkit_synthesis.measure.seeing import Lesson, taught_cnn, taught_svm
from agentkit_synthesis.measure.told import read_traces, teach_traces

__all__ = ["lesson_of", "teach"]


def teach(params: Mapping[str, Any], cell: Cell, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Return what a cell comes to: `score`, its accuracy on what is held out, 0 to 1, and what it was taught with.

    The same parameters and cell give the same in every process of one machine.

    Raises:
        Cancelled: `should_stop` said so; a student of images is so quick that it is not asked.
    """
    told = json.dumps(params, sort_keys=True, default=str)
    if cell.kind == "traces":
        return teach_traces(_traces(told), cell, should_stop)
    images = _images(told)
    lesson = lesson_of(images, cell, MeasureParams.parse(params).labels_seed)
    score = (taught_cnn if cell.student == "cnn" else taught_svm)(lesson)
    return {"score": score, "of": len(lesson.test_labels), "images": len(lesson.labels), "labels": _real(images, cell)}


def lesson_of(images: Images, cell: Cell, labels_seed: int | None) -> Lesson:
    """Return what a cell's student learns from: real images, synthetic ones, or both, one after the other."""
    real, made, augment = ARMS[cell.arm]
    parts: list[LabelledImages] = []
    if real:
        parts.append(images.subset(cell.share, cell.seed if labels_seed is None else labels_seed))
    if made:
        parts.append(images.made)
    return Lesson(
        images=np.concatenate([_pixels(part) for part in parts]),
        labels=np.concatenate([part.labels[images.name] for part in parts]),
        test_images=_pixels(images.test),
        test_labels=images.test.labels[images.name],
        classes=images.classes,
        augment=augment,
        steps=cell.steps,
        seed=cell.seed,
    )


def _real(images: Images, cell: Cell) -> int:
    """Return the number of real labels; it depends on the share alone."""
    return len(images.subset(cell.share, 0)) if ARMS[cell.arm][0] else 0


def _pixels(images: LabelledImages) -> NDArray[np.float32]:
    return images.pixels.astype(np.float32) / np.float32(255)


@lru_cache(maxsize=1)
def _images(told: str) -> Images:
    return read_images(MeasureParams.parse(json.loads(told)))


@lru_cache(maxsize=1)
def _traces(told: str) -> Any:
    return read_traces(MeasureParams.parse(json.loads(told)))
