"""Sequences of one real context: what was read is found again, and reads on as if it had just been read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit.engine.llama import Model
from agentkit.engine.llama.context import MAX_SEQUENCES, Aborted, Context, ContextOptions, Logits, NoRoom, Part
from agentkit.engine.llama.library import C
from agentkit.engine.llama.prefixes import WORTH_PARKING, Prefixes
from agentkit.engine.llama.spill import Spill
from agentkit.errors import EngineError

NEAR = 1e-2  # what is wrong differs by more than 1
FLASH_NEAR = 5e-2  # flash attention on a CPU rounds by the size of the batch: up to 0.017 on these weights
LIVE = 4


class Exact(Context):
    """Without flash attention: the same logits, to 1e-5, however tokens are batched."""

    def _params(self, options: ContextOptions) -> Any:
        params = super()._params(options)
        params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED
        return params


def options(tokens: int, live: int) -> ContextOptions:
    return ContextOptions(tokens=tokens, threads=1, batch=128, live=live)


def fork(prefixes: Prefixes, sequence: int, length: int) -> int:
    """Return another live sequence that holds the first `length` tokens of `sequence`."""
    twin = prefixes._live.pop()
    prefixes._context.copy(sequence, twin, length)
    return twin


@pytest.fixture(scope="module")
def model(tiny: Path) -> Iterator[Model]:
    with Model(tiny) as opened:
        yield opened


Make = Callable[..., Context]


@pytest.fixture
def make(model: Model) -> Iterator[Make]:
    made: list[Context] = []

    def context(tokens: int = 2048, kind: type[Context] = Exact) -> Context:
        made.append(kind(model, options(tokens, LIVE)))
        return made[-1]

    yield context
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def fresh(model: Model) -> Iterator[Callable[[Sequence[int]], Logits]]:
    """The logits after some tokens, read by a context that knows nothing."""
    context = Exact(model, options(2048, 1))

    def read(tokens: Sequence[int]) -> Logits:
        context.keep_first(0, 0)
        return read_on(context, 0, tokens)

    yield read
    context.close()


Fresh = Callable[[Sequence[int]], Logits]


def prompt(seed: int, count: int) -> list[int]:
    """Different tokens for each seed, from the first on for seeds below 250."""
    rest = np.random.default_rng(seed).integers(10, 260, count - 1).tolist()
    return [10 + seed % 250, *rest]


def read_on(context: Context, sequence: int, tokens: Sequence[int], room: Prefixes | None = None) -> Logits:
    """Read tokens after what a sequence holds; return the logits after the last."""
    row = np.empty(0, np.float32)
    for at in range(0, len(tokens), context.batch_tokens):
        part = Part(sequence, tokens[at : at + context.batch_tokens], [len(tokens[at : at + context.batch_tokens]) - 1])
        while True:
            try:
                ((found,),) = context.decode([part])
            except NoRoom:
                assert room is not None
                assert room.make_room(len(part.tokens))
                continue
            break
        row = found.copy()
    return row


def read(
    context: Context, prefixes: Prefixes, tokens: Sequence[int], *, keep: bool = False, key: Hashable = ()
) -> Logits:
    """Open, read what is not known, park."""
    opened = prefixes.open(tokens, key)
    if opened.length == len(tokens):
        context.keep_first(opened.sequence, len(tokens) - 1)
    row = read_on(context, opened.sequence, tokens[context.length(opened.sequence) :], prefixes)
    prefixes.close(opened.sequence, tokens, key, {len(tokens): row} if keep else {})
    return row


def known(context: Context, prefixes: Prefixes, tokens: Sequence[int], key: Hashable = ()) -> int:
    """How many tokens need not be read."""
    opened = prefixes.open(tokens, key)
    assert opened.length == context.length(opened.sequence)
    prefixes.close(opened.sequence, tokens, key)
    return opened.length


def test_what_was_read_is_found_again_and_reads_on_the_same(make: Make, fresh: Fresh) -> None:
    context = make()
    prefixes = Prefixes(context)
    one, other = prompt(1, 200), prompt(2, 50)
    assert np.allclose(read(context, prefixes, one), fresh(one), atol=NEAR)
    for tokens, length in ((one, 200), ([*one, *other], 200), ([*one[:120], *other], 120), (one[:60], 60), (other, 0)):
        opened = prefixes.open(tokens)
        assert (opened.length, opened.row) == (length, None)
        rest = tokens[length:] or [99]
        row = read_on(context, opened.sequence, rest)
        assert np.allclose(row, fresh([*tokens[:length], *rest]), atol=NEAR)
        prefixes.close(opened.sequence, [*tokens[:length], *rest])
    assert not np.allclose(fresh([*one, 99]), fresh([*other, 99]), atol=1)  # the comparison can fail


def test_what_was_read_under_other_adapters_is_read_again(make: Make) -> None:
    context = make()
    prefixes = Prefixes(context, Spill(ram_bytes=1 << 24))
    tokens = prompt(1, 100)
    read(context, prefixes, tokens, keep=True, key="one")
    assert known(context, prefixes, tokens, "two") == 0
    assert known(context, prefixes, tokens, "one") == 100
    prefixes.make_room(4096)
    assert prefixes.spilled == 1
    assert known(context, prefixes, tokens, "two") == 0
    assert known(context, prefixes, tokens, "one") == 100


def test_a_second_open_of_the_same_tokens_needs_no_decode(make: Make, fresh: Fresh) -> None:
    context = make()
    prefixes = Prefixes(context)
    tokens = prompt(1, 90)
    read(context, prefixes, tokens, keep=True)
    read(context, prefixes, [*tokens, *prompt(2, 20)])
    opened = prefixes.open(tokens)
    assert opened.length == 90
    assert opened.row is not None
    assert np.allclose(opened.row, fresh(tokens), atol=NEAR)
    assert prefixes.open(tokens[:89]).row is None
    assert prefixes.open([*tokens, 99]).row is None  # not the row after the last


def test_forks_share_cells(make: Make, fresh: Fresh) -> None:
    context = make(tokens=512)
    prefixes = Prefixes(context)
    trunk = prompt(1, 400)
    first = prefixes.open(trunk).sequence
    read_on(context, first, trunk)
    forks = [first, *(fork(prefixes, first, 400) for _ in range(LIVE - 1))]  # four times 400 would not fit
    assert not prefixes.is_free
    for n, one in enumerate(forks):
        assert np.allclose(read_on(context, one, [50 + n] * 20), fresh([*trunk, *[50 + n] * 20]), atol=NEAR)
    for n, one in enumerate(forks):
        prefixes.close(one, [*trunk, *[50 + n] * 20])
    assert prefixes.held == 400 + LIVE * 20
    assert [context.length(one) for one in forks] == [0] * LIVE


def test_a_fork_of_a_beginning_reads_on_from_there(make: Make, fresh: Fresh) -> None:
    context = make()
    prefixes = Prefixes(context)
    trunk = prompt(1, 60)
    first = prefixes.open(trunk).sequence
    read_on(context, first, trunk)
    twin = fork(prefixes, first, 25)
    assert np.allclose(read_on(context, twin, [70, 71]), fresh([*trunk[:25], 70, 71]), atol=NEAR)
    assert np.allclose(read_on(context, first, [70, 71]), fresh([*trunk, 70, 71]), atol=NEAR)


@pytest.mark.parametrize("where", ["ram", "disk"])
@pytest.mark.parametrize(
    ("kind", "near"), [(Exact, NEAR), (Context, FLASH_NEAR)]
)  # they lay their states out otherwise
def test_what_was_pushed_out_comes_back_the_same(
    make: Make, fresh: Fresh, tmp_path: Path, where: str, kind: type[Context], near: float
) -> None:
    context = make(tokens=512, kind=kind)
    spill = Spill(ram_bytes=(where == "ram") << 26, folder=tmp_path, disk_bytes=1 << 26)
    prefixes = Prefixes(context, spill)
    prompts = [prompt(n, 150) for n in range(6)]
    for tokens in prompts:
        assert np.allclose(read(context, prefixes, tokens), fresh(tokens), atol=near)
    assert prefixes.evicted >= 3
    assert prefixes.spilled >= 3
    for n, tokens in enumerate(prompts[:3]):
        opened = prefixes.open([*tokens, 42])
        assert opened.length == 150
        assert prefixes.restored == n + 1
        assert np.allclose(read_on(context, opened.sequence, [42], prefixes), fresh([*tokens, 42]), atol=near)
        prefixes.close(opened.sequence, [*tokens, 42])
    assert bool(list(tmp_path.iterdir())) is (where == "disk")


def test_it_is_spilled_and_brought_back_while_every_sequence_is_in_use(make: Make, fresh: Fresh) -> None:
    context = make(tokens=512)
    prefixes = Prefixes(context, Spill(ram_bytes=1 << 26))
    old = prompt(1, 150)
    read(context, prefixes, old)
    busy = [prefixes.open(prompt(n, 90)).sequence for n in range(2, 2 + LIVE)]
    for n, sequence in enumerate(busy[:-1]):
        read_on(context, sequence, prompt(n + 2, 90), prefixes)
    assert not prefixes.is_free
    read_on(context, busy[-1], prompt(1 + LIVE, 120), prefixes)  # it needs the room of what is parked
    assert (prefixes.evicted, prefixes.spilled) == (1, 1)
    for n, sequence in enumerate(busy):
        prefixes.close(sequence, prompt(n + 2, 120 if sequence == busy[-1] else 90))
    opened = prefixes.open([*old, 42])
    assert (opened.length, prefixes.restored) == (150, 1)
    assert np.allclose(read_on(context, opened.sequence, [42], prefixes), fresh([*old, 42]), atol=NEAR)
    assert context.length(context.spare) == 0


def test_a_state_that_never_fits_is_tried_once(make: Make) -> None:
    context = make(tokens=512)
    spill = Spill(ram_bytes=1 << 26)
    prefixes = Prefixes(context, spill)
    tokens = prompt(1, 150)
    spill.put((), np.asarray(tokens, np.int32), np.zeros(4096, np.uint8))  # whole, and nonsense
    assert known(context, prefixes, tokens) == 0
    assert len(spill) == 0
    assert prefixes.restored == 0


def test_more_than_the_pool_is_no_room_at_any_length(make: Make) -> None:
    context = make(tokens=256)
    read_on(context, 0, prompt(1, 250))
    for count in (7, 100):
        with pytest.raises(NoRoom):
            context.decode([Part(0, [42] * count)])
    assert context.length(0) == 250


def test_what_is_dealt_with_is_no_warning(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    context = make(tokens=512)
    prefixes = Prefixes(context, Spill(ram_bytes=1 << 26))
    with caplog.at_level("DEBUG", logger="agentkit.llama"):
        for n in range(6):
            read(context, prefixes, prompt(n, 150))
        read(context, prefixes, [*prompt(0, 150), 42])
        context.abort(True)
        with pytest.raises(Aborted):
            read_on(context, 0, prompt(9, 30), prefixes)
        context.abort(False)
        assert prefixes.restored == 1
        assert any("memory slot" in one.message for one in caplog.records)  # it can be had
        assert [one.message for one in caplog.records if one.levelname != "DEBUG"] == []
        with pytest.raises(EngineError):
            context.decode([Part(0, [-1])])
        assert [one.levelname for one in caplog.records if one.levelname != "DEBUG"] != []  # others are


def test_without_a_spill_what_was_pushed_out_is_read_again(make: Make, fresh: Fresh) -> None:
    context = make(tokens=512)
    prefixes = Prefixes(context)
    for n in range(12):
        tokens = prompt(n % 5, 150)
        assert np.allclose(read(context, prefixes, tokens), fresh(tokens), atol=NEAR)
        assert prefixes.held <= 512
    assert prefixes.evicted
    assert prefixes.restored == 0


def test_room_is_what_is_given_up_not_what_others_share(make: Make) -> None:
    context = make(tokens=1024)
    prefixes = Prefixes(context)
    trunk = prompt(1, 300)
    for n in range(10):
        read(context, prefixes, [*trunk, *[50 + n] * 20])
    assert prefixes.held == 500
    assert prefixes.make_room(180)
    assert prefixes.held <= 320
    assert prefixes.make_room(4096)
    assert prefixes.held == 0
    assert not prefixes.make_room(1)


def test_what_is_pinned_stays_longest_and_yields_at_last(make: Make) -> None:
    context = make(tokens=512)
    prefixes = Prefixes(context)
    pinned = prompt(1, 200)
    read(context, prefixes, pinned)
    assert prefixes.pin(pinned)
    assert not prefixes.pin(prompt(2, 20))
    for n in range(2, 12):
        read(context, prefixes, prompt(n, 150))
    assert known(context, prefixes, pinned) == 200
    read(context, prefixes, prompt(20, 500))  # nothing else is left to give
    assert known(context, prefixes, pinned) < 200


def test_parked_numbers_up_to_the_last_hold_and_are_not_read_into(make: Make, fresh: Fresh) -> None:
    context = make()
    tokens = prompt(1, 80)
    read_on(context, 0, tokens)
    for parked in (LIVE, 200, MAX_SEQUENCES - 1):
        context.copy(0, parked, 80)
        with pytest.raises(EngineError, match="only held"):
            context.decode([Part(parked, [42])])
        assert context.length(parked) == 80
    context.keep_first(0, 0)
    for parked in (LIVE, 200, MAX_SEQUENCES - 1):
        context.copy(parked, 1, 80)
        assert np.allclose(read_on(context, 1, [42]), fresh([*tokens, 42]), atol=NEAR)
        context.keep_first(1, 0)
    for outside in (-1, MAX_SEQUENCES):
        with pytest.raises(EngineError):
            context.decode([Part(outside, [42])])


def test_an_aborted_batch_leaves_every_sequence_as_before(make: Make, fresh: Fresh) -> None:
    context = make()
    prefixes = Prefixes(context)
    shared = prompt(1, 64)
    first = prefixes.open(shared).sequence
    read_on(context, first, shared)
    second, third = fork(prefixes, first, 64), fork(prefixes, first, 30)
    read_on(context, second, [77])
    lengths = [context.length(n) for n in (first, second, third)]
    context.abort(True)
    for _ in range(3):
        with pytest.raises(Aborted):
            context.decode([Part(n, prompt(n + 5, 30), [29]) for n in (first, second, third)])
        assert [context.length(n) for n in (first, second, third)] == lengths
    context.abort(False)
    for sequence, before in ((first, shared), (second, [*shared, 77]), (third, shared[:30])):
        assert np.allclose(read_on(context, sequence, [42, 43]), fresh([*before, 42, 43]), atol=NEAR)


def test_a_full_pool_leaves_every_sequence_as_before(make: Make, fresh: Fresh) -> None:
    context = make(tokens=512)
    one, two = prompt(1, 250), prompt(2, 200)
    read_on(context, 0, one)
    read_on(context, 1, two)
    for _ in range(2):
        with pytest.raises(NoRoom):
            context.decode([Part(0, prompt(3, 40), [39]), Part(1, prompt(4, 40)), Part(2, prompt(5, 40))])
        assert [context.length(n) for n in range(3)] == [250, 200, 0]
    assert np.allclose(read_on(context, 0, [42]), fresh([*one, 42]), atol=NEAR)
    assert np.allclose(read_on(context, 1, [42]), fresh([*two, 42]), atol=NEAR)
    context.keep_first(0, 0)
    assert np.allclose(read_on(context, 2, prompt(5, 40)), fresh(prompt(5, 40)), atol=NEAR)


@pytest.mark.parametrize(
    "parts",
    [
        [Part(0, [42, 1 << 20])],
        [Part(0, [42, -1])],
        [Part(0, [42]), Part(1, [1 << 20])],
        [Part(0, [42] * 129)],
        [Part(0, [])],
        [],
        [Part(0, [42] * 128, range(128))],
        [Part(0, [42]), Part(1, [43]), Part(0, [44])],
        [Part(0, [42]), Part(1, [])],
    ],
    ids=[
        "no such token", "negative token", "in another part", "too many tokens", "no tokens", "no parts", "rows",
        "a sequence twice", "one without tokens",
    ],
)  # fmt: skip
def test_a_refused_batch_leaves_every_sequence_as_before(make: Make, fresh: Fresh, parts: list[Part]) -> None:
    context = make()
    tokens = prompt(1, 40)
    read_on(context, 0, tokens)
    with pytest.raises(EngineError):
        context.decode(parts)
    assert [context.length(0), context.length(1)] == [40, 0]
    assert np.allclose(read_on(context, 0, [42]), fresh([*tokens, 42]), atol=NEAR)


@pytest.mark.parametrize("keep", [False, True])
def test_more_prompts_than_numbers(make: Make, fresh: Fresh, keep: bool) -> None:
    context = make(tokens=8192)
    prefixes = Prefixes(context)
    count = MAX_SEQUENCES + 20
    for n in range(count):
        tokens = [10 + n % 250, 10 + n // 250, *prompt(n, 10)]
        if keep:
            read(context, prefixes, tokens, keep=True)  # its place stays when what goes on from it is given up
            read(context, prefixes, [*tokens, 20, 21])
        else:
            read(context, prefixes, tokens)
    assert prefixes.evicted >= count - MAX_SEQUENCES + LIVE
    assert prefixes.is_free
    assert known(context, prefixes, tokens) == len(tokens)
    assert np.allclose(read(context, prefixes, [*tokens, 42]), fresh([*tokens, 42]), atol=NEAR)


def test_a_few_tokens_are_not_worth_a_number(make: Make) -> None:
    context = make()
    prefixes = Prefixes(context)
    for count, held in ((WORTH_PARKING - 1, 0), (WORTH_PARKING, WORTH_PARKING)):
        read(context, prefixes, prompt(1, count))
        assert prefixes.held == held


def test_a_sequence_closed_before_all_was_read_parks_what_was(make: Make) -> None:
    context = make()
    prefixes = Prefixes(context)
    tokens = prompt(1, 100)
    opened = prefixes.open(tokens)
    read_on(context, opened.sequence, tokens[:40])
    prefixes.close(opened.sequence, tokens, (), {40: np.zeros(3, np.float32), 60: np.ones(3, np.float32)})
    assert known(context, prefixes, tokens) == 40
    assert prefixes.open(tokens[:40]).row is not None


def test_forgotten_means_all_cells_are_free(make: Make) -> None:
    context = make(tokens=512)
    prefixes = Prefixes(context)
    for n in range(3):
        read(context, prefixes, prompt(n, 150), keep=True)
    prefixes.forget()
    assert prefixes.held == 0
    assert known(context, prefixes, prompt(1, 150)) == 0
    sequence = prefixes.open(prompt(9, 512)).sequence
    read_on(context, sequence, prompt(9, 512))  # NoRoom if a cell were still held
    assert context.length(sequence) == 512
