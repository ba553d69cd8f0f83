"""Rows in the place of tokens: the same bits as the tokens they stand for, and pseudo-tokens that stay what they are."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from agentkit.engine.llama import LlamaEngine, Model
from agentkit.engine.llama.context import Context, ContextOptions, Part
from agentkit.engine.llama.prefixes import Prefixes
from agentkit.engine.llama.rows import Kept, Row, Rows, Span, key_of, kinds, whole_before
from agentkit.engine.llama.sessions import Session, Text
from agentkit.engine.llama.spill import Spill
from agentkit.errors import EngineError, UnsupportedPart
from agentkit.models import WEIGHTS
from agentkit.protocols import Request
from agentkit.types import Step
from tests.unit.engine.eyes import png

SPROUT = WEIGHTS / "sprout.gguf"
RED, GREEN, BLUE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def matrix(path: Path) -> np.ndarray:
    """The embeddings of a file's tokens, as llama.cpp reads them."""
    found = next(tensor for tensor in gguf.GGUFReader(str(path)).tensors if tensor.name == "token_embd.weight")
    return np.asarray(gguf.quants.dequantize(found.data, found.tensor_type), np.float32)


EMBEDDINGS = matrix(SPROUT)
FIRST = len(EMBEDDINGS)


def rows_of(tokens: Sequence[int], begin: int = FIRST, **how: object) -> tuple[int, ...]:
    """Pseudo-tokens that stand for what these tokens are embedded as."""
    values = np.ascontiguousarray(EMBEDDINGS[list(tokens)])
    span = Span(begin, Rows(values=values, length=len(values), **how))  # type: ignore[arg-type]
    return tuple(Row.of(span, place) for place in range(len(values)))


class TokenEye:
    """Sees in each picture the tokens that its green says, sixteen of them."""

    fingerprint, reads_words = "tokens", False

    def __init__(self) -> None:
        self.calls: list[str] = []

    @staticmethod
    def tokens(image: bytes) -> list[int]:
        rng = np.random.default_rng(int.from_bytes(image[-40:], "big"))
        return [int(token) for token in rng.integers(300, 4000, 16)]

    def see(self, image: bytes, words: str) -> np.ndarray:
        self.calls.append(words)
        return EMBEDDINGS[self.tokens(image)]


def shown(*parts: str | bytes) -> HumanMessage:
    blocks: list[str | dict[str, str]] = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "base64": base64.b64encode(part).decode(), "mime_type": "image/png"}
        for part in parts
    ]
    return HumanMessage(content=blocks)  # type: ignore[arg-type]


def as_tokens(prompt: Sequence[int], pictures: Sequence[bytes]) -> list[int]:
    """A prompt with the tokens that the pictures' rows stand for."""
    inside = iter(token for picture in pictures for token in TokenEye.tokens(picture))
    return [next(inside) if token >= FIRST else token for token in prompt]


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(SPROUT) as opened:
        yield opened


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    opened = Context(model, ContextOptions(tokens=512, threads=1, live=4))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def eye() -> TokenEye:
    return TokenEye()


@pytest.fixture(scope="module")
def engine(eye: TokenEye) -> Iterator[LlamaEngine]:
    with LlamaEngine(SPROUT, context=2048, threads=1, eye=eye) as opened:
        yield opened


def read(model: Model, *batches: Sequence[tuple[int, Sequence[int]]]) -> list[np.ndarray]:
    """The logits after each token of each batch, in a context of its own."""
    context = Context(model, ContextOptions(tokens=512, threads=1, live=4))
    found = []
    for batch in batches:
        parts = [Part(sequence, tokens, range(len(tokens))) for sequence, tokens in batch]
        found += [np.array(rows) for rows in context.decode(parts)]
    context.close()
    return found


WORDS, SEEN, AFTER = [1, 5, 300, 310, 320], list(range(400, 424)), [18, 2, 6]


def test_rows_give_the_same_bits_as_their_tokens(model: Model) -> None:
    (tokens,) = read(model, [(0, SEEN)])
    (rows,) = read(model, [(0, rows_of(SEEN))])
    assert tokens.tobytes() == rows.tobytes()
    (others,) = read(model, [(0, rows_of(SEEN[::-1]))])
    assert tokens.tobytes() != others.tobytes()


def test_rows_between_words_give_the_same_bits(model: Model) -> None:
    tokens = read(model, [(0, WORDS)], [(0, SEEN)], [(0, AFTER)])
    rows = read(model, [(0, WORDS)], [(0, rows_of(SEEN))], [(0, AFTER)])
    assert [one.tobytes() for one in tokens] == [one.tobytes() for one in rows]


def test_two_sequences_side_by_side_give_the_same_bits(model: Model) -> None:
    other = SEEN[::-1][:17]
    tokens = read(model, [(0, WORDS), (1, AFTER)], [(0, SEEN), (1, other)], [(0, AFTER), (1, WORDS)])
    rows = read(model, [(0, WORDS), (1, AFTER)], [(0, rows_of(SEEN)), (1, rows_of(other))], [(0, AFTER), (1, WORDS)])
    assert [one.tobytes() for one in tokens] == [one.tobytes() for one in rows]


def test_tokens_and_rows_in_one_batch_are_refused(context: Context) -> None:
    with pytest.raises(EngineError, match="in one batch"):
        context.decode([Part(0, rows_of(SEEN)), Part(1, WORDS)])
    with pytest.raises(EngineError, match="failed to read"):
        context.decode([Part(0, [FIRST + 5])])  # an id beyond the vocabulary that carries nothing
    assert context.length(0) == context.length(1) == 0


# --- through the engine -----------------------------------------------------------------------------------------------


def said(engine: LlamaEngine, prompt: Sequence[int], *, tokens: int = 12) -> list[tuple[int, float]]:
    """What follows a prompt, with log-probabilities; read in the runs that a prompt with pictures is read in."""
    loaded = engine._loaded()
    loaded.drafting.is_on = False  # how much is read ahead depends on the clock
    reply = Session(loaded, prompt).generate(Text(max_tokens=tokens, logprobs=3))
    return [(one.token, one.logprob) for one in reply.logprobs]


def said_in_runs(path: Path, prompt: Sequence[int], ends: Sequence[int]) -> list[tuple[int, float]]:
    """The same of tokens alone, on a model of its own, held at each of `ends` so that the batches are the same."""
    with LlamaEngine(path, context=2048, threads=1, cache_mb=0) as fresh:
        for end in ends:
            Session(fresh._loaded(), prompt[:end]).hold()
        return said(fresh, prompt)


def ends_of(prompt: Sequence[int]) -> list[int]:
    return [end for end, _ in kinds(prompt, FIRST)][:-1]


def prompt_of(engine: LlamaEngine, *parts: str | bytes) -> list[int]:
    return list(engine.session(Request(messages=[shown(*parts)])).tokens)


def test_a_picture_in_a_prompt_is_what_its_tokens_are(engine: LlamaEngine) -> None:
    picture = png(RED)
    prompt = prompt_of(engine, "What colour is this? ", picture)
    tokens = as_tokens(prompt, [picture])
    assert tokens != prompt
    assert len(tokens) == len(prompt)
    expected = said_in_runs(SPROUT, tokens, ends_of(prompt))
    assert said(engine, prompt) == expected
    again = prompt_of(engine, "What colour is this? ", picture)
    assert said(engine, again) == expected  # from the prefix


def test_after_a_reused_prefix_the_bits_are_the_same(engine: LlamaEngine) -> None:
    pictures = png(GREEN), png(BLUE)
    engine.session(Request(messages=[shown("Look. ", pictures[0])])).hold()
    prompt = prompt_of(engine, "Look. ", pictures[0], pictures[1], "and compare")
    known = len(prompt_of(engine, "Look. ", pictures[0])) - 2  # without <end> and <assistant>
    ends = [end for end in ends_of(prompt) if end > known]
    fresh = as_tokens(prompt, pictures)
    first = as_tokens(prompt_of(engine, "Look. ", pictures[0]), pictures)
    with LlamaEngine(SPROUT, context=2048, threads=1, cache_mb=0) as other:
        for end in (*ends_of(prompt_of(engine, "Look. ", pictures[0])), len(first)):
            Session(other._loaded(), first[:end]).hold()
        for end in ends:
            Session(other._loaded(), fresh[:end]).hold()
        expected = said(other, fresh)
    assert said(engine, prompt) == expected


def test_two_callers_see_their_own_pictures(engine: LlamaEngine) -> None:
    requests = [Request(messages=[shown("Say it: ", png((n, n, n)))], max_tokens=12) for n in range(4)]
    alone = [list(engine.stream(request))[-1].step for request in requests]  # type: ignore[union-attr]
    with LlamaEngine(SPROUT, context=2000, threads=1, eye=TokenEye()) as other:
        found: dict[int, object] = {}

        def ask(n: int) -> None:
            found[n] = list(other.stream(requests[n]))[-1].step  # type: ignore[union-attr]

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [found[n] for n in range(4)] == alone


def test_equal_pictures_are_reused_and_others_are_not(engine: LlamaEngine, eye: TokenEye) -> None:
    def usage(*parts: str | bytes) -> tuple[int, int]:
        last = list(engine.stream(Request(messages=[shown(*parts)], max_tokens=4)))[-1]
        return last.usage.prompt, last.usage.reused  # type: ignore[union-attr]

    white, black = png((250, 250, 250)), png((4, 4, 9))
    before = len(eye.calls)
    total, _ = usage("Is it bright? ", white)
    assert usage("Is it bright? ", white) == (total, total)
    words = total - 16 - 3  # <bos><user> words <image> | rows | <image_end><end><assistant>
    assert usage("Is it bright? ", black) == (total, words)
    assert len(eye.calls) - before == 2
    assert eye.calls[-1] == "Is it bright? "
    assert engine.count(Request(messages=[shown("Is it bright? ", black)])) == total


def test_steps_are_branched_and_scored_after_a_picture(engine: LlamaEngine) -> None:
    requests = [Request(messages=[shown("What is it? ", png(colour))], max_tokens=8) for colour in (RED, BLUE)]
    candidates = [Step(kind="final", text=text) for text in ("red", "blue", "a shoe")]
    scores = [[one.logprob for one in engine.score(request, candidates)] for request in requests]
    assert [one.logprob for one in engine.score(requests[0], candidates)] == pytest.approx(scores[0], abs=0.05)
    assert scores[0] != pytest.approx(scores[1], abs=0.05)
    steps = [reply.step for reply in engine.branch(requests[0], 3)]
    assert len({(step.kind, step.text) for step in steps}) == 3


def test_an_eye_that_reads_words_is_asked_for_each() -> None:
    eye = TokenEye()
    eye.reads_words = True  # type: ignore[misc]
    with LlamaEngine(SPROUT, context=512, threads=1, eye=eye) as engine:
        for words in ("red?", "blue?", "red?"):
            engine.count(Request(messages=[shown(words, png(RED))]))
    assert eye.calls == ["red?", "blue?"]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros((4, 255), np.float32), "width 255"),
        (np.zeros((0, 256), np.float32), r"\(0, 256\)"),
        (np.zeros(256, np.float32), r"\(256,\)"),
        (np.full((2, 256), np.nan, np.float32), "finite"),
    ],
)
def test_rows_that_a_model_cannot_read_are_refused(values: np.ndarray, why: str) -> None:
    class Bad(TokenEye):
        def see(self, image: bytes, words: str) -> np.ndarray:
            return values

    with LlamaEngine(SPROUT, context=512, threads=1, eye=Bad()) as engine, pytest.raises(EngineError, match=why):
        engine.count(Request(messages=[shown("x", png(RED))]))


def test_a_long_picture_takes_several_batches() -> None:
    class Long(TokenEye):
        fingerprint = "long"

        def see(self, image: bytes, words: str) -> np.ndarray:
            return EMBEDDINGS[300:1500]

    with LlamaEngine(SPROUT, context=2000, threads=1, eye=Long()) as engine:
        prompt = prompt_of(engine, "a long one, and what is said of it, word by word: which colour has it?", png(RED))
        rows = said(engine, prompt)
    start, end = ends_of(prompt)
    assert (start > 8, end - start) == (True, 1200)
    plain = [*prompt[:start], *range(300, 1500), *prompt[end:]]
    assert rows == said_in_runs(SPROUT, plain, [start, start + 512, start + 1024, start + 1200])


def test_a_long_picture_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Long(TokenEye):
        fingerprint = "long"

        def see(self, image: bytes, words: str) -> np.ndarray:
            return EMBEDDINGS[300:1500]

    batches: list[tuple[bool, int]] = []
    decode = Context.decode

    def noted(self: Context, parts: Sequence[Part]) -> list[list[np.ndarray]]:
        batches.append((isinstance(parts[0].tokens[0], Row), sum(len(part.tokens) for part in parts)))
        return decode(self, parts)

    monkeypatch.setattr(Context, "decode", noted)
    with LlamaEngine(SPROUT, context=2000, threads=1, eye=Long()) as engine:
        engine._loaded().drafting.is_on = False
        talking = engine.session("Once").stream(Text(max_tokens=400))
        next(talking)
        engine.session(Request(messages=[shown("what is it", png(RED))])).hold()
        rows = [n for n, (is_rows, _) in enumerate(batches) if is_rows]
        del talking
    assert max(batches[n][1] for n in rows) == 64
    assert sum(batches[n][1] for n in rows) == 1200
    assert all(later - n == 2 for n, later in pairwise(rows))  # the other's token between any two


def test_what_is_spilled_with_a_picture_stays_in_this_process(tmp_path: Path, engine: LlamaEngine) -> None:
    state = np.ones(1 << 20, np.uint8)
    words, picture = np.arange(100, dtype=np.int32), np.arange(FIRST - 50, FIRST + 50, dtype=np.int32)
    store = Spill(ram_bytes=1 << 20, folder=tmp_path, disk_bytes=64 << 20, fingerprint="f", vocabulary=FIRST)
    assert store.put((), picture, state)
    assert store.longest((), picture) is not None
    assert store.put((), words, state)  # drives the picture out
    assert store.put((), words + 1, state)
    assert store.longest((), picture) is None
    assert Spill(ram_bytes=0, folder=tmp_path, disk_bytes=64 << 20, fingerprint="f").longest((), words) is not None
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_a_picture_comes_back_from_ram() -> None:
    with LlamaEngine(SPROUT, context=256, threads=1, eye=TokenEye(), cache_mb=64) as engine:
        prompt, other = (prompt_of(engine, "word " * 50, png(colour)) for colour in (RED, GREEN))
        before = said(engine, prompt, tokens=1)
        assert said(engine, other, tokens=1) != [(token, pytest.approx(chance, abs=0.1)) for token, chance in before]
        for n in range(4):
            said(engine, prompt_of(engine, f"{n} other " * 50))
        assert engine.stats.spilled
        restored = engine.stats.restored
        assert said(engine, prompt, tokens=1) == [(token, pytest.approx(chance, abs=0.02)) for token, chance in before]
        assert engine.stats.restored > restored


# --- what is read whole -----------------------------------------------------------------------------------------------


def test_a_prefix_that_ends_inside_a_whole_picture_begins_before_it(model: Model) -> None:
    tokens = [*range(300, 320), *rows_of(range(400, 412), causal=False), *range(320, 330)]
    context = Context(model, ContextOptions(tokens=256, threads=1, live=2))
    prefixes = Prefixes(context)

    def whole(sequence: int) -> np.ndarray:
        held = context.length(sequence)
        if held < 20:
            context.decode([Part(sequence, tokens[held:20])])
        context.decode_whole(Part(sequence, tokens[20:32]), tokens[20].span)  # type: ignore[union-attr]
        return np.array(context.decode([Part(sequence, tokens[32:], [9])])[0])

    opened = prefixes.open(tokens)
    first = whole(opened.sequence)
    prefixes.close(opened.sequence, tokens)
    assert prefixes.make_room(1)  # sixteen at least: its end, and the last part of the picture
    assert prefixes.held == 26
    opened = prefixes.open(tokens)
    assert opened.length == context.length(opened.sequence) == 20
    assert whole(opened.sequence).tobytes() == first.tobytes()
    context.close()


def test_rows_that_see_each_other_differ_from_rows_that_do_not(model: Model) -> None:
    def last(*, causal: bool) -> bytes:
        tokens = rows_of(SEEN, causal=causal)
        context = Context(model, ContextOptions(tokens=256, threads=1, live=2))
        if causal:
            context.decode([Part(0, tokens)])
        else:
            context.decode_whole(Part(0, tokens), tokens[0].span)  # type: ignore[attr-defined]
        assert context.length(0) == len(SEEN)
        found = np.array(context.decode([Part(0, AFTER, [2])])[0]).tobytes()
        context.close()
        return found

    assert last(causal=True) != last(causal=False)


def test_a_piece_of_a_whole_picture_is_refused_and_nobody_else_is_harmed(engine: LlamaEngine) -> None:
    tokens = [300, 301, *rows_of(range(400, 412), FIRST + 10_000_000, causal=False)]
    with pytest.raises(EngineError, match="a piece of a picture"):
        Session(engine._loaded(), tokens[:-3]).hold()
    Session(engine._loaded(), [*tokens, 302]).hold()


def test_a_whole_picture_must_fit_into_a_batch(model: Model, context: Context) -> None:
    tokens = rows_of([300] * 513, causal=False)
    with pytest.raises(UnsupportedPart, match="at most 512"):
        context.decode_whole(Part(0, tokens), tokens[0].span)  # type: ignore[attr-defined]


# --- pure -------------------------------------------------------------------------------------------------------------


def kept(room: int = 1 << 20) -> Kept:
    return Kept(begin=100, width=4, room=room)


def picture(count: int, fill: float = 0.0) -> Rows:
    return Rows(values=np.full((count, 4), fill, np.float32), length=count)


def test_ids_are_stable_and_never_shared() -> None:
    store = kept(room=64)  # four rows
    one = store.tokens("a", lambda: [7, picture(4), 8])
    assert [int(token) for token in one] == [7, 100, 101, 102, 103, 8]
    two = store.tokens("b", lambda: [picture(4)])  # drives the rows of the first out
    assert min(two) == 104
    calls: list[int] = []
    again = store.tokens("a", lambda: calls.append(1) or [7, picture(4), 8])  # type: ignore[func-returns-value]
    assert calls == [1]
    assert again == one
    assert store.tokens("a", lambda: pytest.fail("it is kept")) == one
    assert one[1].span.rows.values.shape == (4, 4)  # type: ignore[union-attr]  who holds a prompt holds its rows


def test_a_failing_eye_leaves_nothing() -> None:
    store = kept()
    with pytest.raises(ZeroDivisionError):
        store.tokens("a", lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    assert store.tokens("a", lambda: [picture(1)]) == (100,)


def test_keys_tell_eyes_pictures_and_words_apart() -> None:
    keys = {key_of(eye, data, words) for eye in "ab" for data in (b"x", b"y") for words in (None, "q", "r")}
    assert len(keys) == 12


RUNS = st.lists(st.tuples(st.sampled_from(["words", "rows", "whole"]), st.integers(1, 5)), min_size=1, max_size=8)


@given(RUNS)
def test_runs_cover_all_and_cut_no_whole_span(runs: list[tuple[str, int]]) -> None:
    tokens: list[int] = []
    for n, (kind, count) in enumerate(runs):
        span = Span(100 * (n + 1), Rows(values=np.zeros((count, 4), np.float32), length=count, causal=kind != "whole"))
        tokens += [5] * count if kind == "words" else [Row.of(span, place) for place in range(count)]
    found = kinds(tokens, 100)
    assert [end for end, _ in found] == sorted({end for end, _ in found})
    assert found[-1][0] == len(tokens)
    start = 0
    for end, kind in found:
        for token in tokens[start:end]:
            assert kind is (False if not isinstance(token, Row) else token.span if token.span.is_whole else True)
        if isinstance(kind, Span):
            assert (end - start, int(tokens[start])) == (kind.rows.length, kind.first)
        start = end
    for length in range(len(tokens) + 1):
        held = whole_before(tokens, length)
        assert held <= length
        assert (
            held == len(tokens)
            or not isinstance(tokens[held], Row)
            or held in {0, *(end for end, _ in found)}
            or (not tokens[held].span.is_whole)
        )


def test_the_same_whole_picture_twice_is_two_runs() -> None:
    span = Span(100, Rows(values=np.zeros((3, 4), np.float32), length=3, causal=False))
    tokens = [Row.of(span, place) for place in range(3)] * 2
    assert kinds(tokens, 100) == [(3, span), (6, span)]
