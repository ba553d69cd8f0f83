"""What guessing from the prompt saves, and that it costs nothing where there is nothing to guess."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from agentkit.engine.llama import generate
from agentkit.engine.llama.sessions import Text
from benchmarks.engine_bench import Bench, interleaved, ratio
from benchmarks.figures import Measured

PROMPT, REPLY = 300, 96  # tokens
KINDS = {
    "copied": "a reply that copies from the prompt",
    "edited": "a reply that copies, with one token in ten changed",
    "new": "a reply of which nothing was there before",
}


def drafts(bench: Bench, repeats: int) -> list[Measured]:
    """Teacher-forced replies with and without drafts: the same tokens, time against time."""
    prompt = bench.text(PROMPT)
    passage = prompt[60 : 60 + REPLY]
    edited = [bench.rng.choice(bench.words) if n % 10 == 9 else token for n, token in enumerate(passage)]
    replies = {"copied": passage, "edited": edited, "new": bench.text(REPLY)}
    here, drafting = bench.engine.session(prompt), bench.loaded.drafting
    here.hold()

    def write(reply: Sequence[int], is_on: bool) -> Callable[[], None]:
        def run() -> None:
            drafting.is_on = is_on
            with _teaching(reply):
                here.generate(Text(max_tokens=len(reply)))

        return run

    runs = {f"{kind}-{on}": write(reply, on == "with") for kind, reply in replies.items() for on in ("with", "without")}
    for warm_up in runs.values():  # what is learnt while working is learnt by now
        warm_up()
    before = bench.engine.stats
    times = interleaved(bench, runs, repeats)
    after = bench.engine.stats
    drafting.is_on = True
    here.close()
    guessed = (after.accepted - before.accepted) / max(1, after.drafted - before.drafted)
    return [
        *(ratio(f"drafts-{kind}", f"{what}: time with drafts against without", times[f"{kind}-with"],
                times[f"{kind}-without"], target=1.0 if kind == "copied" else None)
          for kind, what in KINDS.items()),
        Measured(id="drafts-taken", what="of the tokens read ahead, those taken", value=round(guessed, 3), unit="ratio",
                 n=after.drafted - before.drafted),
    ]  # fmt: skip


@contextmanager
def _teaching(reply: Sequence[int]) -> Iterator[None]:
    """Have every choice fall on the next token of `reply`; all is computed as ever."""
    choose = generate._Generation._choose

    def taught(self: Any, logits: Any, mask: Any) -> Any:
        return choose(self, logits, mask)._replace(token=reply[len(self._ids)])

    generate._Generation._choose = taught  # type: ignore[method-assign]
    try:
        yield
    finally:
        generate._Generation._choose = choose  # type: ignore[method-assign]
