from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.renderer import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    caption,
    contradiction,
    draw,
    labels,
    random_scene,
    things_of,
)

WHERE = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in ATTRIBUTES.items()})


def alone(**about: object) -> Scene:
    thing = Thing(**{"shape": "circle", "colour": "red", "rgb": COLOURS["red"], **about})  # type: ignore[arg-type]
    return Scene(things=(thing,), background="white", background_rgb=BACKGROUNDS["white"])


@given(WHERE, st.integers(0, 2**32), st.booleans())
def test_a_scene_is_what_was_asked_for_or_refused(where: dict[str, str], seed: int, mixed: bool) -> None:
    rng = np.random.default_rng(seed)
    if contradiction(where):
        with pytest.raises(InvalidParams, match="contradict"):
            random_scene(rng, where, mixed=mixed)
        return
    scene = random_scene(rng, where, mixed=mixed)
    found = labels(scene)
    assert found.items() >= where.items()
    assert list(found) == list(ATTRIBUTES)
    assert len(list(things_of(scene))) == int(found["count"])
    assert all(told in caption(scene) for told in where.values() if told not in {"plain", "spread", *"1234"})


@given(st.integers(0, 2**32), st.sampled_from([16, 32, 48]))
def test_boxes_hold_just_the_pixels_that_differ_from_the_background(seed: int, size: int) -> None:
    scene = random_scene(np.random.default_rng(seed))
    drawn = draw(scene, size)
    assert drawn.pixels.shape == (size, size, 3)
    covered = np.zeros((size, size), bool)
    for x, y, wide, high in drawn.boxes:
        assert wide > 0
        assert high > 0
        assert x >= 0
        assert x + wide <= size
        assert y >= 0
        assert y + high <= size
        assert not covered[y : y + high, x : x + wide].any()  # things of a random scene are apart
        covered[y : y + high, x : x + wide] = True
    differs = np.abs(drawn.pixels.astype(int) - scene.background_rgb).max(axis=2) > 20
    assert not (differs & ~covered).any()


def test_the_same_seed_draws_the_same_bytes() -> None:
    one, other = (draw(random_scene(np.random.default_rng(5)), 32).pixels for _ in range(2))
    assert one.tobytes() == other.tobytes()
    assert draw(random_scene(np.random.default_rng(6)), 32).pixels.tobytes() != one.tobytes()


def test_a_circle_covers_pi_r_squared_whatever_the_size_of_the_image() -> None:
    for size in (16, 32, 64, 128):
        drawn = draw(alone(radius=0.3), size)
        assert drawn.areas[0] / size**2 == pytest.approx(np.pi * 0.09, rel=0.01)
        x, _y, wide, high = drawn.boxes[0]
        assert (x + wide / 2) / size == pytest.approx(0.5, abs=0.5 / size)
        assert wide == pytest.approx(0.6 * size, abs=2)
        assert high == wide


def test_edges_are_smooth() -> None:
    red = draw(alone(radius=0.3, x=0.47, y=0.52), 32).pixels[:, :, 1]
    assert len(np.unique(red)) > 10  # not only the two colours


def test_shapes_and_sizes_are_told_apart() -> None:
    masks = {name: draw(alone(shape=name, radius=SIZES["large"]), 64).pixels[:, :, 1] < 140 for name in SHAPES}
    for one, other in combinations(masks.values(), 2):
        assert (one & other).sum() / (one | other).sum() < 0.9
    assert [alone(radius=radius).things[0].size for radius in SIZES.values()] == list(SIZES)


def test_what_lies_behind_has_no_box() -> None:
    front = Thing(shape="square", colour="blue", rgb=COLOURS["blue"], radius=0.3)
    behind = Thing(shape="circle", colour="red", rgb=COLOURS["red"], radius=0.1)
    half = Thing(shape="square", colour="red", rgb=COLOURS["red"], radius=0.2, x=0.75)
    drawn = draw(Scene(things=(behind, half, front), background="white", background_rgb=(245, 245, 245)), 64)
    assert drawn.boxes[0] == (0, 0, 0, 0)
    assert drawn.areas[0] == 0
    x, _, wide, _ = drawn.boxes[1]
    assert x >= 0.75 * 64
    assert x + wide >= 0.9 * 64


def test_a_thing_that_hangs_over_the_edge_is_cut() -> None:
    drawn = draw(alone(x=0.0, y=1.0, radius=0.2), 32)
    assert drawn.areas[0] / 32**2 == pytest.approx(np.pi * 0.04 / 4, rel=0.05)
    assert draw(alone(x=-1.0), 32).boxes == ((0, 0, 0, 0),)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"shape": "hexagon"}, "shape has no value 'hexagon'"),
        ({"weight": "heavy"}, "no attribute 'weight'"),
        ({"count": "3", "position": "left"}, "contradict"),
        ({"count": "1", "position": "spread"}, "contradict"),
    ],
)
def test_impossible_scenes_are_refused(where: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidParams, match=told):
        random_scene(np.random.default_rng(0), where)


def test_an_image_too_small_to_draw_on_is_refused() -> None:
    with pytest.raises(InvalidParams, match="/size"):
        draw(alone(), 4)
