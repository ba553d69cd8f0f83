"""The core is quick and small: a slice of what `python -m benchmarks.planners` measures."""

from __future__ import annotations

from benchmarks.planners import speed


def test_node_visits_are_quick_and_nodes_are_small() -> None:
    quick, small = speed(visits=20_000)
    assert quick.value <= 2 * (quick.target or 0)  # machines are shared; the benchmark holds the target itself
    assert small.value <= (small.target or 0)
