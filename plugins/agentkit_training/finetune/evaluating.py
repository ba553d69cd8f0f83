"""The action `evaluate`: what a model makes of held-out rows, beside a reference where one is given.

Of texts: perplexity, exp of the mean negative log-likelihood of the completions' tokens. Of pairs besides: how often the chosen
answer is preferred, ties half, and by what margin: the difference of the implicit rewards, beta (log pi - log pi_ref), with a
reference; of the summed log-probabilities without. With a reference also KL(model || reference) a token, in nats, exact over
the vocabulary, on the same tokens. Sums are kept row by row, so that an evaluation goes on where it was interrupted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from agentkit.errors import InvalidParams
from agentkit.jobs import Job, JobContext, JobPlan, write_atomic
from agentkit.jobs.params import Checked

__all__ = ["EVALUATE", "EvaluateParams", "Tally"]

CHECKPOINT = "tally.json"
Z = 1.96  # of a 95 % interval


class EvaluateParams(Checked):
    """What an evaluation takes."""

    model: str = Field("sprout", min_length=1, description="sprout, a folder (an adapter's too), or a Hugging Face id")
    data: Path = Field(description="rows of pairs or texts: .jsonl or .parquet")
    reference: str | None = Field(None, description="a model to compare with, for margins and KL")
    beta: float = Field(0.1, gt=0, description="of the implicit reward")
    max_length: int | None = Field(None, ge=8, description="tokens a row may have")
    skip_bad_rows: bool = Field(False, description="leave out rows that cannot be used")
    threads: int | None = Field(None, ge=1)
    seed: int = 0


@dataclass(slots=True)
class Tally:
    """What was added up so far."""

    rows: int = 0
    tokens: int = 0
    nll: float = 0.0
    kl: float = 0.0
    pairs: int = 0
    right: float = 0.0  # ties half
    margin: float = 0.0
    margin_squared: float = 0.0

    def metrics(self, *, referred: bool) -> dict[str, Any]:
        """Return the figures; those that were not measured are absent."""
        tokens, pairs = max(1, self.tokens), max(1, self.pairs)
        found: dict[str, Any] = {
            "rows": self.rows,
            "tokens": self.tokens,
            "perplexity": math.exp(min(700.0, self.nll / tokens)),
        }
        if referred:
            found["kl"] = max(0.0, self.kl / tokens)
        if self.pairs:
            mean = self.margin / pairs
            spread = math.sqrt(max(0.0, self.margin_squared / pairs - mean**2) / pairs)
            found |= {"accuracy": self.right / pairs, "accuracy_interval": wilson(self.right, self.pairs)}
            found |= {"margin": mean, "margin_stderr": spread}
        return found


def wilson(right: float, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    share, z2 = right / of, Z**2
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2)) / (1 + z2 / of)
    return max(0.0, centre - half), min(1.0, centre + half)


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what an evaluation would do and cost.

    Raises:
        InvalidParams: a parameter, a file or a row cannot be used.
        MissingDependency, OfflineModelUnavailable: the extra, or a model, is not here.
    """
    from agentkit_training import plugin  # noqa: PLC0415

    plugin.require()
    from agentkit_training.finetune.bases import find_base, load_tokenizer  # noqa: PLC0415  heavy
    from agentkit_training.finetune.costs import Shape, costs  # noqa: PLC0415

    checked = EvaluateParams.parse(params)
    base = find_base(checked.model, weights=False)
    data = _data(checked, base, load_tokenizer(base))
    models = 1 if checked.reference is None else 2
    length = max(1, round(sum(data.lengths) / len(data.lengths)))
    found = costs(
        base, Shape(steps=0, sequences=1, length=length, forwards=models * len(data.train), lora_rank=1, checkpoints=0)
    )
    other = None if checked.reference is None else find_base(checked.reference, weights=False).sha256
    config = {
        "model": base.sha256,
        "reference": other,
        "data": data.sha256,
        "beta": checked.beta,
        "max_length": data.max_length,
    }
    return JobPlan(
        config=config,
        flops=found.flops,
        seconds=found.seconds,
        memory_bytes=found.memory_bytes * models,
        backend="transformers",
        why=f"{checked.model} ({base.provenance}) on {len(data.train)} rows",
    )


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Evaluate row by row until all are read or the job is to stop; return the figures so far."""
    import torch  # noqa: PLC0415  heavy

    from agentkit_training.finetune.bases import find_base, load_model, load_tokenizer  # noqa: PLC0415

    checked = EvaluateParams.parse(params)
    if checked.threads:
        torch.set_num_threads(checked.threads)
    base = find_base(checked.model)
    tokenizer = load_tokenizer(base)
    model = load_model(base).eval()
    reference = None if checked.reference is None else load_model(find_base(checked.reference)).eval()
    if reference is not None and reference.config.vocab_size != model.config.vocab_size:
        raise InvalidParams(f"/reference: {checked.reference} has another vocabulary; give a model of the same family")
    data = _data(checked, base, tokenizer)
    kept = context.checkpoint_dir / CHECKPOINT
    tally = Tally(**json.loads(kept.read_text())) if kept.exists() else Tally()
    for text in data.warnings:
        context.warn(text)
    for row in data.train[tally.rows :]:
        _add(tally, row, tokenizer, model, reference, checked.beta)
        write_atomic(kept, json.dumps(asdict(tally)))
        figures = tally.metrics(referred=reference is not None)
        context.step(
            tally.rows, len(data.train), {k: v for k, v in figures.items() if k in ("perplexity", "accuracy", "kl")}
        )
        if context.should_stop():
            break
    return tally.metrics(referred=reference is not None)


def _data(params: EvaluateParams, base: Any, tokenizer: Any) -> Any:
    """Return all rows; pairs where the file has them."""
    from agentkit_training.finetune.data import read_data  # noqa: PLC0415
    from agentkit_training.finetune.params import SftParams  # noqa: PLC0415
    from agentkit_training.finetune.rows import sort_of  # noqa: PLC0415

    told = {"data": params.data, "out": Path(), "held_out": 0, "max_length": params.max_length}
    asked = SftParams.parse({**told, "skip_bad_rows": params.skip_bad_rows})
    return read_data(asked, sort_of(params.data), base, tokenizer)


def _add(tally: Tally, row: Mapping[str, Any], tokenizer: Any, model: Any, reference: Any, beta: float) -> None:
    from agentkit_training.finetune.data import prompt_length, tokens_of  # noqa: PLC0415

    sums, first = [], prompt_length(row, tokenizer)
    for tokens in tokens_of(row, tokenizer):
        ours, theirs, divergence = _log_probs(model, reference, tokens, first)
        sums.append((ours.sum(), theirs.sum() if theirs is not None else 0.0))
        if len(sums) == 1:  # the text, or the chosen answer
            tally.tokens, tally.nll, tally.kl = (
                tally.tokens + len(ours),
                tally.nll - float(ours.sum()),
                tally.kl + divergence,
            )
    if len(sums) == 2:
        scale = 1.0 if reference is None else beta
        margin = scale * float((sums[0][0] - sums[0][1]) - (sums[1][0] - sums[1][1]))
        tally.pairs += 1
        tally.right += 0.5 if margin == 0 else float(margin > 0)
        tally.margin, tally.margin_squared = tally.margin + margin, tally.margin_squared + margin**2
    tally.rows += 1


def _log_probs(model: Any, reference: Any, tokens: list[int], first: int) -> tuple[Any, Any, float]:
    """Return the log-probability of each token from `first` on under both models, and the sum of KL(model || reference)."""
    import torch  # noqa: PLC0415

    ids = torch.tensor([tokens], device=model.device)
    wanted = ids[0, first:, None]
    with torch.no_grad():
        ours = torch.log_softmax(model(input_ids=ids).logits[0, first - 1 : -1].double(), -1)
        if reference is None:
            return ours.gather(1, wanted)[:, 0], None, 0.0
        theirs = torch.log_softmax(reference(input_ids=ids).logits[0, first - 1 : -1].double(), -1)
    return ours.gather(1, wanted)[:, 0], theirs.gather(1, wanted)[:, 0], float((ours.exp() * (ours - theirs)).sum())


EVALUATE = Job(name="evaluate", home="agentkit_training.finetune.evaluating:EVALUATE", plan=plan, run=run)
