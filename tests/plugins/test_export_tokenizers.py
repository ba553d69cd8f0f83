"""Exported vocabularies give in llama.cpp the ids that they give in transformers, or nothing is exported."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from agentkit.errors import ModelFileError
from agentkit_training.export.checking import TEXTS, LlamaTokens, check_vocabulary
from agentkit_training.export.folder import ModelFolder
from agentkit_training.export.pretokenizers import GPT2, LLAMA3, PATTERNS
from agentkit_training.export.vocabulary import Vocabulary, load_tokenizer, vocabulary_of, write_vocabulary
from agentkit_training.sprout_hf import sprout_folder
from tests.plugins import export_models as make


class Fake(ModelFolder):
    """A model's folder without weights."""

    def __init__(self, path: Path, tokenizer: Any, *, vocab: int = 640, **config: Any) -> None:
        LlamaConfig(vocab_size=vocab, architectures=["LlamaForCausalLM"], **config).save_pretrained(path)
        tokenizer.save_pretrained(path)
        super().__init__(path)


def vocabulary(tokenizer: Any, path: Path, **more: Any) -> tuple[Vocabulary, Any]:
    folder = Fake(path, tokenizer, **more)
    loaded = load_tokenizer(folder.path)
    return vocabulary_of(loaded, folder), loaded


def opened(found: Vocabulary, path: Path) -> LlamaTokens:
    writer = gguf.GGUFWriter(path, "llama")
    write_vocabulary(writer, found)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return LlamaTokens(path)


@pytest.fixture(scope="module", params=[*make.TOKENIZERS, "sprout"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, LlamaTokens, Any]]:
    """A name, llama.cpp's tokenizer, and transformers'."""
    path = tmp_path_factory.mktemp("tokenizer")
    if request.param == "sprout":
        folder = ModelFolder(sprout_folder())
        tokenizer = load_tokenizer(folder.path)
        found = vocabulary_of(tokenizer, folder)
    else:
        found, tokenizer = vocabulary(make.TOKENIZERS[request.param](), path)
    assert check_vocabulary(found, tokenizer, "llama", path / "check.gguf") > 100
    assert not (path / "check.gguf").exists()
    assert found.pre == ("gpt-2" if request.param == "sprout" else request.param)
    with opened(found, path / "kept.gguf") as llama:
        yield request.param, llama, tokenizer


pieces = st.one_of(
    st.text(st.characters(max_codepoint=0x17F), max_size=12),
    st.sampled_from(
        [
            "'s",
            "'T",
            "'ll",
            " ",
            "  ",
            "\n",
            "\r\n",
            "\t",
            "123",
            "4567",
            "def ",
            "self",
            "_",
            "...",
            "(x)",
            "你好",
            "é",
        ]
    ),
    st.sampled_from(make.SPECIAL),
)


@given(st.lists(pieces, max_size=12).map("".join))
@settings(max_examples=60)
@example("it's 1234567 o'clock\n\n  IT'S\t'S 's")
def test_ids_are_those_of_transformers(pair: tuple[str, LlamaTokens, Any], text: str) -> None:
    name, llama, tokenizer = pair
    text = unicodedata.normalize("NFC", text)
    for whole in (False, True):
        assert llama.ids(text, whole=whole) == tokenizer(text, add_special_tokens=whole)["input_ids"], name


def strange_texts(count: int) -> list[str]:
    """Characters of all of Unicode among ASCII, composed, the same ones each time."""
    chance = random.Random(1)
    known = [chr(code) for code in range(0x20, 0x30000) if unicodedata.category(chr(code)) not in {"Cn", "Cs", "Co"}]
    wide = [char for char in known if unicodedata.is_normalized("NFC", char)]
    narrow = [*map(chr, range(32, 127)), "\n", "\t", " ", " "]
    texts = ("".join(chance.choice(wide if chance.random() < 0.5 else narrow) for _ in range(60)) for _ in range(count))
    return [unicodedata.normalize("NFC", text) for text in texts]


@pytest.fixture(scope="module")
def eager() -> tuple[Any, list[str]]:
    """A byte-level BPE that learnt to merge across everything, so that ids tell every cut, and texts that it learnt from."""
    texts = strange_texts(600)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=6000, special_tokens=make.SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([*TEXTS, *TEXTS, *texts], trainer)
    return json.loads(inner.to_str()), texts


@pytest.mark.parametrize("cut", PATTERNS, ids=PATTERNS.values())
def test_text_is_cut_at_the_same_places(cut: tuple[tuple[str, ...], bool], eager: Any, tmp_path: Path) -> None:
    plain, texts = eager
    patterns, whole = cut
    like = make.byte_level(*patterns, whole=whole)
    model = plain["model"] | {"ignore_merges": whole}
    inner = Tokenizer.from_str(json.dumps(plain | {"model": model}))
    inner.pre_tokenizer, inner.decoder = like.backend_tokenizer.pre_tokenizer, like.backend_tokenizer.decoder
    found, tokenizer = vocabulary(make.wrapped(inner), tmp_path, vocab=6000)
    assert check_vocabulary(found, tokenizer, "llama", tmp_path / "check.gguf") > 100
    with opened(found, tmp_path / "kept.gguf") as llama:
        assert [
            text for text in texts if llama.ids(text) != tokenizer(text, add_special_tokens=False)["input_ids"]
        ] == []
    wrong = replace(found, pre="gpt-2" if found.pre != "gpt-2" else "qwen2")
    with opened(wrong, tmp_path / "wrong.gguf") as llama:
        differ = [text for text in texts if llama.ids(text) != tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert len(differ) > 20  # they would have shown it


def test_every_known_cut_is_tested() -> None:
    assert set(PATTERNS.values()) < set(make.TOKENIZERS)


def refused(tokenizer: Any, path: Path, words: str, **more: Any) -> None:
    def attempt() -> None:
        found, loaded = vocabulary(tokenizer, path, **more)
        check_vocabulary(found, loaded, "llama", path / "check.gguf")

    with pytest.raises(ModelFileError, match=words):
        attempt()


STRANGE: dict[str, tuple[Callable[[], Any], str]] = {
    "a cut that llama.cpp has not": (lambda: make.byte_level(r"\w+|\s+|[^\w\s]+"), "not known to do so"),
    "words whole": (lambda: make.byte_level(GPT2, whole=True), "words whole"),
    "Unigram": (make.unigram, "Unigram tokenizer cannot be exported"),
    "Metaspace, first": (lambda: make.sentencepiece(scheme="first"), "PreTrainedTokenizerFast"),
    "Metaspace, always": (lambda: make.sentencepiece(scheme="always"), "PreTrainedTokenizerFast"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_llama_cpp_does_not_know_is_an_error(name: str, tmp_path: Path) -> None:
    build, words = STRANGE[name]
    refused(build(), tmp_path, words)


def changed(tokenizer: Any, **parts: Any) -> Any:
    for name, part in parts.items():
        setattr(tokenizer.backend_tokenizer, name, part)
    return tokenizer


def test_text_that_is_changed_first_is_an_error(tmp_path: Path) -> None:
    refused(changed(make.byte_level(GPT2), normalizer=normalizers.Lowercase()), tmp_path / "a", "Lowercase")
    refused(changed(make.sentencepiece(), normalizer=normalizers.NFKC()), tmp_path / "b", "NFKC")
    with_space = pre_tokenizers.ByteLevel(add_prefix_space=True)
    refused(changed(make.byte_level(GPT2), pre_tokenizer=with_space), tmp_path / "c", "add_prefix_space")
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()])
    refused(changed(make.byte_level(GPT2), pre_tokenizer=digits), tmp_path / "d", "Digits")


def test_ids_that_differ_are_found(tmp_path: Path) -> None:
    """The same words under another cut, as a wrong name would have it: only reading texts shows it."""
    found, loaded = vocabulary(make.byte_level(LLAMA3), tmp_path)
    assert found.pre == "smaug-bpe"
    for wrong in ("gpt-2", "qwen2", "smollm"):
        with pytest.raises(ModelFileError, match="other tokens than it was trained on"):
            check_vocabulary(replace(found, pre=wrong), loaded, "llama", tmp_path / "check.gguf")
    merges = [*found.merges[10:], *found.merges[:10]]
    with pytest.raises(ModelFileError, match="other tokens"):
        check_vocabulary(replace(found, merges=merges), loaded, "llama", tmp_path / "check.gguf")


def test_a_finer_cut_that_comes_to_the_same_passes_and_another_does_not(tmp_path: Path) -> None:
    finer = make.byte_level(GPT2, r"\p{L}+|\s|[^\p{L}\s]")
    found, _ = vocabulary(finer, tmp_path / "a")
    assert found.pre == "gpt-2"
    later = changed(
        make.byte_level(GPT2), pre_tokenizer=finer.backend_tokenizer.pre_tokenizer
    )  # learnt merges across the cut
    refused(later, tmp_path / "b", "other tokens")


def test_the_vocabulary_is_filled_up_and_never_cut(tmp_path: Path) -> None:
    found, tokenizer = vocabulary(make.byte_level(GPT2, size=600), tmp_path / "a", vocab=700)
    assert len(found.tokens) == len(set(found.tokens)) == 700
    assert list(found.types).count(int(gguf.TokenType.UNUSED)) == 100
    assert check_vocabulary(found, tokenizer, "llama", tmp_path / "check.gguf") > 100
    refused(make.byte_level(GPT2, size=600), tmp_path / "b", "ids go up to 599", vocab=599)


def test_what_ends_a_text_ends_it_in_llama_cpp_too(tmp_path: Path) -> None:
    found, tokenizer = vocabulary(make.byte_level(GPT2), tmp_path / "a", eos_token_id=[1, 5, 7])
    assert (found.eos, found.ends) == (1, (5, 7))
    check_vocabulary(found, tokenizer, "llama", tmp_path / "check.gguf")
    refused(make.byte_level(GPT2), tmp_path / "b", "generation ends at id 9", eos_token_id=[1, 5, 7, 9])


def test_what_is_put_around_a_text_is_carried_over(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    names = [(name, n) for n, name in enumerate(make.SPECIAL)]
    begin, end, pad = make.SPECIAL
    for case, (single, expected) in enumerate(
        {f"{begin} $A": (True, False), f"$A {end}": (False, True), f"{begin} $A {end}": (True, True)}.items()
    ):
        around = TemplateProcessing(single=single, special_tokens=names)
        found, tokenizer = vocabulary(changed(make.byte_level(GPT2), post_processor=around), tmp_path / str(case))
        assert (found.add_bos, found.add_eos) == expected
        check_vocabulary(found, tokenizer, "llama", tmp_path / "check.gguf")
    around = TemplateProcessing(single=f"{pad} $A", special_tokens=names)
    refused(changed(make.byte_level(GPT2), post_processor=around), tmp_path / "x", "only bos and eos")


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    folder = Fake(tmp_path / "a", make.byte_level(GPT2))
    file = folder.path / "tokenizer.json"
    whole = file.read_text()
    for text, words in (
        (whole[: len(whole) // 2], "as JSON"),
        ('{"model": {"type": "Magic"}}', "cannot read it"),
        ("[]", "no JSON object"),
    ):
        file.write_text(text)
        with pytest.raises(ModelFileError, match=words):
            load_tokenizer(folder.path)
    file.unlink()
    with pytest.raises(ModelFileError, match="has no tokenizer"):
        load_tokenizer(folder.path)
    (folder.path / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="sentencepiece"):
        load_tokenizer(folder.path)


def test_a_byte_without_a_token_is_an_error(tmp_path: Path) -> None:
    """llama.cpp would end the process at the first character that needs it."""
    vocab = {word: n for n, word in enumerate(["<unk>", "▁", "a", *(f"<0x{byte:02X}>" for byte in range(255))])}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Replace(" ", "▁")
    refused(PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>"), tmp_path, "tokens for 1 bytes")


def test_marks_for_training_are_not_in_the_template(tmp_path: Path) -> None:
    """Transformers' `generation` tag is no tag elsewhere; what stands around it stays as it was."""
    import jinja2

    tokenizer = make.byte_level(GPT2)
    plain = "{% for m in messages %} {%- if true -%} {{ m }} {%- endif -%} \n{% endfor %}"
    tokenizer.chat_template = plain.replace("if true", "generation").replace("endif", "endgeneration")
    found, _ = vocabulary(tokenizer, tmp_path)
    assert isinstance(found.template, str)
    render = jinja2.Environment().from_string
    assert render(found.template).render(messages=["a", "b"]) == render(plain).render(messages=["a", "b"])
    tokenizer.chat_template = {"default": plain, "tool_use": "x"}
    found, _ = vocabulary(tokenizer, tmp_path / "two")
    assert found.template == [{"name": "default", "template": plain}, {"name": "tool_use", "template": "x"}]
