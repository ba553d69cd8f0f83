"""What the embedded model knows about pictures: answers, captions and search, on pictures that it was not trained on.

python -m benchmarks.vision_embedded [--model FOLDER] [--data FOLDER] [--threads 1] [--slice] [--write]

Everything goes the way that users go: sprout's GGUF in llama.cpp with the embedded eye, the embedded encoder, and a collection that is
searched. The pictures are those that `scripts/build_vision.py` draws to measure with: `test`, and `pairs` of a kind and a colour that
no picture of the training has together. Questions are asked in wordings that the training never saw. Beside the answers stand those to
the same questions with a blank picture and with another picture, and what always giving an attribute's most frequent answer is worth:
what a model can say without looking. All samples are drawn by one seed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from agentkit import jobs
from agentkit_synthesis.images.renderer import draw
from agentkit_synthesis.images.worlds import SHOP, SHOP_ATTRIBUTES, WORLDS
from agentkit_vision.contracts import Picture, Speaker
from agentkit_vision.embedded import EmbeddedEncoder, EmbeddedSpeaker
from agentkit_vision.embedded.folder import SHIPPED
from agentkit_vision.pictures import load
from agentkit_vision.search.collection import Collection
from agentkit_vision.search.query import Searcher
from agentkit_vision.search.updating import update
from agentkit_vision.search.writer import Writer
from agentkit_vision.training.jobs import TRAIN
from agentkit_vision.world import queries
from agentkit_vision.world.corruptions import write_corrupted
from agentkit_vision.world.parsing import attributes_of, said_pairs, same_answer
from agentkit_vision.world.reading import read_examples
from agentkit_vision.world.wording import FORMS, Form, Question, questions
from agentkit_vision.world.words import Labels
from benchmarks import render
from benchmarks.figures import ROOT, SHARE, Measured, share
from benchmarks.vision_answers import Answered, montage

COMMAND = "python -m benchmarks.vision_embedded --write"
PICTURE = ROOT / "docs" / "vision-answers.png"
SEED, DRAWN, RESAMPLES = 8, 12, 1_000  # of all samples; pictures that are shown; of the bootstrap
OPEN, COUNTING, PAIRS, CAPTIONS, RECALL, POINTS = 0.95, 0.85, 0.80, 0.90, 0.90, 5.0
COUNT, KINDS, COLOUR, KIND = "count", ("category", "shape"), "colour", "kind"
K, SIDE, GREY = 5, 64, 128

T = TypeVar("T")
Bools = NDArray[np.bool_]


class Amount(NamedTuple):
    """How much is measured."""

    questions: int
    others: int  # questions of each other form, and of each baseline
    captions: int
    queries: int
    damaged: int


ALL, SLICE = Amount(2_000, 1_000, 400, 200, 50), Amount(36, 12, 8, 10, 6)


class Shown(NamedTuple):
    """A picture and the truth about it."""

    picture: Picture
    labels: Labels


class Asked(NamedTuple):
    """A question about the picture at a place of its set."""

    place: int
    question: Question

    @property
    def about(self) -> str:
        """The attribute; those that say what a thing is are one, since questions do not tell which is meant."""
        return KIND if self.question.attribute in KINDS else self.question.attribute


@dataclass(frozen=True)
class Data:
    """The sets that are measured with: folders, and what is in them."""

    folder: Path
    test: list[Shown]
    pairs: list[Shown]


def script() -> Any:
    """Return `scripts/build_vision.py`, which draws the sets."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return import_module("build_vision")  # lies in no package
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def read(folder: Path) -> list[Shown]:
    """Return a set's pictures."""
    return [Shown(load(folder / one.path), one.labels) for one in read_examples(folder)]


def data(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Data:
    """Draw the sets where they are not there, and read them."""
    places = {name: script().draw(folder, name, *sizes[name]) for name in ("test", "pairs")}
    return Data(places["test"], read(places["test"]), read(places["pairs"]))


def tiny(folder: Path) -> Path:
    """Train a model for a moment, to see that everything runs; return its folder."""
    built = script()
    pictures = built.draw(folder, "train", 96, 0)
    told = {"data": pictures, "out": folder / "model", "language_model": built.sprout_folder(), "gguf": built.SPROUT}
    brief = {"held_out": 0.1, "encoder_steps": 4, "encoder_batch": 16, "steps": 4, "batch": 8, "width": 64, "layers": 1, "threads": 1}  # fmt: skip
    done = jobs.run(TRAIN, {**{name: str(path) for name, path in told.items()}, **brief}, run_dir=folder / "tiny")
    if done.status != "ok":
        raise SystemExit(f"training ended as {done.status}: {done.error}")
    return folder / "model"


def told(name: str, items: Sequence[T]) -> Iterator[T]:
    """Yield items; say on stderr how far it is."""
    for n, item in enumerate(items):
        if n % 20 == 0:
            print(f"\r{name}: {n} of {len(items)}   ", end="", file=sys.stderr)
        yield item
    print(f"\r{name}: {len(items)}{' ' * 20}", file=sys.stderr)


def some(items: Sequence[T], most: int, seed: int = SEED) -> list[T]:
    """Return at most so many items, drawn without replacement."""
    return [items[n] for n in np.random.default_rng(seed).permutation(len(items))[:most].tolist()]


def asked(shown: Sequence[Shown], *forms: Form, about: Sequence[str] = ()) -> list[Asked]:
    """Return a question of each form about each attribute of each picture, or about some attributes, in the test's wordings."""
    every = [
        Asked(n, one)
        for n, (_, labels) in enumerate(shown)
        for one in questions(labels, SHOP_ATTRIBUTES, seed=SEED, index=n, split="test", forms=forms)
    ]
    return [one for one in every if not about or one.about in about]


def answered(name: str, speaker: Speaker, picture: Callable[[Asked], Picture], wanted: Sequence[Asked]) -> Bools:
    """Return for each question whether it is answered rightly when this picture is shown."""
    return np.array(
        [same_answer(speaker.ask([picture(one)], one.question.text).text, one.question.answer) for one in told(name, wanted)], bool
    )  # fmt: skip


def rows_of_answers(prefix: str, what: str, wanted: Sequence[Asked], right: Bools, *, targets: bool) -> list[Measured]:
    """Return the rows of open questions: all but counting together, and each attribute."""
    about = np.array([one.about for one in wanted])
    others = right[about != COUNT]
    rows = [share(f"{prefix}-open", f"open questions right, all but counting, {what}", int(others.sum()), len(others), OPEN if targets else None)]  # fmt: skip
    for name in sorted(set(about.tolist())):
        mine = right[about == name]
        target = COUNTING if targets and name == COUNT else None
        rows.append(share(f"{prefix}-{name}", f"open questions about {name} right, {what}", int(mine.sum()), len(mine), target))  # fmt: skip
    return rows


def most_frequent(every: Iterable[Asked]) -> dict[str, str]:
    """Return the most frequent answer to the questions about each attribute."""
    counts: dict[str, Counter[str]] = {}
    for one in every:
        counts.setdefault(one.about, Counter())[one.question.answer] += 1
    return {name: found.most_common(1)[0][0] for name, found in counts.items()}


def another(count: int) -> list[int]:
    """Return for each place another one; each is some place's other."""
    order = np.random.default_rng(SEED).permutation(count)
    found = np.empty(count, np.int64)
    found[order] = np.roll(order, 1)
    return [int(place) for place in found]


def answers(speaker: Speaker, sets: Data, amount: Amount) -> list[Measured]:
    """Ask about the test pictures: open questions, the other forms, and without looking."""
    test = sets.test
    every = asked(test, "open")
    wanted = some(every, amount.questions)
    right = answered("open questions", speaker, lambda one: test[one.place].picture, wanted)
    rows = rows_of_answers("vision-test", "test pictures", wanted, right, targets=True)
    for form in FORMS[1:]:
        few = some(asked(test, form), amount.others)
        found = answered(f"{form} questions", speaker, lambda one: test[one.place].picture, few)
        rows.append(share(f"vision-test-{form.replace('_', '-')}", f"questions of the form {form} right, test pictures", int(found.sum()), len(few)))  # fmt: skip
    few, blank, other = wanted[: amount.others], test[0].picture, another(len(test))
    pixels = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    blank = Picture(pixels=pixels, source="blank", sha256="", format="RAW", size=(SIDE, SIDE))
    common = most_frequent(every)
    chance = np.array([same_answer(common[one.about], one.question.answer) for one in few], bool)
    rows.append(share("vision-chance", "open questions right by the most frequent answer about each attribute", int(chance.sum()), len(few)))  # fmt: skip
    for name, shown in (("blank", lambda _: blank), ("shuffled", lambda one: test[other[one.place]].picture)):
        found = answered(f"{name} pictures", speaker, shown, few)
        seen = "a blank picture" if name == "blank" else "another picture"
        rows.append(share(f"vision-{name}", f"open questions right when {seen} is shown", int(found.sum()), len(few)))
        gap = 100.0 * (found.astype(float) - chance)
        rows.append(Measured(id=f"vision-{name}-over-chance", what=f"points that answers about {seen} are right more often than the most frequent answer", value=round(float(gap.mean()), 2), unit="points", n=len(few), interval=ends(gap), target=POINTS))  # fmt: skip
    return rows


def on_pairs(speaker: Speaker, sets: Data, amount: Amount) -> list[Measured]:
    """Ask what things are and which colour they have, where no picture of the training has both."""
    pairs = sets.pairs
    wanted = some(asked(pairs, "open", about=(KIND, COLOUR)), amount.questions)
    right = answered("pairs never seen", speaker, lambda one: pairs[one.place].picture, wanted)
    about = np.array([one.about for one in wanted])
    rows = [share("vision-pairs", "open questions about kind and colour right, pairs of them never seen in training", int(right.sum()), len(right), PAIRS)]  # fmt: skip
    for name in (KIND, COLOUR):
        mine = right[about == name]
        rows.append(share(f"vision-pairs-{name}", f"of these, about {name}", int(mine.sum()), len(mine)))
    return rows


def captions(id: str, what: str, speaker: Speaker, shown: Sequence[Shown], *, target: float | None) -> list[Measured]:
    """Caption pictures; return how well the attributes that captions say agree with the truth."""
    counts, whole = [], 0
    for picture, labels in told(f"captions, {what}", shown):
        said = said_pairs(attributes_of(speaker.caption(picture).text, SHOP_ATTRIBUTES))
        true = said_pairs(labels)
        counts.append((len(said & true), len(said), len(true)))
        whole += said == true
    table = np.array(counts, float)
    drawn = table[np.random.default_rng(SEED).integers(len(table), size=(RESAMPLES, len(table)))].sum(1)
    low, high = np.percentile(f1(drawn), (2.5, 97.5))
    return [
        Measured(id=f"{id}-f1", what=f"F1 of the attributes that captions say, {what}", value=round(float(f1(table.sum(0))), 4), unit=SHARE, n=len(shown), interval=(round(float(low), 4), round(float(high), 4)), target=target),
        share(f"{id}-whole", f"captions that say all attributes rightly, {what}", whole, len(shown)),
    ]  # fmt: skip


def f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F1 of (..., 3) counts: right, said, true (micro average, as `world.parsing.attribute_scores`)."""
    return np.asarray(2 * counts[..., 0] / np.maximum(counts[..., 1] + counts[..., 2], 1))


def ends(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of a mean."""
    drawn = values[np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return (round(float(low), 2), round(float(high), 2))


class Wish(NamedTuple):
    """Something like a photo, with one attribute changed."""

    photo: Picture
    change: queries.Change


def wishes(shown: Sequence[Shown], most: int) -> list[Wish]:
    """Return a wish for each of some pictures, in the test's wordings."""
    return [
        Wish(one.picture, queries.change(one.labels, SHOP_ATTRIBUTES, seed=SEED, index=n, split="test"))
        for n, one in enumerate(some(shown, most, SEED + 1))
    ]


def gallery(folder: Path, sets: Data, wanted: Sequence[Wish]) -> dict[Path, Labels]:
    """Lay out what is searched: the test pictures, and for each wish one drawn picture that fulfils it."""
    folder.mkdir()
    found: dict[Path, Labels] = {}
    for n, one in enumerate(read_examples(sets.folder)):
        path = folder / f"test-{n:04}.png"
        shutil.copyfile(sets.folder / one.path, path)
        found[path] = one.labels
    for n, wish in enumerate(wanted):
        path = folder / f"wanted-{n:04}.png"
        scene = WORLDS[SHOP].random_scene(np.random.default_rng((SEED, n)), wish.change.wanted)
        Image.fromarray(draw(scene, SIDE).pixels).save(path)
        found[path] = WORLDS[SHOP].labels(scene)
        assert has(found[path], wish.change.wanted), f"{path.name}: not what was wished for"
    return found


def has(labels: Labels, wanted: Labels) -> bool:
    """Whether labels are as wanted; with all labels wanted, whether they are equal."""
    return wanted.items() <= labels.items()


def recall(id: str, what: str, found: Sequence[tuple[Sequence[Labels], Labels]], k: int, target: float | None = None) -> Measured:  # fmt: skip
    """Return the share of queries with a hit among the first k."""
    right = sum(any(has(labels, wanted) for labels in hits[:k]) for hits, wanted in found)
    return share(f"vision-{id}-recall-{k}", f"{what}, among the first {k}", right, len(found), target)


def searches(model: Path, sets: Data, damaged: Sequence[Shown], amount: Amount, scratch: Path) -> list[Measured]:
    """Search a collection by photo and words, by the photo alone, and by words."""
    encoder = EmbeddedEncoder(model)
    clean, broken = wishes(sets.test, amount.queries), wishes(damaged, amount.damaged)
    files = gallery(scratch / "gallery", sets, [*clean, *broken])
    with Writer(scratch / "gallery" / "collection", encoder, root=scratch / "gallery") as writer:
        update(writer, encoder, list(files), load, labels=files, batch=256)
    words = [queries.query(one.labels, seed=SEED, index=n, split="test") for n, one in enumerate(some(sets.test, amount.queries, SEED + 2))]  # fmt: skip
    with Collection(scratch / "gallery" / "collection") as collection:
        searcher = Searcher(collection, encoder)

        def hits(text: str, photo: Picture | None = None) -> list[Labels]:
            return [hit.labels for hit in searcher.find(text, photo, k=K).hits]

        composed, by_photo, composed_damaged = (
            [(hits(one.change.text if text else "", one.photo), one.change.wanted) for one in told(name, asked_for)]
            for name, asked_for, text in (("photo + words", clean, True), ("photo alone", clean, False), ("damaged photo + words", broken, True))
        )  # fmt: skip
        by_words = [(hits(one.text), one.wanted) for one in told("words", words)]
    of, plain = f"gallery of {len(files):,}", [found for found, wish in zip(composed, clean, strict=True) if wish.change.count is None]  # fmt: skip
    return [
        recall("composed", f"photo + words find a picture with exactly the labels wanted, {of}", composed, K, RECALL),
        recall("composed", f"photo + words find a picture with exactly the labels wanted, {of}", composed, 1),
        recall("composed-no-number", f"of these, words that do not say how many are wanted, {of}", plain, K),
        recall("photo-alone", f"the same by the photo without the words, {of}", by_photo, K),
        recall("photo-alone", f"the same by the photo without the words, {of}", by_photo, 1),
        recall("words", f"words find a picture that is as they say, {of}", by_words, K),
        recall("words", f"words find a picture that is as they say, {of}", by_words, 1),
        recall("damaged-composed", f"damaged photo + words find a picture with exactly the labels wanted, {of}", composed_damaged, K),
    ]  # fmt: skip


def measure(model: Path, sets: Data, amount: Amount, scratch: Path) -> tuple[list[Measured], list[Answered]]:
    """Measure everything; return the rows, and the answers that are shown."""
    write_corrupted(read_examples(sets.folder), sets.folder, scratch / "damaged", count=amount.damaged, seed=SEED)
    damaged = read(scratch / "damaged")
    speaker = EmbeddedSpeaker(model)
    try:
        rows = answers(speaker, sets, amount) + on_pairs(speaker, sets, amount)
        rows += captions("vision-caption", "test pictures", speaker, some(sets.test, amount.captions), target=CAPTIONS)
        rows += captions("vision-caption-pairs", "pairs never seen", speaker, some(sets.pairs, amount.captions), target=CAPTIONS)  # fmt: skip
        wanted = asked(damaged, "open")
        right = answered("damaged files", speaker, lambda one: damaged[one.place].picture, wanted)
        rows += rows_of_answers("vision-damaged", f"{len(damaged)} damaged files", wanted, right, targets=False)
        rows += captions("vision-damaged-caption", f"{len(damaged)} damaged files", speaker, damaged, target=None)
        examples = [example(speaker, sets.test[one.place], one.question) for one in some(asked(sets.test, "open"), DRAWN, SEED + 3)]  # fmt: skip
    finally:
        speaker.close()
    return [*rows, *searches(model, sets, damaged, amount, scratch)], examples


def example(speaker: Speaker, shown: Shown, question: Question) -> Answered:
    """Return what is said about a picture, with whether it is right."""
    answer, caption = speaker.ask([shown.picture], question.text).text, speaker.caption(shown.picture).text
    is_true = said_pairs(attributes_of(caption, SHOP_ATTRIBUTES)) == said_pairs(shown.labels)
    return Answered(shown.picture.pixels, question.text, answer, same_answer(answer, question.answer), caption, is_true)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vision_embedded", description="What the embedded model knows about pictures.")  # fmt: skip
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="(default: the one that ships)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the sets are, or will be drawn (default: a temporary folder)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of the encoder (default: %(default)s)")
    parser.add_argument("--slice", action="store_true", help="a few dozen, with a model trained for a moment unless one is named; writes nothing")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write rows into benchmarks/results/vision.json, and a picture into docs/")  # fmt: skip
    wanted = parser.parse_args(argv)
    if wanted.write and wanted.model is not None:
        parser.error("--write keeps figures of the model that ships; leave --model out")
    torch.set_num_threads(wanted.threads)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        home = (wanted.data or scratch).absolute()
        model = wanted.model or (tiny(scratch) if wanted.slice else SHIPPED)
        sets = data(home, {"test": (48, 1), "pairs": (24, 2)} if wanted.slice else script().SETS)
        rows, examples = measure(model, sets, SLICE if wanted.slice else ALL, scratch)
    is_kept = wanted.write and not wanted.slice
    if is_kept:
        montage(examples, PICTURE)
    render.publish("vision", rows, command=COMMAND, began=began, write=is_kept)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
