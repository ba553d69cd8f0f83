"""A finished folder of labelled images: `metadata.jsonl`, `manifest.json`, a card, a contact sheet, COCO boxes.

The folder is an ImageFolder: a folder for each value of the first attribute, and `metadata.jsonl`, which Hugging Face's `datasets`
reads, with all labels. Rows are in the order in which the images were made.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agentkit.jobs import write_atomic
from agentkit_synthesis.images.balance import Values
from agentkit_synthesis.images.files import contact_sheet, writing
from agentkit_synthesis.images.making import BATCHES
from agentkit_synthesis.images.worlds import WORLDS, kind_of

__all__ = ["FORMAT", "MANIFEST", "METADATA", "SHEET", "export"]

METADATA, MANIFEST, SHEET, COCO = "metadata.jsonl", "manifest.json", "contact.png", "annotations.json"
FORMAT = "agentkit-image-set/1"
SHOWN = 60  # images of a contact sheet


def export(folder: Path, manifest: Mapping[str, Any], *, values: Values, size: int, about: str) -> dict[str, Any]:
    """Write all that belongs to the images in `folder` but themselves; return the manifest.

    Args:
        folder: holds the images and `batches.jsonl`.
        manifest: what the images depend on, plain data.
        values: attribute -> the names of its values.
        size: side of the images.
        about: a sentence for the card: how labels were verified.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in values}
    digest = hashlib.sha256()
    shown: list[dict[str, Any]] = []
    every = max(1, int(manifest["count"]) // SHOWN)
    with writing(folder / METADATA) as file:
        for total, row in enumerate(_rows(folder, values, manifest)):
            row.pop("things", None)
            line = json.dumps(row, ensure_ascii=False) + "\n"
            file.write(line)
            digest.update(line.encode())
            digest.update((folder / row["file_name"]).read_bytes())
            for name, value in row["labels"].items():
                counts[name][value] += 1
            if total % every == 0 and len(shown) < SHOWN:
                shown.append(row)
    if manifest["method"] == "render":
        kinds = WORLDS[manifest["source"]].kinds()
        _write_coco(folder, lambda: _rows(folder, values, manifest), size, kinds)
    _sheet(folder, shown)
    told = {
        "format": FORMAT, **manifest, "labels": {name: dict(sorted(found.items())) for name, found in counts.items()},
        "sha256": digest.hexdigest(),
    }  # fmt: skip
    write_atomic(folder / "README.md", _card(told, about))
    write_atomic(folder / MANIFEST, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return told


def _rows(folder: Path, values: Values, manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each image's row of metadata."""
    names = list(values)
    with (folder / BATCHES).open(encoding="utf-8") as file:
        for line in file:
            batch = json.loads(line)
            for one in batch["kept"]:
                target = batch["targets"][one["number"] % manifest["at_once"]]
                labels = {name: values[name][index] for name, index in zip(names, target, strict=True)}
                notes = {key: value for key, value in one.items() if key not in ("number", "slot", "file_name")}
                name = Path(one["file_name"]).stem
                yield {
                    **labels, "file_name": one["file_name"], "id": name, "labels": labels, "seed": manifest["seed"],
                    "number": one["number"], "synthetic": True, **notes,
                }  # fmt: skip


def _write_coco(folder: Path, rows: Callable[[], Iterator[dict[str, Any]]], size: int, kinds: Sequence[str]) -> None:
    """Write boxes as COCO has them, row by row; categories are what is drawn, all labels are an annotation's attributes."""
    with writing(folder / COCO) as file:
        file.write('{"images": [')
        for n, row in enumerate(rows(), 1):
            one = {"id": n, "file_name": row["file_name"], "width": size, "height": size}
            file.write(f"{', ' if n > 1 else ''}{json.dumps(one)}")
        file.write('], "annotations": [')
        things = ((n, thing) for n, row in enumerate(rows(), 1) for thing in row["things"])
        for id, (n, thing) in enumerate(things, 1):
            one = {
                "id": id, "image_id": n, "category_id": kinds.index(kind_of(thing)) + 1, "bbox": thing["box"],
                "area": thing["area"], "iscrowd": 0,
                "attributes": {name: value for name, value in thing.items() if name not in ("box", "area")},
            }  # fmt: skip
            file.write(f"{', ' if id > 1 else ''}{json.dumps(one)}")
        categories = [{"id": n, "name": name} for n, name in enumerate(kinds, 1)]
        file.write(f'], "categories": {json.dumps(categories)}}}\n')


def _sheet(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    images = []
    for row in rows:
        with Image.open(folder / row["file_name"]) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        images.append(pixels)
    texts = ["\n".join(list(row["labels"].values())[:3]) for row in rows]
    write_atomic(folder / SHEET, contact_sheet(images, texts))


def _card(manifest: Mapping[str, Any], about: str) -> str:
    labels = manifest["labels"]
    tables = [
        line
        for name, found in labels.items()
        for line in (f"| {name} | images |", "|---|---:|", *(f"| {value} | {n:,} |" for value, n in found.items()), "")
    ]
    rejected = [f"| {why} | {n:,} |" for why, n in manifest["rejected"].items()]
    lines = [
        "---", "task_categories: [image-classification]", "tags: [synthetic, agentkit]", "---", "",
        f"# {manifest['count']:,} labelled images of {manifest['source']}", "",
        f"Synthetic, made by agentkit from seed {manifest['seed']} ({manifest['method']}): {manifest['count']:,} kept of"
        f" {manifest['tried']:,} made. {about}", "",
        *tables,
        *(["| left out because | images |", "|---|---:|", *rejected, ""] if rejected else []),
        "`metadata.jsonl` has every image's labels, how sure the judge is, its distance to the nearest training image and its number;"
        " `batches.jsonl` and `manifest.json` hold what it takes to make any of them again.", "",
        "What the real images lack, these lack too. The licence is for whoever publishes them to choose.", "",
    ]  # fmt: skip
    return "\n".join(lines)
