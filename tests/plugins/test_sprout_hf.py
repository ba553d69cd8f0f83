"""Sprout as a Hugging Face folder: the same logits, the same ids, the same conversations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from agentkit.engine.dialects.plain import CONTROL_TOKENS  # noqa: E402
from agentkit.engine.dialects.plain_template import TEMPLATE  # noqa: E402
from agentkit_training.floats import load_floats  # noqa: E402
from agentkit_training.llama import Llama  # noqa: E402
from agentkit_training.sprout_hf import SPROUT, WEIGHTS, sprout_folder  # noqa: E402
from agentkit_training.tokenizer import TextTokenizer  # noqa: E402

OWN = TextTokenizer.load(WEIGHTS / "tokenizer.json")
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 15% of 200?"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]},
    {"role": "tool", "content": "30"},
    {"role": "assistant", "content": "30."},
]
TOOLS = [{"function": {"name": "add", "description": "Add.", "parameters": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}}]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return transformers.AutoTokenizer.from_pretrained(sprout_folder())


def test_logits_are_those_of_the_shipped_weights() -> None:
    own = load_floats(Llama(SPROUT), WEIGHTS / "sprout-f16.safetensors").eval()
    other = transformers.AutoModelForCausalLM.from_pretrained(sprout_folder()).eval()
    tokens = torch.randint(0, 4096, (1, 300), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (own(tokens) - other(tokens).logits).abs().max() < 1e-3
    assert other.config.agentkit["dialect"] == "plain/1"
    assert other.generation_config.eos_token_id == CONTROL_TOKENS.index("<end>")


@given(text=st.text(max_size=60))
def test_ids_of_a_text_are_those_of_the_dialect(tokenizer: object, text: str) -> None:
    if any(name in text for name in CONTROL_TOKENS):
        return
    ids = tokenizer(text).input_ids  # type: ignore[operator]
    assert ids == OWN.encode(text)
    assert tokenizer.decode(ids) == text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")  # type: ignore[attr-defined]


def test_control_tokens_are_tokens(tokenizer: object) -> None:
    for index, name in enumerate(CONTROL_TOKENS):
        assert tokenizer(name).input_ids == [index]  # type: ignore[operator]


def test_the_template_writes_what_the_dialect_writes(tokenizer: object) -> None:
    jinja = pytest.importorskip("jinja2")
    plain = jinja.Environment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)
    for asked in (False, True):
        wanted = plain.render(messages=TALK, tools=TOOLS, add_generation_prompt=asked)
        found = tokenizer.apply_chat_template(TALK, tools=TOOLS, tokenize=False, add_generation_prompt=asked)  # type: ignore[attr-defined]
        assert found == wanted


def test_the_template_says_what_the_assistant_wrote(tokenizer: object) -> None:
    found = tokenizer.apply_chat_template(TALK, tools=TOOLS, return_dict=True, return_assistant_tokens_mask=True)  # type: ignore[attr-defined]
    said = [token for token, own in zip(found["input_ids"], found["assistant_masks"], strict=True) if own]
    assert tokenizer.decode(said) == '<call><t0>{"a": 1}<end><final>30.<end>'  # type: ignore[attr-defined]
