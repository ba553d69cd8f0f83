"""Files of runs: what is read, and that whatever is unusable is refused with its line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from agentkit.errors import UsageError
from agentkit_training.scaling import Run, fit, read_runs

HEAD = "params,tokens,loss\n1e8,2e9,3.1\n2e8,4e9,2.9\n"


def refusal(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_runs(path)
    return str(caught.value)


def test_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    table, lines = tmp_path / "runs.csv", tmp_path / "runs.jsonl"
    table.write_text("\ufeffname, params ,tokens,loss,unique_tokens\na,1e8,2e9,3.1,\n\nb,2e8,4e9,2.9,1e9\n", "utf-8")
    rows = [
        {"params": 1e8, "tokens": 2e9, "loss": 3.1, "seed": 4},
        {"params": 2e8, "tokens": "4e9", "loss": 2.9, "unique_tokens": 1e9},
    ]
    lines.write_text("\n\n".join(map(json.dumps, rows)), "utf-8")
    assert read_runs(table) == [Run(1e8, 2e9, 3.1, None, 2), Run(2e8, 4e9, 2.9, 1e9, 4)]
    assert [run.figures for run in read_runs(lines)] == [run.figures for run in read_runs(table)]
    assert [run.line for run in read_runs(lines)] == [1, 3]


def test_tokens_come_from_flops(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,flops,loss\n1e8,1.2e18,3.1\n", encoding="utf-8")
    assert read_runs(path)[0].tokens == pytest.approx(2e9)
    path.write_text("params,flops,tokens,loss\n1e8,1.2e18,,3.1\n1e8,5e18,3e9,3.0\n", encoding="utf-8")
    assert [run.tokens for run in read_runs(path)] == pytest.approx([2e9, 3e9])


@pytest.mark.parametrize("column", ["params", "tokens", "loss"])
@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1", "1e999"])
def test_impossible_numbers_are_refused_with_their_line(tmp_path: Path, column: str, value: str) -> None:
    row = {"params": "3e8", "tokens": "6e9", "loss": "2.8", column: value}
    said = refusal(tmp_path / "runs.csv", HEAD + ",".join(row.values()) + "\n")
    assert f"line 4: {column} is {float(value):g}; it must be positive and finite" in said


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("3e8,6e9,\n", "line 4: loss is missing"),
        ("3e8,6e9,low\n", "line 4: loss is 'low'; give a number"),
        ("3e8,6e9\n", "line 4: 2 cells under 3 columns"),
        ('3e8,"6e9,2.8\n', "line 4: is not CSV"),
        ("3e8,6e9,2.8\n\n1e8,2e9,3.1\n", "line 6: the same run as line 2"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_with_their_line(tmp_path: Path, rows: str, said: str) -> None:
    assert said in refusal(tmp_path / "runs.csv", HEAD + rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("params,tokns,loss\n", "no column 'tokens' (or flops); rename 'tokns'"),
        ("size,flops,loss\n", "no column 'params'; the first line names: size, flops, loss"),
        ("params,tokens,loss,loss\n", "column 'loss' stands there twice"),
        ("params,flops,loss\n0,1e18,3\n", "line 2: params is 0"),
        ("params,flops,loss\n1e8,-1e18,3\n", "line 2: tokens is -1.66667e+09"),
        ("params,tokens,loss,unique_tokens\n1e8,1e9,3,-2\n", "line 2: unique_tokens is -2"),
        ("params,tokens,loss\n", "holds no runs"),
        ("", "holds no runs"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path / "runs.csv", text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: is not JSON"),
        ("[1, 2]", "line 2: is not an object"),
        ('{"params": true, "tokens": 1, "loss": 1}', "line 2: params is True"),
        ('{"params": 1e8, "tokens": NaN, "loss": 1}', "line 2: tokens is nan"),
        ('{"params": 1e8, "loss": 1}', "line 2: tokens is missing"),
        ('{"params": 1' + "0" * 400 + ', "tokens": 1, "loss": 1}', "line 2: params is '1000"),
    ],
)
def test_lines_that_cannot_be_used_are_refused(tmp_path: Path, line: str, said: str) -> None:
    good = '{"params": 1e8, "tokens": 2e9, "loss": 3}\n'
    assert said in refusal(tmp_path / "runs.jsonl", good + line)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_runs(tmp_path / "none.csv")
    (tmp_path / "runs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_runs(tmp_path / "runs.csv")


def test_runs_made_by_hand_are_refused_by_their_number() -> None:
    good = Run(1e8, 2e9, 3.1)
    with pytest.raises(UsageError, match="run 2: loss is nan"):
        fit([good, Run(1e8, 3e9, math.nan)])
    with pytest.raises(UsageError, match="run 2: the same run as run 1"):
        fit([good, Run(1e8, 2e9, 3.1)])
    with pytest.raises(UsageError, match="too few"):  # two losses of one size and length are two seeds
        fit([good, Run(1e8, 2e9, 3.2)])
