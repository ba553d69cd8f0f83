"""Other engines that write a tool call, each in a process of its own, since some schemas end it.

python benchmarks/engine_peers.py NAME MODEL THREADS CONTEXT     answers one JSON line a question, on stdin and stdout

A peer's interpreter may be another one, of an environment that has what agentkit cannot have beside it; so this file
uses nothing of agentkit. All are teacher-forced by `Teacher`: their own grammar runs, and decides, over logits in which
the recorded call's next token was raised.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("llama-cpp-python", "guidance")
LONGEST = 32  # bytes of a token that is tried where the recorded call's own is not allowed


@dataclass(frozen=True, slots=True)
class Question:
    """One call to be written under `schema`, as in `target`, after a prompt that was read and a message that was not."""

    prompt: str
    message: str
    schema: dict[str, Any]
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a peer made of it: a text, or why there is none."""

    text: str = ""
    seconds: float = 0.0  # of the message and the call
    processor_s: float = 0.0  # of the same by all threads of the process
    compile_s: float = 0.0  # of the grammar, before it
    decodes: int = 0
    refused: str = ""  # what it said
    crashed: str = ""  # how the process ended


class Teacher:
    """Raises logits so that the recorded call is what is chosen, wherever tokens that were forced have led to."""

    def __init__(self, pieces: Sequence[bytes], tokenise: Callable[[bytes], Sequence[int]], end: int) -> None:
        """Take the bytes of each token, how text is cut into tokens, and the token that ends a reply."""
        self._pieces, self._tokenise, self._end = pieces, tokenise, end
        self._tokens: dict[bytes, int] = {}
        for token, piece in enumerate(pieces):
            self._tokens.setdefault(piece, token)
        self._target, self._own = b"", dict[int, int]()
        self._raised: list[tuple[Any, int, float]] = []

    def teach(self, target: str) -> None:
        """Take the text that is to come."""
        self._target, at = target.encode(), 0
        self._own = {}
        for token in self._tokenise(self._target):
            self._own[at] = token
            at += len(self._pieces[token])

    def place(self, tokens: Iterable[int]) -> int:
        """Return how many bytes `tokens` stand for."""
        return sum(len(self._pieces[token]) for token in tokens)

    def raise_in(self, row: Any, done: int) -> None:
        """Raise in a row of logits what comes after `done` bytes; the canonical token most, then longer before shorter."""
        rest = self._target[done:]
        if not rest:
            self._set(row, self._end, 3e30)
            return
        for length in range(1, min(len(rest), LONGEST) + 1):
            token = self._tokens.get(rest[:length])
            if token is not None:
                self._set(row, token, 1e28 * length)
        own = self._own.get(done)
        if own is None:
            own = next(iter(self._tokenise(rest)), None)
        if own is not None:
            self._set(row, own, 3e30)

    def restore(self) -> None:
        """Undo what was raised last, in rows that somebody keeps."""
        while self._raised:
            row, token, value = self._raised.pop()
            row[token] = value

    def _set(self, row: Any, token: int, value: float) -> None:
        self._raised.append((row, token, float(row[token])))
        row[token] = value


class Watch:
    """Times what is done inside of it."""

    def __enter__(self) -> Watch:
        self.seconds, self.processor_s = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.processor_s = self.seconds + time.perf_counter(), self.processor_s + time.process_time()


class Peer:
    """The side of a peer that asks; starts its process when first asked, and anew after a crash."""

    def __init__(self, name: str, model: str, *, threads: int, context: int, python: str = sys.executable) -> None:
        """Take what the process is to be started with."""
        self._command = [python, str(Path(__file__).resolve()), name, model, str(threads), str(context)]
        self._process: subprocess.Popen[str] | None = None
        self.name = name

    def ask(self, question: Question) -> Answer:
        """Have it write one call.

        Raises:
            RuntimeError: its process cannot be started, which is no crash.
        """
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(
                json.dumps([question.prompt, question.message, question.schema, question.target]) + "\n"
            )
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            return Answer(crashed=_ended(process.returncode))
        return Answer(**json.loads(line))

    def close(self) -> None:
        """End its process; idempotent."""
        if self._process is not None:
            with self._process as process:  # leaving it closes the pipes, and waits
                assert process.stdin is not None
                with suppress(BrokenPipeError):
                    process.stdin.close()
            self._process = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert self._process.stdout is not None
            if not self._process.stdout.readline():  # it says that it is there
                self.close()
                raise RuntimeError(f"{self.name} cannot be started; this shows why: {shlex.join(self._command)}")
        return self._process


def has(python: str, *modules: str) -> bool:
    """Whether an interpreter can import all these modules."""
    look = f"from importlib.util import find_spec; raise SystemExit(not all(map(find_spec, {modules!r})))"
    return subprocess.run([python, "-c", look], check=False, stderr=subprocess.DEVNULL).returncode == 0


class LlamaClass:
    """llama-cpp-python's `Llama.create_completion` with a grammar, greedy, at its best settings."""

    def __init__(self, model: str, threads: int, context: int) -> None:
        self._llama = _llama(model, threads, context)
        self._teacher = _teacher(self._llama)
        self._written: list[int] = []
        self._watch()

    def answer(self, question: Question) -> Answer:
        """Write one call."""
        from llama_cpp import LlamaGrammar  # noqa: PLC0415  a peer's process only

        began = time.perf_counter()
        try:
            grammar = LlamaGrammar.from_json_schema(json.dumps(question.schema), verbose=False)
        except Exception as error:  # noqa: BLE001  counted
            return Answer(refused=f"{type(error).__name__}: {error}")
        compiled = time.perf_counter() - began
        asked = (question.prompt + question.message).encode()
        self._teacher.teach(question.target)
        self._written.clear()
        room = 2 * len(question.target) + 16
        with Watch() as watch:
            prompt = self._llama.tokenize(asked, add_bos=False)
            made = self._llama.create_completion(prompt, grammar=grammar, temperature=0.0, max_tokens=room)
        text = made["choices"][0]["text"]
        return Answer(
            text=text, seconds=watch.seconds, processor_s=watch.processor_s, compile_s=compiled,
            decodes=len(self._written),
        )  # fmt: skip

    def _watch(self) -> None:
        """Raise the wanted token in llama.cpp's own logits, which costs nothing, before the sampler chain reads them."""
        import numpy as np  # noqa: PLC0415
        from llama_cpp import _internals, llama_cpp  # noqa: PLC0415

        sample, written, size = _internals.LlamaSampler.sample, self._written, self._llama.n_vocab()

        def taught(sampler: Any, context: Any, index: int = -1) -> int:
            pointer = llama_cpp.llama_get_logits_ith(context.ctx, index)
            self._teacher.raise_in(np.ctypeslib.as_array(pointer, shape=(size,)), self._teacher.place(written))
            token = int(sample(sampler, context, index))
            self._teacher.restore()
            written.append(token)
            return token

        _internals.LlamaSampler.sample = taught


class Guidance:
    """guidance's `LlamaCpp` with `guidance.json`, greedy, forced tokens on, without what it does for notebooks."""

    def __init__(self, model: str, threads: int, context: int) -> None:
        self._guidance = importlib.import_module("guidance")
        self._start = self._guidance.models.LlamaCpp(
            model, echo=False, enable_monitoring=False, n_ctx=context, n_batch=512, n_threads=threads,
            n_threads_batch=threads, flash_attn=True,
        )  # fmt: skip
        engine = self._start._interpreter.engine
        self._teacher = _teacher(engine.model_obj)
        self._decodes, self._before = 0, 0
        self._watch(engine)

    def answer(self, question: Question) -> Answer:
        """Write one call."""
        try:
            began = time.perf_counter()
            node = self._guidance.json(schema=question.schema, temperature=0.0)  # compiled within each call
            compiled = time.perf_counter() - began
            self._teacher.teach(question.target)
            here = self._start + question.prompt  # this reads it
            self._before, self._decodes = len((question.prompt + question.message).encode()), 0
            asked = question.message + node if question.message else node  # at once: a step less than one by one
            with Watch() as watch:
                text = str(here + asked)[len(str(here)) + len(question.message) :]
        except Exception as error:  # noqa: BLE001  counted
            return Answer(refused=f"{type(error).__name__}: {str(error)[:200]}")
        return Answer(
            text=text, seconds=watch.seconds, processor_s=watch.processor_s, compile_s=compiled, decodes=self._decodes
        )

    def _watch(self, engine: Any) -> None:
        get_logits = engine.get_logits

        def taught(token_ids: list[int], *given: Any, **named: Any) -> Any:
            self._teacher.restore()  # guidance keeps the last row
            found = get_logits(token_ids, *given, **named)
            self._decodes += 1
            done = self._teacher.place(token_ids) - self._before
            if done >= 0:
                self._teacher.raise_in(found["logits"][-1], done)
            return found

        engine.get_logits = taught


def _llama(model: str, threads: int, context: int) -> Any:
    from llama_cpp import Llama  # noqa: PLC0415

    return Llama(
        model, n_ctx=context, n_batch=512, n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False
    )


def _teacher(llama: Any) -> Teacher:
    """Return the teacher over a model's vocabulary; a control token stands for no bytes."""
    from llama_cpp import llama_cpp  # noqa: PLC0415

    vocab, buffer = llama._model.vocab, ctypes.create_string_buffer(512)
    pieces = []
    for token in range(llama.n_vocab()):
        size = llama_cpp.llama_token_to_piece(vocab, token, buffer, 512, 0, False)
        pieces.append(buffer.raw[: max(0, size)])
    return Teacher(pieces, lambda text: llama.tokenize(text, add_bos=False), llama.token_eos())


def _ended(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


@contextmanager
def _only_answers() -> Iterator[Any]:
    """Yield the stdout to answer on; what libraries print goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        yield out


def main() -> None:
    """Answer until stdin ends."""
    name, model, threads, context = sys.argv[1:5]
    made = {"llama-cpp-python": LlamaClass, "guidance": Guidance}
    with _only_answers() as out:
        peer: Any = made[name](model, int(threads), int(context))
        out.write("ready\n")
        out.flush()
        for line in sys.stdin:
            answer: Answer = peer.answer(Question(*json.loads(line)))
            out.write(json.dumps({key: getattr(answer, key) for key in Answer.__dataclass_fields__}) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
