"""The worlds that are drawn: `products`, eight shapes, and `shop`, the same shapes beside eight silhouettes of products.

A world says which labels its scenes have, draws a scene that has the labels asked for, and reads the labels of any scene. In
`shop` a thing is of one of sixteen kinds. A product's shape is `none`, and the category of a shape is `shape`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agentkit.errors import InvalidParams
from agentkit_synthesis.images import renderer
from agentkit_synthesis.images.renderer import ATTRIBUTES, FIGURES, MIXED, SHAPES, Scene
from agentkit_synthesis.images.silhouettes import SILHOUETTES

__all__ = ["SHOP", "SHOP_ATTRIBUTES", "WORLDS", "World", "kind_of"]

SHOP = "shop"
SHAPE, NONE = "shape", "none"  # the category of shapes; the shape of products
KINDS: Mapping[str, tuple[str, str]] = {  # what is drawn -> its category and its shape
    **{name: (name, NONE) for name in SILHOUETTES},
    **{name: (SHAPE, name) for name in SHAPES},
}
SHOP_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    **ATTRIBUTES,
    "category": (*SILHOUETTES, SHAPE),
    "shape": (*SHAPES, NONE),
}
SHOP_ATTRIBUTES = {name: SHOP_ATTRIBUTES[name] for name in ("category", *ATTRIBUTES)}


@dataclass(frozen=True, slots=True)
class World:
    """What can be drawn: labels with their values.

    Attributes:
        name: the source's name.
        attributes: attribute -> its values.
        even: how many attributes, from the first on, together say what a thing is; each combination is asked for equally often.
    """

    name: str
    attributes: Mapping[str, tuple[str, ...]]
    even: int = 1

    def random_scene(
        self, rng: np.random.Generator, where: Mapping[str, str] | None = None, *, mixed: bool = False
    ) -> Scene:
        """Return a scene with the labels `where`; the rest is drawn evenly. See `renderer.random_scene`.

        Raises:
            InvalidParams: an attribute or a value does not exist, or two of them contradict each other.
        """
        if "category" not in self.attributes:
            return renderer.random_scene(rng, where, mixed=mixed)
        wanted = dict(where or {})
        if told := self.contradiction(wanted):
            raise InvalidParams(f"/where: {told}")
        category, shape = wanted.pop("category", None), wanted.pop("shape", None)
        kinds = [kind for kind, told in KINDS.items() if category in (None, told[0]) and shape in (None, told[1])]
        return renderer.random_scene(rng, wanted, mixed=mixed, attributes={**ATTRIBUTES, "shape": tuple(kinds)})

    def things_of(self, scene: Scene) -> Iterator[dict[str, str]]:
        """Yield each thing's own labels, in the order of `renderer.Drawn.boxes`."""
        for told in renderer.things_of(scene):
            if "category" in self.attributes:
                category, shape = KINDS[told["shape"]]
                yield {"category": category, **told, "shape": shape}
            else:
                yield told

    def labels(self, scene: Scene) -> dict[str, str]:
        """Return the labels of a scene, one for each attribute; `mixed` where its things differ.

        Raises:
            InvalidParams: there is nothing in it, or more than there are words for.
        """
        told = renderer.labels(scene)
        for name in ("category", "shape") if "category" in self.attributes else ():
            found = {thing[name] for thing in self.things_of(scene)}
            told[name] = found.pop() if len(found) == 1 else MIXED
        return {name: told[name] for name in self.attributes}

    def contradiction(self, wanted: Mapping[str, str]) -> str:
        """Return what makes the labels impossible, or an empty string."""
        if told := renderer.contradiction(wanted, self.attributes):
            return told
        category, shape = wanted.get("category"), wanted.get("shape")
        if category is not None and shape is not None and (category, shape) not in KINDS.values():
            return f"category={category} and shape={shape} contradict each other: a product's shape is {NONE}, and the category of a shape is {SHAPE}"
        return ""

    def kinds(self) -> tuple[str, ...]:
        """Return the names of what it draws."""
        return tuple(FIGURES) if "category" in self.attributes else tuple(SHAPES)

    def chosen(self, attributes: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the attributes that are named, in the world's order; all where none is.

        Raises:
            InvalidParams: there is no such attribute.
        """
        for n, name in enumerate(attributes):
            if name not in self.attributes:
                raise InvalidParams(f"/attributes/{n}: there is no '{name}'; there are {', '.join(self.attributes)}")
        return {name: found for name, found in self.attributes.items() if not attributes or name in attributes}


def kind_of(thing: Mapping[str, str]) -> str:
    """Return what a thing is, from its labels: a product's category, or a shape."""
    return thing["shape"] if thing.get("category", SHAPE) == SHAPE else thing["category"]


PRODUCTS_WORLD = World("products", ATTRIBUTES)
SHOP_WORLD = World(SHOP, SHOP_ATTRIBUTES, even=2)
WORLDS: Mapping[str, World] = {one.name: one for one in (PRODUCTS_WORLD, SHOP_WORLD)}
