"""Whether the embedded model looks at a photo and finds others like it when it is asked to: twenty ways to say it, through the real program.

python -m benchmarks.vision_words [--write] [--only ID] [--errors FILE]

Each request of tests/data/handwritten/vision_photos.jsonl and vision_photos_second.jsonl is an `agentkit run` of its own, in a folder with a photo of a shoe (`photo.png`)
and a catalogue of drawn pictures, six blue shoes among them. It counts where the photo was asked about and the colour is right, three
pictures like it but blue were looked for and all three are blue shoes, and the answer has the colour and the three names. Beside it: the
everyday calculations, with the tools installed and without.

The tools' words, and where a request is cut into parts, were chosen on vision_development.jsonl. The first twenty were written before there
were tools, and their misses were looked at once, after the first reading (9 of 20); the second twenty were written by somebody who had seen
nothing of this, after the last choice was made, and were asked once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agentkit_synthesis.images.renderer import draw
from agentkit_synthesis.images.worlds import SHOP, WORLDS
from benchmarks import figures, sprout_tasks
from benchmarks.asking import Asked, ask, everyday, shares, show

COMMAND = "python -m benchmarks.vision_words --write"
FILES = {"vision-photo": "vision_photos.jsonl", "vision-photo-second": "vision_photos_second.jsonl"}
PHOTO, CATALOGUE = "photo.png", "catalogue"
WHAT = "ways to ask for a shoe's colour in a photo and three like it but blue"
PLUGINS = ("basics", "vision")
TARGET = 0.8
COLOUR, WANTED, COUNT = "red", "blue", 3
PLAIN = {"count": "1", "position": "centre", "texture": "plain", "size": "large"}
SIZE = 96  # pixels of a side
BLUE_SHOES, OTHERS = 6, 40


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vision_words", description="Pictures in words.")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/vision_words.json")
    parser.add_argument("--only", action="append", metavar="ID", help="only this request; can be repeated")
    parser.add_argument("--errors", type=Path, metavar="FILE", help="write all that was asked here, as JSON Lines")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    asked = {id: list(_shown(ask_all(file, wanted.only))) for id, file in FILES.items()}
    for id, ones in asked.items():
        print(f"{FILES[id]}: {sum(one.right for one in ones)} of {len(ones)}")
    if wanted.errors:
        told = [json.dumps(asdict(one)) for ones in asked.values() for one in ones]
        figures.write_whole(wanted.errors, "\n".join(told) + "\n")
    if wanted.write and not wanted.only:
        measured = [
            row
            for id, ones in asked.items()
            for row in shares(
                ones, id=id, what=f"{len(ones)} {WHAT} ({FILES[id]})", ran="both are right", target=TARGET
            )
        ]
        measured += everyday("vision", PLUGINS)
        figures.write("vision_words", figures.rows(measured, command=COMMAND, seconds=time.monotonic() - began))
        for row in measured:
            print(row.id, row.value, row.n)
    return 0


def _shown(asked: Iterable[Asked]) -> Iterator[Asked]:
    for one in asked:
        show(one)
        yield one


def ask_all(file: str, only: Sequence[str] | None = None) -> Iterator[Asked]:
    """Ask all requests of a file, one after the other, each in a folder as it was at first."""
    with tempfile.TemporaryDirectory() as place:
        made = Path(place, "made")
        blue = make_workspace(made)
        for row in sprout_tasks.lines(file):
            if only and row["id"] not in only:
                continue
            home, work = Path(place, "home"), Path(place, "work")
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(made, work)
            home.mkdir(exist_ok=True)
            yield ask(row, home, work, tools=(), plugins=PLUGINS, judge=lambda data: judged(data, blue))


def make_workspace(folder: Path) -> set[str]:
    """Draw the photo and the catalogue; return the names of the blue shoes."""
    world = WORLDS[SHOP]
    rng = np.random.default_rng(20)
    (folder / CATALOGUE).mkdir(parents=True)

    def put(path: Path, where: Mapping[str, str]) -> dict[str, str]:
        scene = world.random_scene(rng, dict(where))
        Image.fromarray(draw(scene, SIZE).pixels).save(path)
        labels: dict[str, str] = world.labels(scene)
        return labels

    shoe = {"category": "shoe", "shape": "none"}
    put(folder / PHOTO, {**PLAIN, **shoe, "colour": COLOUR, "background": "white"})
    blue = set()
    for number, where in enumerate([{**shoe, "colour": WANTED, "count": "1"}] * BLUE_SHOES + [{}] * OTHERS, 1):
        path = folder / CATALOGUE / f"item-{number:02}.png"
        labels = put(path, where)
        if (labels["category"], labels["colour"]) == ("shoe", WANTED):
            blue.add(path.name)
    return blue


def judged(data: Mapping[str, Any], blue: set[str]) -> tuple[bool, bool, bool]:
    """Return whether both calls were right, both results, and whether the answer has them."""
    steps = [step for step in data["steps"] if step["ok"]]
    asking = [
        step for step in steps if step["tool"] == "ask_image" and step["arguments"].get("image", "").endswith(PHOTO)
    ]
    finding = [step for step in steps if step["tool"] == "find_images" and _is_asked(step["arguments"])]
    seen = any(COLOUR in step["result"].lower() for step in asking)
    found = next((names for step in finding if (names := _names(step["result"])) and set(names) <= blue and len(names) == COUNT), [])  # fmt: skip
    told = COLOUR in data["answer"].lower() and bool(found) and all(name in data["answer"] for name in found)
    return bool(asking and finding), seen and bool(found), told


def _is_asked(given: Mapping[str, Any]) -> bool:
    like, what = given.get("like") or "", given.get("what") or ""
    return like.endswith(PHOTO) and WANTED in what and given.get("k") == COUNT


def _names(result: str) -> list[str]:
    words = result.replace(",", " ").replace(":", " ").split()
    return list(
        dict.fromkeys(Path(word).name for word in words if Path(word).suffix == ".png" and Path(word).name != PHOTO)
    )


if __name__ == "__main__":
    raise SystemExit(main())
