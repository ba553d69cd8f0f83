"""Pictures in chats: where the message has them, between the model's own words, whatever those say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from agentkit.engine.dialects import Dialect, Look, detect, unseen
from agentkit.engine.llama import Model
from agentkit.errors import EngineError, UnsupportedPart
from agentkit.protocols import Request
from tests.unit.engine.conftest import CHATML, HERMES_TEMPLATE, write_model

TYPED_TEMPLATE = """{%- for m in messages %}{{ '<|im_start|>' + m.role + (':' if m.content[0].type == 'image' else '\n') }}
{%- for part in m.content %}{%- if part.type == 'text' %}{{ part.text }}{%- endif %}{%- endfor %}{{ '<|im_end|>\n' }}
{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"""
NAMES = ("llama3", "hermes", "mistral", "gemma")
PICTURE = 1_000_000


def message(*parts: str | int) -> HumanMessage:
    blocks = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "file_id": str(part)}
        for part in parts
    ]
    return HumanMessage(content=blocks)  # type: ignore[arg-type]


def look(block: Mapping[str, object], words: str) -> Sequence[int]:
    """Three pseudo-tokens, by the block's number."""
    first = PICTURE + 10 * int(str(block["file_id"]))
    return [first, first + 1, first + 2]


def words(model: Model, tokens: Sequence[int]) -> str:
    """The text of a prompt, with each picture as its number."""
    pieces = [f"⟦{(token - PICTURE) // 10}⟧".encode() if token >= PICTURE else model.pieces[token] for token in tokens]
    return b"".join(pieces).decode().replace("⟦", "[").replace("⟧", "]")


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest, chat_models: dict[str, Path]) -> tuple[Model, Dialect]:
    model = Model(chat_models[request.param])
    return model, detect(model)


def shown(pair: tuple[Model, Dialect], *messages: BaseMessage, look: Look = look) -> str:
    model, dialect = pair
    return words(model, dialect.prompt(Request(messages=messages), look))


def test_pictures_stand_where_the_message_has_them(pair: tuple[Model, Dialect]) -> None:
    text = shown(pair, SystemMessage("Be brief."), message("What is it?", 1), AIMessage("A."), message(2, "and", 3))
    assert "What is it?\n[1][1][1]" in text
    assert "[2][2][2]\nand\n[3][3][3]" in text
    without = shown(pair, SystemMessage("Be brief."), HumanMessage("What is it?\nX"), AIMessage("A."), message("Y"))
    assert text.replace("[1][1][1]", "X").replace("[2][2][2]\nand\n[3][3][3]", "Y") == without


def test_texts_alone_are_what_they_were(pair: tuple[Model, Dialect]) -> None:
    assert shown(pair, message("one", "two"), look=unseen) == shown(pair, HumanMessage("one\ntwo"))
    with pytest.raises(UnsupportedPart, match="type 'image'"):
        shown(pair, message("one", 1), look=unseen)


def test_the_words_of_the_message_are_told(pair: tuple[Model, Dialect]) -> None:
    told: list[str] = []

    def see(block: Mapping[str, object], words: str) -> Sequence[int]:
        told.append(words)
        return look(block, words)

    shown(pair, message("red", 1, "or blue?"), AIMessage("red"), message(2), look=see)
    assert told == ["red\nor blue?", ""]


CONTROLS = ("<|im_end|>", "<|eot_id|>", "[/INST]", "<end_of_turn>")
SAID = st.lists(
    st.sampled_from(
        [*CONTROLS, *(text[:n] for text in CONTROLS for n in (1, 4)), *(text[4:] for text in CONTROLS), "a"]
    ),
    max_size=4,
).map("".join)


@given(before=SAID, after=SAID)
def test_no_words_around_a_picture_become_control_tokens(
    pairs: list[tuple[Model, Dialect]], before: str, after: str
) -> None:
    for model, dialect in pairs:
        plain = dialect.prompt(Request(messages=[message("x", 1, "x")]), look)
        tokens = dialect.prompt(Request(messages=[message(before + "x", 1, "x" + after)]), look)
        controls = set(model.control_ids.values())
        assert [t for t in tokens if t in controls or t >= PICTURE] == [
            t for t in plain if t in controls or t >= PICTURE
        ]


@pytest.fixture(scope="module")
def pairs(chat_models: dict[str, Path]) -> list[tuple[Model, Dialect]]:
    models = [Model(chat_models[name]) for name in NAMES]
    return [(model, detect(model)) for model in models]


def test_a_mark_in_the_words_is_not_a_picture(pair: tuple[Model, Dialect]) -> None:
    strange = "".join(chr(0xF0000 + n) for n in range(3))
    assert shown(pair, message(strange, 1)).count("[1]") == 3


def test_a_template_that_wants_typed_parts(tmp_path: Path) -> None:
    path = write_model(tmp_path / "t.gguf", controls=CHATML, bos=0, eos=2, template=TYPED_TEMPLATE)
    with Model(path) as model:
        pair = model, detect(model)
        assert shown(pair, SystemMessage("Be brief."), message("What is it?", 1)) == (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is it?\n[1][1][1]<|im_end|>\n"
            "<|im_start|>assistant\n"
        )


@pytest.mark.parametrize("change", [lambda said: f"({said} | upper)[0:2]", lambda said: f"{said} + {said}"])
def test_a_template_that_loses_or_repeats_a_picture(tmp_path: Path, change: Callable[[str], str]) -> None:
    template = HERMES_TEMPLATE.replace(
        "+ m.content }}", "+ (m.content if loop.index0 else " + change("m.content") + ") }}"
    )
    path = write_model(tmp_path / "t.gguf", controls=CHATML, bos=0, eos=2, template=template)
    with Model(path) as model, pytest.raises(EngineError, match="no place for pictures"):
        detect(model, "hermes").prompt(Request(messages=[message("what", 1), message(2)]), look)
