"""A tokenizer of transformers as llama.cpp's vocabulary.

Guarantees: byte-level BPE and BPE with byte fallback (SentencePiece's) are told apart by what they are made of, and anything else is
an error: llama.cpp's Unigram reads spaces otherwise than transformers'. Whether llama.cpp gives the same ids is for `checking` to say. Unicode normalisation (NFC) is left out, as
llama.cpp has none: text that is not composed has other ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
from transformers import AutoTokenizer

from agentkit.errors import ModelFileError
from agentkit_training.export.folder import ModelFolder, read_json
from agentkit_training.export.pretokenizers import pre_name

__all__ = ["Vocabulary", "load_tokenizer", "vocabulary_of", "write_vocabulary"]

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
MARK = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")  # around what the model itself says
SPARED = (
    "Metaspace puts no space before a text that begins with one, nor with all schemes after a control token, and llama.cpp does both; "
    'with "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json transformers takes tokenizer.json as it stands, and '
    "the older ones put it everywhere, as the models were trained"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What `tokenizer.ggml.*` says."""

    model: str  # llama.cpp's kind of tokenizer
    pre: str
    tokens: Sequence[str]
    types: Sequence[int]
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    pad: int | None = None
    ends: tuple[int, ...] = ()  # ids besides eos that end a text, at most two
    add_bos: bool = False
    add_eos: bool = False
    space_prefix: bool | None = None
    template: str | Sequence[Mapping[str, str]] | None = None


def load_tokenizer(path: Path) -> Any:
    """Return the tokenizer in a folder.

    Raises:
        ModelFileError: there is none that transformers can read, or it is not written in Rust and so cannot be looked into.
    """
    if not (path / "tokenizer.json").is_file():
        also = (
            ": it has a tokenizer.model; where sentencepiece is installed, AutoTokenizer.from_pretrained(...).save_pretrained(...) "
            "makes one of it"
            if (path / "tokenizer.model").is_file()
            else "; copy the tokenizer of its base there"
        )
        raise ModelFileError(f"{path}: has no tokenizer.json{also}")
    read_json(path / "tokenizer.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ModelFileError(
            f"{path / 'tokenizer.json'}: transformers cannot read it ({error}); fetch it again"
        ) from error
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ModelFileError(f"{path}: {type(tokenizer).__name__} has no form in tokenizer.json; use its fast form")
    return tokenizer


def vocabulary_of(tokenizer: Any, folder: ModelFolder) -> Vocabulary:
    """Return a tokenizer as llama.cpp's vocabulary, filled up to the model's.

    Raises:
        ModelFileError: llama.cpp has nothing like it, or it has more tokens than the model.
    """
    plain = json.loads(tokenizer.backend_tokenizer.to_str())
    where, kind = folder.path / "tokenizer.json", plain["model"]["type"]
    words = {index: word for word, index in tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True).items()}
    if not words or max(words) >= folder.shape.vocab:
        raise ModelFileError(
            f"{where}: ids go up to {max(words, default=-1)}, and the model has {folder.shape.vocab} tokens; "
            "resize its embeddings, or take the tokenizer that it was trained with"
        )
    eos, ends = _ends(tokenizer, folder)
    add_bos, add_eos = _added(tokenizer, eos, where)
    known: dict[str, Any] = {
        "bos": _first(tokenizer.bos_token_id, folder.plain.get("bos_token_id")),
        "eos": eos,
        "ends": ends,
        "pad": _first(tokenizer.pad_token_id, folder.plain.get("pad_token_id")),
        "add_bos": add_bos,
        "add_eos": add_eos,
        "template": _template(tokenizer.chat_template),
    }
    if kind == "BPE" and plain["model"].get("byte_fallback"):
        known |= _sentencepiece(plain, where)
    elif kind == "BPE":
        known |= _byte_level(plain, where)
    else:
        raise ModelFileError(f"{where}: a {kind} tokenizer cannot be exported, only BPE; llama.cpp gives other ids")
    scores = known.pop("score", None)
    tokens = _filled(words, folder.shape.vocab)
    if scores is not None:
        known["scores"] = [scores.get(token, 0.0) for token in tokens]
    types = _types(plain, words, folder.shape.vocab, known.get("unknown"))
    return Vocabulary(tokens=tokens, types=types, **known)


def write_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    """Put a vocabulary among the keys of a GGUF."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    if vocabulary.scores:
        writer.add_token_scores(list(vocabulary.scores))
    if vocabulary.model == "gpt2":
        writer.add_token_merges(list(vocabulary.merges))
    for add, index in (
        (writer.add_bos_token_id, vocabulary.bos),
        (writer.add_eos_token_id, vocabulary.eos),
        (writer.add_unk_token_id, vocabulary.unknown),
        (writer.add_pad_token_id, vocabulary.pad),
        *zip((writer.add_eot_token_id, writer.add_eom_token_id), vocabulary.ends, strict=False),
    ):
        if index is not None:
            add(index)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    if vocabulary.space_prefix is not None:
        writer.add_add_space_prefix(vocabulary.space_prefix)
    if vocabulary.template is not None:
        writer.add_chat_template(vocabulary.template)


def _byte_level(plain: Mapping[str, Any], where: object) -> dict[str, Any]:
    changes = [step["type"] for step in _steps(plain["normalizer"], "normalizers") if step["type"] != "NFC"]
    if changes:
        raise ModelFileError(f"{where}: text is changed by {', '.join(changes)} first, which llama.cpp does not do")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in plain["model"]["merges"]]
    return {"model": "gpt2", "pre": pre_name(plain, where), "merges": merges}


def _sentencepiece(plain: Mapping[str, Any], where: object) -> dict[str, Any]:
    """BPE as llama.cpp's SPM: of two pairs, it merges the one whose whole has the higher score."""
    missing = {f"<0x{byte:02X}>" for byte in range(256)} - plain["model"]["vocab"].keys()
    if missing:
        raise ModelFileError(f"{where}: byte fallback without tokens for {len(missing)} bytes; train it with all 256")
    score: dict[str, float] = {}
    for rank, pair in enumerate(plain["model"]["merges"]):
        whole = "".join(pair.split(" ") if isinstance(pair, str) else pair)
        score.setdefault(whole, -float(rank))
    return {
        "model": "llama",
        "pre": "default",
        "score": score,
        "unknown": plain["model"]["vocab"].get(plain["model"].get("unk_token")),
        "space_prefix": _space_prefix(plain, where),
    }


def _space_prefix(plain: Mapping[str, Any], where: object) -> bool:
    """Return whether a space is put before each piece of text.

    Raises:
        ModelFileError: more is done before merging, and llama.cpp would not do it.
    """
    prefix = False
    for step in _steps(plain["normalizer"], "normalizers"):
        match step:
            case {"type": "Prepend", "prepend": "▁"}:
                prefix = True
            case {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}:
                pass
            case _:
                raise ModelFileError(f"{where}: text is changed by {step['type']} first, which llama.cpp does not do")
    for step in _steps(plain["pre_tokenizer"], "pretokenizers"):
        match step:
            case {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}:
                pass
            case {"type": "Metaspace"}:
                raise ModelFileError(f"{where}: {SPARED}")
            case _:
                raise ModelFileError(f"{where}: the pre-tokenizer {step['type']} is none that llama.cpp has")
    return prefix


def _steps(step: Mapping[str, Any] | None, inner: str) -> Iterator[Mapping[str, Any]]:
    if step and step["type"] == "Sequence":
        for one in step[inner]:
            yield from _steps(one, inner)
    elif step:
        yield step


def _filled(words: Mapping[int, str], size: int) -> list[str]:
    """Return the words by id; ids without one get names of their own."""
    taken = set(words.values())
    tokens = []
    for index in range(size):
        word = words.get(index)
        if word is None:
            word = f"[PAD{index}]"
            while word in taken:
                word += "_"
        tokens.append(word)
    return tokens


def _types(plain: Mapping[str, Any], words: Mapping[int, str], size: int, unknown: int | None) -> list[int]:
    added = {one["id"]: bool(one["special"]) for one in plain["added_tokens"]}
    has_bytes = bool(plain["model"].get("byte_fallback"))

    def of(index: int) -> gguf.TokenType:
        if index not in words:
            return gguf.TokenType.UNUSED
        if index == unknown:
            return gguf.TokenType.UNKNOWN
        if has_bytes and BYTE.fullmatch(words[index]):
            return gguf.TokenType.BYTE
        if index in added:
            return gguf.TokenType.CONTROL if added[index] else gguf.TokenType.USER_DEFINED
        return gguf.TokenType.NORMAL

    return [int(of(index)) for index in range(size)]


def _ends(tokenizer: Any, folder: ModelFolder) -> tuple[int | None, tuple[int, ...]]:
    """Return the id that ends a text, and the others that do, as generation with transformers would stop there."""
    path = folder.path / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    stated = [one for of in (generation, folder.plain) for one in _ids(of.get("eos_token_id"))]
    every = [one for one in dict.fromkeys([*_ids(tokenizer.eos_token_id), *stated]) if one < folder.shape.vocab]
    return (every[0] if every else None), tuple(every[1:])


def _ids(value: object) -> list[int]:
    return (
        [value]
        if isinstance(value, int)
        else [one for one in value if isinstance(one, int)]
        if isinstance(value, list)
        else []
    )


def _added(tokenizer: Any, eos: int | None, where: object) -> tuple[bool, bool]:
    """Return whether texts begin with bos, and end with eos.

    Raises:
        ModelFileError: something else is put around them.
    """
    inner: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    bos = tokenizer.bos_token_id
    for before in (False, True):
        for after in (False, True):
            if whole == [*([bos] if before else []), *inner, *([eos] if after else [])]:
                return before, after
    raise ModelFileError(
        f"{where}: puts {whole} around {inner}, and llama.cpp only bos and eos; use another post-processor"
    )


def _first(*values: object) -> int | None:
    return next((value for value in values if isinstance(value, int)), None)


def _template(template: object) -> Any:
    """Return a chat template, or several by name, without the marks that only training heeds."""
    if isinstance(template, dict):
        return [{"name": name, "template": _template(text)} for name, text in template.items()]
    if not isinstance(template, str) or not template:
        return None
    return MARK.sub(lambda found: f"{{%{found[1]} {'endif' if found[2] else 'if true'} {found[3]}%}}", template)
