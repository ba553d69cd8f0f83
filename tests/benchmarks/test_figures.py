from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import figures, render
from benchmarks.__main__ import main
from benchmarks.figures import Measured, share


def rows(*measured: Measured) -> list[figures.Row]:
    return figures.rows(measured, command="python -m benchmarks.nothing", seconds=1.25)


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = rows(share("a", "shares", 9, 10, 0.8), Measured(id="b", what="seconds", value=0.2, unit="s", n=3))
    path = figures.write("area", written, folder=tmp_path)
    assert figures.read(path) == written
    assert [name for name, _ in figures.areas(tmp_path)] == ["area"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_replaces_the_one_with_its_id_and_no_other(tmp_path: Path) -> None:
    figures.write("area", rows(share("a", "old", 1, 2), share("b", "kept", 1, 2)), folder=tmp_path)
    path = figures.write("area", rows(share("a", "new", 2, 2), share("c", "more", 2, 2)), folder=tmp_path)
    assert [(row.id, row.what) for row in figures.read(path)] == [("a", "new"), ("b", "kept"), ("c", "more")]


def test_a_file_of_other_rows_is_refused_with_the_row(tmp_path: Path) -> None:
    path = figures.write("area", rows(share("a", "x", 1, 2)), folder=tmp_path)
    path.write_text(json.dumps([{"id": "a", "value": 1}]))
    with pytest.raises(ValueError, match="row 'a'"):
        figures.read(path)


@pytest.mark.parametrize(
    ("right", "n", "wanted"),
    [(8, 10, (0.4902, 0.9433)), (0, 20, (0.0, 0.1611)), (20, 20, (0.8389, 1.0)), (475, 500, (0.9272, 0.966))],
)
def test_wilson_intervals(right: int, n: int, wanted: tuple[float, float]) -> None:
    assert figures.wilson(right, n) == pytest.approx(wanted, abs=2e-4)


def test_wilson_of_nothing_says_nothing() -> None:
    assert figures.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("unit", "value", "holds"),
    [("share", 0.75, True), ("share", 0.74, False), ("s", 0.75, True), ("s", 0.76, False)],
)
def test_shares_are_to_be_high_and_all_else_low(unit: str, value: float, holds: bool) -> None:
    assert Measured(id="x", what="x", value=value, unit=unit, n=1, target=0.75).holds is holds


def test_no_target_neither_holds_nor_fails() -> None:
    assert share("x", "x", 1, 2).holds is None


def test_the_machine_is_a_processor_and_its_cores() -> None:
    assert re.fullmatch(r".+, \d+ cores", figures.machine())
    assert "/" not in figures.machine().split(",")[-1]


def test_check_prints_what_is_missed_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures.write("area", rows(share("good", "fine", 9, 10, 0.8), share("bad", "poor", 1, 10, 0.8)), folder=tmp_path)
    assert main(["--check"], folder=tmp_path) == 1
    said = capsys.readouterr().out
    assert said.startswith("bad: 10.0 %, wanted ≥ 80.0 %")
    assert "good" not in said


def test_check_passes_when_all_holds(tmp_path: Path) -> None:
    figures.write("area", rows(share("good", "fine", 9, 10, 0.8), share("free", "no target", 0, 10)), folder=tmp_path)
    assert main(["--check"], folder=tmp_path) == 0


def test_check_of_nothing_fails(tmp_path: Path) -> None:
    assert main(["--check"], folder=tmp_path) == 1


def test_all_rows_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures.write("area", rows(share("good", "fine", 9, 10, 0.8), share("bad", "poor", 1, 10, 0.8)), folder=tmp_path)
    assert main([], folder=tmp_path) == 0
    said = capsys.readouterr().out
    assert "90.0 %" in said
    assert "MISSED" in said


def test_a_name_runs_the_command_behind_its_rows_once(tmp_path: Path) -> None:
    made = tmp_path / "made"
    command = f"python -c \"open('{made}', 'a').write('x')\""
    both = [replace(row, command=command) for row in rows(share("a", "x", 1, 2), share("b", "x", 1, 2))]
    figures.write("area", both, folder=tmp_path)
    assert main(["area", "a"], folder=tmp_path) == 0
    assert made.read_text() == "x"


def test_a_command_that_fails_gives_its_status(tmp_path: Path) -> None:
    row = replace(rows(share("a", "x", 1, 2))[0], command=f"{sys.executable} -c 'raise SystemExit(7)'")
    figures.write("area", [row], folder=tmp_path)
    assert main(["a"], folder=tmp_path) == 7


def test_an_unknown_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nobody"], folder=tmp_path) == 2
    assert "nobody: no such row" in capsys.readouterr().err


def test_the_page_has_every_row_and_its_command() -> None:
    page = render.page(
        [("area", rows(share("bad", "poor", 1, 10, 0.8)))], {"set": [{"wanted": "a", "got": "b", "times": 2}]}
    )
    assert "| `bad` | poor | 10.0 % | 1.8 to 40.4 | ≥ 80.0 % | MISSED | 10 |" in page
    assert "- `python -m benchmarks.nothing`" in page


def test_what_is_committed_can_be_read() -> None:
    for area, found in figures.areas():
        assert len({row.id for row in found}) == len(found), area
        for row in found:
            again = Measured(id=row.id, what=row.what, value=row.value, unit=row.unit, n=row.n, target=row.target)
            assert row.holds is again.holds, row.id
            assert row.command.startswith("python -m benchmarks."), row.id
