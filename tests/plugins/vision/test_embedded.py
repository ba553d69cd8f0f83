"""The embedded model at work: rows for sprout, vectors for search, and what is said where something is missing or damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from agentkit import jobs  # noqa: E402
from agentkit.errors import AgentkitError, InvalidParams, ModelFileError, ModelNotFound, UnsupportedPart  # noqa: E402
from agentkit.models.gguf import sha256_of  # noqa: E402
from agentkit.protocols import Eye  # noqa: E402
from agentkit_vision.contracts import Encoder, Picture, Speaker  # noqa: E402
from agentkit_vision.embedded import EmbeddedEncoder, EmbeddedEye, EmbeddedSpeaker, offers  # noqa: E402
from agentkit_vision.embedded.folder import About, read_about, write_about  # noqa: E402
from agentkit_vision.embedded.seeing import spoken_attributes  # noqa: E402
from agentkit_vision.pictures import load, to_png  # noqa: E402
from agentkit_vision.search.wording import read_query  # noqa: E402
from agentkit_vision.training import connector, contrast, fitting  # noqa: E402
from agentkit_vision.training.jobs import TRAIN  # noqa: E402
from tests.plugins.vision.training_toys import SPROUT, drawn, order, sprout_hf  # noqa: E402

QUESTION = "what colour is it?"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of different seeds, and their pictures."""
    folder = tmp_path_factory.mktemp("embedded")
    data, sprout = drawn(folder / "data", 80), sprout_hf(folder / "sprout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "corpus", lambda data, *, seed, count=0: contrast.corpus(data, seed=seed, count=300))
        patch.setattr(fitting, "question_corpus", lambda data, *, seed: connector.question_corpus(data, seed=seed, count=300))  # fmt: skip
        for name, more in (("model", {}), ("other", {"seed": 1}), ("deaf", {"reads_words": False, "latents": 5})):
            told = order(data, folder / name, sprout, gguf=str(SPROUT), **more)
            assert jobs.run(TRAIN, told, run_dir=folder / f"run-{name}").status == "ok"
    return folder


@pytest.fixture(scope="module")
def eye(place: Path) -> EmbeddedEye:
    return EmbeddedEye(place / "model")


@pytest.fixture(scope="module")
def encoder(place: Path) -> EmbeddedEncoder:
    return EmbeddedEncoder(place / "model")


@pytest.fixture(scope="module")
def pictures(place: Path) -> list[Picture]:
    return [load(place / "data" / f"{n}.png") for n in range(6)]


def test_rows_are_as_many_as_latents_and_as_wide_as_sprout(eye: EmbeddedEye, pictures: list[Picture]) -> None:
    assert isinstance(eye, Eye)
    rows = eye.see(to_png(pictures[0].pixels), QUESTION)
    assert rows.shape == (8, 256)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()


def test_rows_are_a_function_of_picture_and_question(eye: EmbeddedEye, pictures: list[Picture]) -> None:
    shown = to_png(pictures[0].pixels)
    first = eye.see(shown, QUESTION)
    assert np.array_equal(first, eye.see(shown, QUESTION))
    assert np.array_equal(first, eye.see_pixels(pictures[0].pixels, QUESTION))
    assert not np.array_equal(first, eye.see(shown, "how many are there?"))
    assert not np.array_equal(first, eye.see(to_png(pictures[1].pixels), QUESTION))


@pytest.mark.parametrize("side", [(1, 1), (7, 300), (48, 48), (640, 480)])
def test_pictures_of_every_size_are_seen(eye: EmbeddedEye, side: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*side, 3), np.uint8)
    assert np.isfinite(eye.see_pixels(pixels, QUESTION)).all()


@pytest.mark.parametrize("words", ["", "   ", "zebra crossings!!", "\U0001f600 ☂", "what " * 500])
def test_whatever_is_said_beside_a_picture_it_is_seen(eye: EmbeddedEye, words: str) -> None:
    assert np.isfinite(eye.see_pixels(np.zeros((48, 48, 3), np.uint8), words)).all()


def test_what_is_no_picture_is_said(eye: EmbeddedEye) -> None:
    for data in (b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40):
        with pytest.raises((InvalidParams, UnsupportedPart)):
            eye.see(data, QUESTION)


def test_an_eye_that_reads_no_words_sees_the_same_whatever_is_asked(place: Path, pictures: list[Picture]) -> None:
    deaf = EmbeddedEye(place / "deaf")
    assert deaf.reads_words is False
    one, other = (deaf.see_pixels(pictures[0].pixels, words) for words in (QUESTION, "how many"))
    assert one.shape == (5, 256)
    assert np.array_equal(one, other)
    assert not (place / "deaf" / "questions").exists()


def test_fingerprints_are_of_the_weights(place: Path, eye: EmbeddedEye, encoder: EmbeddedEncoder, tmp_path: Path) -> None:  # fmt: skip
    shutil.copytree(place / "model", tmp_path / "copy")
    assert EmbeddedEye(tmp_path / "copy").fingerprint == eye.fingerprint
    assert EmbeddedEncoder(tmp_path / "copy").fingerprint == encoder.fingerprint
    assert EmbeddedEye(place / "other").fingerprint != eye.fingerprint
    assert EmbeddedEncoder(place / "other").fingerprint != encoder.fingerprint


def test_words_that_a_model_knows_are_part_of_what_it_does(place: Path, tmp_path: Path) -> None:
    """Two models with the same weights whose words have other ids give other vectors, so they are not one model."""
    swapped = tmp_path / "swapped"
    shutil.copytree(place / "model", swapped)
    for name in ("words.json", "questions/words.json"):
        told = json.loads((swapped / name).read_text())
        told["words"][0], told["words"][1] = told["words"][1], told["words"][0]
        (swapped / name).write_text(json.dumps(told))
    assert EmbeddedEncoder(swapped).fingerprint != EmbeddedEncoder(place / "model").fingerprint
    assert EmbeddedEye(swapped).fingerprint != EmbeddedEye(place / "model").fingerprint


def test_vectors_have_length_one(encoder: EmbeddedEncoder, pictures: list[Picture]) -> None:
    assert isinstance(encoder, Encoder)
    images = encoder.embed_images([one.pixels for one in pictures])
    texts = encoder.embed_texts(["red", "a small blue shoe on the left, on white", "three mugs"])
    assert images.shape == (6, encoder.dim)
    assert texts.shape == (3, encoder.dim)
    for vectors in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_vector_does_not_depend_on_its_neighbours(encoder: EmbeddedEncoder, pictures: list[Picture]) -> None:
    together = encoder.embed_images([one.pixels for one in pictures])
    alone = np.concatenate([encoder.embed_images([one.pixels]) for one in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    texts = ["red", "a small blue shoe on the left, on white"]
    np.testing.assert_allclose(encoder.embed_texts(texts)[0], encoder.embed_texts(texts[:1])[0], atol=1e-5)


def test_words_that_are_not_known_count_for_nothing_and_are_said(encoder: EmbeddedEncoder) -> None:
    assert encoder.unknown("a red zebra, quickly") == ["zebra", "quickly"]
    one, other = encoder.embed_texts(["zebra red shoe quickly", "red shoe"])
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_text_of_no_words_has_zeros(encoder: EmbeddedEncoder) -> None:
    found = encoder.embed_texts(["", "zebra", "!?", "red"])
    assert not found[:3].any()
    assert found[3].any()
    assert encoder.embed_texts([]).shape == (0, encoder.dim)
    assert encoder.embed_images([]).shape == (0, encoder.dim)


def test_long_texts_are_cut(encoder: EmbeddedEncoder) -> None:
    one, other = encoder.embed_texts(["red " * 400, "red " * 32])
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_query_is_read_with_the_attributes_that_an_encoder_tells(encoder: EmbeddedEncoder) -> None:
    assert set(encoder.attributes) == {"kind", "colour", "size", "count", "position", "texture", "background"}
    assert {"red", "blue"} <= set(encoder.attributes["colour"])
    assert {"shoe", "circle"} <= set(encoder.attributes["kind"])
    assert list(read_query("like this but red", encoder.attributes).asked["colour"]) == ["red"]


def test_spoken_attributes_leave_out_what_is_not_said_and_join_what_names_things() -> None:
    shop = {
        "category": ("shoe", "mug", "shape", "mixed"), "shape": ("circle", "none"), "colour": ("red", "mixed"),
        "count": ("1", "2"), "position": ("left", "spread"),
    }  # fmt: skip
    assert spoken_attributes(shop) == {
        "kind": ("shoe", "mug", "circle"), "colour": ("red",), "count": ("one", "two"), "position": ("left",),
    }  # fmt: skip
    assert spoken_attributes({"label": ("cat", "Big_Dog")}) == {"label": ("cat", "big dog")}
    assert spoken_attributes({}) == {}


@given(st.dictionaries(st.sampled_from(("category", "shape", "colour", "wood")), st.lists(st.text("abc", min_size=1), max_size=4).map(tuple)))  # fmt: skip
def test_spoken_values_are_each_said_once(vocabulary: dict[str, tuple[str, ...]]) -> None:
    for values in spoken_attributes(vocabulary).values():
        assert len(set(values)) == len(values)


def test_sprout_speaks_of_one_picture_at_a_time(place: Path, pictures: list[Picture]) -> None:
    speaker = EmbeddedSpeaker(place / "model")
    try:
        assert isinstance(speaker, Speaker)
        said = speaker.ask(pictures[:1], QUESTION)
        assert said == speaker.ask(pictures[:1], QUESTION)
        assert said.confidence is not None
        assert 0 <= said.confidence <= 1
        assert isinstance(speaker.caption(pictures[0]).text, str)
        for several in (pictures[:2], []):
            with pytest.raises(UnsupportedPart, match="one picture at a time"):
                speaker.ask(several, QUESTION)
        assert EmbeddedEye(place / "model").fingerprint in speaker.fingerprint
    finally:
        speaker.close()
        speaker.close()


def test_there_is_no_offer_without_weights(tmp_path: Path) -> None:
    assert offers(tmp_path) == ()
    assert offers(tmp_path / "nowhere") == ()


def test_an_offer_is_for_the_language_model_that_was_trained_with(place: Path) -> None:
    (offer,) = offers(place / "model")
    assert offer.model == sha256_of(SPROUT)
    assert offer.make().fingerprint == EmbeddedEye(place / "model").fingerprint


@pytest.mark.parametrize("how", ["cut", "empty", "other bytes", "gone"])
@pytest.mark.parametrize(
    "name", ["image_tower.safetensors", "resampler.safetensors", "questions/text_tower.safetensors", "about.json", "image_tower.json", "questions/words.json"],
)  # fmt: skip
def test_a_damaged_file_is_said_by_its_name(place: Path, tmp_path: Path, name: str, how: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(place / "model", folder)
    path = folder / name
    whole = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other bytes": b"\xff\x00" * 50}[how])
    with pytest.raises(ModelNotFound if how == "gone" else ModelFileError, match=path.name.replace(".", r"\.")) as said:
        EmbeddedEye(folder)
    assert isinstance(said.value, AgentkitError)


def test_what_a_model_says_about_itself_comes_back(tmp_path: Path) -> None:
    about = About(name="x", size=48, vocabulary={"colour": ("red", "blue")}, figures={"a": 0.5}, recipe={"seed": 1})
    write_about(tmp_path, about)
    assert read_about(tmp_path) == about
    for text in ("[]", "{}", '{"name": "x"}', '{"vocabulary": {"colour": 3}}', "null"):
        (tmp_path / "about.json").write_text(text)
        with pytest.raises(ModelFileError, match="train it again"):
            read_about(tmp_path)
