"""Labelled images by diffusion: digits and products, trained here, judged by somebody else, and what they are worth.

python -m benchmarks.synth_images [--only digits|tenth|products] [--threads 2] [--seeds 3] [--slice] [--pictures] [--write]

Whoever judges the labels here did not filter them: for digits a support vector machine trained on the real training images, for
products a network of another seed trained on other renderings. Real test images are those that no model here has seen.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.svm import SVC

from agentkit import jobs
from agentkit_synthesis.images.jobs import IMAGES, TRAIN_IMAGES
from agentkit_synthesis.images.labelled import LabelledImages
from agentkit_synthesis.images.renderer import draw, random_scene
from agentkit_synthesis.images.sources import load, render_products, split
from agentkit_synthesis.images.verifying.classifier import ClassifierRecipe, accuracy, judge, train_classifier
from agentkit_synthesis.images.verifying.nearness import small
from benchmarks import render
from benchmarks.figures import Measured, share

COMMAND = "python -m benchmarks.synth_images --pictures --write"
DOCS = Path(__file__).parents[1] / "docs"
COUNT, PRODUCTS = 1000, 512
AGREEMENT, TSTR, WITHIN, TOTAL_S = 0.97, 0.90, 0.02, 600.0
TENTH = 0.1
GAP, GREY = 1, 128  # between the images of a picture
STRANGER = 99  # seed of other renderings, and of who judges products here
BRIEF = {"train_steps": 300, "judge_steps": 150, "confidence": 0.0, "sampling_steps": 8, "keep_copies": True}
BRIEF_PRODUCTS = {"train_steps": 120, "rendered": 400, "attributes": ["background"]}


def made(home: Path, count: int, params: Mapping[str, Any]) -> tuple[Path, dict[str, Any], dict[str, float]]:
    """Train a model and make images with it in `home`; return their folder, its manifest and the seconds of each."""
    training = {"out": str(home / "model"), **params}
    sampling = {"out": str(home / "images"), "model": str(home / "model"), "count": count, **params}
    for name in ("confidence", "sampling_steps", "keep_copies"):
        training.pop(name, None)
    seconds = {}
    for name, job, given in (("train", TRAIN_IMAGES, training), ("make", IMAGES, sampling)):
        began = time.monotonic()
        done = jobs.run(job, given, run_dir=home / name)
        if done.status != "ok":
            raise SystemExit(f"{name} ended as {done.status}: {done.error}")
        seconds[name] = time.monotonic() - began
    return home / "images", json.loads((home / "images" / "manifest.json").read_text()), seconds


def flat(images: LabelledImages) -> np.ndarray[Any, Any]:
    """Return images as rows of shares."""
    return images.pixels.reshape(len(images), -1) / 255.0


def names(images: LabelledImages, attribute: str = "digit") -> np.ndarray[Any, Any]:
    """Return the names of an attribute's values."""
    return np.array(images.values[attribute])[images.labels[attribute]]


def right(train: Sequence[LabelledImages], test: LabelledImages) -> int:
    """Return how many test images a support vector machine trained on others gets right."""
    student = SVC(C=10).fit(np.concatenate([flat(one) for one in train]), np.concatenate([names(one) for one in train]))
    return int((student.predict(flat(test)) == names(test)).sum())


def nearest(these: LabelledImages, those: LabelledImages) -> np.ndarray[Any, Any]:
    """Return each image's distance to the nearest of others, root of the mean square difference."""
    one, other = small(these.pixels), small(those.pixels)
    return np.array([np.linalg.norm(other - row, axis=1).min() for row in one])


def digits(home: Path, count: int, params: Mapping[str, Any]) -> list[Measured]:
    """Measure digits with all labels."""
    folder, manifest, seconds = made(home, count, {"source": "digits", **params})
    train, test = split(load("digits"), seed=0)
    synthetic = load(folder, size=8)
    agreed = right([train], synthetic)
    ours, theirs = nearest(synthetic, train), nearest(test, train)
    rejected = manifest["rejected"]
    asked_right = manifest["tried"] - sum(n for why, n in rejected.items() if why.startswith("with another"))
    return [
        Measured(id="synth-digits-train-s", what="training judge and model of digits", value=round(seconds["train"], 1), unit="s", n=1),
        Measured(id="synth-digits-make-s", what=f"making {count} digits", value=round(seconds["make"], 1), unit="s", n=1),
        Measured(id="synth-digits-s", what=f"digits from nothing: trained, {count} made, verified and exported", value=round(sum(seconds.values()), 1), unit="s", n=1, target=TOTAL_S),
        share("synth-digits-raw", "digits that are what was asked for by the judge, before the filter", asked_right, manifest["tried"]),
        share("synth-digits-agreement", "labels of made digits that an SVM trained on real ones confirms", agreed, len(synthetic), AGREEMENT),
        share("synth-digits-copies", "made digits refused because they are like a training image", rejected.get("like a training image", 0), manifest["tried"]),
        Measured(id="synth-digits-near", what="median distance of made digits to the nearest training image, over that of real digits held out", value=round(float(np.median(ours) / np.median(theirs)), 3), unit="", n=len(ours)),
        share("synth-digits-tstr", "real test digits right, trained on made ones only (SVM)", right([synthetic], test), len(test), TSTR),
        share("synth-digits-trtr", "real test digits right, trained on all real ones (SVM)", right([train], test), len(test)),
        share("synth-digits-both", "real test digits right, trained on all real and made ones (SVM)", right([train, synthetic], test), len(test)),
    ]  # fmt: skip


def tenth(home: Path, count: int, params: Mapping[str, Any], seeds: int) -> list[Measured]:
    """Measure digits of which a tenth of the labels is known: to judge, model and student alike; means over seeds."""
    train, test = split(load("digits"), seed=0)
    few = [train.forgotten(TENTH, seed=seed).known() for seed in range(seeds)]
    whole, alone = right([train], test), [right([one], test) for one in few]
    rows = [_mean("synth-tenth-real", f"real test digits right, trained on a tenth, {len(few[0])} images (SVM)", alone, len(test))]  # fmt: skip
    for name, told, unlabelled in (
        ("all", "the other images without labels", True),
        ("alone", "no other images", False),
    ):
        agreed, only, mixed, spent = [], [], [], []
        for seed in range(seeds):
            given = {"source": "digits", "labelled": TENTH, "unlabelled": unlabelled, "seed": seed, **params}
            folder, _, seconds = made(home / f"{name}-{seed}", count, given)
            synthetic = load(folder, size=8)
            agreed.append(right([train], synthetic))
            only.append(right([synthetic], test))
            mixed.append(right([few[seed], synthetic], test))
            spent.append(sum(seconds.values()))
        gaps = [(whole - one) / len(test) for one in mixed]
        rows += [
            _mean(f"synth-tenth-{name}-agreement", f"a tenth of the labels and {told}: labels confirmed by an SVM trained on all real ones", agreed, count),
            _mean(f"synth-tenth-{name}-tstr", "the same: real test digits right, trained on made ones only (SVM)", only, len(test)),
            _mean(f"synth-tenth-{name}-mix", f"the same: trained on a tenth and {count} made ones (SVM)", mixed, len(test)),
            Measured(id=f"synth-tenth-{name}-gap", what="the same: how far that is below all real labels, mean and range of seeds", value=round(sum(gaps) / seeds, 4), interval=(round(min(gaps), 4), round(max(gaps), 4)), unit="", n=seeds, target=WITHIN),
            Measured(id=f"synth-tenth-{name}-s", what="the same: seconds in all, of one seed", value=round(sum(spent) / seeds, 1), unit="s", n=seeds, target=TOTAL_S),
        ]  # fmt: skip
    return rows


def _mean(id: str, what: str, found: Sequence[int], n: int) -> Measured:
    """Return the share over all seeds together."""
    return share(id, what, sum(found), n * len(found))


def products(home: Path, count: int, params: Mapping[str, Any], *, brief: bool) -> list[Measured]:
    """Measure products with all attributes."""
    folder, manifest, seconds = made(home, count, {"source": "products", **params})
    synthetic = load(folder, size=32)
    others = render_products(400 if brief else 12_000, seed=STRANGER)
    train, test = split(others, 0.1)
    stranger = train_classifier(train, ClassifierRecipe(steps=60 if brief else 2_000, seed=STRANGER), _folder(home / "stranger"))  # fmt: skip
    assert stranger is not None
    known, found = accuracy(stranger, test), judge(stranger, synthetic.pixels).found
    confirmed = {
        name: int((np.array(test.values[name])[found[:, n]] == names(synthetic, name)).sum())
        for n, name in enumerate(test.attributes)
        if name in synthetic.values
    }
    rejected = manifest["rejected"]
    asked_right = manifest["tried"] - sum(n for why, n in rejected.items() if why.startswith("with another"))
    rows = [
        Measured(id="synth-products-train-s", what="training judge and model of products, seven attributes at 32 px", value=round(seconds["train"], 1), unit="s", n=1),
        Measured(id="synth-products-make-s", what=f"making {count} products", value=round(seconds["make"], 1), unit="s", n=1),
        Measured(id="synth-products-s", what=f"products from nothing: trained, {count} made, verified and exported", value=round(sum(seconds.values()), 1), unit="s", n=1, target=2 * TOTAL_S),
        share("synth-products-raw", "products that have all attributes asked for by the judge, before the filter", asked_right, manifest["tried"]),
        share("synth-products-kept", "products that pass the whole filter", round(manifest["verified_share"] * manifest["tried"]), manifest["tried"]),
        share("synth-products-copies", "made products refused because they are like a training image", rejected.get("like a training image", 0), manifest["tried"]),
        share("synth-products-agreement", "labels of made products, all attributes together, that a judge of another seed and other renderings confirms", sum(confirmed.values()), len(synthetic) * len(confirmed), AGREEMENT),
    ]  # fmt: skip
    for name, count_right in confirmed.items():
        rows.append(share(f"synth-products-{name}", f"{name} of made products confirmed (of renderings {known[name]:.1%})", count_right, len(synthetic)))  # fmt: skip
    return rows


def drawing() -> list[Measured]:
    """Measure how fast products are drawn."""
    scenes = [random_scene(np.random.default_rng(n)) for n in range(2_000)]
    began = time.perf_counter()
    for scene in scenes:
        draw(scene, 32)
    a_thousand = (time.perf_counter() - began) / 2
    return [Measured(id="synth-draw-s", what="drawing 1,000 products at 32 px on one core", value=round(a_thousand, 3), unit="s", n=2_000, target=0.5)]  # fmt: skip


def picture(folder: Path, target: Path, *, columns: int, rows: int, zoom: int) -> None:
    """Write a grid of the images of a data set, by their labels."""
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    lines.sort(key=lambda line: next(iter(line["labels"].values())))
    each = max(1, len(lines) // (columns * rows))
    grid = []
    for line in lines[::each][: columns * rows]:
        with Image.open(folder / line["file_name"]) as opened:
            grid.append(np.pad(np.asarray(opened.convert("RGB")), ((0, GAP), (0, GAP), (0, 0)), constant_values=GREY))
    size = grid[0].shape[0]
    sheet = np.concatenate([np.concatenate(grid[n * columns : (n + 1) * columns], axis=1) for n in range(rows)])
    shown = Image.fromarray(sheet).resize((columns * size * zoom, rows * size * zoom), Image.Resampling.NEAREST)
    shown.save(target, optimize=True)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synth_images", description="Labelled images.")
    parser.add_argument("--only", choices=("digits", "tenth", "products"), help="a part of it")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of the tenth of the labels (default: %(default)s)")
    parser.add_argument("--slice", action="store_true", help="hardly trained, to see that it works; writes no rows")
    parser.add_argument(
        "--pictures", action="store_true", help="write docs/synth-digits.png and docs/synth-products.png"
    )
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/synth-images.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    params: dict[str, Any] = {"threads": wanted.threads, **(BRIEF if wanted.slice else {})}
    count = 40 if wanted.slice else COUNT
    rows = drawing()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        if wanted.only in (None, "digits"):
            rows += digits(home / "digits", count, params)
        if wanted.only in (None, "tenth"):
            rows += tenth(home / "tenth", count, params, wanted.seeds)
        if wanted.only in (None, "products"):
            own = {**params, **(BRIEF_PRODUCTS if wanted.slice else {})}
            rows += products(home / "products", count if wanted.slice else PRODUCTS, own, brief=wanted.slice)
        for source, columns, lines, zoom in (("digits", 20, 10, 4), ("products", 24, 8, 1)):
            if wanted.pictures and not wanted.slice and (home / source / "images").exists():
                picture(home / source / "images", DOCS / f"synth-{source}.png", columns=columns, rows=lines, zoom=zoom)
    render.publish("synth-images", rows, command=COMMAND, began=began, write=wanted.write and not wanted.slice)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
