"""The product world: scenes of flat shapes, drawn with numpy, whose labels and boxes are exact by construction.

A scene is a list of things on a background. Coordinates are shares of the image (0 to 1, x to the right, y down), so a scene
looks the same at any size. A scene's labels are read from what it holds, never from what was asked for. Nothing here covers
perspective, light or shadow.

    rng = np.random.default_rng(7)
    scene = random_scene(rng, {"shape": "circle", "colour": "red"})
    drawn = draw(scene, 32)
    drawn.pixels, drawn.boxes, labels(scene)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.silhouettes import SILHOUETTES, Figure, Grid, Mask

__all__ = [
    "ATTRIBUTES", "BACKGROUNDS", "COLOURS", "FIGURES", "MIXED", "SHAPES", "SIZES", "TEXTURES", "Drawn", "Scene", "Thing", "caption",
    "contradiction", "draw", "labels", "random_scene", "things_of",
]  # fmt: skip

Values = Mapping[str, tuple[str, ...]]

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (215, 40, 40), "orange": (245, 145, 30), "yellow": (250, 225, 50), "green": (45, 160, 65),
    "cyan": (60, 205, 215), "blue": (45, 80, 210), "purple": (135, 50, 170), "pink": (250, 140, 190),
}  # fmt: skip
BACKGROUNDS: Mapping[str, tuple[int, int, int]] = {
    "white": (245, 245, 245),
    "grey": (150, 150, 150),
    "black": (20, 20, 20),
}
SIZES: Mapping[str, float] = {"small": 0.14, "medium": 0.185, "large": 0.235}  # radius
TEXTURES = ("plain", "striped", "dotted", "checked")
POSITIONS: Mapping[str, tuple[float, float]] = {
    "centre": (0.5, 0.5), "left": (0.29, 0.5), "right": (0.71, 0.5), "top": (0.5, 0.29), "bottom": (0.5, 0.71),
}  # fmt: skip
SPREAD = "spread"  # the position of several things
MIXED = "mixed"  # the label of things that differ
CELLS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))  # where several things stand
RADIUS_JITTER, COLOUR_JITTER = 0.04, 10  # a share of the radius; steps of 255
PERIODS = 8  # of a texture over the width of the image
SHADE = 0.4  # of the colour, where a texture is dark


def _star(x: Grid, y: Grid) -> Mask:
    step = 2 * np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + step / 2) % step - step / 2)
    inner = 0.42  # the radius of the corners that point inwards
    across, along = np.sin(step / 2) * inner, np.cos(step / 2) * inner  # the edge: from (1, 0) to (along, across)
    edge = across / (across * np.cos(angle) + (1 - along) * np.sin(angle))
    return np.asarray(x * x + y * y <= edge * edge)


def _heart(x: Grid, y: Grid) -> Mask:
    x, y = x * 1.15, 0.12 - y * 1.12
    round_ = x * x + y * y - 1
    return np.asarray(round_ * round_ * round_ <= x * x * y * y * y)


SHAPES: Mapping[str, Figure] = {  # which points of [-1, 1] x [-1, 1] belong to it
    "circle": lambda x, y: np.asarray(x * x + y * y <= 1),
    "square": lambda x, y: np.asarray(np.maximum(np.abs(x), np.abs(y)) <= 0.87),
    "triangle": lambda x, y: np.asarray((y <= 0.8) & (np.abs(x) * 1.8 <= y + 1)),
    "star": _star,
    "diamond": lambda x, y: np.asarray(np.abs(x) * 1.35 + np.abs(y) <= 1),
    "ring": lambda x, y: np.asarray(np.abs(x * x + y * y - 0.65) <= 0.35),
    "cross": lambda x, y: np.asarray((np.minimum(np.abs(x), np.abs(y)) <= 0.3) & (np.maximum(np.abs(x), np.abs(y)) <= 0.95)),
    "heart": _heart,
}  # fmt: skip

FIGURES: Mapping[str, Figure] = {**SHAPES, **SILHOUETTES}  # all that can be drawn

ATTRIBUTES: Values = {
    "shape": tuple(SHAPES),
    "colour": tuple(COLOURS),
    "size": tuple(SIZES),
    "count": ("1", "2", "3", "4"),
    "position": (*POSITIONS, SPREAD),
    "texture": TEXTURES,
    "background": tuple(BACKGROUNDS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One object of a scene.

    Attributes:
        shape, colour, texture: names, of `FIGURES`, `COLOURS` and `TEXTURES`.
        x, y: its middle, as shares of the image.
        radius: half its side, as a share of the image.
        rgb: the colour it is drawn in, 0 to 255.
        phase: where its texture begins, in periods, 0 to 1 each way.
    """

    shape: str
    colour: str
    texture: str = "plain"
    x: float = 0.5
    y: float = 0.5
    radius: float = SIZES["medium"]
    rgb: tuple[int, int, int]
    phase: tuple[float, float] = (0.0, 0.0)

    @property
    def size(self) -> str:
        """The name of the size that is nearest to its radius."""
        return min(SIZES, key=lambda name: abs(SIZES[name] - self.radius))

    @property
    def position(self) -> str:
        """The name of the place that is nearest to its middle."""
        return min(POSITIONS, key=lambda name: (POSITIONS[name][0] - self.x) ** 2 + (POSITIONS[name][1] - self.y) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Things, drawn in their order, on a background."""

    things: tuple[Thing, ...]
    background: str
    background_rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Drawn:
    """An image and where its things are.

    Attributes:
        pixels: (size, size, 3) uint8.
        boxes: for each thing x, y, width and height in pixels, the least that holds every pixel of which it shows at
            least a sixteenth; zeros where nothing of it shows.
        areas: for each thing the area that shows, in pixels.
    """

    pixels: NDArray[np.uint8]
    boxes: tuple[tuple[int, int, int, int], ...]
    areas: tuple[float, ...]


def draw(scene: Scene, size: int = 32, *, supersample: int = 4) -> Drawn:
    """Draw a scene.

    Args:
        scene: what to draw.
        size: side of the image in pixels, 8 or more.
        supersample: points along each side of a pixel whose mean it is.

    Raises:
        InvalidParams: the size is too small.
    """
    if size < 8 or supersample < 1:
        raise InvalidParams(f"/size: {size} pixels with {supersample} points a side is too small; at least 8 and 1")
    pixels = np.empty((size, size, 3), np.float32)
    pixels[:] = scene.background_rgb
    shown: list[tuple[int, int, Grid]] = []
    for thing in scene.things:
        left, top, cover, shade = _raster(thing, size, supersample)
        rows, columns = slice(top, top + cover.shape[0]), slice(left, left + cover.shape[1])
        tint = np.asarray(thing.rgb, np.float32)
        pixels[rows, columns] *= 1 - cover[:, :, None]
        pixels[rows, columns] += shade[:, :, None] * tint
        for before in shown:
            _hide(before, left, top, cover)
        shown.append((left, top, cover))
    found = [_box(*one) for one in shown]
    return Drawn(np.rint(pixels).astype(np.uint8), tuple(box for box, _ in found), tuple(area for _, area in found))


def random_scene(
    rng: np.random.Generator,
    where: Mapping[str, str] | None = None,
    *,
    mixed: bool = False,
    attributes: Values = ATTRIBUTES,
) -> Scene:
    """Return a scene with the labels `where`; the rest is drawn evenly.

    Args:
        rng: where chance comes from; the same state gives the same scene.
        where: attribute -> value, of `ATTRIBUTES`.
        mixed: draw shape, colour, size and texture for each thing by itself, instead of once for all.
        attributes: what to draw from: the names of `ATTRIBUTES`, with some of their values, or with shapes of `FIGURES`.

    Raises:
        InvalidParams: an attribute or a value does not exist, or two of them contradict each other.
    """
    wanted = dict(where or {})
    if told := contradiction(wanted, attributes):
        raise InvalidParams(f"/where: {told}")
    for name in ("count", "background"):
        wanted.setdefault(name, _one(rng, attributes[name]) if name in _open(wanted) else "1")
    if "count" not in (where or {}) and "position" in wanted:
        wanted["count"] = _one(rng, ("2", "3", "4")) if wanted["position"] == SPREAD else "1"
    count = int(wanted["count"])
    if count == 1:
        wanted.setdefault("position", _one(rng, tuple(POSITIONS)))
        middles = [POSITIONS[wanted["position"]]]
    else:
        middles = [CELLS[index] for index in sorted(rng.permutation(len(CELLS))[:count])]
    look = _look(rng, wanted, attributes)
    things = tuple(_thing(rng, _look(rng, wanted, attributes) if mixed else look, middle) for middle in middles)
    background = wanted["background"]
    return Scene(things=things, background=background, background_rgb=_jittered(rng, BACKGROUNDS[background]))


def labels(scene: Scene) -> dict[str, str]:
    """Return the labels of a scene, one for each of `ATTRIBUTES`; `mixed` where its things differ.

    Raises:
        InvalidParams: there is nothing in it, or more than there are words for.
    """
    count = str(len(scene.things))
    if count not in ATTRIBUTES["count"]:
        raise InvalidParams(f"/things: a scene of {count} has no label; 1 to {len(ATTRIBUTES['count'])} have")
    found = {
        name: {str(getattr(thing, name)) for thing in scene.things} for name in ("shape", "colour", "size", "texture")
    }
    told = {name: next(iter(values)) if len(values) == 1 else MIXED for name, values in found.items()}
    place = scene.things[0].position if count == "1" else SPREAD
    every = {**told, "count": count, "position": place, "background": scene.background}
    return {name: every[name] for name in ATTRIBUTES}


def things_of(scene: Scene) -> Iterator[dict[str, str]]:
    """Yield each thing's own labels, in the order of `Drawn.boxes`."""
    for thing in scene.things:
        yield {name: str(getattr(thing, name)) for name in ("shape", "colour", "size", "position", "texture")}


def caption(scene: Scene) -> str:
    """Return a sentence that is true of the scene, without its full stop."""
    parts = []
    for thing in scene.things:
        texture = "" if thing.texture == "plain" else f"{thing.texture} "
        parts.append(f"a {thing.size} {texture}{thing.colour} {thing.shape}")
    told = [f"{parts.count(part)} times {part}" if parts.count(part) > 1 else part for part in dict.fromkeys(parts)]
    place = f", {scene.things[0].position}" if len(scene.things) == 1 else ""
    return f"{' and '.join(told)}{place}, on {scene.background}"


def contradiction(wanted: Mapping[str, str], attributes: Values = ATTRIBUTES) -> str:
    """Return what makes the labels impossible, or an empty string."""
    for name, value in wanted.items():
        if name not in attributes:
            return f"there is no attribute '{name}'; there are {', '.join(attributes)}"
        if value not in attributes[name]:
            return f"{name} has no value '{value}'; it has {', '.join(attributes[name])}"
    count, place = wanted.get("count"), wanted.get("position")
    if count is not None and place is not None and (count == "1") == (place == SPREAD):
        return f"count={count} and position={place} contradict each other: one thing has a place, several are {SPREAD}"
    return ""


def _open(wanted: Mapping[str, str]) -> set[str]:
    """Return what is to be drawn by chance; a place settles whether there is one thing."""
    return set(ATTRIBUTES) - set(wanted) - ({"count"} if "position" in wanted else set())


def _look(rng: np.random.Generator, wanted: Mapping[str, str], attributes: Values) -> dict[str, str]:
    return {name: wanted.get(name) or _one(rng, attributes[name]) for name in ("shape", "colour", "size", "texture")}


def _thing(rng: np.random.Generator, look: Mapping[str, str], middle: tuple[float, float]) -> Thing:
    radius = SIZES[look["size"]] * (1 + RADIUS_JITTER * (2 * rng.random() - 1))
    room = min(0.045, 0.25 - radius)  # for a thing to move within its cell
    x, y = (one + room * (2 * rng.random() - 1) for one in middle)
    return Thing(
        shape=look["shape"], colour=look["colour"], texture=look["texture"], x=x, y=y, radius=radius,
        rgb=_jittered(rng, COLOURS[look["colour"]]), phase=(rng.random(), rng.random()),
    )  # fmt: skip


def _one(rng: np.random.Generator, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]


def _jittered(rng: np.random.Generator, rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, value + int(rng.integers(-COLOUR_JITTER, COLOUR_JITTER + 1)))) for value in rgb)
    return red, green, blue


def _raster(thing: Thing, size: int, fine: int) -> tuple[int, int, Grid, Grid]:
    """Return the left and top pixel, how much of each pixel is covered, and that times how bright it is there."""
    left, right = _span(thing.x, thing.radius, size)
    top, bottom = _span(thing.y, thing.radius, size)
    if left >= right or top >= bottom:
        nothing = np.zeros((0, 0), np.float32)
        return 0, 0, nothing, nothing
    across = ((np.arange(left * fine, right * fine, dtype=np.float32) + 0.5) / (size * fine))[None, :]
    down = ((np.arange(top * fine, bottom * fine, dtype=np.float32) + 0.5) / (size * fine))[:, None]
    inside = FIGURES[thing.shape]((across - thing.x) / thing.radius, (down - thing.y) / thing.radius)
    cover = _pooled(inside.astype(np.float32), fine)
    if thing.texture == "plain":
        return left, top, cover, cover
    dark = _texture(thing, across - thing.x, down - thing.y)
    return left, top, cover, _pooled(np.where(dark, np.float32(SHADE), np.float32(1)) * inside, fine)


def _texture(thing: Thing, across: Grid, down: Grid) -> Mask:
    u, v = (across * PERIODS + thing.phase[0]) % 1, (down * PERIODS + thing.phase[1]) % 1
    if thing.texture == "striped":
        return np.broadcast_to(v < 0.5, np.broadcast_shapes(u.shape, v.shape))
    if thing.texture == "checked":
        return np.asarray((u < 0.5) ^ (v < 0.5))
    return np.asarray((u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.09)


def _span(middle: float, radius: float, size: int) -> tuple[int, int]:
    return max(0, int(np.floor((middle - radius) * size))), min(size, int(np.ceil((middle + radius) * size)))


def _pooled(points: Grid, fine: int) -> Grid:
    """Return the mean of each `fine` x `fine` points."""
    rows = np.add.reduceat(points, np.arange(0, points.shape[0], fine), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, rows.shape[1], fine), axis=1) / (fine * fine))


def _hide(shown: tuple[int, int, Grid], left: int, top: int, cover: Grid) -> None:
    """Take what is covered by a later thing away from one before it."""
    x, y, mine = shown
    x0, x1 = max(x, left), min(x + mine.shape[1], left + cover.shape[1])
    y0, y1 = max(y, top), min(y + mine.shape[0], top + cover.shape[0])
    if x0 < x1 and y0 < y1:
        mine[y0 - y : y1 - y, x0 - x : x1 - x] *= 1 - cover[y0 - top : y1 - top, x0 - left : x1 - left]


def _box(left: int, top: int, cover: Grid) -> tuple[tuple[int, int, int, int], float]:
    seen = cover >= 1 / 16
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    if not len(columns):
        return (0, 0, 0, 0), 0.0
    x, y = left + int(columns[0]), top + int(rows[0])
    return (x, y, int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1), float(cover.sum())
