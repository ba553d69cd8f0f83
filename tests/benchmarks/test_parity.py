from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

from benchmarks import parity


def test_strings_are_the_same_each_time_and_of_many_kinds() -> None:
    made = list(parity.strings(200))
    assert made == list(parity.strings(200))
    assert any("<call>" in text for text in made)
    assert any(ord(char) > 0xFFFF for text in made for char in text)
    assert len(set(made)) > 190


def test_the_shipped_tokenizer_cuts_as_in_training(sprout: Path) -> None:
    tokenizer = parity.TextTokenizer.load(parity.TOKENIZER)
    alike, whole = parity.tokens(tokenizer, sprout, 200)
    assert (alike.value, whole.value) == (1.0, 1.0)


def test_the_float_weights_give_llama_cpp_the_same_logits(sprout: Path) -> None:
    tokenizer = parity.TextTokenizer.load(parity.TOKENIZER)
    assert parity.logits(parity.read(parity.WEIGHTS), tokenizer, 1).holds
