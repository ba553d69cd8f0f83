"""The one thread that owns a loaded model's context: it runs everybody's work side by side, batch by batch.

Work is a generator that yields what it needs (`Open` a sequence, `Read` tokens into it, `Spawn` more work) and gets it
sent back; in each round the scheduler packs the reads of all of them into one batch (continuous batching, as in Orca,
Yu et al., OSDI 2022): single tokens first, then chunks of prompts.

Guarantees: the context is touched by this thread only; a caller that is cancelled, out of time or gone never holds up
another for longer than a batch; work that waits for a sequence holds none, so nobody waits for ever.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from agentkit.engine.llama.adapters import AdapterSet
from agentkit.engine.llama.context import Aborted, Context, Logits, NoRoom, Part
from agentkit.engine.llama.drafts import Pace
from agentkit.engine.llama.jobs import End, Failure, Job
from agentkit.engine.llama.prefixes import Opened, Prefixes
from agentkit.engine.llama.rows import Span, kinds
from agentkit.errors import Cancelled, ContextFull, EngineError

__all__ = ["Counts", "Open", "Opened", "Plan", "Read", "Scheduler", "Spawn"]

Plan = Generator["Open | Read | Spawn", Any, Any]
_Turn = tuple[AdapterSet, Span | bool]
SMALL = 32  # tokens: such a read goes before any chunk of a prompt
CHUNK_BESIDE = 64  # tokens of prompts in a batch in which others decode, so that they do not wait long


@dataclass(frozen=True, slots=True)
class Open:
    """Asks for a sequence that holds as much of `tokens` as is known; answered by `Opened`. Ask it holding none."""

    tokens: Sequence[int]
    adapters: AdapterSet = ()


def _as_it_is(_: int, row: Logits) -> Logits:
    return row


class Read(NamedTuple):
    """Asks to read `tokens`; answered by what `use` makes of each row wanted: (index of the token, its logits).

    The logits are a view, good for the call of `use` alone, or until the next yield where they are handed through.
    """

    sequence: int
    tokens: Sequence[int]
    rows: Sequence[int] = ()
    use: Callable[[int, Logits], Any] = _as_it_is


@dataclass(frozen=True, slots=True)
class Spawn:
    """Asks for work to be done side by side; answered by the list of what each returned. Ask it holding nothing."""

    plans: Sequence[Plan]


class _Strand:
    """One generator with what it waits for."""

    __slots__ = ("done", "found", "job", "left", "number", "parent", "place", "results", "run", "runs", "wish")

    def __init__(self, run: Plan, job: Job, number: int, parent: _Strand | None = None, place: int = 0) -> None:
        self.run, self.job, self.number, self.parent, self.place = run, job, number, parent, place
        self.wish: Open | Read | Spawn | None = None
        self.done = 0  # tokens of the read so far
        self.runs: list[tuple[int, Span | bool]] = []  # of the read, as `kinds` gives them
        self.found: list[Any] = []
        self.left, self.results = 0, list[Any]()  # of what was spawned


@dataclass(slots=True)
class Counts:
    """What the context did since it was loaded."""

    decodes: int = 0
    tokens: int = 0
    rows: int = 0
    aborts: int = 0


class Scheduler:
    """Runs plans; one thread, from construction to `close`."""

    def __init__(self, name: str, context: Context, prefixes: Prefixes, handles: Mapping[str, Any], pace: Pace) -> None:
        """Start the thread."""
        self._context, self._prefixes, self._handles, self._pace = context, prefixes, handles, pace
        self.counts = Counts()
        self._lock, self._new = threading.Lock(), queue.SimpleQueue[tuple[Job, Plan] | None]()
        self._running: set[Job] = set()
        self._closed = False
        self._strands: list[_Strand] = []
        self._adapters: dict[int, AdapterSet] = {}  # of each live sequence
        self._turn: _Turn = ((), False)  # the last batch's; then it is the turn of others
        self._number = 0
        self._thread = threading.Thread(target=self._work, name=f"agentkit-{name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job, plan: Plan) -> None:
        """Have `plan` run; what it gives goes to `job`, then an `End` or a `Failure`.

        Raises:
            EngineError: the engine has been closed.
        """
        with self._lock:
            if self._closed:
                raise EngineError("the engine is closed; open it again")
            self._new.put((job, plan))

    def abandon(self, job: Job) -> None:
        """Nobody waits for `job` any more: stop it."""
        with self._lock:
            job.is_abandoned = True
            if job in self._running:
                self._context.abort(True)

    def stop_running(self, job: Job) -> bool:
        """End the batch that `job` may be in, so that it is looked at; whether it runs at all."""
        with self._lock:
            if job not in self._running:
                return False
            self._context.abort(True)
            return True

    def close(self) -> None:
        """Stop what runs, refuse what waits, and end the thread; idempotent."""
        with self._lock:
            self._closed = True
            for job in self._running:
                job.is_abandoned = True
            self._context.abort(True)
        self._new.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while self._admit():
            try:
                self._round()
            except Exception as error:  # noqa: BLE001  nobody may be left waiting for a thread that is gone
                for job in {strand.job for strand in self._strands}:
                    self._end(job, Failure(error))
        for job in {strand.job for strand in self._strands}:
            self._end(job, Failure(Cancelled("the engine was closed; open it again")))

    def _round(self) -> None:
        for job in {strand.job for strand in self._strands}:
            if error := job.stop_error():
                self._end(job, Failure(error))
        self._open_sequences()
        parts = self._batch()
        if parts:
            self._read(parts)

    def _admit(self) -> bool:
        """Take in new work, waiting for some if there is none; whether to go on."""
        while not self._closed:
            if self._strands and self._new.empty():
                return True
            item = self._new.get()  # nobody else takes from it
            if item is None:
                break
            job, plan = item
            with self._lock:
                if skip := job.is_abandoned or self._closed:
                    job.put(Failure(Cancelled("the engine was closed before its turn came; open it again")))
                else:
                    self._running.add(job)
            if not skip:
                self._start(plan, job)
        while not self._new.empty():
            if (late := self._new.get()) is not None:
                late[0].put(Failure(Cancelled("the engine was closed before its turn came; open it again")))
        return False

    def _start(self, plan: Plan, job: Job, parent: _Strand | None = None, place: int = 0) -> None:
        self._number += 1
        strand = _Strand(plan, job, self._number, parent, place)
        self._strands.append(strand)
        self._advance(strand, None)

    def _advance(self, strand: _Strand, answer: Any) -> None:
        """Send a strand what it waited for, and note what it wants next."""
        try:
            strand.wish, strand.done, strand.found = strand.run.send(answer), 0, []
        except StopIteration as stopped:
            self._strands.remove(strand)
            self._finished(strand, stopped.value)
            return
        except BaseException as error:  # noqa: BLE001  handed to the caller, who raises it
            self._end(strand.job, Failure(error))
            return
        match strand.wish:
            case Spawn(plans=plans):
                strand.left, strand.results = len(plans), [None] * len(plans)
                for place, plan in enumerate(plans):
                    if strand.job in self._running:
                        self._start(plan, strand.job, strand, place)
                if not plans:
                    self._advance(strand, [])
            case Read(tokens=tokens) if not tokens:
                self._advance(strand, [])
            case Read(tokens=tokens):
                strand.runs = kinds(tokens, self._context.vocabulary)

    def _finished(self, strand: _Strand, value: Any) -> None:
        parent = strand.parent
        if parent is None:
            strand.job.put(value)
            self._end(strand.job, End())
            return
        parent.results[strand.place] = value
        parent.left -= 1
        if not parent.left:
            self._advance(parent, parent.results)

    def _end(self, job: Job, how: Failure | End) -> None:
        """Close all strands of a job, the youngest first, and tell its caller."""
        mine = [strand for strand in self._strands if strand.job is job]
        for strand in sorted(mine, key=lambda strand: -strand.number):
            self._strands.remove(strand)
            with suppress(ValueError):  # this strand is the one being advanced
                strand.run.close()
        with self._lock:
            known = job in self._running
            self._running.discard(job)
        if known:
            job.put(how)

    def _open_sequences(self) -> None:
        for strand in list(self._strands):
            wish = strand.wish
            if isinstance(wish, Open) and self._prefixes.is_free and strand in self._strands:
                opened = self._prefixes.open(wish.tokens, wish.adapters)
                self._adapters[opened.sequence] = wish.adapters
                self._advance(strand, opened)

    def _batch(self) -> list[tuple[_Strand, Part]]:
        """Return who reads what next: all of one kind and under the same adapters, within the limits of a batch."""
        turns = {strand: self._turn_of(strand) for strand in self._strands if isinstance(strand.wish, Read)}
        if not turns:
            return []
        keys = list(dict.fromkeys(turns.values()))
        self._turn = key = keys[(keys.index(self._turn) + 1) % len(keys)] if self._turn in keys else keys[0]
        reading = [strand for strand, turn in turns.items() if turn == key]
        if isinstance(key[1], Span):
            return [(reading[0], _whole_part(reading[0]))]
        small = [strand for strand in reading if _left(strand) <= SMALL]
        is_waited_for = bool(small) or (key[1] is True and any(_left(strand) <= SMALL for strand in turns))
        room, rows = self._context.batch_tokens, self._context.max_rows
        parts: list[tuple[_Strand, Part]] = []
        for strand in (*small, *(strand for strand in reading if strand not in small)):
            if strand not in small and is_waited_for:
                room = min(room, CHUNK_BESIDE)
            part = _part(strand, room, rows)
            if part is not None:
                room, rows = room - len(part.tokens), rows - len(part.rows)
                parts.append((strand, part))
        return parts

    def _turn_of(self, strand: _Strand) -> _Turn:
        """Return what a batch must be for this strand's next tokens: whose adapters, and of which kind."""
        assert isinstance(strand.wish, Read)
        return self._adapters[strand.wish.sequence], _run(strand)[1]

    def _read(self, parts: list[tuple[_Strand, Part]]) -> None:
        self._context.abort(False)
        if any(strand.job.stop_error() for strand, _ in parts) or self._closed:
            return  # between the last look and the cleared flag
        key, kind = self._turn_of(parts[0][0])
        began = time.perf_counter()
        try:
            self._context.use_adapters(tuple((self._handles[one.id], one.scale) for one in key))
            if isinstance(kind, Span):
                self._context.decode_whole(parts[0][1], kind)
                found: list[list[Logits]] = [[]]
            else:
                found = self._context.decode([part for _, part in parts])
        except Aborted:
            self.counts.aborts += 1
            return
        except NoRoom:
            self._make_room(parts)
            return
        except Exception as error:  # noqa: BLE001  handed to the callers: this thread must go on for the others
            for job in {strand.job for strand, _ in parts}:
                self._end(job, Failure(error))
            return
        seconds = time.perf_counter() - began
        ready, tokens, rows_read = [], 0, 0
        for (strand, part), rows in zip(parts, found, strict=True):
            tokens, rows_read = tokens + len(part.tokens), rows_read + len(rows)
            read = strand.wish
            if strand not in self._strands:  # another strand of its job has just failed
                continue
            assert isinstance(read, Read)
            try:
                strand.found += [read.use(strand.done + n, row) for n, row in zip(part.rows, rows, strict=True)]
            except Exception as error:  # noqa: BLE001  the caller raises it
                self._end(strand.job, Failure(error))
                continue
            strand.done += len(part.tokens)
            if strand.done == len(read.tokens):
                ready.append(strand)
        self._count(tokens, rows_read, seconds)
        for strand in ready:
            if strand in self._strands:
                self._advance(strand, strand.found)

    def _count(self, tokens: int, rows: int, seconds: float) -> None:
        self._pace.note(tokens, rows, seconds)
        self.counts.decodes += 1
        self.counts.tokens += tokens
        self.counts.rows += rows

    def _make_room(self, parts: list[tuple[_Strand, Part]]) -> None:
        """Give up what is parked; if nothing is, the youngest job goes."""
        if self._prefixes.make_room(sum(len(part.tokens) for _, part in parts)):
            return
        youngest = max(
            (strand for strand in self._strands if not isinstance(strand.wish, Open)), key=lambda s: s.number
        )
        size = self._context.size
        full = ContextFull(
            f"all {size} tokens of the context are in use, and more are needed; shorten the conversation, "
            "ask for less at a time, or set engine.context higher"
        )
        self._end(youngest.job, Failure(full))


def _left(strand: _Strand) -> int:
    assert isinstance(strand.wish, Read)
    return len(strand.wish.tokens) - strand.done


def _run(strand: _Strand) -> tuple[int, Span | bool]:
    """Return where the run that a strand is in ends, and what it is."""
    return next(run for run in strand.runs if strand.done < run[0])


def _whole_part(strand: _Strand) -> Part:
    """Return the part that is one whole span, as far as the read has it."""
    read = strand.wish
    assert isinstance(read, Read)
    return Part(read.sequence, read.tokens[strand.done : _run(strand)[0]])


def _part(strand: _Strand, room: int, rows: int) -> Part | None:
    """Return as much of a strand's read as fits."""
    read = strand.wish
    assert isinstance(read, Read)
    end = min(_run(strand)[0], strand.done + room)
    wanted = [row for row in read.rows if strand.done <= row < end]
    if len(wanted) > rows:
        end, wanted = wanted[rows], wanted[:rows]
    if end <= strand.done:
        return None
    return Part(read.sequence, read.tokens[strand.done : end], [row - strand.done for row in wanted])
