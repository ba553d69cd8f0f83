"""The templates of the pinned llama-cpp-python, and a vocabulary of bytes and the control tokens they name."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import pytest
from llguidance import LLTokenizer, TokenizerWrapper

FETCH = Path(__file__).with_name("fetch.py")
CONTROLS = re.compile(
    r"<\|[^<>\s]+?\|?>|<[^<>\s|]+\|>|<｜[^<>]+?｜>|\[/?[A-Z_]{3,}\]|</?[a-z]+(?:[_:][a-z]+)+>|</?think>"
)
BOS, EOS = "<bos-of-the-test>", "<eos-of-the-test>"


class ByteVocabulary:
    """What a dialect needs to know of a model: one token a byte, and control tokens."""

    bos_id, turn_end_id, adds_bos = 256, 257, False

    def __init__(self, template: str, controls: Sequence[str]) -> None:
        texts = [BOS, EOS, *dict.fromkeys(controls)]
        self.pieces = [*(bytes([n]) for n in range(256)), *(text.encode() for text in texts)]
        self.control_ids = {text.encode(): 256 + n for n, text in enumerate(texts)}
        self.end_ids = (self.turn_end_id,)
        self.metadata = {"tokenizer.chat_template": template}
        self._controls = re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)))

    def tokenise(self, text: str, *, special: bool = False) -> list[int]:
        tokens, place = [], 0
        for found in self._controls.finditer(text) if special else ():
            tokens += [*text[place : found.start()].encode(), self.control_ids[found.group().encode()]]
            place = found.end()
        return [*tokens, *text[place:].encode()]

    def knows(self, tokens: Sequence[int]) -> bool:
        return all(token < len(self.pieces) for token in tokens)

    def text_of(self, tokens: Sequence[int]) -> str:
        return b"".join(self.pieces[token] for token in tokens).decode()

    @cached_property
    def constrainer(self) -> LLTokenizer:
        return LLTokenizer(TokenizerWrapper(_Tokens(self)))


class _Tokens:
    """The vocabulary as llguidance's wrapper wants it."""

    def __init__(self, vocabulary: ByteVocabulary) -> None:
        self.eos_token_id, self.bos_token_id = vocabulary.turn_end_id, vocabulary.bos_id
        self.tokens = vocabulary.pieces
        self.special_token_ids = list(vocabulary.control_ids.values())

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


@pytest.fixture(scope="session")
def templates() -> Path:
    """The folder of templates; tests that need it are skipped where it cannot be had."""
    done = subprocess.run([sys.executable, str(FETCH)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return Path(done.stdout.strip())


class SpacedVocabulary(ByteVocabulary):
    """Puts a space before text, at its beginning and after control tokens, as SentencePiece does."""

    def tokenise(self, text: str, *, special: bool = False) -> list[int]:
        is_control = set(self.control_ids.values())
        tokens: list[int] = []
        for token in super().tokenise(text, special=special):
            if token not in is_control and (not tokens or tokens[-1] in is_control):
                tokens.append(ord(" "))
            tokens.append(token)
        return tokens


@pytest.fixture(scope="session")
def vocabulary_for() -> Callable[..., ByteVocabulary]:
    """The vocabulary that a model with this template might have, of one kind or the other."""

    def make(template: str, *, spaced: bool = False) -> ByteVocabulary:
        kind = SpacedVocabulary if spaced else ByteVocabulary
        return kind(template, CONTROLS.findall(template))

    return make
