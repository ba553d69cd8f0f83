"""Eyes that plugins offer: asked for by the model's fingerprint, opened with the first picture, and no harm to texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from agentkit import extensions
from agentkit.config import EngineSettings, ExtensionSettings
from agentkit.engine import open_engine
from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.rows import Row
from agentkit.errors import EngineError, ExtensionError, MissingDependency, UnsupportedPart
from agentkit.extensions import Extension, EyeOffer, Offers, Plugin
from agentkit.messages import user_message
from agentkit.models.gguf import sha256_of
from agentkit.protocols import Engine, Eye, Request
from agentkit.types import ImagePart, Task, TextPart
from tests.unit.engine.eyes import png, write_mmproj


class Fixed:
    """Sees the same in everything."""

    fingerprint, reads_words = "fixed", False

    def see(self, image: bytes, words: str) -> np.ndarray:
        return np.full((5, 64), 0.1, np.float32)


REQUEST = Request(messages=[user_message(Task(parts=(TextPart(text="what"), ImagePart(data=png((1, 2, 3))))))])
TEXT = Request(messages=[user_message(Task.of("what"))], max_tokens=2)
Offer = Callable[[], tuple[EyeOffer, ...]]


@pytest.fixture
def opened(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Engine]]:
    """Opens a model with these plugins installed."""
    engines: list[Engine] = []

    def open_with(plugins: Mapping[str, Offer], settings: ExtensionSettings | None = None) -> Engine:
        found = {name: Plugin(name=name, eyes=eyes) for name, eyes in plugins.items()}
        entries = {
            name: Extension(name, "agentkit.plugins", f"dist-{name}", "1", EntryPoint("", "", "")) for name in found
        }
        monkeypatch.setattr(extensions, "installed", lambda _: entries)
        monkeypatch.setattr(extensions, "contested", lambda _: [])
        monkeypatch.setattr(Extension, "load", lambda self, seconds=0: found[self.name])
        engines.append(open_engine(EngineSettings(model=str(tiny), context=512, threads=1, trial=False), settings))
        return engines[-1]

    yield open_with
    for engine in engines:
        engine.close()


def test_what_a_plugin_offers_for_the_model_is_used_once(opened, tiny: Path) -> None:
    made: list[int] = []

    def make() -> Eye:
        made.append(1)
        return Fixed()

    asked: list[int] = []

    def eyes() -> tuple[EyeOffer, ...]:
        asked.append(1)
        return EyeOffer(model="0" * 64, make=lambda: pytest.fail("another model's")), EyeOffer(
            model=sha256_of(tiny), make=make
        )

    engine = opened({"sight": eyes})
    assert (engine.capabilities.images, made) == (True, [])
    list(engine.stream(TEXT))
    assert made == []
    count = engine.count(REQUEST)
    assert (engine.count(REQUEST), made, asked) == (count, [1], [1])


def test_none_is_offered_for_another_model_or_where_plugins_are_off(opened, tiny: Path) -> None:
    engine = opened({"sight": lambda: (EyeOffer(model="0" * 64, make=Fixed),), "basics": tuple})
    assert not engine.capabilities.images
    with pytest.raises(UnsupportedPart, match="cannot see"):
        engine.count(REQUEST)
    offer: Offer = lambda: (EyeOffer(model=sha256_of(tiny), make=Fixed),)  # noqa: E731
    assert not opened({"sight": offer}, ExtensionSettings(enabled=False)).capabilities.images
    assert not opened({"sight": offer}, ExtensionSettings(disabled=("sight",))).capabilities.images
    assert opened({"sight": offer}).capabilities.images


def test_a_plugin_that_fails_harms_no_texts(opened, tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> tuple[EyeOffer, ...]:
        raise SystemExit("no")

    with caplog.at_level(logging.WARNING):
        engine = opened(
            {"bad": broken, "worse": lambda: 7, "good": lambda: (EyeOffer(model=sha256_of(tiny), make=Fixed),)}
        )
        assert engine.capabilities.images
    assert "plugin 'bad' from dist-bad cannot say which eyes it has: SystemExit: no" in caplog.text
    list(engine.stream(TEXT))


@pytest.mark.parametrize(
    ("make", "why"),
    [(lambda: 1 // 0, "ZeroDivisionError"), (lambda: object(), "object is no Eye")],
    ids=["fails", "is none"],
)
def test_an_eye_that_cannot_be_opened_is_the_pictures_fault_alone(opened, tiny: Path, make, why: str) -> None:
    engine = opened({"sight": lambda: (EyeOffer(model=sha256_of(tiny), make=make),)})
    list(engine.stream(TEXT))
    with pytest.raises(ExtensionError, match=f"plugin 'sight' from dist-sight cannot open its eye.*{why}"):
        engine.count(REQUEST)
    list(engine.stream(TEXT))


# --- who decodes ------------------------------------------------------------------------------------------------------


def solid(image: bytes) -> np.ndarray:
    return np.full((40, 40, 3), (9, 8, 7), np.uint8)


def offers(monkeypatch: pytest.MonkeyPatch, **decoders: Callable[[bytes], object]) -> Offers:
    found = {name: Plugin(name=name, decode=decode) for name, decode in decoders.items()}
    entries = {name: Extension(name, "agentkit.plugins", f"dist-{name}", "1", EntryPoint("", "", "")) for name in found}
    monkeypatch.setattr(extensions, "installed", lambda _: entries)
    monkeypatch.setattr(extensions, "load_plugins", lambda _: (found, []))
    return Offers(ExtensionSettings())


def rows(path: Path, mmproj: Path, data: bytes, given: Offers | None) -> bytes:
    with LlamaEngine(path, context=512, threads=1, mmproj=mmproj, offers=given) as engine:
        message = user_message(Task(parts=(ImagePart(data=data),)))
        tokens = engine.session(Request(messages=[message])).tokens
        return next(token.span.rows.values.tobytes() for token in tokens if isinstance(token, Row))


def test_a_plugin_decodes_for_the_mmproj(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mmproj = write_mmproj(tmp_path / "mmproj.gguf", width=64)
    alone = rows(tiny, mmproj, png((9, 8, 7)), None)
    assert rows(tiny, mmproj, png((9, 8, 7)), offers(monkeypatch, sight=solid)) == alone
    webp = b"RIFF\x00\x00\x00\x00WEBPVP8 "  # which llama.cpp cannot decode
    assert rows(tiny, mmproj, webp, offers(monkeypatch, sight=solid)) == alone

    def missing(image: bytes) -> object:
        raise MissingDependency("no Pillow")

    assert rows(tiny, mmproj, png((9, 8, 7)), offers(monkeypatch, sight=missing)) == alone
    assert rows(tiny, mmproj, webp, offers(monkeypatch, sight=missing, more=solid)) == alone


def test_a_decoder_that_fails_says_so(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mmproj = write_mmproj(tmp_path / "mmproj.gguf", width=64)

    def refuses(image: bytes) -> object:
        raise UnsupportedPart("a picture of a bomb")

    for decode, error, why in (
        (refuses, UnsupportedPart, "of a bomb"),
        (lambda _: 1 // 0, ExtensionError, "plugin 'sight' from dist-sight cannot decode a picture: ZeroDivisionError"),
        (lambda _: np.zeros((4, 4), np.uint8), EngineError, r"uint8 of shape \(4, 4\)"),
        (lambda _: np.zeros((4, 4, 3), np.float32), EngineError, "float32"),
    ):
        with pytest.raises(error, match=why):
            rows(tiny, mmproj, png((9, 8, 7)), offers(monkeypatch, sight=decode))
