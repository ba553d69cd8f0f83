"""Rows of training files: what is taken, what is refused, and where it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import InvalidParams
from agentkit_training.finetune.rows import Kind, Rows, held_out, read_rows, sort_of

GOOD = {"prompt": "1+1=", "chosen": "2", "rejected": "3"}
USER, SAID = [{"role": "user", "content": "1+1?"}], [{"role": "assistant", "content": "2"}]


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("kind", "row", "columns", "talks"),
    [
        ("text", {"text": "a"}, ("text",), False),
        ("text", {"messages": [*USER, *SAID]}, ("messages",), True),
        ("text", {"prompt": "a", "completion": "b"}, ("prompt", "completion"), False),
        ("text", {"prompt": "", "completion": "b"}, ("prompt", "completion"), False),
        ("text", {"prompt": USER, "completion": SAID}, ("prompt", "completion"), True),
        ("preference", GOOD, ("prompt", "chosen", "rejected"), False),
        ("preference", {"chosen": [*USER, *SAID], "rejected": [*USER, {"role": "assistant", "content": "3"}]}, ("chosen", "rejected"), True),
        ("prompts", {"prompt": USER, "answer": 2}, ("prompt",), True),
    ],
)  # fmt: skip
def test_every_format_of_trl_is_taken(
    kind: Kind, row: Any, columns: tuple[str, ...], talks: bool, tmp_path: Path
) -> None:
    found = read_rows(lines(tmp_path / "rows.jsonl", row, "", row), kind)
    assert [one.place for one in found.rows] == ["line 1", "line 3"]
    assert (found.columns, found.conversational) == (columns, talks)
    assert found.rows[0].data == row


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("preference", "{", "line 2: is no JSON"),
        ("preference", "[1]", "line 2: is a list, no object"),
        ("preference", {"prompt": "a", "chosen": "b"}, "line 2: has no `rejected`"),
        ("preference", {**GOOD, "rejected": "2"}, "line 2: chosen and rejected are the same"),
        ("preference", {**GOOD, "rejected": " "}, "line 2: `rejected` is empty"),
        ("preference", {**GOOD, "chosen": 2}, "line 2: `chosen` is int"),
        ("preference", {**GOOD, "chosen": SAID}, "line 2: mixes plain texts and conversations"),
        ("preference", {"prompt": USER, "chosen": SAID, "rejected": [{"role": "assistant", "content": "3"}]}, "line 2: is a conversation"),
        ("text", {"text": ""}, "line 2: `text` is empty"),
        ("text", {"text": ["a"]}, "line 2: `text` is list"),
        ("prompts", {"prompt": [{"role": "nobody", "content": "x"}]}, "line 2: `prompt[0]` has no role"),
        ("prompts", {"prompt": [{"role": "user", "content": ""}]}, "line 2: `prompt[0]` has no content"),
        ("prompts", {"prompt": []}, "line 2: `prompt` has no messages"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_its_line_and_can_be_left_out(kind: Kind, row: Any, said: str, tmp_path: Path) -> None:
    first = {"text": {"text": "a"}, "preference": GOOD, "prompts": {"prompt": "a"}}[kind]
    path = lines(tmp_path / "rows.jsonl", first, row)
    with pytest.raises(InvalidParams) as refused:
        read_rows(path, kind)
    assert str(refused.value).startswith("/data: ")
    assert said in str(refused.value)
    assert "--skip-bad-rows" in str(refused.value)
    found = read_rows(path, kind, skip=True)
    assert len(found.rows) == 1
    assert said in found.left_out[0]


def test_messages_need_an_answer(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match="no turn of the assistant"):
        read_rows(lines(tmp_path / "rows.jsonl", {"messages": USER}), "text")


def test_many_bad_rows_are_counted_and_the_first_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", GOOD, *["{"] * 9)
    with pytest.raises(InvalidParams, match=r"9 of 10 rows cannot be used: line 2: .*line 6: .*and 4 more"):
        read_rows(path, "preference")


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "has no rows"), ("\n\n", "has no rows"), ('{"other": 1}\n', "rows need `prompt`, `chosen` and `rejected`")],
)
def test_a_file_without_rows_says_what_they_look_like(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(InvalidParams, match=said):
        read_rows(path, "preference")


def test_nothing_left_is_an_error_also_where_rows_may_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match="2 of 2 rows"):
        read_rows(lines(tmp_path / "rows.jsonl", "{", "{"), "preference", skip=True)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for read in (lambda path: read_rows(path, "text"), sort_of):
        with pytest.raises(InvalidParams, match="there is no file"):
            read(tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["chosen", "rejected"])
def test_one_sided_preferences_are_refused(name: str, tmp_path: Path) -> None:
    rows = [{**GOOD, "prompt": f"{n}", "chosen": f"c{n}", "rejected": f"r{n}", name: "always"} for n in range(4)]
    with pytest.raises(InvalidParams, match=f"`{name}` is the same text in all 4 rows"):
        read_rows(lines(tmp_path / "rows.jsonl", *rows), "preference")


def test_parquet_is_read_as_json_lines_are(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {"prompt": USER, "chosen": SAID, "rejected": [{"role": "assistant", "content": str(n)}]} for n in range(3, 6)
    ]
    rows.append({**rows[0], "rejected": SAID})
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with pytest.raises(InvalidParams, match="row 4: chosen and rejected are the same"):
        read_rows(tmp_path / "rows.parquet", "preference")
    assert [one.data["prompt"] for one in read_rows(tmp_path / "rows.parquet", "preference", skip=True).rows] == [
        USER
    ] * 3


def test_what_is_no_parquet_says_so(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "rows.parquet").write_text("text")
    with pytest.raises(InvalidParams, match="cannot be read as Parquet"):
        read_rows(tmp_path / "rows.parquet", "text")


@pytest.mark.parametrize(
    ("row", "kind"),
    [(GOOD, "preference"), ({"text": "a"}, "text"), ({"messages": []}, "text"), ({"prompt": "a"}, "prompts")],
)
def test_the_sort_of_a_file_is_seen_by_its_columns(row: Any, kind: Kind, tmp_path: Path) -> None:
    assert sort_of(lines(tmp_path / "rows.jsonl", "{", row)) == kind


@given(st.integers(2, 60), st.floats(0.01, 0.5), st.integers(1, 3))
def test_dividing_keeps_every_row_and_no_prompt_on_both_sides(count: int, share: float, each: int) -> None:
    rows = _rows(count, each)
    train, evaluated = held_out(rows, share)
    assert sorted(row.place for row in train + evaluated) == sorted(row.place for row in rows.rows)
    assert train
    assert evaluated
    assert not {row.data["prompt"] for row in train} & {row.data["prompt"] for row in evaluated}


@given(st.integers(3, 60), st.floats(0.1, 0.5))
def test_a_row_more_moves_no_other(count: int, share: float) -> None:
    before = {row.place for row in held_out(_rows(count, 1), share)[1]}
    after = {row.place for row in held_out(_rows(count + 1, 1), share)[1]}
    if len(before) > 1 and len(after) > 1:  # at least one row is held out, whichever it is
        assert after - before <= {f"line {count}"}
        assert before <= after


def test_rows_of_one_prompt_cannot_be_divided() -> None:
    with pytest.raises(InvalidParams, match="one prompt"):
        held_out(_rows(1, 4), 0.5)
    assert held_out(_rows(1, 4), 0.0)[1] == []


def _rows(count: int, each: int) -> Rows:
    from agentkit_training.finetune.rows import Row

    found = tuple(
        Row(f"line {n * each + k}", {**GOOD, "prompt": f"p{n}", "chosen": f"c{k}"})
        for n in range(count)
        for k in range(each)
    )
    return Rows(path=Path("rows.jsonl"), rows=found, columns=("prompt", "chosen", "rejected"), conversational=False)
