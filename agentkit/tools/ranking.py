"""Which tools a request is about, by its words alone: BM25 over names, descriptions and argument names.

Pure and deterministic. Scores are natural logarithms of how much likelier each tool is
than an even choice, bounded, so that `weight * score` can be added to a model's log-probability of the tool.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from agentkit.media import PICTURE_NAMES
from agentkit.types import ToolSpec

K1 = 1.2  # how soon a repeated word stops counting
B = 0.5  # how much a long description is held against a tool
NAME_WEIGHT = 3  # a word of the name counts as this many of the description
ARGUMENT_WEIGHT = 1
NEARLY = 1.0  # nats between two long jobs that a request may both be about
FLOOR = -6.0  # no tool is made less likely than by this much

_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")
# elsewhere `like` is a word: something that resembles something
_WISH = re.compile(r"(?:\b(?:would|you|to)|['’]d) like\b", re.IGNORECASE)
_ENDINGS = "|".join(sorted(name.removeprefix(".") for name in PICTURE_NAMES))
_PICTURE = re.compile(rf"#picture|(?<![\w@])[\w./~-]*\w\.(?:{_ENDINGS})\b(?![@.]\w)", re.IGNORECASE)
_URL = re.compile(r"#url|https?://\S+")
_FILE = re.compile(r"#file|(?<![\w@])[\w./-]*\w\.[a-z]{1,4}\b(?![@.]\w)|\w/\w")
_NUMBER = re.compile(r"(?<![\w.#/-])\d|#(?!\w)")
STOP_WORDS = frozenset(
    word
    for line in (
        "a an the of to in on at for from by with and or is are was were be been am do does did it its this that these",
        "those i me my we our you your he she they them his her their what which who whom how when where why can could",
        "would should will shall may might must please tell give show let get have has had s t m re ve ll d not no as if",
        "so than then there here about into out up down over some any all just want need",
    )
    for word in line.split()
)


def rank(query: str, specs: Sequence[ToolSpec]) -> dict[str, float]:
    """Return each tool's score: log of its share among `specs`, times their number, at least `FLOOR`.

    All scores are 0 when no word of `query` occurs in any of them. Higher is better.
    """
    raw = _bm25(words(query), [_document(spec) for spec in specs])
    if not any(raw):
        return {spec.name: 0.0 for spec in specs}
    top = max(raw)
    total = math.fsum(math.exp(score - top) for score in raw)
    even = math.log(len(raw))
    return {spec.name: max(score - top - math.log(total) + even, FLOOR) for spec, score in zip(specs, raw, strict=True)}


def shortlist(query: str, specs: Sequence[ToolSpec], n: int) -> list[ToolSpec]:
    """Return the best `n` tools for `query`, in the order of `specs`; ties go to the earlier one."""
    if len(specs) <= n:
        return list(specs)
    scores = rank(query, specs)
    best = sorted(range(len(specs)), key=lambda index: (-scores[specs[index].name], index))[: max(n, 0)]
    return [specs[index] for index in sorted(best)]


def without_idle_jobs(query: str, specs: Sequence[ToolSpec], kept: frozenset[str] = frozenset()) -> list[ToolSpec]:
    """Return `specs` without the long jobs (`cost`) that `query` is not about.

    It is about one where its words point at it no less than at anything that costs nothing, and nearly as much as at any
    other job; those in `kept` stay.
    """
    scores = rank(query, specs)
    free = max((scores[spec.name] for spec in specs if not spec.rules.cost), default=FLOOR)
    job = max((scores[spec.name] for spec in specs if spec.rules.cost), default=FLOOR)
    least = max(free, job - NEARLY, math.ulp(0.0))  # where no word is about anything, all scores are 0
    return [spec for spec in specs if not spec.rules.cost or spec.name in kept or scores[spec.name] >= least]


@lru_cache(maxsize=1024)
def words(text: str) -> tuple[str, ...]:
    """Return the stems of `text`: split at underscores and camelCase, lower case, without stop words.

    `%` is a word, and so is what others are examples of: `#` for a number, `#file` for a file's name, `#picture` for a
    picture's, `#url`. What a picture is called says nothing about what is to be done with it.
    """
    bare = _PICTURE.sub(" ", text)
    rest = _URL.sub(" ", bare)
    told = (
        ("#url", _URL.search(text)),
        ("#picture", bare != text),
        ("#file", _FILE.search(rest)),
        ("#", _NUMBER.search(rest)),
    )
    kinds = [kind for kind, is_there in told if is_there]
    found = [part.casefold() for part in _PARTS.findall(_WISH.sub(" ", bare).replace("%", " percent "))]
    return (*(stem(word) for word in found if word not in STOP_WORDS), *kinds)


def stem(word: str) -> str:
    """Return `word` without a plural or verb ending: `files` and `file`, `searching` and `search` are one."""
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]  # running -> run
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _document(spec: ToolSpec) -> Counter[str]:
    document: Counter[str] = Counter()
    for word in words(spec.name):
        document[word] += NAME_WEIGHT
    document.update(words(spec.description))
    for keyword in spec.rules.keywords:
        document.update(words(keyword))
    properties: Mapping[str, object] = spec.parameters.get("properties", {})
    for name in properties:
        for word in words(name):
            document[word] += ARGUMENT_WEIGHT
    return document


def _bm25(query: Sequence[str], documents: Sequence[Counter[str]]) -> list[float]:
    mean = math.fsum(sum(document.values()) for document in documents) / max(len(documents), 1) or 1.0
    scores = [0.0] * len(documents)
    for word in sorted(set(query)):
        holders = sum(word in document for document in documents)
        if not holders:
            continue
        rarity = math.log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
        for index, document in enumerate(documents):
            often = document[word]
            length = 1 - B + B * sum(document.values()) / mean
            scores[index] += rarity * often * (K1 + 1) / (often + K1 * length)
    return scores
