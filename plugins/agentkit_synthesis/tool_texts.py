"""What a job of this package came to, in a few sentences for the person who asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agentkit.jobs import JobState
from agentkit.jobs.texts import duration

__all__ = ["result_texts"]

WARNINGS = 2
PLAIN = (
    "near_duplicates",
    "distinct_2",
    "effective_images",
    "precision",
    "recall",
)  # figures that are told as they are


def result_texts(state: JobState, out: str | None) -> tuple[str, str]:
    """Return what a job that is done came to: for a person, and in a few words for a model that needs no more to go on."""
    assert state.result is not None
    figures = state.result.metrics
    tell, brief = _TOLD[state.job]
    told = [tell(figures), f"It took {duration(state.result.wall_s)}"]
    if out is not None:
        told.append(f"They are in {out}")
    told += [f"Note: {text.rstrip('.')}" for text in state.result.warnings[:WARNINGS]]
    return ". ".join(told), brief(figures)  # and no full stop after it: it may be quoted within a sentence


def _images(figures: Mapping[str, Any]) -> str:
    count, tried = figures["images"], figures["tried"]
    told = f"{count:,} labelled images"
    if not figures["verified"]:
        return f"{told}; nothing has verified their labels"
    if not figures["judge_accuracy"]:
        return f"{told}, drawn: labels are exact"
    least = min(figures["judge_accuracy"].items(), key=lambda one: float(one[1]))
    return (
        f"{told}, every label confirmed by a judge that was trained on real images; of {tried:,} made {figures['agreement_before']:.1%} "
        f"had the right labels at once, the others were left out. The judge itself is right in {least[1]:.1%} of real images that it "
        f"had not seen ({least[0]}, where it errs most)"
    )


def _rows(figures: Mapping[str, Any]) -> str:
    rows = ", ".join(f"{count:,} to {name}" for name, count in figures["rows"].items() if name != "pairs")
    families = ", ".join(f"{name} {count:,}" for name, count in figures["families"].items())
    return (
        f"{figures['count']:,} training examples ({rows}), all of them executed and verified, of {figures['tried']:,} tried; "
        f"by kind: {families}"
    )


def _quality(figures: Mapping[str, Any]) -> str:
    told = [f"{figures['rows']:,} rows"]
    known = {
        name: value for name, value in figures.items() if isinstance(value, float)
    }  # a figure of too few rows is none
    if "verified_share" in known:
        told.append(f"{known['verified_share']:.1%} of {figures['verified_rows']:,} verified again")
    elif "said_to_be_verified" in known:
        told.append(f"{known['said_to_be_verified']:.1%} said to be verified")
    told += [f"{_words(name)} {value:.2%}" for name, value in known.items() if name.startswith(("duplicate_", "test_"))]
    told += [f"{_words(name)} {known[name]:.3g}" for name in PLAIN if name in known]
    return f"{', '.join(told)}. The whole report is {figures['report']}"


def _measured(figures: Mapping[str, Any]) -> str:
    if figures["kind"] == "traces":
        found = figures["all"]
        explained, answers = found["explained"]["mean"], found["answers"]["mean"]
        return (
            f"A student of explanations is right in {explained:.1%} of problems that it had not seen, one of answers alone in "
            f"{answers:.1%}; {found['explained']['seeds']} students each, the mean over {len(figures['families'])} kinds of problem"
        )
    rows = {(row["arm"], row["share"]): row for row in next(iter(figures["students"].values()))["rows"]}
    alone, whole = rows["synthetic", 0.0], rows["real", 1.0]
    told = [
        f"On real images that were held out, a student of the synthetic images alone is right in {alone['mean']:.1%}, one of all "
        f"{whole['labels']:,} real labels in {whole['mean']:.1%}"
    ]
    for (arm, share), row in sorted(rows.items(), key=lambda one: one[0][1]):
        if arm == "real + synthetic" and ("real", share) in rows:
            told.append(
                f"with {row['labels']:,} real labels {rows['real', share]['mean']:.1%}, and with the synthetic ones added {row['mean']:.1%}"
            )
    return "; ".join(told)


def _words(name: str) -> str:
    return name.replace("_", " ")


Told = Callable[[Mapping[str, Any]], str]
_TOLD: Mapping[str, tuple[Told, Told]] = {
    "images": (_images, lambda figures: f"{figures['images']} images made"),
    "tools": (_rows, lambda figures: f"{figures['count']} examples made"),
    "traces": (_rows, lambda figures: f"{figures['count']} explanations made"),
    "report": (_quality, lambda figures: f"{figures['rows']} rows measured"),
    "measure": (_measured, lambda figures: "the gain is measured"),
}
