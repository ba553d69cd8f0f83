"""Searching in a world whose attributes are orthogonal: what is asked for changes, what is not asked for stays."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import StoreError, UsageError
from agentkit_vision.search import matrix
from agentkit_vision.search.attributes import AttributeReader
from agentkit_vision.search.collection import Collection, vectors_file
from agentkit_vision.search.composing import Weights, compose
from agentkit_vision.search.errors import DamagedCollection, EncoderMismatch
from agentkit_vision.search.filters import Filters
from agentkit_vision.search.query import Found, Searcher
from agentkit_vision.search.wording import read_query
from agentkit_vision.search.writer import Writer
from tests.plugins.vision.search_toys import ATTRIBUTES, DIM, ToyEncoder, index, picture, pixels_of, shop, write

THINGS = st.tuples(*(st.sampled_from(values) for values in ATTRIBUTES.values()))
NAMES = list(ATTRIBUTES)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every combination of values, twice; half of them labelled."""
    folder = tmp_path_factory.mktemp("shop")
    files = shop(folder)
    labels = {path: {"colour": path.stem.split()[2], "stock": str(n % 3)} for n, path in enumerate(files) if n % 2}
    index(folder / "c", files, labels=labels)
    return folder / "c"


@pytest.fixture(scope="module")
def searcher(home: Path) -> Iterator[Searcher]:
    with Collection(home) as collection:
        yield Searcher(collection, ToyEncoder())


def values_of(found: Found) -> list[tuple[str, ...]]:
    return [tuple(hit.read[name] for name in NAMES) for hit in found.hits]


@given(THINGS)
def test_words_alone(searcher: Searcher, thing: tuple[str, ...]) -> None:
    found = searcher.find(" ".join(thing), k=2)
    assert values_of(found) == [thing, thing]
    assert (found.how, found.allowed, found.searched) == ("text", 72, 72)
    assert all(hit.image == 0 and set(hit.as_asked) == set(NAMES) for hit in found.hits)


@given(THINGS, st.integers(0, 999))
def test_a_photo_alone_finds_its_likes(searcher: Searcher, thing: tuple[str, ...], number: int) -> None:
    found = searcher.find(photo=picture(thing, number), k=2)
    assert values_of(found) == [thing, thing]
    assert found.how == "photo"
    assert all(hit.text == 0 and set(hit.kept) == set(NAMES) for hit in found.hits)


@given(THINGS, st.sampled_from(NAMES), st.data())
def test_words_change_what_they_name_and_nothing_else(searcher: Searcher, thing: tuple[str, ...], name: str, data: st.DataObject) -> None:  # fmt: skip
    asked = data.draw(st.sampled_from(ATTRIBUTES[name]))
    found = searcher.find(f"like this, but {asked}", picture(thing, 5_000), k=2)
    expected = tuple(asked if attribute == name else own for attribute, own in zip(NAMES, thing, strict=True))
    assert values_of(found) == [expected, expected]
    assert (found.how, found.own) == ("photo + attributes", {name: thing[NAMES.index(name)]})
    for hit in found.hits:
        assert hit.as_asked == (name,)
        assert set(hit.kept) == set(NAMES) - {name}
        assert hit.score == pytest.approx(hit.image + hit.text)


@given(THINGS, st.data())
def test_what_is_as_asked_comes_before_what_is_not(
    searcher: Searcher, thing: tuple[str, ...], data: st.DataObject
) -> None:
    asked = data.draw(st.sampled_from([value for value in ATTRIBUTES["colour"] if value not in thing]))
    found = searcher.find(f"but {asked}", picture(thing, 5_000), k=72, weights=Weights(direction=0.01))
    met = [bool(hit.as_asked) for hit in found.hits]
    assert met == sorted(met, reverse=True)
    assert met.count(True) == 72 // len(ATTRIBUTES["colour"])
    scores = [hit.score for hit in found.hits]
    assert max(scores[met.count(True) :]) > min(scores[: met.count(True)])  # by score alone it would be otherwise


@given(THINGS, THINGS)
def test_several_attributes_change_at_once(searcher: Searcher, thing: tuple[str, ...], asked: tuple[str, ...]) -> None:
    text = f"{asked[1]} with {asked[2]}"
    assert values_of(searcher.find(text, picture(thing, 5_000), k=2)) == [(thing[0], asked[1], asked[2])] * 2


def test_the_direction_is_the_asked_value_less_the_photos_own() -> None:
    encoder = ToyEncoder(noise=0)
    reader, image = AttributeReader(encoder), encoder.embed_images([pixels_of(("bag", "red", "plain"))])[0]
    composed = compose(encoder, reader, read_query("blue", ATTRIBUTES), image, Weights(direction=0.5))
    expected = image + 0.5 * (encoder.embed_texts(["blue"])[0] - encoder.embed_texts(["red"])[0])
    np.testing.assert_allclose(composed.whole, expected / np.linalg.norm(expected), atol=1e-6)
    assert composed.own == {"colour": "red"}
    same = compose(encoder, reader, read_query("red or blue", ATTRIBUTES), image, Weights())
    np.testing.assert_allclose(same.whole, image, atol=1e-6)  # it is as asked already


@given(THINGS, st.sampled_from(["but not {}", "without {}", "no {}"]), st.sampled_from(NAMES))
def test_what_is_refused_is_not_found(searcher: Searcher, thing: tuple[str, ...], how: str, name: str) -> None:
    own = thing[NAMES.index(name)]
    for photo in (picture(thing, 5_000), None):
        found = searcher.find(how.format(own), photo, k=72)
        assert found.allowed == 72 - 72 // len(ATTRIBUTES[name])
        assert len(found.hits) == found.allowed
        assert all(hit.read[name] != own for hit in found.hits)
    best = searcher.find(how.format(own), picture(thing, 5_000), k=2)
    for one in values_of(best):
        assert sum(a == b for a, b in zip(one, thing, strict=True)) == len(NAMES) - 1


@given(THINGS, st.sampled_from(["the same in another {}", "a different {}"]), st.sampled_from(NAMES))
def test_another_value_than_the_photos(searcher: Searcher, thing: tuple[str, ...], how: str, name: str) -> None:
    found = searcher.find(how.format(name), picture(thing, 5_000), k=2)
    assert found.how == "photo + attributes"
    assert found.reading.unknown == ()
    for values in values_of(found):
        assert [attribute for attribute, one, own in zip(NAMES, values, thing, strict=True) if one != own] == [name]
    asked = searcher.find(f"in another colour, {'blue' if thing[1] != 'blue' else 'red'}", picture(thing, 5_000), k=1)
    assert asked.hits[0].as_asked == ("colour",)


def test_an_encoder_without_attributes_adds_words_and_subtracts_what_is_refused(home: Path) -> None:
    encoder = ToyEncoder(attributes={})
    with Collection(home) as collection:
        bare = Searcher(collection, encoder)
        thing = picture(("bag", "red", "plain"), 5_000)
        found = bare.find("blue", thing, k=4, weights=Weights(text=3.0))
        assert found.how == "photo + text"
        assert all(" blue " in hit.path and hit.read == {} for hit in found.hits)
        assert found.reading.unknown == ()
        assert all(" bag red plain" in hit.path for hit in bare.find("blue", thing, k=2, weights=Weights(text=0)).hits)
        refused = bare.find("not red", thing, k=6, weights=Weights(refusal=2.0))
        assert all(" bag " in hit.path and " red " not in hit.path for hit in refused.hits)
        assert all(" red " not in hit.path for hit in bare.find("not red", k=20).hits)
        text, image = encoder.embed_texts(["blue"])[0], encoder.embed_images([thing.pixels])[0]
        whole = compose(encoder, bare.reader, read_query("blue", {}), image, Weights(image=2, text=0.5)).whole
        expected = 2 * image + 0.5 * text
        np.testing.assert_allclose(whole, expected / np.linalg.norm(expected), atol=1e-6)


def test_unknown_words_are_told(searcher: Searcher) -> None:
    found = searcher.find("a red leather shoe by Prada", k=1)
    assert found.reading.unknown == ("leather", "prada")
    assert values_of(found)[0][:2] == ("shoe", "red")


def test_the_photo_itself_is_not_found(tmp_path: Path) -> None:
    values = ("bag", "red", "plain")
    files = [write(tmp_path / name, values, number) for name, number in (("a.png", 1), ("copy.png", 1), ("b.png", 2))]
    index(tmp_path / "c", files)
    from tests.plugins.vision.search_toys import load

    with Collection(tmp_path / "c") as collection:
        found = Searcher(collection, ToyEncoder()).find(photo=load(files[0]))
    assert [hit.path for hit in found.hits] == ["b.png"]
    assert (found.allowed, found.searched) == (1, 3)


def test_filters_by_label_by_path_and_by_size(searcher: Searcher) -> None:
    def paths(*lines: str) -> list[str]:
        return [hit.path for hit in searcher.find("shoe", k=99, filters=Filters.parse(lines)).hits]

    assert len(paths()) == 72
    assert all(path.startswith("000") for path in paths("path=000*"))
    assert len(paths("path=000*")) == 10
    assert len(paths("path=000*", "path=*hat*")) == 10 + 24
    assert len(paths("width>=64", "height<=48")) == 72
    assert paths("width>=65") == paths("height=47") == []
    assert len(paths("stock=1|2")) == 24
    assert all(" RED ".casefold() in path for path in paths("colour=RED"))
    assert len(paths("colour=red")) == 18  # labelled, or read so where there is no label
    assert len(paths("colour!=red")) == 54
    assert len(paths("pattern=stripes", "colour=red|blue")) == 12
    assert sorted([*paths("pattern=plain"), *paths("pattern!=plain")]) == sorted(paths())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("colour", "not a condition"),
        ("=red", "not a condition"),
        ("width>=wide", "not a size"),
        ("width!=3", "not a size"),
        ("colour>=red", "only width and height are numbers"),
    ],
)
def test_what_is_no_filter_is_told(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Filters.parse([line])


def test_a_label_that_nothing_has_is_told(searcher: Searcher) -> None:
    with pytest.raises(UsageError, match="no image of the collection has the label 'brand'; there are colour, stock"):
        searcher.find("shoe", filters=Filters.parse(["brand=x"]))


@given(st.integers(1, 100), st.floats(0, 1), THINGS)
def test_k_and_relevance(searcher: Searcher, k: int, relevance: float, thing: tuple[str, ...]) -> None:
    found = searcher.find(photo=picture(thing, 5_000), k=k, relevance=relevance)
    ids = [hit.id for hit in found.hits]
    assert len(ids) == len(set(ids)) == min(k, 72)
    plain = searcher.find(photo=picture(thing, 5_000), k=k)
    scores = [hit.score for hit in plain.hits]
    assert scores == pytest.approx(sorted(scores, reverse=True), abs=1e-6)
    if relevance == 1:
        assert found == plain
    assert found.hits[0] == plain.hits[0]


def test_diversity_spreads_the_results(searcher: Searcher) -> None:
    thing = picture(("bag", "red", "plain"), 5_000)
    plain, spread = (searcher.find("shoe", thing, k=6, relevance=relevance) for relevance in (1.0, 0.3))
    assert len(set(values_of(spread))) > len(set(values_of(plain)))


def test_equal_scores_come_by_age(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.png", ("bag", "red", "plain"), 1) for n in range(5)]
    index(tmp_path / "c", files)
    with Collection(tmp_path / "c") as collection:
        found = Searcher(collection, ToyEncoder()).find("red", k=3)
    assert [hit.id for hit in found.hits] == [1, 2, 3]


def test_an_empty_collection_finds_nothing(tmp_path: Path) -> None:
    Writer(tmp_path / "c", ToyEncoder()).close()
    with Collection(tmp_path / "c") as collection:
        searcher = Searcher(collection, ToyEncoder())
        assert searcher.find("red").hits == ()
        lines = ["colour=red", "path=*", "brand=x", "width>=3"]
        found = searcher.find(
            "not red", picture(("bag", "red", "plain")), k=5, relevance=0.5, filters=Filters.parse(lines)
        )
        assert (found.hits, found.searched) == ((), 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "nothing to look for"),
        ({"text": " ,. "}, "nothing to look for"),
        ({"text": "red", "k": 0}, "ask for 1 to"),
        ({"text": "red", "k": 1_001}, "ask for 1 to"),
        ({"text": "red", "relevance": 1.1}, "relevance = 1.1"),
        ({"text": "red", "relevance": float("nan")}, "relevance = nan"),
    ],
)
def test_what_cannot_be_searched_for_is_told(searcher: Searcher, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        searcher.find(**arguments)  # type: ignore[arg-type]


def test_parts_that_cancel_out_are_told(home: Path) -> None:
    with Collection(home) as collection, pytest.raises(UsageError, match="cancel each other out"):
        Searcher(collection, ToyEncoder(attributes={}, noise=0)).find("bag red plain", picture(("bag", "red", "plain")), weights=Weights(text=-1))  # fmt: skip


def test_another_encoder_is_refused(home: Path, searcher: Searcher, tmp_path: Path) -> None:
    with Collection(home) as collection, pytest.raises(EncoderMismatch, match="cannot be compared"):
        Searcher(collection, ToyEncoder(fingerprint="toy-2"))
    shutil.copytree(home, tmp_path / "c")
    with Collection(tmp_path / "c") as collection:
        mine = Searcher(collection, ToyEncoder())
        Writer(tmp_path / "c", ToyEncoder(fingerprint="toy-2"), reindex=True).close()
        with pytest.raises(EncoderMismatch):  # somebody else indexed it anew meanwhile
            mine.find("red")


def test_what_is_written_meanwhile_is_found(tmp_path: Path) -> None:
    files = shop(tmp_path)
    index(tmp_path / "c", files[:10])
    with Collection(tmp_path / "c") as collection:
        searcher = Searcher(collection, ToyEncoder())
        assert searcher.find("red").searched == 10
        index(tmp_path / "c", files)
        assert searcher.find("red").searched == 72


def test_vectors_that_are_none_are_told(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "c")
    file = vectors_file(tmp_path / "c", 1)
    file.write_bytes(file.read_bytes()[: matrix.HEADER] + np.full(72 * DIM, np.nan, np.float16).tobytes())
    with Collection(tmp_path / "c") as collection, pytest.raises(DamagedCollection, match="index its folder again"):
        Searcher(collection, ToyEncoder()).find("red")


def test_scores_are_explained_in_a_line(searcher: Searcher) -> None:
    found = searcher.find("in blue", picture(("bag", "red", "plain"), 5_000), k=1)
    line = found.hits[0].explain()
    assert line.endswith("; as asked: colour blue; as in the photo: category bag, pattern plain")
    assert line.startswith(f"{found.hits[0].score:.2f} = ")
    assert "text" in line
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["hits"][0]["read"]["colour"] == "blue"
    assert plain["own"] == {"colour": "red"}


def test_reading_attributes_of_many_and_of_one() -> None:
    encoder = ToyEncoder()
    reader, things = AttributeReader(encoder), list(itertools.product(*ATTRIBUTES.values()))
    vectors = encoder.embed_images([pixels_of(thing, n) for n, thing in enumerate(things)])
    assert reader.read(vectors, "colour") == [thing[1] for thing in things]
    assert reader.read_one(vectors[7]) == dict(zip(NAMES, things[7], strict=True))
    assert reader.read(vectors[:0], "colour") == []
    assert AttributeReader(ToyEncoder(attributes={})).read_one(vectors[0]) == {}


def test_a_collection_that_cannot_be_written_is_searched(home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system takes Linux and the right to mount")
    try:
        shutil.copytree(home, disk / "c")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with Collection(disk / "c") as collection:
            assert len(Searcher(collection, ToyEncoder()).find("red", k=5).hits) == 5
        with pytest.raises(StoreError, match="cannot be written"):
            Writer(disk / "c")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_threads_share_a_searcher(searcher: Searcher) -> None:
    texts = [" ".join(thing) for thing in itertools.product(*ATTRIBUTES.values())]
    alone = [searcher.find(text, k=3) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: searcher.find(text, k=3), texts)) == alone
