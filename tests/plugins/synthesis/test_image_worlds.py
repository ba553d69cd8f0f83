from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentkit import jobs
from agentkit.errors import InvalidParams
from agentkit_synthesis.images.balance import cells, product_combinations
from agentkit_synthesis.images.drawn import world
from agentkit_synthesis.images.renderer import ATTRIBUTES, BACKGROUNDS, COLOURS, FIGURES, SIZES, Scene, Thing, draw
from agentkit_synthesis.images.silhouettes import SILHOUETTES
from agentkit_synthesis.images.sources import load
from agentkit_synthesis.images.worlds import SHOP_ATTRIBUTES, WORLDS, kind_of

SHOP, PRODUCTS = WORLDS["shop"], WORLDS["products"]
WHERE = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in SHOP_ATTRIBUTES.items()})
VALUES = {"category": ("shoe", "bag", "mug"), "colour": ("red", "blue")}
ALL = np.array([[a, b] for a in range(3) for b in range(2)])


def shadow(kind: str, size: int, radius: float) -> NDArray[np.floating]:
    """How dark each pixel of a black thing on white is, 0 to 1."""
    thing = Thing(shape=kind, colour="red", rgb=(0, 0, 0), radius=radius)
    return (
        1 - draw(Scene(things=(thing,), background="white", background_rgb=(255, 255, 255)), size).pixels[:, :, 0] / 255
    )


@pytest.mark.parametrize("size", [32, 48, 64])
@pytest.mark.parametrize("radius", list(SIZES.values()))
def test_the_sixteen_kinds_are_told_apart_at_every_size(size: int, radius: float) -> None:
    seen = {kind: shadow(kind, size, radius) for kind in FIGURES}
    for one, other in (pair for pair in combinations(seen, 2) if not set(SILHOUETTES).isdisjoint(pair)):
        apart = np.abs(seen[one] - seen[other]).sum() / max(seen[one].sum(), seen[other].sum())
        assert apart > 0.2, (one, other)


@pytest.mark.parametrize("kind", list(SILHOUETTES))
def test_a_silhouette_fills_its_square_and_does_not_leave_it(kind: str) -> None:
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 301), np.linspace(-1.5, 1.5, 301))
    inside = SILHOUETTES[kind](x, y)
    assert not inside[(np.abs(x) > 1) | (np.abs(y) > 1)].any()
    assert max(np.abs(x[inside]).max(), np.abs(y[inside]).max()) > 0.85
    rows = SILHOUETTES[kind](x[:1], y[:, :1])  # as the renderer calls it
    assert np.array_equal(rows, inside)


@given(WHERE, st.integers(0, 2**32), st.booleans())
def test_a_scene_of_the_shop_is_what_was_asked_for_or_refused(where: dict[str, str], seed: int, mixed: bool) -> None:
    rng = np.random.default_rng(seed)
    if SHOP.contradiction(where):
        with pytest.raises(InvalidParams, match="contradict"):
            SHOP.random_scene(rng, where, mixed=mixed)
        return
    scene = SHOP.random_scene(rng, where, mixed=mixed)
    found = SHOP.labels(scene)
    assert found.items() >= where.items()
    assert list(found) == list(SHOP_ATTRIBUTES)
    things = list(SHOP.things_of(scene))
    assert len(things) == int(found["count"])
    assert [kind_of(thing) for thing in things] == [thing.shape for thing in scene.things]


def test_the_first_world_is_drawn_as_it_was() -> None:
    assert world() == "15e715019af7969aa8f4acaeb28ba29240c977521c3c949b8bdde986e744633e"
    assert load("products", count=50).digest == "672daf9118472c5bc5f579b29faa689e5d8f1f0b14074ddc794be8997684ef68"
    assert PRODUCTS.attributes is ATTRIBUTES
    assert world("shop") != world()


def test_kinds_are_drawn_evenly() -> None:
    found = load("shop", count=1600, size=8)
    assert list(found.values) == list(SHOP_ATTRIBUTES)
    category, shape = found.labels["category"], found.labels["shape"]
    assert ((category == 8) == (shape != 8)).all()
    kinds = np.bincount(category * 9 + shape)
    assert len(kinds[kinds > 0]) == 16
    assert kinds[kinds > 0].min() > 60


def test_combinations_of_the_shop() -> None:
    every = product_combinations((), SHOP)
    assert len(every) == len(np.unique(every, axis=0)) == 16 * 8 * 3 * (5 + 3) * 4 * 3
    assert len(product_combinations(["category", "colour"], SHOP)) == 72
    found, _ = cells(SHOP_ATTRIBUTES, every, 800, seed=3, even=2)
    assert set(Counter(map(tuple, found[:, :2].tolist())).values()) == {50}


@given(st.integers(1, 60), st.integers(0, 2**32))
@settings(max_examples=30)
def test_what_is_held_out_is_never_asked_for_and_alone_when_asked_for(count: int, seed: int) -> None:
    pairs = ["category=shoe,colour=blue", "category=bag|mug, colour=red"]
    left, spare = cells(VALUES, ALL, count, without=pairs, seed=seed)
    assert {tuple(row) for row in [*left.tolist(), *spare.tolist()]} == {(0, 0), (1, 1), (2, 1)}
    held, _ = cells(VALUES, ALL, count, only=pairs, seed=seed)
    assert {tuple(row) for row in held.tolist()} <= {(0, 1), (1, 0), (2, 0)}
    asked = Counter(map(tuple, left.tolist()))
    assert max(asked.values()) - min(asked.values()) <= 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"without": ["category=shoe,colour=green"]}, "/without/0/1: colour has no value 'green'"),
        ({"without": ["category=shoe", "weight=3"]}, "/without/1/0: there is no attribute 'weight'"),
        ({"only": ["shoe"]}, "/only/0/0: 'shoe' is no condition"),
        ({"without": ["colour=red|blue"]}, "nothing can be"),
        ({"where": ["colour=red"], "only": ["colour=blue"]}, "nothing can be"),
    ],
)
def test_what_cannot_be_held_out_is_refused(more: dict[str, list[str]], told: str) -> None:
    with pytest.raises(InvalidParams, match=told):
        cells(VALUES, ALL, 12, seed=0, **more)  # type: ignore[arg-type]


def rows_of(folder: Path) -> Iterator[dict[str, str]]:
    for line in (folder / "metadata.jsonl").read_text().splitlines():
        yield json.loads(line)["labels"]


def test_the_shop_is_rendered_with_exact_boxes_and_without_what_is_held_out(tmp_path: Path) -> None:
    from agentkit_synthesis.images.jobs import IMAGES
    from agentkit_synthesis.images.remaking import remake

    pytest.importorskip("torch")
    order = {
        "method": "render",
        "source": "shop",
        "size": 48,
        "count": 120,
        "seed": 2,
        "where": ["category=shoe|mug|shape"],
    }
    train, test = tmp_path / "train", tmp_path / "test"
    jobs.run(IMAGES, {**order, "out": str(train), "without": ["category=shoe,colour=blue"]}, run_dir=tmp_path / "a")
    jobs.run(IMAGES, {**order, "out": str(test), "only": ["category=shoe,colour=blue"]}, run_dir=tmp_path / "b")
    told = Counter((row["category"], row["colour"]) for row in rows_of(train))
    assert told["shoe", "blue"] == 0
    assert told["shoe", "red"] > 0
    assert {(row["category"], row["colour"]) for row in rows_of(test)} == {("shoe", "blue")}
    kinds = Counter(row["category"] for row in rows_of(train))
    assert kinds["shape"] == pytest.approx(96, abs=1)  # 8 of the 10 kinds that are left
    boxes = json.loads((train / "annotations.json").read_text())
    names = {one["id"]: one["name"] for one in boxes["categories"]}
    assert len(names) == 16
    for one in boxes["annotations"]:
        assert names[one["category_id"]] == kind_of(one["attributes"])
    row = json.loads((train / "metadata.jsonl").read_text().splitlines()[70])
    from PIL import Image

    assert np.array_equal(remake(train, row["id"]), np.asarray(Image.open(train / row["file_name"])))


def test_colours_and_backgrounds_are_those_of_both_worlds() -> None:
    assert SHOP_ATTRIBUTES["colour"] == tuple(COLOURS)
    assert SHOP_ATTRIBUTES["background"] == tuple(BACKGROUNDS)
