"""The report of a folder of labelled images, beside real ones where these are given."""

from __future__ import annotations

import base64
import io
from array import array
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from agentkit.errors import InvalidParams
from agentkit.jobs import JobContext
from agentkit_synthesis.images.labelled import LabelledImages
from agentkit_synthesis.images.sources import DIGITS, NAMED, load
from agentkit_synthesis.quality.balance import balance
from agentkit_synthesis.quality.duplicates import exact_duplicates
from agentkit_synthesis.quality.folders import Dataset
from agentkit_synthesis.quality.numbers import FEWEST, figure, too_few
from agentkit_synthesis.quality.params import ReportParams
from agentkit_synthesis.quality.pictures import Picture, Pixels, find_pictures, pixels_of, side_of
from agentkit_synthesis.quality.spaces import Features, Space, distances, nearest, precision_recall, spread, vendi
from agentkit_synthesis.quality.ticking import Ticker

__all__ = ["report_images"]

LOOKED_AT = 2_000  # images that features are compared of: their distances take 32 MB
WANTED = 50  # images, for precision and recall
NEAR = 0.1  # of the median distance
COLUMNS, GRID_ROWS = 12, 40
THUMB = 96  # pixels
CLOSER = 0.05  # share of real images that are as near to another real one


def report_images(data: Dataset, params: ReportParams, context: JobContext) -> dict[str, Any]:
    """Return all figures of a folder of labelled images, as plain data.

    Raises:
        InvalidParams: there is no image, one cannot be read, or has no label.
        Cancelled: the job is to stop.
    """
    pictures = find_pictures(data.home, label=params.label)
    side, channels, sizes = side_of(pictures)
    real = _real(params, side)
    if real is not None:
        side, channels = real.size, max(channels, real.pixels.shape[3])
    if len(sizes) > 1:
        context.warn(
            f"the images have several sizes ({', '.join(f'{w} x {h}' for w, h in list(sizes)[:5])}); they are compared at {side} x {side}"
        )
    hashes = _hashes(pictures, Ticker(context, "read", 0, 50, len(pictures)))
    twice = exact_duplicates(np.frombuffer(hashes, np.uint64))
    rng = np.random.default_rng(params.seed)
    kept = [pictures[place] for place in sorted(rng.permutation(len(pictures))[:LOOKED_AT].tolist())]
    pixels = pixels_of(kept, side=side, channels=channels)
    theirs = None if real is None else _some(real, channels, rng)
    Ticker(context, "features", 60, 80, 1)
    counts = Counter(one.label for one in pictures)
    return {
        "kind": "images",
        "rows": dict(Counter(one.split for one in pictures)),
        "looked_at": len(kept),
        "size": {"side": side, "channels": channels, "seen": {f"{w} x {h}": count for (w, h), count in sizes.most_common(10)}},
        "verified": _claimed(pictures),
        "duplicates": {"images": {"rows": int(twice.sum()), "of": len(pictures), "share": figure(twice.mean(), len(pictures), 2)}},
        "leakage": _shared(pictures, hashes),
        **_compared(pixels, kept, theirs),
        "balance": {"label": balance(dict(sorted(counts.items()))), **_attributes(pictures)},
        "grid": _grid(pictures, rng),
    }  # fmt: skip


def _hashes(pictures: Sequence[Picture], tick: Ticker) -> array[int]:
    """Return a hash of each image's own pixels, whatever file they are in."""
    found = array("Q")
    for one in pictures:
        digest = blake2b(_bytes(one.path), digest_size=8).digest()
        found.append(int.from_bytes(digest, "little"))
        tick()
    return found


def _bytes(path: Path) -> bytes:
    try:
        with Image.open(path) as image:
            found: bytes = image.convert("RGB").tobytes()
            return repr(image.size).encode() + found
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise InvalidParams(f"/data: {path} cannot be read as an image ({error}); mend or remove it") from error


def _shared(pictures: Sequence[Picture], hashes: array[int]) -> dict[str, Any]:
    by_split: dict[str, list[int]] = {}
    for one, value in zip(pictures, hashes, strict=True):
        by_split.setdefault(one.split, []).append(value)
    if not {"train", "test"} <= by_split.keys():
        return {"no_split": "there is no train and test split"}
    train, test = set(by_split["train"]), by_split["test"]
    shared = sum(value in train for value in test)
    return {"images": {"rows": shared, "of": len(test), "share": figure(shared / len(test), len(test))}}


def _real(params: ReportParams, side: int) -> LabelledImages | None:
    if params.against is None:
        return None
    known = str(params.against) in NAMED
    source = str(params.against) if known else params.against
    try:
        found = load(source, size=None if str(source) == DIGITS else side)
        return found.only([params.label]) if params.label else found
    except InvalidParams as error:
        raise InvalidParams(str(error).replace("/source:", "/against:")) from error


def _some(real: LabelledImages, channels: int, rng: np.random.Generator) -> tuple[Pixels, list[str]]:
    """Return some real images and their classes."""
    kept = real.chosen(np.sort(rng.permutation(len(real))[:LOOKED_AT]))
    name = kept.attributes[0]
    pixels = np.broadcast_to(kept.pixels, (*kept.pixels.shape[:3], channels)).astype(np.float32) / np.float32(255)
    return pixels, [kept.values[name][value] if value >= 0 else "" for value in kept.labels[name].tolist()]


def _claimed(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return what metadata.jsonl says of the labels; images are not verified anew."""
    told: dict[str, Any] = {"how": "not verified anew; what metadata.jsonl says"}
    if flags := [one.told["verified"] for one in pictures if isinstance(one.told.get("verified"), bool)]:
        told["claimed"] = {"rows": len(flags), "right": sum(flags)}
    for name in ("agreement", "confidence", "score", "probability"):
        if values := [float(one.told[name]) for one in pictures if isinstance(one.told.get(name), (int, float))]:
            told[name] = {"mean": round(float(np.mean(values)), 4), "least": round(min(values), 4), "rows": len(values)}
    return told if len(told) > 1 else {"how": "metadata.jsonl says nothing of it"}


def _compared(pixels: Pixels, kept: Sequence[Picture], real: tuple[Pixels, list[str]] | None) -> dict[str, Any]:
    if len(pixels) < FEWEST or float(pixels.std(0).max()) == 0.0:
        return {"diversity": too_few(len(pixels), FEWEST), "classes": _counted(kept)}
    space = Space.of(real[0] if real is not None and len(real[0]) >= FEWEST else pixels)
    made = space.features(pixels)
    told: dict[str, Any] = {"space": {"components": int(space.pca.n_components_), "explained": round(space.explained, 4), "fitted_to": "real" if real else "these"}}  # fmt: skip
    told["diversity"] = _diversity(made)
    told["near"] = _near(made)
    theirs = space.features(real[0]) if real is not None else None
    labels = np.array([one.label for one in kept])
    if theirs is not None and real is not None:
        told["real"] = _against(made, theirs)
        if strangers := sorted(set(labels.tolist()) ^ set(real[1])):
            told["real"]["labels_not_in_both"] = strangers[:20]
    told["classes"] = []
    for label in sorted(set(labels.tolist())):
        own = made[labels == label]
        row: dict[str, Any] = {"label": label, "rows": len(own), **_diversity(own)}
        if theirs is not None and real is not None:
            row |= {name: value for name, value in _against(own, theirs[np.array(real[1]) == label]).items() if name in ("precision", "recall")}  # fmt: skip
        told["classes"].append(row)
    return told


def _counted(kept: Sequence[Picture]) -> list[dict[str, Any]]:
    return [{"label": label, "rows": count} for label, count in sorted(Counter(one.label for one in kept).items())]


def _diversity(features: Features) -> dict[str, Any]:
    count = len(features)
    few = count < FEWEST
    return {
        "mean_distance": too_few(count) if few else round(spread(features), 4),
        "effective_images": too_few(count) if few else round(vendi(features), 3),
    }


def _near(features: Features) -> dict[str, Any]:
    """Count images that nearly repeat an earlier one: nearer than a tenth of the median distance."""
    apart = distances(features, features)
    limit = NEAR * float(np.median(apart[np.triu_indices(len(apart), 1)]))
    earlier = np.tril(apart < limit, -1).any(1)
    return {"rows": int(earlier.sum()), "of": len(features), "share": round(float(earlier.mean()), 4), "threshold": f"{NEAR:g} of the median distance"}  # fmt: skip


def _against(made: Features, real: Features) -> dict[str, Any]:
    """Return precision and recall of as many of both, and how near what was made comes to single real images."""
    count = min(len(made), len(real))
    told: dict[str, Any] = {"compared": count, "real": len(real)}
    if count < WANTED:
        few = too_few(count, WANTED)
        return {**told, "precision": few, "recall": few, "copies": few}
    precision, recall = precision_recall(real[:count], made[:count])
    own = distances(real, real)
    np.fill_diagonal(own, np.inf)
    limit = float(np.quantile(own.min(1), CLOSER))
    copies = nearest(made, real) < limit
    return {
        **told, "precision": round(precision, 4), "recall": round(recall, 4),
        "copies": {"share": round(float(copies.mean()), 4), "rows": int(copies.sum()), "expected": CLOSER},
        "effective_images": round(vendi(real[:count]), 3), "effective_images_made": round(vendi(made[:count]), 3),
        "mean_distance": round(spread(real[:count]), 4),
    }  # fmt: skip


def _attributes(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return the balance of every attribute, where there are several."""
    columns: dict[str, Counter[str]] = {}
    for one in pictures:
        for name, value in one.attributes.items():
            columns.setdefault(name, Counter())[value] += 1
    return {name: balance(dict(sorted(counts.items()))) for name, counts in columns.items() if 1 < len(counts) <= min(50, len(pictures) / 5)}  # fmt: skip


def _grid(pictures: Sequence[Picture], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return some images of each label as PNG, in base64."""
    told = []
    labels = sorted({one.label for one in pictures})
    for label in labels[:GRID_ROWS]:
        own = [one for one in pictures if one.label == label]
        chosen = [own[place] for place in sorted(rng.permutation(len(own))[:COLUMNS].tolist())]
        told.append({"label": label, "images": [{"name": one.path.name, "png": _png(one.path)} for one in chosen]})
    return told


def _png(path: Path) -> str:
    with Image.open(path) as image:
        shown = image.convert("RGB")
        shown.thumbnail((THUMB, THUMB))
        into = io.BytesIO()
        shown.save(into, "PNG")
    return base64.b64encode(into.getvalue()).decode("ascii")
