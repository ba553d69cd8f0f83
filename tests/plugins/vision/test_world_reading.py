"""Data sets of pictures, as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentkit.errors import InvalidParams
from agentkit_vision.contracts import Example
from agentkit_vision.world.reading import divided, read_examples, vocabulary_of


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not looked at")


def listed(folder: Path, *rows: object) -> None:
    (folder / "metadata.jsonl").write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )


def test_metadata_as_synthesis_writes_it_and_as_others_do(tmp_path: Path) -> None:
    files(tmp_path, "a/1.png", "a/2.png", "3.png")
    listed(
        tmp_path,
        {"colour": "red", "file_name": "a/1.png", "id": "images-1-0", "labels": {"colour": "red", "count": "1"}, "seed": 1, "verified": True},
        {"file_name": "a/2.png", "text": "a caption", "colour": "blue", "count": 2, "new": True, "score": 0.3, "split": "test"},
        {"file_name": "3.png", "labels": {}},
    )  # fmt: skip
    assert read_examples(tmp_path) == [
        Example(path="a/1.png", labels={"colour": "red", "count": "1"}),
        Example(path="a/2.png", labels={"colour": "blue", "count": "2", "new": "yes"}, split="test"),
        Example(path="3.png", labels={}),
    ]


def test_a_csv_with_what_is_not_known(tmp_path: Path) -> None:
    files(tmp_path, "1.png", "2.png")
    (tmp_path / "labels.csv").write_text("\ufefffile,colour,split\n1.png,red,train\n2.png,,val\n", encoding="utf-8")
    assert read_examples(tmp_path) == [
        Example(path="1.png", labels={"colour": "red"}),
        Example(path="2.png", labels={}, split="validation"),
    ]


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    files(tmp_path, "cat/1.png", "dog/2.JPG", "dog/old/3.png", "notes.txt", "4.png")
    assert [(one.path, dict(one.labels)) for one in read_examples(tmp_path)] == [
        ("cat/1.png", {"label": "cat"}),
        ("dog/2.JPG", {"label": "dog"}),
        ("dog/old/3.png", {"label": "dog"}),
    ]


def test_folders_for_each_split(tmp_path: Path) -> None:
    files(tmp_path, "train/cat/1.png", "test/dog/2.png")
    assert [(one.labels["label"], one.split) for one in read_examples(tmp_path)] == [("dog", "test"), ("cat", "train")]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["{"], "line 1: no JSON object"),
        (["[1]"], "line 1: no JSON object"),
        ([{"colour": "red"}], "line 1: no JSON object with a file_name"),
        ([{"file_name": "../x.png", "colour": "red"}], "outside the folder"),
        ([{"file_name": "/etc/passwd", "colour": "red"}], "outside the folder"),
        ([{"file_name": "no.png", "colour": "red"}], "not there: no.png"),
        ([{"file_name": "1.png", "colour": "red"}, {"file_name": "1.png", "colour": "red"}], "twice, the second time in row 2"),
        ([{"file_name": "1.png", "id": "x"}], "no picture .* has a label"),
        ([], "no column `file`, or no rows"),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_used(tmp_path: Path, rows: list[object], told: str) -> None:
    files(tmp_path, "1.png")
    listed(tmp_path, *rows)
    with pytest.raises(InvalidParams, match=told):
        read_examples(tmp_path)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match="is no folder"):
        read_examples(tmp_path / "none")
    with pytest.raises(InvalidParams, match="holds no labelled pictures"):
        read_examples(tmp_path)
    (tmp_path / "a.csv").write_text("file,colour\n1.png\n")
    with pytest.raises(InvalidParams, match="line 2: it has not as many cells"):
        read_examples(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"file,colour\n1.png,\xff\n")
    with pytest.raises(InvalidParams, match="not in UTF-8"):
        read_examples(tmp_path)
    (tmp_path / "b.csv").write_text("file,colour\n")
    with pytest.raises(InvalidParams, match="2 CSV files"):
        read_examples(tmp_path)


def test_the_vocabulary_is_in_the_order_of_the_examples_and_of_counting() -> None:
    examples = [
        Example(path="1", labels={"colour": "red", "count": "10"}),
        Example(path="2", labels={"colour": "blue", "count": "2"}),
    ]
    assert vocabulary_of(examples) == {"colour": ("red", "blue"), "count": ("2", "10")}


def test_what_is_held_out_stays_held_out_as_pictures_are_added() -> None:
    many = [Example(path=f"{n}.png") for n in range(2000)]
    kept, out = divided(many, 0.2, seed=1)
    assert 320 < len(out) < 480
    assert len(kept) + len(out) == len(many)
    assert divided(many[:500], 0.2, seed=1)[1] == [one for one in out if int(one.path[:-4]) < 500]
    with pytest.raises(InvalidParams, match="/share"):
        divided(many, 2)


def test_what_the_renderer_writes_is_read(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from agentkit import jobs
    from agentkit_synthesis.images.jobs import IMAGES
    from agentkit_synthesis.images.worlds import SHOP_ATTRIBUTES

    order = {"out": str(tmp_path / "shop"), "method": "render", "source": "shop", "size": 16, "count": 200, "seed": 1}
    jobs.run(IMAGES, order, run_dir=tmp_path / "run")
    examples = read_examples(tmp_path / "shop")
    assert len(examples) == 200
    assert {name: set(values) for name, values in vocabulary_of(examples).items()} == {
        name: set(values) for name, values in SHOP_ATTRIBUTES.items()
    }
