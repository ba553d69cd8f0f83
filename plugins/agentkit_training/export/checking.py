"""Hold a vocabulary against llama.cpp: the same ids as transformers', or an error.

Guarantees: what is compared is what the file will hold, read by llama.cpp itself, on texts of many kinds, on words of the vocabulary
in random order, and on every control token written as text. Equal on these is no proof of equal on all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gguf

from agentkit.engine.llama.library import C
from agentkit.errors import ModelFileError
from agentkit_training.export.vocabulary import Vocabulary, write_vocabulary

__all__ = ["LlamaTokens", "check_vocabulary"]

TEXTS = (
    "The quick brown fox jumps over the lazy dog, and then it doesn't.",
    "I'm sure they'll say we've been there; he'd know, it's hers. CAN'T, WON'T, I'LL.",
    "def f(x: int) -> dict[str, int]:\n\treturn {'a': x ** 2, \"b\": x // 3}  # comment\n\n\nclass A:\n    pass\n",
    "for (int i = 0; i < 10; ++i) { a[i] += b->c & 0xFF; }\r\n\r\n",
    "1 12 123 1234 12345678 3.14159 -2e10 1,000,000 0x7f 2024-01-31T23:59:59Z",
    "get_weather(city='Paris', days=3) {\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Où est l'été? Ça va.",
    "Съешь же ещё этих мягких французских булок. Ξεσκεπάζω. שלום עולם. مرحبا بالعالم.",
    "你好，世界。こんにちは世界、カタカナ。안녕하세요. สวัสดี नमस्ते",
    "🙂 👩‍👩‍👧 🇫🇷 ½ ² ① ™ … — “quoted” ‘single’ €100 £5 ¥3",
    " leading", "trailing ", "  two  spaces  ", "a   b    c", "\n", "\n\n \n  \n", "\t\ttabs\t", " ", "a\u00a0b\u3000c\u2003d",
    "http://example.com/a/b?c=d&e=f#g user@example.com /usr/local/bin C:\\Windows\\x",
    "!?.,;:-_()[]{}<>/\\|@#$%^&*+=~`'\"", "____ ==== ---- .... ''' \"\"\" //// ####",
    "camelCase snake_case SCREAMING_CASE kebab-case x1y2z3 a1 1a",
)  # fmt: skip
MIXED = 64  # texts of random words
CONTROLS = 128  # control tokens looked at


class LlamaTokens:
    """llama.cpp's tokenizer of a GGUF; nothing but the vocabulary is read. Close it, or use it in a `with` block."""

    def __init__(self, path: Path) -> None:
        """Load it.

        Raises:
            ModelFileError: llama.cpp cannot.
        """
        C.llama_backend_init()
        params = C.llama_model_default_params()
        params.vocab_only = True
        self._model: Any = C.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise ModelFileError(f"{path}: llama.cpp cannot read its vocabulary (AGENTKIT_LOG_LEVEL=debug shows why)")
        self._vocab = C.llama_model_get_vocab(self._model)

    def ids(self, text: str, *, whole: bool = False) -> list[int]:
        """Return the ids of a text, control tokens in it included; `whole`: with those that begin and end one."""
        data = text.encode("utf-8")
        room = 2 * len(data) + 16
        found = (C.llama_token * room)()
        count = int(C.llama_tokenize(self._vocab, data, len(data), found, room, whole, True))
        return list(found[: max(0, count)])

    def ends(self, index: int) -> bool:
        """Whether generation stops at a token."""
        return bool(C.llama_vocab_is_eog(self._vocab, index))

    def close(self) -> None:
        """Free it; idempotent."""
        if self._model:
            C.llama_model_free(self._model)
            self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_vocabulary(vocabulary: Vocabulary, tokenizer: Any, architecture: str, scratch: Path) -> int:
    """Compare llama.cpp's ids with a tokenizer's, and return on how many texts.

    Args:
        vocabulary: what the file will hold.
        tokenizer: transformers'.
        architecture: llama.cpp's name of the model's.
        scratch: where a file of the vocabulary alone may be put; it is removed.

    Raises:
        ModelFileError: llama.cpp cannot read the vocabulary, or an id differs.
    """
    try:
        writer = gguf.GGUFWriter(scratch, architecture)
        writer.add_vocab_size(len(vocabulary.tokens))
        write_vocabulary(writer, vocabulary)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        with LlamaTokens(scratch) as llama:
            return _compare(llama, tokenizer, vocabulary)
    finally:
        scratch.unlink(missing_ok=True)


def _compare(llama: LlamaTokens, tokenizer: Any, vocabulary: Vocabulary) -> int:
    count = 0
    for text in _texts(tokenizer, vocabulary):
        for whole in (False, True):
            ours = llama.ids(text, whole=whole)
            theirs = tokenizer(text, add_special_tokens=whole)["input_ids"]
            if ours != theirs:
                place = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), 0)
                raise ModelFileError(
                    f"{tokenizer.name_or_path}: llama.cpp (as '{vocabulary.pre}') reads {text!r} as ids {_near(ours, place)}, transformers as "
                    f"{_near(theirs, place)}; the model would be fed other tokens than it was trained on, so nothing is written"
                )
        count += 1
    for index in (vocabulary.eos, *vocabulary.ends):
        if index is not None and not llama.ends(index):
            raise ModelFileError(
                f"{tokenizer.name_or_path}: generation ends at id {index}, and in llama.cpp it would not; name at most three "
                "eos_token_id in generation_config.json"
            )
    return count


def _near(ids: list[int], place: int) -> str:
    return f"[{'... ' if place > 2 else ''}{', '.join(map(str, ids[max(0, place - 2) : place + 4]))} ...]"


def _texts(tokenizer: Any, vocabulary: Vocabulary) -> Iterator[str]:
    """Yield what is compared; the same for the same vocabulary."""
    yield from TEXTS
    chance = random.Random(0)
    normal = [n for n, kind in enumerate(vocabulary.types) if kind == gguf.TokenType.NORMAL]
    words = [
        word
        for word in (tokenizer.decode([index]) for index in chance.sample(normal, min(4096, len(normal))))
        if word.isascii()
    ]
    if words:
        yield from ("".join(chance.choices(words, k=32)) for _ in range(MIXED))
        yield from (" ".join(chance.choices(words, k=16)) for _ in range(MIXED))
    special = [
        n for n, kind in enumerate(vocabulary.types) if kind in {gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED}
    ]
    for index in special if len(special) <= CONTROLS else chance.sample(special, CONTROLS):
        name = vocabulary.tokens[index]
        yield f"{name}a word{name} another {name}\n{name}{name} end"
