"""The report of a data set of texts."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import InvalidParams
from agentkit.jobs import JobContext
from agentkit_synthesis.quality.balance import balance
from agentkit_synthesis.quality.diversity import diversity, lengths
from agentkit_synthesis.quality.duplicates import PERMUTATIONS, SHINGLE, Near, exact_duplicates, near_duplicates
from agentkit_synthesis.quality.folders import Dataset
from agentkit_synthesis.quality.leakage import LENGTHS, Leaks, overlap
from agentkit_synthesis.quality.numbers import FEWEST, figure, sampled, too_few
from agentkit_synthesis.quality.params import ReportParams
from agentkit_synthesis.quality.rows import read_rows, texts_of
from agentkit_synthesis.quality.survey import Sampled, Survey, survey
from agentkit_synthesis.quality.ticking import Ticker
from agentkit_synthesis.quality.verifying import calls_others, check_of, verified

__all__ = ["report_texts"]

CHUNK = 1_000  # rows of train that pass by at once
SHOWN = 12  # sample rows
CUT = 4_000  # characters of a sample row that are shown


def report_texts(data: Dataset, params: ReportParams, context: JobContext) -> dict[str, Any]:
    """Return all figures of a data set of texts, as plain data.

    Raises:
        InvalidParams: there is no row, or a line cannot be read.
        Cancelled: the job is to stop.
    """
    size = sum(path.stat().st_size for path in data.files.values())
    found = survey(data, sample=params.near_rows, seed=params.seed, tick=Ticker(context, "read", 0, 40, size // 1_000))
    if not found.rows.total():
        raise InvalidParams(f"/data: {data.home} has no rows; make some first")
    duplicates, near = _duplicates(found, params, Ticker(context, "near-duplicates", 40, 60, 1))
    leaks = _leakage(data, found, params, Ticker(context, "leakage", 60, 75, found.rows["train"]))
    checked = _verified(data, found, params, Ticker(context, "verify", 75, 95, params.verify_rows))
    texts = [one.texts.whole for one in found.sample]
    return {
        "kind": "texts",
        "rows": dict(found.rows),
        "empty": found.empty,
        "looked_at": len(found.sample),
        "verified": checked,
        "duplicates": duplicates,
        "leakage": leaks,
        "diversity": {
            "whole": diversity(texts, seed=params.seed),
            "prompts": diversity([one.texts.prompt for one in found.sample], seed=params.seed),
            "prompt_tokens": lengths(found.prompt_lengths),
            "answer_tokens": lengths(found.answer_lengths),
        },
        "balance": {name: balance(dict(sorted(counts.items()))) for name, counts in _labels(found).items()},
        "classes": _classes(found, near, params.seed),
        "samples": _samples(found, params.seed),
    }


def _duplicates(found: Survey, params: ReportParams, tick: Ticker) -> tuple[dict[str, Any], Near]:
    rows = found.rows.total()
    prompts, whole = (exact_duplicates(found.hashes(of)) for of in (found.prompts, found.contents))
    tick()
    near = near_duplicates([one.texts.whole for one in found.sample], threshold=params.near_threshold)
    looked, redundant = len(found.sample), int(near.redundant.sum())
    pairs = [{"similarity": alike, "one": _place(found.sample[a]), "other": _place(found.sample[b]), "text": _cut(found.sample[b].texts.whole, 300)} for a, b, alike in near.pairs]  # fmt: skip
    told = {
        "prompts": {"rows": int(prompts.sum()), "of": rows, "share": figure(prompts.mean(), rows, 2)},
        "whole_rows": {"rows": int(whole.sum()), "of": rows, "share": figure(whole.mean(), rows, 2)},
        "near": {
            "rows": redundant, "of": looked, "share": figure(redundant / looked if looked else 0.0, looked, 2),
            "threshold": params.near_threshold, "permutations": PERMUTATIONS, "shingle_tokens": SHINGLE, "pairs": pairs,
        },
    }  # fmt: skip
    return told, near


def _leakage(data: Dataset, found: Survey, params: ReportParams, tick: Ticker) -> dict[str, Any]:
    """Compare the test's rows, at most `near_rows` of them, with all of train."""
    if not found.rows["test"] or not found.rows["train"]:
        return {"no_split": f"there is no {'test' if found.rows['train'] else 'train'} split"}
    shared = overlap(found.problems.get("train", array("Q")), found.problems.get("test", array("Q")))
    told: dict[str, Any] = {"problems": {"rows": shared, "of": found.rows["test"], "share": figure(shared / found.rows["test"], found.rows["test"])}}  # fmt: skip
    test: list[tuple[str, str]] = []
    rng = np.random.default_rng(params.seed)
    for place, texts in enumerate(_texts(data, "test")):
        sampled(rng, test, texts, place, params.near_rows)
    watched = {(part, length): Leaks([texts[n] for texts in test], length) for n, part in enumerate(("prompt", "whole")) for length in LENGTHS}  # fmt: skip
    train, read = _texts(data, "train"), 0
    while chunk := list(islice(train, CHUNK)):
        for (part, _), leaks in watched.items():
            leaks.pass_by([texts[part == "whole"] for texts in chunk])
        read += len(chunk)
        tick(read - read % 256)
    for (part, length), leaks in watched.items():
        told.setdefault(part, {})[str(length)] = leaks.told()
    return told


def _texts(data: Dataset, split: str) -> Iterator[tuple[str, str]]:
    """Yield the prompt and the whole of each row of a split."""
    for name, path in data.files.items():
        if name in (split, "all"):
            for _, row in read_rows(path):
                if name == split or row.get("split") == split:
                    texts = texts_of(row)
                    yield texts.prompt, texts.whole


def _verified(data: Dataset, found: Survey, params: ReportParams, tick: Callable[[], None]) -> dict[str, Any]:
    claimed, right = found.claimed
    told: dict[str, Any] = {"claimed": {"rows": claimed, "right": right}} if claimed else {}
    how, check = check_of(data.manifest, trust=params.trust_verifier)
    told["how"] = how
    if (share := data.manifest.get("verified_share")) is not None:
        told["kept_of_tried"] = share
    if check is not None and params.verify_rows:
        rows = [one.row for one in found.sample[: params.verify_rows]]
        own = [row for row in rows if params.trust_verifier or not calls_others(row)]
        if len(own) < len(rows):
            told["how"] += (
                f"; {len(rows) - len(own)} rows were not run: they name tools of others (--trust-verifier runs them)"
            )
        if own:
            told["executed"] = verified(own, check, tick)
    return told


def _labels(found: Survey) -> dict[str, Counter[str]]:
    """Return the columns that are labels: at least two values, and five rows for each in the mean."""
    rows = found.rows.total()
    return {name: counts for name, counts in found.columns.items() if name == "family" or 1 < len(counts) <= rows / 5}  # fmt: skip


def _classes(found: Survey, near: Near, seed: int) -> list[dict[str, Any]]:
    """Return each label's own figures."""
    labels = found.hashes(found.labels) if not found.labels else np.concatenate([np.frombuffer(of, np.uint32) for of in found.labels.values() if of])  # fmt: skip
    prompts, whole = (exact_duplicates(found.hashes(of)) for of in (found.prompts, found.contents))
    told = []
    for name, number in sorted(found.names.items()):
        own, kept = labels == number, [place for place, one in enumerate(found.sample) if one.label == name]
        rows = int(own.sum())
        told.append({
            "label": name or "(none)", "rows": rows, "duplicate_prompts": int(prompts[own].sum()), "duplicate_rows": int(whole[own].sum()),
            "near": int(near.redundant[kept].sum()), "looked_at": len(kept), **_own(found.sample, kept, seed),
        })  # fmt: skip
    return told if len(told) <= 200 else told[:200]


def _own(sample: Sequence[Sampled], kept: Sequence[int], seed: int) -> dict[str, Any]:
    """Return the diversity of one label's rows."""
    names = ("distinct_2", "self_similarity", "vocabulary", "compression")
    if len(kept) < FEWEST:
        return dict.fromkeys(("tokens", *names), too_few(len(kept)))
    own = diversity([sample[place].texts.whole for place in kept], seed=seed)
    return {"tokens": round(own["tokens"] / len(kept), 1), **{name: own[name] for name in names}}


def _samples(found: Survey, seed: int) -> list[dict[str, Any]]:
    """Return a few rows to look at, from as many labels as can be."""
    order: NDArray[np.int64] = np.random.default_rng(seed).permutation(len(found.sample))
    turns: Counter[str] = Counter()
    ranked = []
    for place in order.tolist():
        label = found.sample[place].label
        ranked.append((turns[label], place))
        turns[label] += 1
    chosen = [found.sample[place] for _, place in sorted(ranked, key=lambda one: one[0])[:SHOWN]]
    return [{"place": _place(one), "label": one.label, **{part: _cut(getattr(one.texts, part), CUT) for part in ("system", "prompt", "answer")}} for one in chosen]  # fmt: skip


def _place(one: Sampled) -> str:
    name = one.row.get("id")
    return f"{one.split}, line {one.line}" + (f" ({name})" if isinstance(name, str) else "")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."
