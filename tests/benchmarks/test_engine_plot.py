"""The picture of the engine's ratios."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import engine_plot, figures
from benchmarks.engine_bench import ratio
from benchmarks.figures import Measured

SVG = "{http://www.w3.org/2000/svg}"


def rows(*measured: Measured) -> list[figures.Row]:
    return figures.rows(measured, command="python -m benchmarks.nothing", seconds=1.0)


def test_each_ratio_against_a_peer_is_a_bar_and_nothing_else_is() -> None:
    drawn = engine_plot.draw(
        rows(
            ratio("tree-time", "a tree", [1.0, 1.2], [2.0, 2.0]),
            Measured(id="sessions", what="against the least", value=1.0, unit="ratio", n=1),
            Measured(id="loop", what="a time", value=0.4, unit="ms", n=1),
            Measured(id="calls-guidance", what="a < b & c", value=1.5, unit="ratio", n=1),
            Measured(id="calls-gbnf", what="nothing was timed", value=0.0, unit="ratio", n=0),
        )
    )
    found = ElementTree.fromstring(drawn)
    assert len(found.findall(f"{SVG}rect")) == 2
    assert len(found.findall(f"{SVG}path")) == 1  # an interval
    assert [bar.get("class") for bar in found.findall(f"{SVG}rect")] == ["less", "more"]
    assert "a &lt; b &amp; c" in drawn
    assert "the call alone: time / guidance" in drawn
    assert "prefers-color-scheme: dark" in drawn


def test_bars_are_as_long_as_their_values() -> None:
    values = {"best-of-1": 0.25, "best-of-4": 0.5, "best-of-8": 1.0}
    drawn = engine_plot.draw(
        rows(*(Measured(id=id, what="x", value=value, unit="ratio", n=1) for id, value in values.items()))
    )
    lengths = [float(found) for found in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=0.2)
    line = ElementTree.fromstring(drawn).find(f"{SVG}line[@class='one']")
    assert line is not None
    assert float(line.get("x1", 0)) == pytest.approx(engine_plot.LEFT + lengths[2], abs=0.2)


def test_a_file_of_rows_is_drawn(tmp_path: Path) -> None:
    kept = figures.write("area", rows(ratio("tree-time", "a tree", [1.0], [2.0])), folder=tmp_path)
    assert engine_plot.main(["--rows", str(kept), "--out", str(tmp_path / "drawn.svg")]) == 0
    assert (tmp_path / "drawn.svg").read_text(encoding="utf-8").startswith("<svg ")
