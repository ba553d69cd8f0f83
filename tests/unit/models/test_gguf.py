"""The pre-flight parser: good files described, bad ones named, and never another exception."""

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentkit.errors import ModelFileError
from agentkit.models.formats import ARCHITECTURES, FILE_TYPES, TENSOR_TYPES, TOKENIZERS, WORD_RULES
from agentkit.models.gguf import GGUFInfo, inspect
from agentkit.models.header import LongArray

U8, U16, U32, I32, F32, BOOL, STRING, ARRAY, U64 = 0, 2, 4, 5, 6, 7, 8, 9, 10
LAYOUTS = {U8: "<B", U16: "<H", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}

KEYS: dict[str, tuple[int, Any]] = {
    "general.architecture": (STRING, "llama"),
    "general.name": (STRING, "tiny"),
    "general.file_type": (U32, 7),
    "llama.context_length": (U32, 4096),
    "llama.embedding_length": (U32, 64),
    "llama.block_count": (U32, 2),
    "llama.attention.head_count": (U32, 4),
    "llama.attention.head_count_kv": (U32, 2),
    "tokenizer.ggml.model": (STRING, "gpt2"),
    "tokenizer.ggml.tokens": (ARRAY, (STRING, ["a", "b", "ä"])),
    "tokenizer.ggml.merges": (ARRAY, (STRING, ["a b"])),
    "agentkit.dialect": (STRING, "plain/1"),
}
TENSORS: list[tuple[str, tuple[int, ...], int, int]] = [("token_embd.weight", (64, 3), 8, 204), ("w", (10,), 0, 40)]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value_of(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return text(value)
    if kind == ARRAY:
        item, items = value
        return struct.pack("<IQ", item, len(items)) + b"".join(value_of(item, each) for each in items)
    return struct.pack(LAYOUTS[kind], value)


def gguf(
    keys: dict[str, tuple[int, Any]] | None = None,
    tensors: list[tuple[str, tuple[int, ...], int, int]] | None = None,
    *,
    version: int = 3,
    offsets: list[int] | None = None,
    alignment: int = 32,
    n_keys: int | None = None,
    n_tensors: int | None = None,
) -> bytes:
    """Build a GGUF; a tensor is (name, shape, type, bytes)."""
    keys = KEYS if keys is None else keys
    tensors = TENSORS if tensors is None else tensors
    data, places = b"", []
    for _, _, _, size in tensors:
        places.append(len(data))
        data += b"\x01" * size + b"\0" * (-size % alignment)
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                                len(keys) if n_keys is None else n_keys)  # fmt: skip
    for key, (kind, value) in keys.items():
        out += text(key) + struct.pack("<I", kind) + value_of(kind, value)
    for (name, shape, kind, _), place in zip(tensors, offsets or places, strict=True):
        out += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        out += struct.pack("<IQ", kind, place)
    return out + b"\0" * (-len(out) % alignment) + data


def with_keys(**changes: tuple[int, Any] | None) -> dict[str, tuple[int, Any]]:
    changed = {**KEYS, **{name.replace("__", "."): value for name, value in changes.items()}}
    return {key: value for key, value in changed.items() if value is not None}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes, name: str = "model.gguf") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def test_a_good_file_is_described(write: Callable[..., Path]) -> None:
    path = write(gguf())
    info = inspect(path)
    assert (info.architecture, info.name, info.quantisation, info.dialect) == ("llama", "tiny", "Q8_0", "plain/1")
    assert (info.context_length, info.parameters, info.weight_bytes, info.vocabulary) == (4096, 202, 244, 3)
    assert [(tensor.name, tensor.shape) for tensor in info.tensors] == [("token_embd.weight", (64, 3)), ("w", (10,))]
    assert info.metadata["tokenizer.ggml.tokens"] == ("a", "b", "ä")
    assert not info.has_chat_template
    assert info.files == (path,)
    assert info.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_in_the_hugging_face_cache_is_not_read_for_its_hash(tmp_path: Path) -> None:
    digest = "0f" * 32
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / digest).write_bytes(gguf())
    (tmp_path / "m.gguf").symlink_to(tmp_path / "blobs" / digest)
    assert inspect(tmp_path / "m.gguf").sha256() == digest


def test_version_2_and_another_alignment_are_read(write: Callable[..., Path]) -> None:
    assert inspect(write(gguf(version=2))).version == 2
    keys = with_keys(general__alignment=(U32, 128))
    assert inspect(write(gguf(keys, alignment=128))).parameters == 202


def test_long_arrays_are_counted_and_not_kept(write: Callable[..., Path]) -> None:
    keys = with_keys(
        tokenizer__ggml__tokens=(ARRAY, (STRING, [f"t{n}" for n in range(600)])),
        tokenizer__ggml__scores=(ARRAY, (F32, [0.5] * 600)),
    )
    info = inspect(write(gguf(keys, [("token_embd.weight", (64, 600), 8, 40800)])))
    assert info.vocabulary == 600
    assert info.metadata["tokenizer.ggml.scores"] == LongArray(F32, 600)


@pytest.mark.parametrize(
    ("template", "dialect"),
    [("x<|start_header_id|>", "llama3"), ("<|im_start|>{{ x }}", "hermes"), ("[INST]", "mistral"), ("{{ x }}", "")],
)
def test_the_dialect_is_guessed_from_the_template(template: str, dialect: str, write: Callable[..., Path]) -> None:
    keys = with_keys(agentkit__dialect=None, tokenizer__chat_template=(STRING, template))
    info = inspect(write(gguf(keys)))
    assert (info.dialect, info.has_chat_template) == (dialect, True)


def test_the_quantisation_is_read_off_the_tensors_if_not_stated(write: Callable[..., Path]) -> None:
    assert inspect(write(gguf(with_keys(general__file_type=None)))).quantisation == "Q8_0"


def split(number: int, count: int, **changes: tuple[int, Any] | None) -> dict[str, tuple[int, Any]]:
    return with_keys(split__no=(U16, number), split__count=(U16, count), **changes)


def part(number: int, **changes: tuple[int, Any] | None) -> bytes:
    """One half of a model of two tensors."""
    return gguf(split(number, 2, **changes), [TENSORS[number]])


def test_a_split_model_is_read_from_its_first_part(write: Callable[..., Path]) -> None:
    paths = [write(part(number), f"m-{number + 1:05d}-of-00002.gguf") for number in range(2)]
    info = inspect(paths[0])
    assert info.files == tuple(paths)
    assert (info.parameters, info.weight_bytes) == (202, 244)
    with pytest.raises(ModelFileError, match=r"part 2 of 2.*name its first part"):
        inspect(paths[1])
    paths[1].unlink()
    with pytest.raises(ModelFileError, match="1 of its 2 parts are missing"):
        inspect(paths[0])


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (part(0), "part 1 of 2 by what it says itself, and part 2 of 2 by its name"),
        (gguf(split(1, 3), [TENSORS[1]]), "part 2 of 3 by what it says itself"),
        (gguf(KEYS, [TENSORS[1]]), "no part by what it says itself"),
        (gguf(split(1, 2), TENSORS), "'token_embd.weight' is in two of its parts"),
        (gguf(split(1, 2), []), "its parts hold 1 tensors, not 2"),
        (part(1)[:-40], "m-00002-of-00002.gguf: cut short"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(second: bytes, words: str, write: Callable[..., Path]) -> None:
    first = write(part(0, split__tensors__count=(U16, 2)), "m-00001-of-00002.gguf")
    write(second, "m-00002-of-00002.gguf")
    with pytest.raises(ModelFileError) as caught:
        inspect(first)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_several_tokenizers_needs_no_merges(write: Callable[..., Path]) -> None:
    for model, rule in (("llama", "default"), ("gpt2", "kimi-k2"), ("bert", "anything")):
        changes = {"tokenizer__ggml__model": (STRING, model), "tokenizer__ggml__pre": (STRING, rule)}
        assert inspect(write(gguf(with_keys(**changes, tokenizer__ggml__merges=None)))).vocabulary == 3


W = ("w", (64,), 8, 68)
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git-LFS pointer"),
    "html": (b"\n <!DOCTYPE html><html><body>404", "web page"),
    "xml": (b"<?xml version='1.0'?><Error>", "web page"),
    "message": (b"Entry not found", "text that begins 'Entry not found'"),
    "zip": (b"PK\x03\x04" + b"\0" * 64, "zip or PyTorch"),
    "pickle": (b"\x80\x02}q\x00", "pickle"),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 20, "gzip"),
    "old ggml": (b"tjgg" + b"\1" * 60, "before GGUF"),
    "safetensors": (struct.pack("<Q", 40) + b'{"__metadata__":{}}', "safetensors"),
    "zeros": (b"\0" * 4096, "zero bytes"),
    "noise": (b"\x93\xf4\x01\xee" * 9, "not a GGUF"),
    "magic only": (b"GGUF", "cut short"),
    "half a magic": (b"GG", "cut short"),
    "version 0": (gguf(version=0), "other byte order"),
    "version 1": (gguf(version=1), "version 1"),
    "version 9": (gguf(version=9), "version 9"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + b"\0" * 64, "other byte order"),
    "negative tensors": (gguf(n_tensors=2**64 - 1), "claims 18446744073709551615 tensors"),
    "negative keys": (gguf(n_keys=2**64 - 1), "damaged"),
    "one key too many": (gguf(n_keys=len(KEYS) + 1), ""),
    "huge key": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62) + b"x" * 64, "bytes long"),
    "empty key": (gguf({"": (U32, 1), **KEYS}), "no name"),
    "duplicate key": (gguf(n_keys=2 * len(KEYS))[:24] + gguf(tensors=[])[24:] * 2, ""),
    "unknown type": (gguf()[:24] + text("k") + struct.pack("<I", 99) + b"\0" * 200, "unknown type 99"),
    "array of arrays": (gguf()[:24] + text("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1) + b"\0" * 200, "unknown type 9"),
    "huge array": (gguf()[:24] + text("k") + struct.pack("<IIQ", ARRAY, U32, 2**61) + b"\0" * 200, "do not fit"),
    "alignment 13": (gguf(with_keys(general__alignment=(U32, 13))), "no power of two"),
    "alignment 0": (gguf(with_keys(general__alignment=(U32, 0))), "no power of two"),
    "alignment a text": (gguf(with_keys(general__alignment=(STRING, "32"))), "no power of two"),
    "long tensor name": (gguf(tensors=[("n" * 64, (64,), 8, 68)]), "64 characters"),
    "five dimensions": (gguf(tensors=[("w", (1,) * 5, 0, 4)]), "5 dimensions"),
    "odd rows": (gguf(tensors=[("w", (63,), 8, 68)]), "multiples of 32"),
    "too many values": (gguf(tensors=[("w", (2**40, 2**40), 0, 4)]), "more values"),
    "negative shape": (gguf(tensors=[("w", (2**64 - 1,), 0, 4)]), "more values"),
    "removed type": (gguf(tensors=[("w", (64,), 4, 68)]), "type 4"),
    "unknown tensor type": (gguf(tensors=[("w", (64,), 2**32 - 1, 68)]), "does not know"),
    "wrong offset": (gguf(offsets=[0, 7]), "belongs at"),
    "duplicate tensor": (gguf(tensors=[W, W]), "there twice"),
    "data missing": (gguf()[:-64], "cut short: it holds"),
    "cut in the keys": (gguf()[:100], "cut short"),
    "no tensors": (gguf(tensors=[]), "without weights"),
    "no architecture": (gguf(with_keys(general__architecture=None)), "which architecture"),
    "architecture a number": (gguf(with_keys(general__architecture=(U32, 1))), "which architecture"),
    "unknown architecture": (gguf(with_keys(general__architecture=(STRING, "wombat"))), "'wombat'"),
    "adapter": (gguf(with_keys(general__type=(STRING, "adapter"))), "LoRA adapter"),
    "mmproj": (gguf(with_keys(general__architecture=(STRING, "clip"))), "image encoder"),
    "imatrix": (gguf(with_keys(general__type=(STRING, "imatrix"))), "importance matrix"),
    "no tokenizer": (gguf(with_keys(tokenizer__ggml__tokens=None)), "without a tokenizer"),
    "no vocabulary": (gguf(with_keys(tokenizer__ggml__model=(STRING, "no_vocab"))), "without a tokenizer"),
    "no context length": (gguf(with_keys(llama__context_length=None)), "context_length' is missing"),
    "context length a text": (gguf(with_keys(llama__context_length=(STRING, "4k"))), "unusable"),
    "no layers": (gguf(with_keys(llama__block_count=(U32, 0))), "block_count"),
    "unknown tokenizer": (gguf(with_keys(tokenizer__ggml__model=(STRING, "wombat"))), "of the kind 'wombat'"),
    "unknown word rules": (gguf(with_keys(tokenizer__ggml__pre=(STRING, "wombat"))), "cuts words as 'wombat'"),
    "word rules a number": (gguf(with_keys(tokenizer__ggml__pre=(U32, 7))), "cuts words as '7'"),
    "no merges": (gguf(with_keys(tokenizer__ggml__merges=None)), "without its merges"),
    "too few scores": (gguf(with_keys(tokenizer__ggml__scores=(ARRAY, (F32, [0.5])))), "3 tokens, and"),
    "too few rows": (gguf(tensors=[("token_embd.weight", (64, 2), 8, 136)]), "has 3 tokens and the weights have 2"),
    "no width": (gguf(with_keys(llama__embedding_length=None)), "embedding_length' is missing"),
    "a part without a number": (gguf(with_keys(split__no=(STRING, "x"), split__count=(U16, 2))), "a part of 2"),
    "too many layers": (gguf(with_keys(llama__block_count=(U32, 2**32 - 1))), "claims 4294967295 layers"),
    "split, badly named": (gguf(split(0, 3)), "give the parts their names back"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_in_one_sentence(kind: str, write: Callable[..., Path]) -> None:
    data, words = BAD[kind]
    path = write(data)
    with pytest.raises(ModelFileError) as caught:
        inspect(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250


def test_a_folder_a_missing_file_and_a_pipe_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="a folder"):
        inspect(tmp_path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        inspect(tmp_path / "missing.gguf")
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(ModelFileError, match="not a regular file"):
        inspect(tmp_path / "pipe.gguf")


def only_a_model_file_error(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        return isinstance(inspect(path), GGUFInfo)
    except ModelFileError:
        return True


GOOD = gguf(with_keys(tokenizer__ggml__scores=(ARRAY, (F32, [1.0, 2.0, 3.0])), general__x=(BOOL, True)))
quickly = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    end_of_data = len(GOOD) - (-40 % 32)  # padding after the last tensor may be missing
    for length in range(end_of_data):
        path.write_bytes(GOOD[:length])
        with pytest.raises(ModelFileError):
            inspect(path)


@quickly
@given(changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutations_never_raise_anything_else(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for position, byte in changes:
        data[position] = byte
    assert only_a_model_file_error(tmp_path / "changed.gguf", bytes(data))


@quickly
@given(position=st.integers(0, len(GOOD) - 9), value=st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]))
def test_extreme_numbers_anywhere_never_raise_anything_else(tmp_path: Path, position: int, value: int) -> None:
    data = GOOD[:position] + struct.pack("<Q", value) + GOOD[position + 8 :]
    assert only_a_model_file_error(tmp_path / "changed.gguf", data)


@quickly
@given(head=st.sampled_from([b"", b"GGUF", GOOD[:24], GOOD[:200]]), tail=st.binary(max_size=400))
def test_noise_never_raises_anything_else(tmp_path: Path, head: bytes, tail: bytes) -> None:
    assert only_a_model_file_error(tmp_path / "noise.gguf", head + tail)


def test_the_tables_are_those_of_the_installed_llama_cpp() -> None:
    import ctypes
    from importlib.util import find_spec

    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    library = next((Path(spec.origin).parent / "lib").glob("libggml-base.*"))
    ggml = ctypes.CDLL(str(library))
    ggml.ggml_type_size.restype = ctypes.c_size_t
    ggml.ggml_blck_size.restype = ctypes.c_int64
    sizes = {kind: (ggml.ggml_blck_size(kind), ggml.ggml_type_size(kind)) for kind in range(43)}
    assert {kind: (block, width) for kind, (_, block, width) in TENSOR_TYPES.items()} == {
        kind: size for kind, size in sizes.items() if size != (0, 0)
    }


def test_the_names_of_tokenizers_are_in_the_installed_llama_cpp() -> None:
    from importlib.util import find_spec

    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    library = next((Path(spec.origin).parent / "lib").glob("libllama.*")).read_bytes()
    assert [name for name in sorted(TOKENIZERS | WORD_RULES) if name.encode() not in library] == []


def test_the_gguf_package_knows_no_architecture_or_type_that_we_do_not() -> None:
    constants = pytest.importorskip("gguf.constants")
    assert set(constants.MODEL_ARCH_NAMES.values()) - {"clip"} <= ARCHITECTURES
    assert {int(kind) for kind in constants.GGML_QUANT_SIZES} <= set(TENSOR_TYPES)
    assert {int(kind) for kind in constants.LlamaFileType} - {1024} <= set(FILE_TYPES)
