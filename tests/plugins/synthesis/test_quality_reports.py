"""`agentkit synth report` on whole data sets: what is planted is told, and what cannot be read is named."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agentkit import jobs
from agentkit.errors import InvalidParams
from agentkit_synthesis.quality.page import shown
from agentkit_synthesis.quality.reporting import REPORT
from agentkit_synthesis.quality.rows import texts_of


def row(n: int, **more: Any) -> dict[str, Any]:
    words = " ".join(f"w{n}x{k}" for k in range(30))
    asked = f"Question {n}: {words} <b>?</b>"
    said = f"The answer is {n}. {words[::-1]}"
    family = "dates" if n % 4 == 0 else "sums"
    messages = [{"role": "system", "content": "Think."}, {"role": "user", "content": asked}, {"role": "assistant", "content": said}]  # fmt: skip
    return {"id": f"mine-0-{n}", "family": family, "messages": messages, "verified": n != 3, **more}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def report(folder: Path, **params: Any) -> tuple[jobs.JobResult, dict[str, Any], str]:
    out = folder.parent / "report"
    done = jobs.run(REPORT, {"data": str(folder), "out": str(out), **params}, run_dir=folder.parent / "run")
    assert done.status == "ok", done.error
    return done, json.loads((out / "report.json").read_text()), (out / "report.html").read_text()


def test_texts_of_every_format() -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add"}}]}
    spoken = texts_of({"messages": [{"role": "user", "content": "a"}, called, {"role": "tool", "content": "3"}]})
    assert (spoken.prompt, spoken.system) == ("a\n3", "")
    assert "add" in spoken.answer
    assert texts_of({"prompt": "a", "completion": "b"}).whole == "a\nb"
    preferred = texts_of({"prompt": [{"role": "user", "content": "a"}], "chosen": [{"role": "assistant", "content": "b"}], "rejected": []})  # fmt: skip
    assert (preferred.prompt, preferred.answer) == ("a", "b")
    assert texts_of({"text": "t"}).whole == "t"
    assert texts_of({"other": 1}).whole == ""


def test_a_report_tells_what_was_planted(tmp_path: Path) -> None:
    train = [row(n) for n in range(80)]
    again = [row(0), row(1)]  # two whole rows
    near = json.loads(json.dumps(row(2)).replace("w2x0 ", "other "))  # one nearly
    write(tmp_path / "data" / "train.jsonl", [*train, *again, near])
    write(tmp_path / "data" / "test.jsonl", [*[row(n) for n in range(100, 125)], row(5), row(6), row(7)])  # three leak
    done, found, html = report(tmp_path / "data")
    assert found["rows"] == {"train": 83, "test": 28}
    assert found["duplicates"]["whole_rows"]["rows"] == 5
    assert found["duplicates"]["prompts"]["rows"] == 5
    assert found["duplicates"]["near"]["rows"] == 6
    assert found["leakage"]["problems"] == {"rows": 3, "of": 28, "share": pytest.approx(3 / 28, abs=1e-6)}
    assert {part: found["leakage"][part]["13"]["rows"] for part in ("prompt", "whole")} == {"prompt": 3, "whole": 3}
    assert found["verified"]["claimed"] == {"rows": 111, "right": 110}
    dates = sum(n % 4 == 0 for n in [*range(80), 0, 1, 2, *range(100, 125), 5, 6, 7])
    assert found["balance"]["family"]["counts"] == {"dates": dates, "sums": 111 - dates}
    assert {one["label"]: one["duplicate_rows"] for one in found["classes"]} == {"dates": 1, "sums": 4}
    assert done.metrics["test_problems_in_train"] == pytest.approx(3 / 28, abs=1e-6)
    assert "&lt;b&gt;?&lt;/b&gt;" in html  # rows cannot put tags into the page
    assert not re.search(r"<script|https?://|src=\"(?!data:)", html)


def test_the_same_data_give_the_same_report(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.jsonl", [row(n) for n in range(40)])
    pages = []
    for name in ("one", "other"):
        out = tmp_path / name
        jobs.run(
            REPORT, {"data": str(tmp_path / "data"), "out": str(out), "near_rows": 25}, run_dir=tmp_path / f"run-{name}"
        )
        pages.append([(out / file).read_bytes() for file in ("report.json", "report.html")])
    assert pages[0] == pages[1]


def test_without_a_test_split_and_with_few_rows_there_are_words_and_no_figures(tmp_path: Path) -> None:
    _, found, html = report(write(tmp_path / "chats.jsonl", [row(n) for n in range(5)]))
    assert found["leakage"] == {"no_split": "there is no train split"}
    assert found["diversity"]["whole"]["distinct_2"] == {"too_few": 5, "wanted": 20}
    assert "too few (5 of 20)" in html


def test_a_file_with_a_column_for_splits_has_splits(tmp_path: Path) -> None:
    rows = [row(n, split="test" if n < 30 else "train") for n in range(60)]
    rows.append(row(0, split="train"))
    _, found, _ = report(write(tmp_path / "chats.jsonl", rows))
    assert found["rows"] == {"test": 30, "train": 31}
    assert found["leakage"]["problems"]["rows"] == 1


def good(row: Mapping[str, Any]) -> str:
    """Return why a row is wrong: a verifier for these tests."""
    return "it is the seventh" if row["id"].endswith("-7") else ""


def test_a_verifier_is_run_only_where_it_is_trusted(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.jsonl", [row(n) for n in range(30)])
    (tmp_path / "data" / "manifest.json").write_text(json.dumps({"verifier": f"{__name__}:good", "source": "x:y"}))
    _, found, _ = report(tmp_path / "data")
    assert "executed" not in found["verified"]
    assert "--trust-verifier" in found["verified"]["how"]
    _, found, _ = report(tmp_path / "data", trust_verifier=True)
    assert found["verified"]["executed"] == {"rows": 30, "right": 29, "share": pytest.approx(29 / 30, abs=1e-6), "wrong": {"it is the seventh": 1}}  # fmt: skip


def test_rows_that_name_tools_of_others_are_run_only_where_they_are_trusted(tmp_path: Path) -> None:
    rows = [row(n, world={"from": "os"} if n < 10 else {"tools": []}) for n in range(30)]
    write(tmp_path / "data" / "train.jsonl", rows)
    (tmp_path / "data" / "manifest.json").write_text(json.dumps({"source": "agentkit_synthesis.tooluse.source:make"}))
    _, found, _ = report(tmp_path / "data")
    assert found["verified"]["executed"]["rows"] == 20
    assert "10 rows were not run: they name tools of others" in found["verified"]["how"]


def pictures(folder: Path, labels: str = "ab", each: int = 30, *, side: int = 8, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for place, label in enumerate(labels):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for n in range(each):
            pixels = (rng.random((side, side)) * 120 + 120 * (place % 2)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{n:03d}.png")
    return folder


def test_images_beside_real_ones(tmp_path: Path) -> None:
    pictures(tmp_path / "data", each=60)
    pictures(tmp_path / "real", each=60, seed=1)
    first = (tmp_path / "data" / "a" / "000.png").read_bytes()
    (tmp_path / "data" / "b" / "zzz.png").write_bytes(first)  # the same image, labelled otherwise
    _, found, html = report(tmp_path / "data", against=str(tmp_path / "real"))
    assert found["duplicates"]["images"]["rows"] == 1
    assert found["near"]["rows"] == 1
    assert found["balance"]["label"]["counts"] == {"a": 60, "b": 61}
    assert found["real"]["precision"] > 0.7  # drawn from the same
    assert found["real"]["recall"] > 0.7
    assert found["real"]["copies"]["share"] < 0.2
    assert html.count("data:image/png;base64,") == 24
    assert "grid" not in found


def test_copies_of_real_images_are_told(tmp_path: Path) -> None:
    pictures(tmp_path / "data", each=60)
    pictures(tmp_path / "real", each=60)
    _, found, _ = report(tmp_path / "data", against=str(tmp_path / "real"))
    assert found["real"]["copies"]["share"] == 1.0


def test_metadata_with_several_labels_and_splits_of_images(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    lines = [{"file_name": f"{label}/{n:03d}.png", "labels": {"shape": label, "size": "big" if n < 10 else "small"}, "split": "test" if n >= 5 else "train"} for label in "ab" for n in range(30)]  # fmt: skip
    write(tmp_path / "data" / "metadata.jsonl", lines)
    _, found, _ = report(tmp_path / "data")
    assert found["rows"] == {"train": 10, "test": 50}
    assert found["balance"]["size"]["counts"] == {"big": 20, "small": 40}
    assert found["leakage"]["images"]["rows"] == 0
    _, found, _ = report(tmp_path / "data", label="size")
    assert found["balance"]["label"]["counts"] == {"big": 20, "small": 40}


def test_images_of_different_sizes_are_told(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    pictures(tmp_path / "data", labels="c", side=20)
    done, found, _ = report(tmp_path / "data")
    assert found["size"]["seen"] == {"8 x 8": 60, "20 x 20": 30}
    assert done.warnings == ("the images have several sizes (8 x 8, 20 x 20); they are compared at 8 x 8",)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "neither train.jsonl nor one .jsonl file nor images"),
        ({"train.jsonl": ""}, "has no rows"),
        ({"train.jsonl": '{"text": "a"}\n\n{"text": \n'}, "train.jsonl, line 3: no JSON"),
        ({"train.jsonl": "[1]\n"}, "train.jsonl, line 1: list, not an object"),
        ({"a.png": "no image"}, "a.png has no label"),
        ({"cat/a.png": "no image"}, "cat/a.png cannot be read as an image"),
        ({"metadata.jsonl": '{"file_name": "b.png", "label": "x"}\n', "a.png": ""}, "line 1: there is no file 'b.png'"),
        ({"metadata.jsonl": '{"file_name": "a.png"}\n', "a.png": ""}, "line 1: a.png has no label"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, str], told: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    assert told in ended(folder, tmp_path / "run")


def ended(folder: Path, run_dir: Path) -> str:
    """Return why a report could not be made, before it was started or in the middle."""
    params = {"data": str(folder)}
    if list(folder.iterdir()):
        return jobs.run(REPORT, params, run_dir=run_dir).error
    with pytest.raises(InvalidParams) as raised:
        REPORT.plan(params)
    return str(raised.value)


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.jsonl", [row(1)])
    (tmp_path / "data" / "manifest.json").write_text("{")
    with pytest.raises(InvalidParams, match=r"manifest\.json cannot be read"):
        REPORT.plan({"data": str(tmp_path / "data")})


def test_a_report_stops_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train.jsonl", [row(n) for n in range(600)])
    stop = threading.Event()
    stop.set()
    params = {"data": str(tmp_path / "data")}
    assert jobs.run(REPORT, params, run_dir=tmp_path / "run", cancelled=stop).status == "cancelled"
    assert not (tmp_path / "data" / "report.json").exists()
    assert jobs.run(REPORT, params, run_dir=tmp_path / "run").status == "ok"


def test_figures_for_people() -> None:
    assert [shown(value) for value in (None, True, 12345, 0.123456, {"too_few": 3, "wanted": 20})] == ["-", "yes", "12,345", "0.1235", "too few (3 of 20)"]  # fmt: skip
