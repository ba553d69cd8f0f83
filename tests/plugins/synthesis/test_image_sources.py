from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agentkit.errors import InvalidParams
from agentkit_synthesis.images import folders
from agentkit_synthesis.images.labelled import UNKNOWN, split
from agentkit_synthesis.images.learnable import learnable
from agentkit_synthesis.images.sources import load, render_products


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with 12 red and 12 blue images of different sizes."""
    rng = np.random.default_rng(0)
    for name, rgb in (("red", (200, 20, 20)), ("blue", (20, 20, 200))):
        (tmp_path / name).mkdir()
        for n in range(12):
            pixels = np.clip(rng.normal(rgb, 10, (20 + n, 30, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{n:02}.png")
    return tmp_path


def test_digits_are_the_real_ones() -> None:
    found = load("digits")
    assert found.pixels.shape == (1797, 8, 8, 1)
    assert found.pixels.dtype == np.uint8
    assert found.pixels.max() == 255
    assert found.values["digit"][3] == "3"
    assert np.bincount(found.labels["digit"]).min() == 174
    assert found.digest == load("digits").digest


def test_products_have_every_attribute_and_differ_by_seed() -> None:
    one = render_products(40, size=16, seed=1)
    assert one.pixels.shape == (40, 16, 16, 3)
    assert one.digest == render_products(40, size=16, seed=1).digest != render_products(40, size=16, seed=2).digest
    assert one.only(["colour"]).table.shape == (40, 1)
    with pytest.raises(InvalidParams, match=r"/attributes/0.*'weight'"):
        one.only(["weight"])


def test_folders_name_the_labels(home: Path) -> None:
    found = load(home, size=16)
    assert found.pixels.shape == (24, 16, 16, 3)
    assert found.values == {"label": ("blue", "red")}
    assert found.names[0] == "blue/00.png"
    assert found.labels["label"].tolist() == [0] * 12 + [1] * 12
    red = found.pixels[found.labels["label"] == 1].mean(axis=(0, 1, 2))
    assert red[0] > 150 > red[2]


def test_a_csv_has_several_attributes_and_unknown_labels(home: Path) -> None:
    rows = [
        (f"{colour}/{n:02}.png", colour, "odd" if n % 2 else "even") for colour in ("red", "blue") for n in range(12)
    ]
    rows[3] = (rows[3][0], "", "odd")
    with (home / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "colour", "parity"), *rows])
    found = load(home, size=8)
    assert found.values == {"colour": ("blue", "red"), "parity": ("even", "odd")}
    assert (found.table[3] == [UNKNOWN, 1]).all()
    assert len(found.known()) == 23


def test_what_the_export_writes_can_be_read(home: Path) -> None:
    lines = [{"file_name": f"red/{n:02}.png", "labels": {"part": "ab"[n % 2]}, "confidence": 0.9} for n in range(12)]
    lines += [{"file_name": f"blue/{n:02}.png", "labels": {"part": "ab"[n % 2]}} for n in range(12)]
    (home / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert load(home, size=8).values == {"part": ("a", "b")}


def modes() -> dict[str, Image.Image]:
    """Return a white left half and a black right half, in every mode."""
    grey = np.zeros((40, 40), np.uint8)
    grey[:, :20] = 255
    plain = Image.fromarray(grey)
    clear = Image.merge("RGBA", [Image.fromarray(np.zeros_like(grey))] * 3 + [Image.fromarray(255 - grey)])
    return {
        "1.png": plain.convert("1"), "L.png": plain, "P.png": plain.convert("P"), "RGB.jpg": plain.convert("RGB"),
        "CMYK.jpg": plain.convert("CMYK"), "LA.png": plain.convert("LA"), "RGBA.png": clear,
        "I16.png": Image.fromarray(grey.astype(np.uint16) * 257), "F.tiff": Image.fromarray(grey.astype(np.float32) / 255),
        "I.tiff": Image.fromarray(grey.astype(np.int32) * 257),
    }  # fmt: skip


@pytest.mark.parametrize("name", modes())
def test_every_mode_looks_the_same(tmp_path: Path, name: str) -> None:
    modes()[name].save(tmp_path / name)
    found = folders.read_image(tmp_path / name, 8)
    assert found.shape[:2] == (8, 8)
    assert (found[:, :3] > 245).all()
    assert (found[:, 5:] < 10).all()


def test_an_image_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees
    modes()["RGB.jpg"].save(tmp_path / "turned.jpg", exif=exif)
    found = folders.read_image(tmp_path / "turned.jpg", 8)
    assert (found[:3] > 245).all()
    assert (found[5:] < 10).all()


def test_broken_files_are_named_or_left_out(home: Path) -> None:
    (home / "red" / "text.png").write_text("no image")
    whole = (home / "red" / "00.png").read_bytes()
    (home / "blue" / "torn.png").write_bytes(whole[: len(whole) // 2])
    (home / "blue" / "empty.png").write_bytes(b"")
    with pytest.raises(InvalidParams, match=r"empty\.png.*torn\.png: it is broken.*text\.png.*skip_bad"):
        load(home)
    found = load(home, skip_bad=True)
    assert len(found) == 24
    assert len(found.warnings) == 3


def test_a_bomb_is_not_unpacked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (30_000, 10_000)).save(home / "red" / "bomb.png")  # 300 million pixels in 40 kB
    with pytest.raises(InvalidParams, match=r"bomb\.png.*pixels"):
        load(home)
    Image.new("1", (10_000, 8_000)).save(home / "red" / "bomb.png")  # below Pillow's own limit, over ours
    with pytest.raises(InvalidParams, match=r"bomb\.png.*over 64,000,000"):
        load(home)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("file,colour\nred/00.png,red\nred/77.png,red\n", r"not there: red/77\.png"),
        ("file,colour\nred/00.png,red\nred/00.png,blue\n", r"names red/00\.png twice.*row 2"),
        ("name,colour\nred/00.png,red\n", "no column `file`"),
        ("file,colour\n/etc/hosts,red\n", "row 1: /etc/hosts lies outside the folder"),
        ("file,colour\n../x.png,red\n", "lies outside the folder"),
        ("file,colour\nred/00.png\n", "line 2: it has not as many cells"),
        ("file,colour\n", "no column `file`, or no rows"),
        ("", "no column `file`, or no rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(home: Path, table: str, told: str) -> None:
    (home / "labels.csv").write_text(table)
    with pytest.raises(InvalidParams, match=told):
        load(home)


def table(home: Path, cells: list[str]) -> None:
    files = [f"{name}/{n:02}.png" for name in ("red", "blue") for n in range(12)]
    (home / "labels.csv").write_text("file,a\n" + "\n".join(f"{f},{c}" for f, c in zip(files, cells, strict=True)))


def test_labels_that_tell_nothing_apart_are_refused(home: Path) -> None:
    table(home, ["same"] * 24)
    assert load(home).values == {"a": ("same",)}  # it can be read, and not be learnt from
    with pytest.raises(InvalidParams, match="same label"):
        learnable(load(home))
    table(home, ["x"] * 22 + ["y"] * 2)
    with pytest.raises(InvalidParams, match=r"a=y .* has 2 images; at least 4"):
        learnable(load(home))
    (home / "labels.csv").write_text("file,a\nred/00.png,red\n")
    with pytest.raises(InvalidParams, match="has 1 usable images; at least 20"):
        learnable(load(home))
    table(home, [""] * 24)
    with pytest.raises(InvalidParams, match=r"no image .* has a label"):
        load(home)


def test_folders_without_labelled_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match="is no folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InvalidParams, match="holds no labelled images"):
        load(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("file,x\n")
    with pytest.raises(InvalidParams, match="2 CSV files"):
        load(tmp_path)


def test_no_image_is_on_both_sides_of_a_split() -> None:
    images = load("digits")
    twice = images.chosen(np.r_[np.arange(200), np.arange(100)])
    train, held_out = split(twice, 0.3)
    assert len(train) + len(held_out) == 300
    assert not {one.tobytes() for one in train.pixels} & {one.tobytes() for one in held_out.pixels}
    assert len(np.unique(held_out.labels["digit"])) == 10
    assert 50 < len(held_out) < 130


def test_forgotten_labels_are_a_share_of_every_value() -> None:
    images = load("digits")
    few, more = images.forgotten(0.1, seed=3), images.forgotten(0.5, seed=3)
    kept, kept_more = (one.labels["digit"] != UNKNOWN for one in (few, more))
    counts = np.bincount(images.labels["digit"][kept])
    assert counts.min() >= 17
    assert counts.max() <= 19
    assert not (kept & ~kept_more).any()
    assert len(few.known()) == kept.sum()
    assert len(few) == len(images)
