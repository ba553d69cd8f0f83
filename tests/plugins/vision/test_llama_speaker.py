"""Models of llama.cpp that are asked about pictures: tiny random ones with an mmproj, and sprout with an eye that takes notes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from agentkit.config import EngineSettings
from agentkit.engine import open_engine
from agentkit.errors import ModelError, ModelFileError, UsageError
from agentkit_vision.contracts import Picture, Speaker
from agentkit_vision.llama import CAPTION, LlamaSpeaker
from agentkit_vision.opening import open_speaker
from tests.unit.engine.eyes import write_mmproj, write_qwen

WIDTH = 64
SPROUT_WIDTH = 256


def picture(colour: tuple[int, int, int], side: int = 48) -> Picture:
    pixels = np.full((side, side, 3), colour, np.uint8)
    return Picture(pixels=pixels, source="memory", sha256=str(colour), format="PNG", size=(side, side))


RED, BLUE = picture((255, 0, 0)), picture((0, 0, 255))


class Notes:
    """An eye that writes down what it was shown and told."""

    reads_words = True

    def __init__(self, fingerprint: str = "notes") -> None:
        self.fingerprint, self.seen = fingerprint, list[tuple[bytes, str]]()

    def see(self, image: bytes, words: str) -> np.ndarray:
        self.seen.append((image, words))
        return np.random.default_rng(int(image[-20])).normal(size=(8, SPROUT_WIDTH)).astype(np.float32) / 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that sees: its mmproj lies beside it."""
    folder = tmp_path_factory.mktemp("model")
    write_mmproj(folder / "mmproj-qwen.gguf", width=WIDTH, kind="qwen2vl_merger")
    return write_qwen(folder / "qwen.gguf")


@pytest.fixture(scope="module")
def speaker(model: Path) -> LlamaSpeaker:
    return LlamaSpeaker(str(model), max_tokens=6)


def test_it_is_a_speaker_and_opened_by_the_name_of_its_file(model: Path) -> None:
    opened = open_speaker(str(model), max_tokens=3)
    assert isinstance(opened, Speaker)
    assert isinstance(opened, LlamaSpeaker)
    assert opened.name == str(model)


def test_a_caption_and_an_answer_have_a_confidence_and_are_the_same_again(speaker: LlamaSpeaker) -> None:
    first, second = speaker.caption(RED), speaker.caption(RED)
    assert first == second
    assert first.confidence is not None
    assert 0 < first.confidence < 1
    assert first.model == speaker.name
    assert not first.text.endswith(".")
    assert speaker.ask([RED], "what colour is it?").confidence != speaker.ask([BLUE], "what colour is it?").confidence


def test_one_question_may_be_about_several_pictures(speaker: LlamaSpeaker) -> None:
    both, one = speaker.ask([RED, BLUE], "what differs?"), speaker.ask([RED], "what differs?")
    assert both.confidence != one.confidence


@pytest.mark.parametrize(("pictures", "question"), [([], "what?"), ([RED], "  ")])
def test_nothing_to_ask_is_a_usage_error(speaker: LlamaSpeaker, pictures: list[Picture], question: str) -> None:
    with pytest.raises(UsageError, match="at least one picture, and a question"):
        speaker.ask(pictures, question)


def test_a_model_without_eyes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    blind = write_qwen(tmp_path / "blind.gguf")
    with pytest.raises(ModelError, match=r"sees no pictures; put its mmproj beside it"):
        LlamaSpeaker(str(blind))


def test_an_mmproj_that_is_none_is_refused(model: Path) -> None:
    with pytest.raises(ModelFileError, match="not an mmproj"):
        LlamaSpeaker(str(model), mmproj=str(model))


def test_no_tokens_are_a_usage_error(model: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        LlamaSpeaker(str(model), max_tokens=0)


def test_sprout_is_asked_in_the_words_that_it_was_trained_on() -> None:
    eye = Notes()
    speaker = LlamaSpeaker("sprout", eye=eye, max_tokens=8)
    speaker.caption(RED)
    speaker.ask([BLUE], " what colour is it? ")
    assert [words for _, words in eye.seen] == ["describe the picture", "what colour is it?"]
    for (data, _), shown in zip(eye.seen, (RED, BLUE), strict=True):
        assert data.startswith(b"\x89PNG")
        assert np.array_equal(np.asarray(Image.open(BytesIO(data))), shown.pixels)


def test_other_models_are_asked_for_a_sentence(model: Path) -> None:
    assert LlamaSpeaker(str(model), max_tokens=2)._caption == CAPTION


def test_the_fingerprint_is_of_the_eye_as_well() -> None:
    one, other = (LlamaSpeaker("sprout", eye=Notes(name)) for name in ("one", "other"))
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == LlamaSpeaker("sprout", eye=Notes("one")).fingerprint


def test_a_model_that_is_not_ours_to_run_takes_no_eye(tmp_path: Path) -> None:
    script = tmp_path / "steps.json"
    script.write_text('[{"final": "x"}]', encoding="utf-8")
    with pytest.raises(ModelError, match="takes no eye"):
        open_engine(EngineSettings(model=f"scripted:{script}"), eye=Notes())
