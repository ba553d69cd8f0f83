"""Pictures as people have them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
from PIL import Image, ImageOps

from agentkit.errors import InvalidParams
from agentkit_vision.contracts import Example, Pixels
from agentkit_vision.world.corruptions import COLOURLESS, DAMAGES, damaged, write_corrupted
from agentkit_vision.world.reading import read_examples

LABELS = {"category": "shoe", "colour": "red", "position": "left", "background": "white"}


def picture(x: float = 0.3, y: float = 0.7) -> Pixels:
    """A red disc on white, 48 x 48, its middle at x and y."""
    across, down = np.meshgrid(*[(np.arange(48) + 0.5) / 48] * 2)
    inside = (across - x) ** 2 + (down - y) ** 2 < 0.15**2
    return np.where(inside[:, :, None], (215, 40, 40), (245, 245, 245)).astype(np.uint8)


def shown(data: bytes) -> Image.Image:
    image: Image.Image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


@pytest.mark.parametrize("damage", list(DAMAGES))
@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_still_shows_what_its_labels_say(damage: str, seed: int) -> None:
    data, suffix = damaged(picture(), damage, np.random.default_rng(seed))
    assert (data, suffix) == damaged(picture(), damage, np.random.default_rng(seed))
    image = shown(data)
    side = min(image.size)
    pixels = np.asarray(ImageOps.fit(image, (side, side)), np.float64)
    if damage in COLOURLESS:
        assert np.ptp(pixels, axis=2).max() < 8
        weight = np.clip(np.median(pixels) - pixels.mean(axis=2) - 40, 0, None)
    else:
        weight = np.clip(pixels[:, :, 0] - pixels[:, :, 1:].mean(axis=2) - 45, 0, None)  # how red
    y, x = np.mgrid[0:side, 0:side] / side
    assert (weight > 0).mean() > 0.03
    assert (x * weight).sum() / weight.sum() == pytest.approx(0.3, abs=0.09)  # nearer to `left` than to any other place
    assert (y * weight).sum() / weight.sum() == pytest.approx(0.7, abs=0.09)


def test_each_damage_is_what_it_is_called() -> None:
    rng = np.random.default_rng(1)
    made = {name: damaged(picture(), name, rng)[0] for name in DAMAGES}
    opened = {name: Image.open(io.BytesIO(data)) for name, data in made.items()}
    assert opened["enlarged"].width >= 1000
    assert max(opened["tiny"].size) <= 28
    assert opened["wide"].width != opened["wide"].height
    assert not 0.9 < opened["stretched"].width / opened["stretched"].height < 1.1
    assert opened["turned"].getexif()[0x0112] in (3, 6, 8)
    assert opened["grey-alpha"].mode == "LA"
    assert opened["alpha"].mode == "RGBA"
    assert opened["palette"].mode == "P"
    assert opened["ink"].mode == "CMYK"
    assert {opened[name].format for name in ("jpeg", "screen", "turned", "ink")} == {"JPEG"}
    assert opened["crop"].size != (48, 48)
    for name in ("jpeg", "noise", "blur", "light"):
        assert opened[name].size == (48, 48)
        assert np.abs(np.asarray(opened[name].convert("RGB"), float) - picture()).mean() > 1


def data_set(folder: Path, count: int) -> list[Example]:
    for n in range(count):
        Image.fromarray(picture(0.3 + n / 100)).save(folder / f"{n}.png")
    return [Example(path=f"{n}.png", labels=LABELS) for n in range(count)]


def test_fifty_files_with_their_labels(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    examples = data_set(source, 32)
    made = write_corrupted(examples, source, tmp_path / "bad", count=30, seed=4)
    assert read_examples(tmp_path / "bad") == made
    rows = [json.loads(line) for line in (tmp_path / "bad" / "metadata.jsonl").read_text().splitlines()]
    assert {row["damage"] for row in rows} == set(DAMAGES)
    assert len({row["of"] for row in rows}) == 30
    for row in rows:
        assert ("colour" in row["labels"]) == (row["damage"] not in COLOURLESS)
        assert row["labels"]["category"] == "shoe"
        assert row["split"] == "test"
    again = write_corrupted(examples, source, tmp_path / "again", count=30, seed=4)
    assert again == made
    for one in made:
        assert (tmp_path / "bad" / one.path).read_bytes() == (tmp_path / "again" / one.path).read_bytes()


def test_what_cannot_be_damaged_is_refused(tmp_path: Path) -> None:
    examples = data_set(tmp_path, 3)
    with pytest.raises(InvalidParams, match="/count: 50 of 3"):
        write_corrupted(examples, tmp_path, tmp_path / "out")
    with pytest.raises(InvalidParams, match=r"/out: .* holds something"):
        write_corrupted(examples, tmp_path, tmp_path, count=2)
    (tmp_path / "0.png").write_text("no picture")
    with pytest.raises(InvalidParams, match=r"0\.png cannot be read"):
        write_corrupted(examples, tmp_path, tmp_path / "out", count=3)
    with pytest.raises(InvalidParams, match="there is no 'fire'"):
        damaged(picture(), "fire", np.random.default_rng(0))
