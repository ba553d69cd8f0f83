"""Products that are drawn, not sampled: labels and boxes are exact, nothing is trained, and numpy and Pillow are enough."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.jobs import JobContext, JobPlan
from agentkit_synthesis.images import renderer
from agentkit_synthesis.images.balance import Values, cells, product_combinations
from agentkit_synthesis.images.finishing import Order, filled, made_already
from agentkit_synthesis.images.made import asked
from agentkit_synthesis.images.making import Verdict, numbers_to_seeds
from agentkit_synthesis.images.params import ImagesParams
from agentkit_synthesis.images.renderer import draw
from agentkit_synthesis.images.worlds import WORLDS, World

__all__ = ["PREVIEWED", "Drawing", "make_drawn", "plan_drawn", "world"]

PREVIEWED = 10  # images of a preview
DRAWN_A_SECOND = 800.0  # with their files
STREAM = 2  # of seeds
ABOUT = "Labels are what the scenes were drawn from."


def plan_drawn(params: ImagesParams) -> JobPlan:
    """Return the plan of products to draw.

    Raises:
        InvalidParams: a condition or an attribute cannot be.
    """
    order = _order(params)
    count = len(order.wanted)
    return JobPlan(
        config={**asked(params), "provenance": dict(order.provenance)},
        seconds=count / DRAWN_A_SECOND,
        memory_bytes=200 << 20,
        disk_bytes=count * (order.size**2 + 1500),
        backend="numpy",
        why=f"{count} products are drawn; labels and boxes are exact",
    )


def make_drawn(params: ImagesParams, context: JobContext) -> dict[str, Any]:
    """Draw products and export them; return the figures."""
    order = _order(params)
    if (figures := made_already(params, order, context)) is not None:
        return figures
    drawing = Drawing(order.values, seed=params.seed, size=order.size, world=WORLDS[params.real])
    more = {"verified": True, "judge": {}}
    return filled(params, order, context, drawing.sample, drawing.check, before=0, about=ABOUT, more=more)


class Drawing:
    """Draws candidates; `check` notes what `sample` drew last."""

    def __init__(self, values: Values, *, seed: int, size: int, world: World = WORLDS["products"]) -> None:
        self._values, self._seed, self._size, self._world = values, seed, size, world
        self._notes: list[dict[str, Any]] = []

    def sample(self, numbers: Sequence[int], targets: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Draw a batch: a number's scene depends on the seed and on what is asked for."""
        made, self._notes = [], []
        for seed, target in zip(numbers_to_seeds(self._seed, numbers, STREAM), targets.tolist(), strict=True):
            where = {name: found[index] for (name, found), index in zip(self._values.items(), target, strict=True)}
            scene = self._world.random_scene(np.random.default_rng(seed), where)
            drawn = draw(scene, self._size)
            made.append(drawn.pixels)
            things = [
                {**told, "box": list(box), "area": round(area, 2)}
                for told, box, area in zip(self._world.things_of(scene), drawn.boxes, drawn.areas, strict=True)
            ]
            self._notes.append({"verified": True, "things": things})
        return np.stack(made)

    def check(self, made: NDArray[np.uint8], targets: NDArray[np.int64]) -> list[Verdict]:
        """Keep all: a scene's labels are what it was drawn from."""
        return [Verdict("", notes) for notes in self._notes]


def world(name: str = "products") -> str:
    """Return a hash of a world: what it is drawn from."""
    told = {
        name: getattr(renderer, name)
        for name in ("COLOURS", "BACKGROUNDS", "SIZES", "TEXTURES", "POSITIONS", "CELLS", "PERIODS", "SHADE")
    }
    if name == "products":
        return hashlib.sha256(json.dumps([told, list(renderer.SHAPES)], sort_keys=True).encode()).hexdigest()
    x, y = np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 65))
    masks = {kind: np.packbits(renderer.FIGURES[kind](x, y)).tobytes().hex() for kind in WORLDS[name].kinds()}
    return hashlib.sha256(json.dumps([told, masks], sort_keys=True).encode()).hexdigest()


def _order(params: ImagesParams) -> Order:
    drawn = WORLDS[params.real]
    values = drawn.chosen(params.attributes)
    count = PREVIEWED if params.preview else params.count
    even = max(1, len([name for name in values if name in list(drawn.attributes)[: drawn.even]]))
    wanted, spare = cells(
        values, product_combinations(params.attributes, drawn), count, params.where, without=params.without, only=params.only,
        seed=params.seed, even=even,
    )  # fmt: skip
    return Order(
        method="render", wanted=wanted, spare=spare, values=values, size=params.size or 32, provenance={"world": world(drawn.name)},
        at_once=params.at_once or 64,
    )  # fmt: skip
