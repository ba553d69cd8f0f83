"""The benchmark of scaling laws: what is held of the fit, and a slice of the sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from agentkit_training.scaling import load_fit
from benchmarks.scaling_sweep import SLICE, SLICE_DOUBLE, measured_fit, measured_sweep, trained
from tests.plugins.scaling_runs import prose


def test_what_is_published_is_found() -> None:
    rows = {row.id: row for row in measured_fit()}
    assert [
        name for name in rows if not name.endswith("-s") and not rows[name].holds
    ] == []  # seconds are this machine's
    assert {name: row.target for name, row in rows.items() if name.endswith("-s")} == {
        "scaling-fit-s": 0.3,
        "scaling-fit-bootstrap-s": 5.0,
    }


@pytest.mark.slow
def test_a_slice_is_trained_and_becomes_rows(tmp_path: Path) -> None:
    text = tmp_path / "prose.txt"
    text.write_bytes(prose(300_000))
    given = {"text": str(text), "workers": 2}
    found = trained(tmp_path, {**SLICE, **given}, {**SLICE_DOUBLE, **given})
    rows = measured_sweep(found, load_fit(tmp_path / "sweep" / "artifacts" / "fit.json"))
    assert len({row.id for row in rows}) == len(rows)
    by_id = {row.id: row for row in rows}
    assert by_id["scaling-sweep-s"].target == 600
    assert by_id["scaling-sweep-s"].n == 6
    assert {f"scaling-{name}" for name in ("E", "A", "B", "alpha", "beta", "a", "double-error")} <= set(by_id)
    for row in rows:
        assert row.interval is None or row.interval[0] <= row.interval[1]
