"""Whether the user named something as what should be written or sent to, and not as what should be read.

"Read report.txt and write a summary to out.md" names two files, and wants one of them written. Only trusted words are looked
at, so nobody can talk this into more than they say. It reads clauses, verbs and prepositions of a few languages; what it
does not understand is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agentkit.literals import is_grounded
from agentkit.types import ToolSpec

_CLAUSE = re.compile(
    r"[.!?;:]\s|[\n,;]\s*|\b(?:and|then|but|after that|und|dann|aber|et|puis|mais|luego|pero|poi)\b", re.IGNORECASE
)
# Beginnings of words: what people say for changing a thing, in English, German, French, Spanish and Italian.
_DOING = (
    "writ", "wrote", "sav", "stor", "put", "creat", "copy", "copi", "append", "add", "edit", "fix", "updat", "chang", "replac",
    "correct", "overwrit", "mak", "generat", "export", "record", "log", "mov", "renam", "set", "insert",
    "schreib", "speicher", "erstell", "leg", "kopier", "änder", "ergänz", "füg", "trag",
    "écri", "ecri", "enregistr", "sauvegard", "cré", "ajout", "modifi",
    "escrib", "guard", "crea", "cambi", "añad", "scriv", "salv", "modific", "aggiung",
)  # fmt: skip
_TO = frozenset(
    ["to", "into", "as", "onto", "called", "named", "nach", "als", "vers", "dans", "à", "en", "a", "su", "come"]
)
_FROM = frozenset(
    [
        "of",
        "from",
        "about",
        "between",
        "with",
        "against",
        "than",
        "like",
        "read",
        "open",
        "see",
        "von",
        "aus",
        "über",
        "mit",
        "zwischen",
        "de",
        "du",
        "des",
        "avec",
        "sur",
        "di",
        "da",
        "del",
        "dal",
        "con",
    ]
)
_NOT = re.compile(
    r"\b(?:not|never|don['’]?t|without|except|nicht|nie|kein\w*|ohne|pas|jamais|sans|nunca|sin|non|mai)\b", re.I
)
_ARTICLES = frozenset(
    [
        "the",
        "a",
        "an",
        "file",
        "folder",
        "channel",
        "my",
        "our",
        "der",
        "die",
        "das",
        "den",
        "le",
        "la",
        "el",
        "il",
        "lo",
        "datei",
        "fichier",
        "archivo",
    ]
)
_NOUNS = frozenset({"file", "files", "text", "data", "tool", "message"})
_NAME = "\ue000"  # stands for a name of several words
_OTHER = "\ue001"  # stands for what else is quoted
_QUOTED = re.compile(r"[\"“„«][^\"“”»\n]*\s[^\"“”»\n]*[\"“”»]")
_EDGES = "\"'`“”‘’«»()[]<>,.;:!?"


def is_meant(value: str, spec: ToolSpec, texts: Iterable[str]) -> bool:
    """Whether one of the user's texts names `value` as the destination of what `spec` does."""
    doing = (*_DOING, *(word for word in _words_of(spec) if word not in _NOUNS))
    for text in texts:
        if not is_grounded(value, [text]):
            continue
        said, name = (text.replace(value, _NAME), _NAME) if len(value.split()) > 1 else (text, value)
        if any(_means(name, clause, doing) for clause in _CLAUSE.split(_QUOTED.sub(_OTHER, said))):
            return True
    return False


def _means(name: str, clause: str, doing: tuple[str, ...]) -> bool:
    words = [word for part in clause.split() if (word := part.strip(_EDGES))]
    own = [n for n, word in enumerate(words) if word == name or is_grounded(name, [word])]
    if not own:
        return False
    if len(words) == 1:
        return True  # an answer: nothing but the name
    spoken = [word.casefold() for word in words]
    if _NOT.search(clause) or not any(word.startswith(doing) for word in spoken):
        return False
    before = {n: _before(spoken, n) for n in range(len(words))}
    names = [n for n, word in enumerate(words) if not word.isalpha()]  # paths, addresses, identifiers
    aimed = [n for n in names if before[n] in _TO] or [n for n in names if before[n].startswith(doing)]
    return any(n in aimed if aimed else before[n] not in _FROM for n in own)


def _before(spoken: Sequence[str], place: int) -> str:
    """Return the word before a place, articles left out."""
    while place > 0 and spoken[place - 1] in _ARTICLES - {"a"}:
        place -= 1
    return spoken[place - 1] if place > 0 else ""


def _words_of(spec: ToolSpec) -> list[str]:
    said = " ".join((spec.name.replace("_", " ").replace("-", " "), *spec.rules.keywords))
    return [word for word in said.casefold().split() if word.isalpha() and len(word) > 2]
