"""Which labels are asked for: exactly so many images, spread evenly over every combination that is possible.

Where the combinations are fewer than the images, each is asked for equally often, to one. Where they are more, the first attribute's
values are asked for equally often, to one, and those of the others as evenly as the combinations allow. Combinations can be held
out: those that are not to be in a training set, and alone in the set to test on.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import InvalidParams
from agentkit_synthesis.images.labelled import LabelledImages
from agentkit_synthesis.images.worlds import WORLDS, World

__all__ = ["cells", "named", "product_combinations", "seen_combinations", "spelled"]

Table = NDArray[np.int64]
Values = Mapping[str, Sequence[str]]
LOOKED_AT = 64  # combinations that the next is chosen from


def seen_combinations(images: LabelledImages) -> Table:
    """Return the different combinations of labels that images have, (M, attributes), in order; whole ones only."""
    found: Table = np.unique(images.known().table, axis=0)
    return found


def product_combinations(attributes: Sequence[str] = (), world: World = WORLDS["products"]) -> Table:
    """Return the combinations of a drawn world that do not contradict themselves, (M, attributes)."""
    chosen = world.chosen(attributes)
    every: Table = np.indices([len(found) for found in chosen.values()]).reshape(len(chosen), -1).T.astype(np.int64)
    names = list(chosen)
    for one, other in (("count", "position"), ("category", "shape")):
        if one in chosen and other in chosen:
            good = np.array([[not world.contradiction({one: a, other: b}) for b in chosen[other]] for a in chosen[one]])
            every = every[good[every[:, names.index(one)], every[:, names.index(other)]]]
    return np.ascontiguousarray(every)


def cells(
    values: Values,
    possible: Table,
    count: int,
    where: Sequence[str] = (),
    *,
    without: Sequence[str] = (),
    only: Sequence[str] = (),
    seed: int,
    even: int = 1,
) -> tuple[Table, Table]:
    """Return what to ask for, image by image, (count, attributes) indices into `values`; and other rows to fall back on.

    The others are there where there are more combinations than images: those that are not asked for, in a random order.

    Args:
        values: attribute -> the names of its values.
        possible: (M, attributes) combinations to choose from.
        count: images.
        where: conditions `attribute=value` or `attribute=value|value`; all hold.
        without: combinations `attribute=value,attribute=value`; what has all of one of them is left out.
        only: the same; what has all of none of them is left out.
        even: so many attributes, from the first on, whose combinations are asked for equally often where not all can be.
        seed: of the order, and of the choice where there are more combinations than images.

    Raises:
        InvalidParams: a condition names what does not exist, two contradict each other, or no combination fulfils all.
    """
    good = _fulfilling(named(where, values), values, possible)
    for n, told in enumerate(without):
        good &= ~_fulfilling(named(told.split(","), values, f"/without/{n}"), values, possible)
    if only:
        good &= np.any(
            [
                _fulfilling(named(told.split(","), values, f"/only/{n}"), values, possible)
                for n, told in enumerate(only)
            ],
            axis=0,
        )
    left = possible[good]
    if not len(left):
        told = " and ".join((*where, *(f"not {one}" for one in without), *only)) or "at all"
        raise InvalidParams(f"/where: nothing can be {told}: no real image is all of that; ask for less at once")
    rng = np.random.default_rng((seed, len(left)))
    left = rng.permutation(left)
    if len(left) <= count:
        return rng.permutation(left[np.arange(count) % len(left)]), left[:0]
    found, rest = _spread(left, count, even)
    return rng.permutation(found), rng.permutation(rest)


def named(where: Sequence[str], values: Values, pointer: str = "/where") -> dict[str, tuple[str, ...]]:
    """Return conditions as attribute -> the values it may have; `pointer` is what an error calls them.

    Raises:
        InvalidParams: one is no condition, names what does not exist, or contradicts another.
    """
    found: dict[str, tuple[str, ...]] = {}
    for n, condition in enumerate(where):
        name, equals, told = (part.strip() for part in condition.partition("="))
        if not equals or not told:
            raise InvalidParams(f"{pointer}/{n}: {condition!r} is no condition; write attribute=value")
        if name not in values:
            raise InvalidParams(f"{pointer}/{n}: there is no attribute '{name}'; there are {', '.join(values)}")
        asked = tuple(one.strip() for one in told.split("|"))
        for one in asked:
            if one not in values[name]:
                raise InvalidParams(f"{pointer}/{n}: {name} has no value '{one}'; it has {', '.join(values[name])}")
        if name in found and set(found[name]) != set(asked):
            raise InvalidParams(
                f"{pointer}/{n}: {name} cannot be {'|'.join(found[name])} and {told} at once; {name}={'|'.join((*found[name], told))} takes either"
            )
        found[name] = asked
    return found


def spelled(row: Sequence[int], values: Values) -> str:
    """Return a combination as `shape=circle, colour=red`."""
    return ", ".join(f"{name}={found[index]}" for (name, found), index in zip(values.items(), row, strict=True))


def _fulfilling(wanted: Mapping[str, Sequence[str]], values: Values, possible: Table) -> NDArray[np.bool_]:
    """Return which rows have a wanted value of every attribute that is named."""
    good = np.ones(len(possible), bool)
    for n, name in enumerate(values):
        if name in wanted:
            good &= np.isin(possible[:, n], [list(values[name]).index(one) for one in wanted[name]])
    return good


def _spread(left: Table, count: int, even: int) -> tuple[Table, Table]:
    """Return `count` different rows, and the rest; the first columns evenly, the others as evenly as a greedy choice makes them."""
    kinds, which = np.unique(left[:, :even], axis=0, return_inverse=True)
    pools = {n: list(map(tuple, left[which == n].tolist())) for n in range(len(kinds))}
    used = [dict.fromkeys(np.unique(left[:, n]).tolist(), 0) for n in range(left.shape[1])]
    found: list[tuple[int, ...]] = []
    for turn in itertools.cycle(pools):
        pool = pools[turn]
        if not pool:  # no combination of it is left: all are asked for once
            continue
        first = pool[:LOOKED_AT]
        best = min(range(len(first)), key=lambda n: sum(used[at][value] for at, value in enumerate(first[n])))
        row = pool[best]
        pool[best] = pool[-1]
        pool.pop()
        found.append(row)
        for at, value in enumerate(row):
            used[at][value] += 1
        if len(found) == count:
            rest = [row for pool in pools.values() for row in pool]
            return np.array(found, np.int64), np.array(rest, np.int64).reshape(-1, left.shape[1])
    raise AssertionError("there are more combinations than are asked for")
