"""Pictures through a model's own mmproj: what llama.cpp's helper reads, this engine reads, bit for bit; and what is refused."""

from __future__ import annotations

import ctypes
import struct
import wave
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from llama_cpp import mtmd_cpp as M

from agentkit.config import EngineSettings
from agentkit.engine import open_engine
from agentkit.engine.langchain import ChatAgentkit
from agentkit.engine.llama import LlamaEngine, Model
from agentkit.engine.llama.context import Context, ContextOptions, Part
from agentkit.engine.llama.fits import check_eyes_fit
from agentkit.engine.llama.library import C
from agentkit.engine.llama.mmproj import Projector
from agentkit.engine.llama.rows import Kept, Row, Span, kinds
from agentkit.engine.llama.sessions import Session, Text
from agentkit.engine.trial import try_model
from agentkit.errors import EngineError, ModelError, ModelFileError, ModelNotFound, UnsupportedPart
from agentkit.messages import user_message
from agentkit.models.machine import Memory
from agentkit.models.mmproj import beside, inspect_mmproj
from agentkit.protocols import Request
from agentkit.types import AudioPart, ImagePart, Task, TextPart
from tests.unit.engine.eyes import png, write_ears, write_mmproj, write_qwen

WIDTH = 64
RED, GREEN = (255, 0, 0), (0, 255, 0)
KINDS = ("mlp", "gemma3", "qwen2vl_merger")
BEFORE, AFTER = "Look here: ", " and say what it is."


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen(tmp_path_factory.mktemp("qwen") / "qwen.gguf")


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("eyes")
    return {kind: write_mmproj(folder / f"{kind}.gguf", width=WIDTH, kind=kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, tiny: Path, qwen: Path, eyes: dict[str, Path]) -> tuple[Path, Path]:
    """A model and its mmproj."""
    return (qwen if request.param == "qwen2vl_merger" else tiny), eyes[request.param]


def shown(*parts: str | bytes) -> HumanMessage:
    made = [TextPart(text=part) if isinstance(part, str) else ImagePart(data=part) for part in parts]
    return user_message(Task(parts=tuple(made)))


def heard(hertz: int) -> HumanMessage:
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes((9000 * np.sin(np.arange(8_000) * hertz * 2 * np.pi / 16_000)).astype("<i2").tobytes())
    return user_message(Task(parts=(TextPart(text="What is said?"), AudioPart(data=file.getvalue()))))


def helper_logits(model: Model, mmproj: Path, picture: bytes, batch: int) -> np.ndarray:
    """What llama.cpp's own helper comes to: the logits after the words, the picture and the words."""
    context = Context(model, ContextOptions(tokens=1024, threads=1, live=2, batch=batch))
    params = M.mtmd_context_params_default()
    params.use_gpu, params.n_threads, params.print_timings, params.warmup = False, 1, False, False
    eyes = M.mtmd_init_from_file(str(mmproj).encode(), model.handle, params)
    buffer = (ctypes.c_uint8 * len(picture)).from_buffer_copy(picture)
    bitmap = M.mtmd_helper_bitmap_init_from_buf(eyes, buffer, len(picture), False)
    chunks = M.mtmd_input_chunks_init()
    words = BEFORE.encode() + M.mtmd_default_marker() + AFTER.encode()
    text = M.mtmd_input_text(text=words, text_len=len(words), add_special=False, parse_special=True)
    bitmaps = (M.mtmd_bitmap_p_ctypes * 1)(bitmap)
    assert M.mtmd_tokenize(eyes, chunks, ctypes.byref(text), bitmaps, 1) == 0
    end = C.llama_pos()
    status = M.mtmd_helper_eval_chunks(eyes, context._handle, chunks, 0, 0, batch, True, ctypes.byref(end))
    assert status == 0
    found = np.ctypeslib.as_array(C.llama_get_logits_ith(context._handle, -1), shape=(model.n_vocab,)).copy()
    M.mtmd_input_chunks_free(chunks)
    M.mtmd_bitmap_free(bitmap)
    M.mtmd_free(eyes)
    context.close()
    return found


def own_tokens(model: Model, mmproj: Path, picture: bytes) -> list[int]:
    projector = Projector(mmproj, model, threads=1, on_gpu=False)
    seen = Kept(begin=model.n_vocab, width=model.n_embd_input).tokens("picture", lambda: projector.see(picture))
    projector.close()
    return [*model.tokenise(BEFORE), *seen, *model.tokenise(AFTER)]


def own_logits(model: Model, tokens: Sequence[int], batch: int) -> np.ndarray:
    context = Context(model, ContextOptions(tokens=1024, threads=1, live=2, batch=batch))
    start = 0
    for end, kind in kinds(tokens, model.n_vocab):
        if isinstance(kind, Span):
            context.decode_whole(Part(0, tokens[start:end]), kind)
        else:
            for at in range(start, end, batch):
                some = tokens[at : min(end, at + batch)]
                found = context.decode([Part(0, some, [len(some) - 1])])
        start = end
    last = np.array(found[0][0])
    context.close()
    return last


@pytest.mark.parametrize("batch", [512, 8])
def test_what_is_read_is_what_llama_cpps_helper_reads(pair: tuple[Path, Path], batch: int) -> None:
    with Model(pair[0]) as model:
        for side in (40, 120):
            picture = png(RED, side)
            tokens = own_tokens(model, pair[1], picture)
            theirs, ours = helper_logits(model, pair[1], picture, batch), own_logits(model, tokens, batch)
            assert theirs.tobytes() == ours.tobytes()
            assert not np.array_equal(ours, own_logits(model, own_tokens(model, pair[1], png(GREEN, side)), batch))


def test_how_each_kind_is_read(tiny: Path, qwen: Path, eyes: dict[str, Path]) -> None:
    with Model(tiny) as model:
        plain = kinds(own_tokens(model, eyes["mlp"], png(RED)), model.n_vocab)
        assert [kind for _, kind in plain] == [False, True, False]
        ((_, span),) = [run for run in kinds(own_tokens(model, eyes["gemma3"], png(RED)), model.n_vocab) if run[1]]
        assert isinstance(span, Span)
        assert (span.rows.causal, span.rows.length, len(span.rows.values)) == (False, 4, 4)
    with Model(qwen) as model:
        assert model.position_dimensions == 4
        tokens = own_tokens(model, eyes["qwen2vl_merger"], png(RED, 120))
        ((_, span),) = [run for run in kinds(tokens, model.n_vocab) if run[1]]
        assert isinstance(span, Span)
        across = int(len(span.rows.values) ** 0.5)
        assert (span.rows.length, len(span.rows.values)) == (across, across**2)  # fewer positions than rows
        assert span.rows.positions is not None
        assert span.rows.positions[1:3].max() == across - 1


def test_rows_of_an_eye_go_on_like_words_where_positions_are_several(qwen: Path) -> None:
    from tests.unit.engine.test_rows import matrix

    class Eye:
        fingerprint, reads_words = "x", False

        def see(self, image: bytes, words: str) -> np.ndarray:
            return matrix(qwen)[120:140]

    with LlamaEngine(qwen, context=512, threads=1, eye=Eye()) as engine:
        prompt = engine.session(Request(messages=[shown("What is it?", png(RED))])).tokens
        begin = engine._loaded().model.n_vocab
        start, end = (end for end, _ in kinds(prompt, begin)[:-1])
        tokens = [*prompt[:start], *range(120, 140), *prompt[end:]]
        rows = Session(engine._loaded(), prompt).generate(Text(max_tokens=4, logprobs=2)).logprobs
        for part in (tokens[:start], tokens[:end]):
            Session(engine._loaded(), part).hold()
        assert Session(engine._loaded(), tokens).generate(Text(max_tokens=4, logprobs=2)).logprobs == rows


def test_the_same_chat_with_and_without_pictures(pair: tuple[Path, Path]) -> None:
    model, mmproj = pair
    with LlamaEngine(model, context=1024, threads=1, mmproj=mmproj) as engine:
        assert (engine.capabilities.images, engine.capabilities.audio) == (True, False)

        def ask(*parts: str | bytes) -> tuple[tuple[int, ...], int, int]:
            reply = list(engine.stream(Request(messages=[shown(*parts)], max_tokens=6)))[-1]
            return reply.step.token_ids, reply.usage.prompt, reply.usage.reused  # type: ignore[union-attr]

        first, total, _ = ask("What is it?", png(RED))
        assert ask("What is it?", png(RED)) == (first, total, total)
        other, _, reused = ask("What is it?", png(GREEN))
        assert other != first
        assert 0 < reused < total
        words, _, _ = ask("What is it?")
        with LlamaEngine(model, context=1000, threads=1) as blind:
            alone = list(blind.stream(Request(messages=[shown("What is it?")], max_tokens=6)))[-1]
        assert words == alone.step.token_ids  # type: ignore[union-attr]


def test_a_picture_of_more_rows_than_a_batch(qwen: Path, eyes: dict[str, Path]) -> None:
    with LlamaEngine(qwen, context=1024, threads=1, mmproj=eyes["qwen2vl_merger"]) as engine:
        prompt = list(engine.session(Request(messages=[shown("What is it?", png(RED, 700))])).tokens)
        ((_, span),) = [run for run in kinds(prompt, engine._loaded().model.n_vocab) if run[1]]
        assert isinstance(span, Span)
        assert len(span.rows.values) > 512 > span.rows.length
        reply = Session(engine._loaded(), prompt).generate(Text(max_tokens=2, logprobs=1))
    with Model(qwen) as model:
        row = own_logits(model, prompt, 512)
    top = reply.logprobs[0]
    assert top.logprob == pytest.approx(float(row[top.token] - np.logaddexp.reduce(row.astype(np.float64))), abs=1e-3)


def test_a_picture_that_does_not_fit_is_refused_and_the_engine_goes_on(qwen: Path, eyes: dict[str, Path]) -> None:
    with LlamaEngine(qwen, context=512, threads=1, mmproj=eyes["qwen2vl_merger"]) as engine:
        with pytest.raises(EngineError, match=r"tokens of the context are in use"):
            list(engine.stream(Request(messages=[shown("What is it?", png(RED, 800))], max_tokens=4)))
        list(engine.stream(Request(messages=[shown("What is it?", png(RED))], max_tokens=4)))


# --- refusals ---------------------------------------------------------------------------------------------------------


def refused(path: Path, mmproj: Path, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match), LlamaEngine(path, context=512, threads=1, mmproj=mmproj) as engine:
        engine.count(Request(messages=[shown("x", png(RED))]))


def test_an_mmproj_that_cannot_be_used(tiny: Path, tmp_path: Path, eyes: dict[str, Path]) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("hello, I am no model at all", encoding="utf-8")
    refused(tiny, tmp_path / "none.gguf", ModelNotFound, "no such mmproj")
    refused(tiny, text, ModelFileError, "text.gguf")
    refused(tiny, tiny, ModelFileError, "architecture 'llama', not an mmproj")
    other = write_mmproj(tmp_path / "wide.gguf", width=128)
    refused(tiny, other, ModelFileError, r"wide\.gguf: llama.cpp cannot use it with tiny.*128")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(eyes["mlp"].read_bytes()[:-20_000])
    refused(tiny, cut, ModelFileError, "cut.gguf")


def test_an_mmproj_without_a_tensor_ends_the_trial_and_not_this_process(tiny: Path, tmp_path: Path) -> None:
    import gguf

    whole = gguf.GGUFReader(str(write_mmproj(tmp_path / "whole.gguf", width=WIDTH)))
    path = tmp_path / "part.gguf"
    writer = gguf.GGUFWriter(str(path), "clip")
    for key, one in whole.fields.items():
        if key.startswith("clip."):
            kind = one.types[0]
            writer.add_key_value(key, one.contents(), kind, one.types[1] if len(one.types) > 1 else None)
    for tensor in whole.tensors:
        if tensor.name != "mm.2.weight":
            writer.add_tensor(tensor.name, np.array(tensor.data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    settings = EngineSettings(context=512, threads=1, mmproj=str(path))
    with pytest.raises(ModelFileError, match=r"tiny\.gguf with .*part\.gguf: loading it ends the process"):
        try_model(tiny, settings)


def bomb(side: int) -> bytes:
    return png(RED, 2).replace(struct.pack(">II", 2, 2), struct.pack(">II", side, side))


@pytest.fixture(scope="module")
def seeing(tiny: Path, eyes: dict[str, Path]) -> Iterator[LlamaEngine]:
    with LlamaEngine(tiny, context=640, threads=1, mmproj=eyes["mlp"]) as opened:
        yield opened


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (png(RED)[:60], "cannot be decoded"),
        (b"\xff\xd8\xff" + b"nonsense" * 20, "cannot be decoded"),
        (bomb(60_000), "million pixels"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "convert it to PNG"),
    ],
)
def test_a_picture_that_cannot_be_shown(seeing: LlamaEngine, data: bytes, why: str) -> None:
    with pytest.raises(UnsupportedPart, match=why):
        seeing.count(Request(messages=[shown("x", data)]))
    assert seeing.count(Request(messages=[shown("x", png(RED))])) > 16


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ({"type": "image", "url": "https://example.com/x.png"}, "by URL"),
        ({"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}, "by URL"),
        ({"type": "image", "base64": "###"}, "not base64"),
        ({"type": "image", "base64": "aGVsbG8="}, "of no known form"),
        ({"type": "image", "file_id": "../../etc/passwd"}, "not one of agentkit's"),
        ({"type": "image", "file_id": "0" * 64}, "is gone"),
        ({"type": "image"}, "of no known form"),
        ({"type": "video", "base64": ""}, "type 'video'"),
    ],
)
def test_a_block_that_is_no_picture(seeing: LlamaEngine, block: dict[str, object], why: str) -> None:
    with pytest.raises(UnsupportedPart, match=why):
        seeing.count(Request(messages=[HumanMessage(content=[block])]))  # type: ignore[list-item]


def test_pictures_have_a_place_in_the_users_messages_only(seeing: LlamaEngine) -> None:
    from langchain_core.messages import SystemMessage, ToolMessage

    block = shown(png(RED)).content
    for message in (SystemMessage(content=block), ToolMessage(content=block, tool_call_id="x", name="t")):
        with pytest.raises(UnsupportedPart, match="user's messages only"):
            seeing.count(Request(messages=[HumanMessage("x"), message]))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: {"type": "image", "base64": text, "mime_type": "image/png"},
        lambda text: {"type": "image", "source_type": "base64", "data": text, "mime_type": "image/png"},
        lambda text: {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}},
        lambda text: {"type": "image_url", "image_url": f"data:image/png;base64,{text}"},
        lambda text: {"type": "input_image", "input_image": {"url": f"data:image/png;base64,{text}"}},
    ],
)
def test_every_form_of_a_block_is_the_same_picture(seeing: LlamaEngine, wrap) -> None:
    text = shown(png(RED)).content[0]["base64"]  # type: ignore[index]
    sessions = [
        seeing.session(Request(messages=[HumanMessage(content=[block])]))
        for block in (shown(png(RED)).content[0], wrap(text))
    ]
    assert sessions[0].tokens == sessions[1].tokens


def test_a_chat_model_of_langchain_sees(seeing: LlamaEngine) -> None:
    reply = ChatAgentkit(engine=seeing, max_tokens=4).invoke([shown("x", png(RED))])
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_tokens"] == seeing.count(Request(messages=[shown("x", png(RED))]))


def test_a_model_without_ears_refuses_sounds(seeing: LlamaEngine) -> None:
    with pytest.raises(UnsupportedPart, match="cannot hear"):
        seeing.count(Request(messages=[heard(300)]))


def test_a_model_with_ears_hears(tiny: Path, tmp_path: Path) -> None:
    ears = write_ears(tmp_path / "ears.gguf", width=WIDTH)
    with LlamaEngine(tiny, context=1536, threads=1, mmproj=ears) as engine:
        assert (engine.capabilities.images, engine.capabilities.audio) == (False, True)

        def ask(hertz: int) -> tuple[int, int]:
            usage = list(engine.stream(Request(messages=[heard(hertz)], max_tokens=2)))[-1].usage  # type: ignore[union-attr]
            return usage.prompt, usage.reused

        total, _ = ask(300)
        assert ask(300) == (total, total)
        assert ask(900)[1] < total - 700  # of its 750 rows
        prompts = [engine.session(Request(messages=[heard(hertz)])).tokens for hertz in (300, 900)]
        rows = [next(token.span.rows.values for token in prompt if isinstance(token, Row)) for prompt in prompts]
        assert rows[0].shape == rows[1].shape == (750, WIDTH)
        assert not np.array_equal(*rows)
        with pytest.raises(UnsupportedPart, match="cannot see"):
            engine.count(Request(messages=[shown("x", png(RED))]))
    try_model(tiny, EngineSettings(context=1536, threads=1, mmproj=str(ears)))


def test_an_mmproj_without_memory_for_it(tiny: Path, eyes: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    small = Memory(place="this machine", total=1000, free=1000)
    monkeypatch.setattr("agentkit.engine.llama.fits.memory", lambda: small)
    with pytest.raises(ModelError, match=r"mlp\.gguf: it does not fit"):
        check_eyes_fit(eyes["mlp"], inspect_mmproj(eyes["mlp"]).weight_bytes)


# --- by name ----------------------------------------------------------------------------------------------------------


def test_the_one_mmproj_beside_a_model_is_used(tiny: Path, tmp_path: Path, eyes: dict[str, Path]) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(tiny.read_bytes())
    assert beside(model) is None
    (tmp_path / "mmproj-model-f16.gguf").write_bytes(eyes["mlp"].read_bytes())
    settings = EngineSettings(model=str(model), context=512, threads=1, trial=False)
    with open_engine(settings) as engine:  # type: ignore[attr-defined]
        assert engine.capabilities.images
        engine.count(Request(messages=[shown("x", png(RED))]))
    (tmp_path / "mmproj-other.gguf").write_bytes(eyes["gemma3"].read_bytes())
    assert beside(model) is None  # nobody can say which
    with open_engine(replace(settings, mmproj=str(tmp_path / "mmproj-other.gguf"))) as engine:  # type: ignore[attr-defined]
        assert engine.capabilities.images


def test_a_broken_mmproj_beside_a_model_harms_no_texts(tiny: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(tiny.read_bytes())
    (tmp_path / "mmproj.gguf").write_bytes(b"GGUF and then nothing")
    with LlamaEngine(model, context=512, threads=1) as engine:
        assert not engine.capabilities.images
        list(engine.stream(Request(messages=[shown("x")], max_tokens=2)))


def test_a_trial_shows_a_picture(tiny: Path, tmp_path: Path, eyes: dict[str, Path]) -> None:
    settings = EngineSettings(context=512, threads=1, mmproj=str(eyes["mlp"]))
    try_model(tiny, settings)
    wide = write_mmproj(tmp_path / "wide.gguf", width=128)
    with pytest.raises(ModelFileError, match=r"wide\.gguf"):
        try_model(tiny, replace(settings, mmproj=str(wide)))


def test_what_an_mmproj_says_of_itself(eyes: dict[str, Path]) -> None:
    info = inspect_mmproj(eyes["mlp"])
    assert (info.images, info.audio) == (True, False)
    assert len(info.sha256()) == 64
