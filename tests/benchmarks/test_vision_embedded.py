"""The benchmark of the embedded model: whoever knows everything has all rows right, whoever looks at nothing has chance, and a slice runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")

from PIL import Image  # noqa: E402

from agentkit_synthesis.images.renderer import draw  # noqa: E402
from agentkit_synthesis.images.worlds import SHOP, SHOP_ATTRIBUTES, WORLDS  # noqa: E402
from agentkit_vision.contracts import Picture, Said  # noqa: E402
from agentkit_vision.world.parsing import attribute_scores, said_pairs  # noqa: E402
from agentkit_vision.world.wording import FORMS, canonical, questions  # noqa: E402
from benchmarks import vision_embedded  # noqa: E402
from benchmarks.figures import Measured  # noqa: E402
from benchmarks.vision_answers import Answered, montage  # noqa: E402
from benchmarks.vision_embedded import (  # noqa: E402
    SLICE,
    Amount,
    Data,
    Shown,
    another,
    asked,
    f1,
    gallery,
    has,
    most_frequent,
    read,
    wishes,
)

AMOUNT = Amount(questions=2_000, others=2_000, captions=100, queries=12, damaged=4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("test")
    lines = []
    for n in range(30):
        scene = WORLDS[SHOP].random_scene(np.random.default_rng(n))
        Image.fromarray(draw(scene, 48).pixels).save(folder / f"{n}.png")
        lines.append(json.dumps({"file_name": f"{n}.png", "labels": WORLDS[SHOP].labels(scene)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    shown = read(folder)
    return Data(folder, shown, shown[:9])


class Oracle:
    """Knows the truth about each picture of a set, and says so."""

    name = fingerprint = "oracle"

    def __init__(self, shown: Sequence[Shown]) -> None:
        self._labels = {picture.sha256: labels for picture, labels in shown}
        self._answers = {
            (picture.sha256, one.text): one.answer
            for n, (picture, labels) in enumerate(shown)
            for one in questions(labels, SHOP_ATTRIBUTES, seed=vision_embedded.SEED, index=n, split="test", forms=FORMS)
        }

    def ask(self, pictures: Sequence[Picture], question: str) -> Said:
        return Said(text=self._answers.get((pictures[0].sha256, question), "no idea"), model="oracle")

    def caption(self, picture: Picture) -> Said:
        return Said(text=canonical(self._labels[picture.sha256]), model="oracle")


class Blind:
    """Gives an attribute's most frequent answer, whatever is shown."""

    name = fingerprint = "blind"

    def __init__(self, shown: Sequence[Shown]) -> None:
        common = most_frequent(asked(shown, "open"))
        self._answers = {one.question.text: common[one.about] for one in asked(shown, "open")}

    def ask(self, pictures: Sequence[Picture], question: str) -> Said:
        return Said(text=self._answers.get(question, ""), model="blind")

    def caption(self, picture: Picture) -> Said:
        return Said(text="", model="blind")


def by_id(rows: Sequence[Measured]) -> dict[str, Measured]:
    assert len({row.id for row in rows}) == len(rows)
    return {row.id: row for row in rows}


def test_who_knows_everything_has_all_answers_right_and_none_without_the_picture(sets: Data) -> None:
    rows = by_id(vision_embedded.answers(Oracle(sets.test), sets, AMOUNT))
    for name in ("open", "count", "kind", "colour", "size", "texture", "background", "yes-no", "choice"):
        assert rows[f"vision-test-{name}"].value == 1.0, name
    assert rows["vision-test-open"].holds
    assert rows["vision-test-count"].holds
    assert rows["vision-test-open"].n + rows["vision-test-count"].n == len(asked(sets.test, "open"))
    assert rows["vision-blank"].value == 0.0
    assert rows["vision-shuffled"].value < 0.1  # two pictures may be asked the same
    assert rows["vision-blank-over-chance"].holds


def test_who_looks_at_nothing_has_chance(sets: Data) -> None:
    blind = Blind(sets.test)
    rows = by_id(vision_embedded.answers(blind, sets, AMOUNT))
    assert 0.1 < rows["vision-chance"].value < 0.7
    assert rows["vision-blank"].value == rows["vision-shuffled"].value
    assert abs(rows["vision-blank-over-chance"].value) < 10  # a wording may be used for two attributes
    assert rows["vision-test-open"].holds is False


def test_who_knows_more_than_chance_without_a_picture_is_found_out(sets: Data) -> None:
    oracle = Oracle(sets.test)
    told = {one.question.text: one.question.answer for one in asked(sets.test, "open")}
    oracle.ask = lambda pictures, question: Said(text=told.get(question, ""), model="cheat")  # type: ignore[method-assign]
    rows = by_id(vision_embedded.answers(oracle, sets, AMOUNT))
    assert rows["vision-blank"].value > rows["vision-chance"].value + 0.05
    assert rows["vision-blank-over-chance"].holds is False


def test_pairs_are_asked_for_kind_and_colour_alone(sets: Data) -> None:
    rows = by_id(vision_embedded.on_pairs(Oracle(sets.pairs), sets, AMOUNT))
    assert {name: row.value for name, row in rows.items()} == {"vision-pairs": 1, "vision-pairs-kind": 1, "vision-pairs-colour": 1}  # fmt: skip
    assert rows["vision-pairs"].n == rows["vision-pairs-kind"].n + rows["vision-pairs-colour"].n == 2 * len(sets.pairs)


def test_captions_that_say_everything_have_one_and_those_that_say_nothing_have_none(sets: Data) -> None:
    f1_of, whole = vision_embedded.captions("x", "y", Oracle(sets.test), sets.test, target=0.9)
    assert (f1_of.value, f1_of.interval, f1_of.holds, whole.value) == (1.0, (1.0, 1.0), True, 1.0)
    f1_of, whole = vision_embedded.captions("x", "y", Blind(sets.test), sets.test, target=0.9)
    assert (f1_of.value, f1_of.holds, whole.value) == (0.0, False, 0.0)


def test_f1_is_that_of_the_world(sets: Data) -> None:
    told = [
        ({"colour": "red"}, {"colour": "red", "size": "small"}),
        ({"colour": "blue", "size": "small"}, {"size": "small"}),
    ]
    counts = np.array([[len(said_pairs(a) & said_pairs(b)), len(said_pairs(a)), len(said_pairs(b))] for a, b in told], float)  # fmt: skip
    assert float(f1(counts.sum(0))) == pytest.approx(attribute_scores(told).f1)


def test_another_is_never_the_same(sets: Data) -> None:
    for count in (2, 3, 50):
        found = another(count)
        assert sorted(found) == list(range(count))
        assert all(place != n for n, place in enumerate(found))


def test_the_most_frequent_answer_is_one_for_all_that_say_what_a_thing_is(sets: Data) -> None:
    found = most_frequent(asked(sets.test, "open"))
    assert set(found) == {"kind", "colour", "size", "count", "position", "texture", "background"}


def test_a_gallery_holds_what_is_wished_for_and_not_before(sets: Data, tmp_path: Path) -> None:
    wanted = wishes(sets.test, 20)
    found = gallery(tmp_path / "gallery", sets, wanted)
    assert len(found) == 30 + 20
    assert all(path.is_file() for path in found)
    for n, wish in enumerate(wanted):
        assert found[tmp_path / "gallery" / f"wanted-{n:04}.png"] == wish.change.wanted
        truth = next(labels for picture, labels in sets.test if picture.sha256 == wish.photo.sha256)
        assert not has(truth, wish.change.wanted)


def test_recall_counts_queries_with_a_hit() -> None:
    red, blue = {"colour": "red"}, {"colour": "blue"}
    found = [([blue, red], red), ([blue, blue], red), ([red, blue], red)]
    assert vision_embedded.recall("x", "y", found, 2, 0.9).value == pytest.approx(2 / 3, abs=1e-4)
    assert vision_embedded.recall("x", "y", found, 1).value == pytest.approx(1 / 3, abs=1e-4)


def test_right_is_black_and_wrong_is_red(tmp_path: Path) -> None:
    pixels = np.zeros((48, 48, 3), np.uint8)
    right, wrong = (Answered(pixels, "what is it", "a shoe", good, "a red shoe, on white", good) for good in (True, False))  # fmt: skip
    reds = []
    for name, shown in (("right", [right] * 3), ("wrong", [wrong] * 3)):
        montage(shown, tmp_path / f"{name}.png")
        drawn = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")).astype(int)
        reds.append(int(((drawn[..., 0] > 150) & (drawn[..., 1] < 60)).sum()))
    assert reds[0] == 0
    assert reds[1] > 50


def test_a_slice(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    results = Path(vision_embedded.__file__).parent / "results" / "vision.json"
    before = results.read_bytes() if results.exists() else None
    assert vision_embedded.main(["--slice", "--write", "--data", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for name in ("vision-test-open", "vision-pairs", "vision-caption-f1", "vision-composed-recall-5", "vision-damaged-open"):  # fmt: skip
        assert name in said
    assert f"gallery of {48 + SLICE.queries + SLICE.damaged}" in " ".join(said.split())
    assert (results.read_bytes() if results.exists() else None) == before


def test_figures_of_another_model_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        vision_embedded.main(["--write", "--model", str(tmp_path)])
