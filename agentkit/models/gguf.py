"""What a GGUF file is, found out before llama.cpp opens it.

`inspect` reads the header only. It returns a `GGUFInfo`, or raises a `ModelFileError` of one sentence
that says what the file is instead and what to do about it. It never raises anything else.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agentkit.errors import ModelFileError
from agentkit.models.formats import ARCHITECTURES, FILE_TYPES, TOKENIZERS, WITH_MERGES, WORD_RULES
from agentkit.models.header import AGAIN, Header, LongArray, Tensor, read_header

_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
_EMBEDDING = "token_embd.weight"
MAX_LAYERS = 512  # of llama.cpp
# What a family's chat template cannot do without, most telling first.
_FAMILIES = (("<|start_header_id|>", "llama3"), ("<|im_start|>", "hermes"), ("[INST]", "mistral"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GGUFInfo:
    """A model file that llama.cpp should be able to load."""

    path: Path
    files: tuple[Path, ...]  # all parts of a split model; otherwise `path` alone
    version: int
    architecture: str
    name: str
    context_length: int  # tokens it was trained for
    parameters: int
    quantisation: str
    dialect: str  # `agentkit.dialect`, or guessed from the chat template: "llama3", "hermes", "mistral", or ""
    has_chat_template: bool
    weight_bytes: int
    vocabulary: int
    tensors: tuple[Tensor, ...] = field(repr=False)  # of all parts
    metadata: Mapping[str, Any] = field(repr=False)  # arrays longer than 512 items as `LongArray`

    def sha256(self) -> str:
        """Return the SHA-256 of the file (of all parts, in order), read once a process.

        A file in the Hugging Face cache bears its own as its name, and is not read: that takes many
        seconds for a big model, at the start of every process.
        """
        stated = self.path.resolve()
        if len(self.files) == 1 and stated.parent.name == "blobs" and _SHA256.fullmatch(stated.name):
            return stated.name
        return sha256_of(*self.files)


def inspect(path: Path | str) -> GGUFInfo:
    """Return what the GGUF at `path` is.

    Raises:
        ModelFileError: it is missing, no GGUF, damaged, cut short, or no model that can answer.
    """
    path = Path(path).expanduser()
    header = read_header(path)
    metadata = header.metadata
    architecture = _architecture(path, metadata)
    shards = [(path, header), *_other_shards(path, header)]
    tensors = [tensor for _, part in shards for tensor in part.tensors]
    if not tensors:
        raise ModelFileError(f"{path}: a vocabulary without weights; get the model's own .gguf")
    _number(path, metadata, f"{architecture}.embedding_length")
    if (layers := _number(path, metadata, f"{architecture}.block_count")) > MAX_LAYERS:
        raise ModelFileError(
            f"{path}: a damaged GGUF (it claims {layers} layers, at most {MAX_LAYERS} can be); {AGAIN}"
        )
    _check_norms(path, metadata)
    if (
        header.repeated_token is not None and metadata.get("tokenizer.ggml.model") != "hybriddna"
    ):  # which renames its own
        raise ModelFileError(f"{path}: the token {header.repeated_token[:40]!r} is there twice; {AGAIN}")
    template = metadata.get("tokenizer.chat_template")
    return GGUFInfo(
        path=path,
        files=tuple(file for file, _ in shards),
        version=header.version,
        architecture=architecture,
        name=str(metadata.get("general.name") or path.stem),
        context_length=_number(path, metadata, f"{architecture}.context_length"),
        parameters=sum(tensor.values for tensor in tensors),
        quantisation=_quantisation(metadata, tensors),
        dialect=_dialect(metadata),
        has_chat_template=isinstance(template, str) and bool(template),
        weight_bytes=sum(tensor.size for tensor in tensors),
        vocabulary=_vocabulary(path, metadata, tensors),
        tensors=tuple(tensors),
        metadata=MappingProxyType(dict(metadata)),
    )


def sha256_of(*files: Path) -> str:
    """Return the SHA-256 of files in their order, read once a process as long as they do not change.

    Raises:
        ModelFileError: one cannot be read.
    """
    try:
        return _sha256(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))
    except OSError as error:
        raise ModelFileError(f"{files[0]}: cannot be read ({error.strerror}); check the file") from error


def first_shard(name: str) -> str:
    """Return the name of the first part of a split model; other names unchanged."""
    shard = _SHARD.match(name)
    return f"{shard['stem']}-00001-of-{shard['count']}.gguf" if shard else name


def shard_names(name: str) -> list[str]:
    """Return the names of all parts of the model that `name` is a part of."""
    shard = _SHARD.match(name)
    if not shard:
        return [name]
    count = int(shard["count"])
    return [f"{shard['stem']}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1)]


def _architecture(path: Path, metadata: Mapping[str, Any]) -> str:
    architecture, kind = metadata.get("general.architecture"), metadata.get("general.type")
    if kind == "adapter":
        raise ModelFileError(f"{path}: a LoRA adapter, not a model; load the model it was made for")
    if kind == "imatrix":
        raise ModelFileError(f"{path}: an importance matrix for quantising, not a model; get the model's own .gguf")
    if architecture == "clip" or kind == "mmproj":
        raise ModelFileError(f"{path}: an image encoder (mmproj), not a model; name the model it belongs to")
    if not isinstance(architecture, str) or not architecture:
        raise ModelFileError(f"{path}: a GGUF that does not say which architecture it has; {AGAIN}")
    if architecture not in ARCHITECTURES:
        raise ModelFileError(
            f"{path}: a model of the architecture '{architecture[:60]}', which this llama.cpp does not know; "
            "update agentkit, or choose another model"
        )
    return architecture


def _other_shards(path: Path, header: Header) -> Iterator[tuple[Path, Header]]:
    """Yield the other parts; all of them together must be the parts of one model, each once."""
    count, number = header.metadata.get("split.count", 0), header.metadata.get("split.no", 0)
    if not isinstance(count, int) or count <= 1:
        return
    if number != 0:
        which = f"part {number + 1}" if isinstance(number, int) else "a part"
        raise ModelFileError(f"{path}: {which} of {count} of a split model; name its first part")
    names = shard_names(path.name)
    if len(names) != count or names[0] != path.name:
        raise ModelFileError(
            f"{path}: the first of {count} parts, whose names must end in -00001-of-{count:05d}.gguf and so on; "
            "give the parts their names back"
        )
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        raise ModelFileError(f"{path}: {len(missing)} of its {count} parts are missing ({missing[0]}); get all parts")
    seen = {tensor.name for tensor in header.tensors}
    for index, name in enumerate(names[1:], 1):
        part = read_header(path.with_name(name))
        _check_shard(path.with_name(name), part, index, count)
        twice = next((tensor.name for tensor in part.tensors if tensor.name in seen), None)
        if twice is not None:
            raise ModelFileError(f"{path}: '{twice}' is in two of its parts; they are of two models, so get all again")
        seen |= {tensor.name for tensor in part.tensors}
        yield path.with_name(name), part
    stated = header.metadata.get("split.tensors.count", len(seen))
    if stated != len(seen):
        raise ModelFileError(f"{path}: its parts hold {len(seen)} tensors, not {stated!r:.20}; get all parts again")


def _check_shard(path: Path, header: Header, index: int, count: int) -> None:
    number, stated = header.metadata.get("split.no"), header.metadata.get("split.count")
    if number != index or stated not in (None, count):
        says = f"part {number + 1} of {stated}" if isinstance(number, int) and isinstance(stated, int) else "no part"
        raise ModelFileError(
            f"{path}: {says} by what it says itself, and part {index + 1} of {count} by its name; get all parts again"
        )


def _vocabulary(path: Path, metadata: Mapping[str, Any], tensors: Sequence[Tensor]) -> int:
    """Return how many tokens there are; the tokenizer must be one that llama.cpp knows, and fit the weights."""
    length = _length(metadata.get("tokenizer.ggml.tokens"))
    model, rule = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "")
    if not length or not isinstance(model, str) or model in ("no_vocab", "none", ""):
        raise ModelFileError(f"{path}: a model without a tokenizer; get a complete conversion of the model")
    newer = "; update agentkit, or get another conversion of the model"
    if model not in TOKENIZERS:
        raise ModelFileError(
            f"{path}: a tokenizer of the kind '{model[:40]}', which this llama.cpp does not know{newer}"
        )
    if model in WITH_MERGES:
        if model != "gemma4" and rule and rule not in WORD_RULES:
            raise ModelFileError(
                f"{path}: a tokenizer that cuts words as '{rule!s:.40}', which this llama.cpp does not know{newer}"
            )
        if not _length(metadata.get("tokenizer.ggml.merges")) and rule != "kimi-k2":
            raise ModelFileError(f"{path}: a tokenizer without its merges; get a complete conversion of the model")
    for name in ("scores", "token_type"):
        key = f"tokenizer.ggml.{name}"
        if key in metadata and _length(metadata[key]) < length:
            raise ModelFileError(f"{path}: {length} tokens, and '{key}' for {_length(metadata[key])}; {AGAIN}")
    rows = next((tensor.shape[1] for tensor in tensors if tensor.name == _EMBEDDING and len(tensor.shape) == 2), length)
    if rows != length:
        raise ModelFileError(
            f"{path}: the tokenizer has {length} tokens and the weights have {rows}; get another conversion of it"
        )
    return length


def _length(value: Any) -> int:
    return value.length if isinstance(value, LongArray) else len(value) if isinstance(value, tuple) else 0


def _number(path: Path, metadata: Mapping[str, Any], key: str) -> int:
    value = metadata.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ModelFileError(f"{path}: '{key}' is {'missing' if value is None else 'unusable'}; {AGAIN}")
    return value


def _check_norms(path: Path, metadata: Mapping[str, Any]) -> None:
    """Refuse what llama.cpp asserts of a norm's smallest divisor: NaN is not 0 or more, either."""
    for key, value in metadata.items():
        if key.endswith("_epsilon") and isinstance(value, float) and not value >= 0:
            raise ModelFileError(f"{path}: '{key}' is {value}, and must be 0 or more; {AGAIN}")


def _quantisation(metadata: Mapping[str, Any], tensors: Sequence[Tensor]) -> str:
    stated = metadata.get("general.file_type")
    if isinstance(stated, int) and stated in FILE_TYPES:
        return FILE_TYPES[stated]
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.kind] += tensor.size
    return sizes.most_common(1)[0][0]


def _dialect(metadata: Mapping[str, Any]) -> str:
    stated = metadata.get("agentkit.dialect")
    if isinstance(stated, str) and stated:
        return stated
    template = metadata.get("tokenizer.chat_template")
    text = template if isinstance(template, str) else ""
    return next((family for mark, family in _FAMILIES if mark in text), "")


@lru_cache(maxsize=16)
def _sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
