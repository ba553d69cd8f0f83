"""`LlamaEngine`: a GGUF as an `Engine`. Thread-safe: the work of all callers is done side by side, batch by batch.

Guarantees: steps are decoded under their grammar (`enforced`); a model is loaded once a process for the same
file and parameters, however many engines are opened on it, and freed with the last of them. Pictures and sounds
are taken where there is something to see or hear them with (see `sight`), else refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from agentkit.engine.llama.generate import branch, generate
from agentkit.engine.llama.jobs import Job, aresults, results
from agentkit.engine.llama.loaded import Key, Loaded, join, leave
from agentkit.engine.llama.schedule import Plan
from agentkit.engine.llama.scoring import Scoring, score
from agentkit.engine.llama.sessions import Session
from agentkit.engine.llama.sight import Sight
from agentkit.engine.llama.work import Work
from agentkit.errors import EngineError
from agentkit.extensions import Offers
from agentkit.protocols import CancelFlag, Capabilities, Delta, Eye, Reply, Request, Score
from agentkit.types import Step

__all__ = ["EngineStats", "LlamaEngine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """What the model did since it was loaded, for all who share it."""

    decodes: int  # batches
    tokens: int  # read in them
    rows: int  # of logits computed
    aborts: int  # batches ended by a cancel or a deadline
    held: int  # tokens kept for prompts to come, shared ones counted once
    evicted: int  # times that some were given up
    spilled: int  # of these, kept outside the context
    restored: int  # of these, brought back
    drafted: int  # tokens guessed and read ahead
    accepted: int  # of these, taken


class LlamaEngine:
    """An engine over llama.cpp, in this process."""

    def __init__(
        self,
        path: Path | str,
        *,
        context: int | None = None,
        threads: int | None = None,
        gpu_layers: str = "auto",
        dialect: str | None = None,
        live: int = 16,
        cache_mb: int = 256,
        cache_dir: Path | str | None = None,
        adapters: Mapping[str, Path | str] | None = None,
        exact: bool = False,
        mmproj: Path | str | None = None,
        eye: Eye | None = None,
        offers: Offers | None = None,
    ) -> None:
        """Load the model, or join those who have it loaded.

        Args:
            path: a GGUF file.
            context: tokens, shared by all that is held; None: what the model was trained for, at most 8192.
            threads: None: the physical cores; one for models so small that threads would wait for each other.
            gpu_layers: "auto", "none" or "all".
            dialect: None: read from the file.
            live: how many sequences are decoded side by side, 1 to 128.
            cache_mb: RAM for what no longer fits into the context, in MiB; 0: it is read again.
            cache_dir: a folder for what no longer fits there either, at most eight times as much; None: nowhere.
            adapters: LoRA files by the names that requests use.
            exact: log-probabilities depend on nothing else that is read, to 1e-4 for float weights; it takes twice the memory.
            mmproj: the file with the model's eyes and ears; None: the one beside `path`, if there is exactly one.
            eye: sees instead of it.
            offers: asked for an eye, where there is neither, and to decode pictures for the mmproj; None: llama.cpp
                decodes them, which knows no WebP and not which side of a photo is up.

        Raises:
            ModelNotFound, ModelFileError, ModelError: it cannot be had, read or loaded.
        """
        key = Key.of(
            path, cache_dir, context=context, threads=threads, gpu_layers=gpu_layers, dialect=dialect, live=live,
            cache_mb=cache_mb, exact=exact,
        )  # fmt: skip
        self._shared: Loaded | None = join(key)
        try:
            for name, file in (adapters or {}).items():
                self.load_adapter(name, file)
            self._sight = Sight(self._shared, eye=eye, mmproj=mmproj, offers=offers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LlamaEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        loaded = self._loaded()
        sight = self._sight
        return replace(loaded.capabilities, adapters=loaded.adapters.names, images=sight.images, audio=sight.audio)

    @property
    def stats(self) -> EngineStats:
        """What the model did since it was loaded."""
        loaded = self._loaded()
        prefixes, drafting = loaded.prefixes, loaded.drafting
        return EngineStats(
            **asdict(loaded.scheduler.counts), held=prefixes.held, evicted=prefixes.evicted,
            spilled=prefixes.spilled, restored=prefixes.restored, drafted=drafting.drafted, accepted=drafting.accepted,
        )  # fmt: skip

    def stream(self, request: Request) -> Iterator[Delta]:
        """Yield deltas as they come, then exactly one `Reply`. To stop early, close the iterator."""
        loaded, job = self._loaded(), Job(request.deadline, request.cancel)
        with loaded.in_use():
            plan = generate(self._work(loaded, request, job))
        yield from results(loaded.scheduler, job, plan)

    async def astream(self, request: Request) -> AsyncIterator[Delta]:
        """Do as `stream` does, for `async for`; cancelling the task stops the model."""
        loaded, job = self._loaded(), Job(request.deadline, request.cancel)
        with loaded.in_use():
            plan = generate(self._work(loaded, request, job))
        async for delta in aresults(loaded.scheduler, job, plan):
            yield delta

    def branch(self, request: Request, n: int) -> list[Reply]:
        """Return up to `n` distinct steps, most probable first; other kinds and tools before other words."""
        loaded = self._loaded()
        with loaded.in_use():
            plan = branch(self._work(loaded, request, None), n)
        return cast("list[Reply]", self._run(request, plan))

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        """Return each candidate step's log-probability after the request's messages.

        The model's own probabilities: neither the grammar nor the prior touches them.
        """
        loaded = self._loaded()
        with loaded.in_use():
            prompt = loaded.dialect.prompt(request, self._sight.look)
            loaded.check_prompt(prompt)
            asked = Scoring(
                prompt=prompt,
                candidates=[loaded.dialect.step(step, request) for step in candidates],
                context=loaded.context,
                prefixes=loaded.prefixes,
                adapters=loaded.adapters.of(request.adapter),
            )
        return cast("list[Score]", self._run(request, score(asked)))

    def count(self, request: Request) -> int:
        """Return the exact number of prompt tokens, tools and template included."""
        loaded = self._loaded()
        with loaded.in_use():
            return len(loaded.dialect.prompt(request, self._sight.look))

    def embed(
        self, texts: Sequence[str], *, deadline: float | None = None, cancel: CancelFlag | None = None
    ) -> list[list[float]]:
        """Return one vector a text, each of length 1: the mean of the model's last states."""
        loaded = self._loaded()
        with loaded.in_use():
            return loaded.embedder.embed(texts, deadline=deadline, cancel=cancel)

    def session(self, prompt: str | Sequence[int] | Request, *, adapter: str | None = None) -> Session:
        """Return a handle at the end of a text, of tokens, or of a request's prompt; nothing is read yet.

        Raises:
            CannotEnforce: no adapter of that name is loaded.
        """
        loaded = self._loaded()
        with loaded.in_use():
            if isinstance(prompt, Request):
                return Session(loaded, loaded.dialect.prompt(prompt, self._sight.look), adapter or prompt.adapter)
            start = [loaded.model.bos_id] if loaded.model.adds_bos and isinstance(prompt, str) else []
            session = Session(loaded, start, adapter)
            session.append(prompt)
            return session

    def load_adapter(self, name: str, path: Path | str, *, scale: float = 1.0) -> None:
        """Load a LoRA adapter, which requests then ask for by `name`; the model is not loaded again.

        Raises:
            ModelNotFound, ModelFileError: it cannot be had, or was made for another model.
        """
        loaded = self._loaded()
        with loaded.in_use():
            loaded.adapters.load(name, Path(path), scale)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; idempotent."""
        self._loaded().adapters.unload(name)

    def close(self) -> None:
        """Leave the model; the last one frees it. Idempotent."""
        if self._shared is not None:
            leave(self._shared)
            self._shared = None

    def _work(self, loaded: Loaded, request: Request, job: Job | None) -> Work:
        """Return `request` ready for the thread; renders and tokenises on the caller's."""
        dialect = loaded.dialect
        adapters = loaded.adapters.of(request.adapter)
        prompt = dialect.prompt(request, self._sight.look)
        loaded.check_prompt(prompt)
        lark, schemas = dialect.grammar(request), dialect.schemas(request)
        loaded.grammars.constraint(lark, schemas)  # what cannot be held is refused here, where the caller is
        return Work(
            prompt=prompt,
            context=loaded.context,
            prefixes=loaded.prefixes,
            guide=lambda: loaded.grammars.constraint(lark, schemas),
            drafting=loaded.drafting,
            reader=lambda: dialect.reader(request),
            ends=loaded.ends,
            end_id=dialect.end_id,
            adapters=adapters,
            sampling=request.sampling,
            max_tokens=request.max_tokens,
            logprobs=request.logprobs,
            tool_prior=request.tool_prior,
            choices=dialect.choices,
            has_output=request.output is not None,
            only_tool=request.tools[0].name if len(request.tools) == 1 else "",
            grounds=lambda: dialect.grounds(request),
            emit=_nowhere if job is None else lambda delta: job.put(delta),
        )

    def _run(self, request: Request, plan: Plan) -> Any:
        (found,) = results(self._loaded().scheduler, Job(request.deadline, request.cancel), plan)
        return found

    def _loaded(self) -> Loaded:
        if self._shared is None:
            raise EngineError("the engine is closed; open it again")
        return self._shared


def _nowhere(_: Delta) -> None:
    """Drop a delta."""
