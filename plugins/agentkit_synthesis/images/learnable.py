"""Whether labelled images are enough to learn from, and which of their attributes are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.labelled import LabelledImages

__all__ = ["LEAST", "LEAST_OF_VALUE", "learnable"]

LEAST = 20  # images; fewer cannot be divided into some to learn from and some to measure with
LEAST_OF_VALUE = 4


def learnable(images: LabelledImages) -> LabelledImages:
    """Return the images with the attributes that tell them apart; the others are left out with a warning.

    Raises:
        InvalidParams: they are too few, a value is too rare, or all have the same labels.
    """
    if len(images) < LEAST:
        raise InvalidParams(f"/source: {images.source} has {len(images)} usable images; at least {LEAST} are needed")
    kept, notes = [], []
    for name, values in images.values.items():
        counts = np.bincount(images.labels[name][images.labels[name] >= 0], minlength=len(values))
        if len(values) < 2:
            notes.append(f"'{name}' is left out: it has {len(values)} value, so it tells nothing apart")
            continue
        rarest = int(counts.argmin())
        if counts[rarest] < LEAST_OF_VALUE:
            raise InvalidParams(
                f"/source: {name}={values[rarest]} in {images.source} has {counts[rarest]} images; at least"
                f" {LEAST_OF_VALUE} are needed"
            )
        kept.append(name)
    if not kept:
        raise InvalidParams(
            f"/source: all images in {images.source} have the same label; what is right cannot be told from what is wrong:"
            " add a class"
        )
    return replace(images.only(kept), warnings=(*images.warnings, *notes))
