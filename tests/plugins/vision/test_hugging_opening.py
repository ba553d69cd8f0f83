"""A name leads to one kind of model, and to no other."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentkit.errors import MissingDependency, ModelNotFound, UsageError
from agentkit_vision.opening import is_gguf, open_encoder, open_speaker


class Opened:
    """Stands for a model of another part of the package."""

    def __init__(self, name: str = "embedded", *, context: int = 0) -> None:
        self.name, self.context = name, context


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in (("embedded", ("EmbeddedEncoder", "EmbeddedSpeaker")), ("llama", ("LlamaSpeaker",))):
        made: Any = ModuleType(f"agentkit_vision.{module}")
        for name in names:
            setattr(made, name, type(name, (Opened,), {}))
        monkeypatch.setitem(sys.modules, made.__name__, made)


@pytest.mark.usefixtures("others")
def test_names_lead_to_their_kinds() -> None:
    for name in ("auto", "embedded", " embedded "):
        assert type(open_encoder(name)).__name__ == "EmbeddedEncoder"
        assert type(open_speaker(name)).__name__ == "EmbeddedSpeaker"
    for name in ("a/model.gguf", "MODEL.GGUF", "hf:owner/repo/model.gguf", "hf:owner/repo/model.gguf@main"):
        found = open_speaker(name, context=7)
        assert (type(found).__name__, found.name, found.context) == ("LlamaSpeaker", name, 7)  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="makes no vectors"):
            open_encoder(name)


@pytest.mark.usefixtures("others")
def test_a_folder_of_our_own_training_is_known_by_what_it_says_about_itself(tmp_path: Path) -> None:
    (tmp_path / "about.json").write_text("{}")
    for found in (open_encoder(str(tmp_path)), open_speaker(str(tmp_path))):
        assert (type(found).__name__[:8], str(found.name)) == ("Embedded", str(tmp_path))


@pytest.mark.usefixtures("others")
def test_options_that_a_kind_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="has no option colour; it has context"):
        open_speaker("embedded", colour="red")
    with pytest.raises(UsageError, match="give a name"):
        open_encoder(" ")


@pytest.mark.usefixtures("others")
def test_a_name_that_leads_nowhere_is_never_replaced() -> None:
    pytest.importorskip("transformers")
    for work in (open_encoder, open_speaker):
        with pytest.raises(ModelNotFound, match="no such folder"):
            work("./nowhere")


def test_models_of_transformers_are_opened(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    import torch

    from tests.plugins.vision import hugging_models as make

    torch.set_num_threads(1)
    assert open_encoder(str(make.clip(tmp_path / "clip")), batch=2).dim == 12
    speaker = open_speaker(str(make.blip2(tmp_path / "blip2")), max_tokens=2)
    assert speaker.ask([make.picture(0)], "what?").model == speaker.name


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for module in ("loading", "encoding", "speaking"):
        monkeypatch.delitem(sys.modules, f"agentkit_vision.hugging.{module}", raising=False)
    with pytest.raises(MissingDependency, match=r"pip install 'agentkit-local\[vision\]'"):
        open_encoder("org/model")


def test_names_of_ggufs() -> None:
    assert is_gguf("x.gguf")
    assert is_gguf("hf:a/b/x.gguf@1.0")
    assert not is_gguf("gguf")
    assert not is_gguf("a/b-gguf")
