"""Sprout's tokenizer: byte-level BPE that cuts a word alike wherever it stands.

Guarantees: the control tokens of `plain/1` have ids 0 to 79; `encode` never yields one of them,
whatever the text; decoding gives back the text exactly; llama.cpp's `gpt-2` pre-tokenizer gives the
same ids. A space, an underscore, a digit and any other sign stands by itself, so that `get_weather`
and `the weather` share the token `weather`.
Does not normalise text.
"""

from __future__ import annotations

import ast
import json
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from agentkit.engine.dialects.plain import CONTROL_TOKENS

__all__ = [
    "TextTokenizer",
    "dull_tokens",
    "standard_library_texts",
    "train_tokenizer",
]

_GPT2 = Regex(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
_ALONE = Regex(r"\p{L}+|\s|[^\p{L}\s]")


def _pieces() -> pre_tokenizers.PreTokenizer:
    """Cut before merging: runs of letters, and every other character by itself.

    llama.cpp cuts by the GPT-2 pattern only; as no merge was learnt across a finer cut, it comes
    to the same.
    """
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_GPT2, behavior="isolated"),
            pre_tokenizers.Split(_ALONE, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


class TextTokenizer:
    """Text to ids and back; control tokens are put in by id, never by text."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner

    @classmethod
    def load(cls, path: Path) -> TextTokenizer:
        """Read what `save` wrote."""
        return cls(Tokenizer.from_file(str(path)))

    def save(self, path: Path) -> None:
        """Write the tokenizer as one JSON file."""
        self.inner.save(str(path))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none is below 80."""
        ids: list[int] = self.inner.encode(text, add_special_tokens=False).ids
        return [index + len(CONTROL_TOKENS) for index in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, control tokens by their names."""
        return "".join(self._runs(ids))

    def _runs(self, ids: Iterable[int]) -> Iterator[str]:
        run: list[int] = []
        first = len(CONTROL_TOKENS)
        for index in ids:
            if index >= first:
                run.append(index - first)
                continue
            yield self.inner.decode(run)
            run = []
            yield CONTROL_TOKENS[index]
        yield self.inner.decode(run)

    @property
    def size(self) -> int:
        """How many tokens there are, control tokens included."""
        return len(CONTROL_TOKENS) + int(self.inner.get_vocab_size())

    def vocabulary(self) -> list[str]:
        """Every token in the order of ids, in byte-level writing."""
        words = sorted(self.inner.get_vocab().items(), key=lambda item: item[1])
        return [*CONTROL_TOKENS, *(word for word, _ in words)]

    def merges(self) -> list[str]:
        """The merges in order of rank, as `left right`."""
        pairs = json.loads(self.inner.to_str())["model"]["merges"]
        return [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]


def train_tokenizer(texts: Iterable[str], *, size: int = 4096) -> TextTokenizer:
    """Learn `size` tokens (controls included) from texts.

    Characters beyond ASCII are left out of the learning: they stay bytes, and no merge of theirs
    can reach across a cut that llama.cpp does not make.
    """
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = _pieces()
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(CONTROL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        max_token_length=16,
    )
    plain = (text.encode("ascii", "ignore").decode("ascii") for text in texts)
    inner.train_from_iterator(plain, trainer)
    return TextTokenizer(inner)


def standard_library_texts() -> Iterator[str]:
    """Yield the docstrings of Python's standard library: broad English that every machine has."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if {"site-packages", "test", "tests", "idlelib", "lib2to3"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


def dull_tokens(tokenizer: TextTokenizer) -> list[int]:
    """Tokens that are no letter, digit or part of one: spaces, punctuation, symbols."""
    first = len(CONTROL_TOKENS)
    ascii_signs = [chr(code) for code in range(32, 127) if not chr(code).isalnum()]
    ids = {index for sign in (*ascii_signs, "\n", "\t") for index in tokenizer.encode(sign)}
    return sorted(index for index in ids if index >= first)
