"""Real images by name: scikit-learn's digits, a world that is drawn, or a folder of labelled images.

`load` gives arrays. Loading is deterministic: the same source and options give the same images in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from agentkit.errors import InvalidParams, MissingDependency
from agentkit_synthesis.images.labelled import LabelledImages, split
from agentkit_synthesis.images.renderer import draw
from agentkit_synthesis.images.worlds import SHOP, WORLDS

__all__ = ["DIGITS", "NAMED", "PRODUCTS", "SHOP", "LabelledImages", "load", "render_products", "split"]

DIGITS, PRODUCTS = "digits", "products"
NAMED = (DIGITS, *WORLDS)  # sources that are no folder
RENDERED = 12_000  # products, where nobody says how many


def load(
    source: str | Path,
    *,
    size: int | None = None,
    attributes: Sequence[str] = (),
    count: int = RENDERED,
    seed: int = 0,
    skip_bad: bool = False,
    colour: Literal["auto", "grey", "rgb"] = "auto",
) -> LabelledImages:
    """Load labelled images.

    Args:
        source: `digits` (1797 of 8 x 8), `products` or `shop` (rendered), or a folder: see `folders.read_folder`.
        size: side in pixels; 8 for digits and 32 for others where none is given.
        attributes: those to keep; all where none is named.
        count: how many products to render.
        seed: of the products.
        skip_bad: leave out files of a folder that cannot be read, with a warning, instead of refusing it.
        colour: of a folder's images; `auto` is grey where all are grey.

    Raises:
        InvalidParams: there is no such source, or it cannot be used; says which file or row.
        MissingDependency: the extra `synth` is not installed.
    """
    if str(source) == DIGITS:
        found = _digits(size)
    elif str(source) in WORLDS:
        found = render_products(count, size=size or 32, seed=seed, world=str(source))
    else:
        try:
            from agentkit_synthesis.images.folders import read_folder  # noqa: PLC0415  Pillow is of the extra
        except ImportError as error:
            raise MissingDependency(f"images need Pillow ({error}): pip install 'agentkit-local[synth]'") from error
        found = read_folder(Path(source).expanduser(), size=size or 32, skip_bad=skip_bad, colour=colour)
    return found.only(attributes) if attributes else found


def render_products(count: int, *, size: int = 32, seed: int = 0, world: str = PRODUCTS) -> LabelledImages:
    """Render random scenes of a world, every attribute drawn evenly; all of the world's attributes are labels."""
    drawn = WORLDS[world]
    pixels = np.empty((count, size, size, 3), np.uint8)
    told = np.empty((count, len(drawn.attributes)), np.int64)
    for n in range(count):
        scene = drawn.random_scene(np.random.default_rng((seed, n)))
        pixels[n] = draw(scene, size).pixels
        told[n] = [drawn.attributes[name].index(value) for name, value in drawn.labels(scene).items()]
    return LabelledImages(
        pixels=pixels,
        labels={name: told[:, n] for n, name in enumerate(drawn.attributes)},
        values=dict(drawn.attributes),
        names=tuple(f"{world}/{seed}/{n}" for n in range(count)),
        source=world,
    )


def _digits(size: int | None) -> LabelledImages:
    if size not in (None, 8):
        raise InvalidParams(f"/size: digits are 8 x 8 pixels, not {size}; leave the size out")
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  of the extra; a second to import
    except ImportError as error:
        raise MissingDependency("digits come with scikit-learn: pip install 'agentkit-local[synth]'") from error
    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
    return LabelledImages(
        pixels=pixels,
        labels={"digit": found.target.astype(np.int64)},
        values={"digit": tuple(map(str, range(10)))},
        names=tuple(f"{DIGITS}/{n}" for n in range(len(pixels))),
        source=DIGITS,
    )
