"""Whether a value stands in a text as a whole: a path, a URL, an address, a number, also a spoken one, a quoted string.

Plain words are literals too, since a folder may be called `docs`; `pointed` tells those that can hardly be anything else
than a name.

A piece of a literal is not a literal: `bob@example.co` is not in `bob@example.com`, `etc/passwd` not in
`/etc/passwd`, and of a quoted string only the whole counts, backslashes and apostrophes inside it included; as JSON
wrote it or as it was meant. Comparison is exact after Unicode NFC.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from agentkit.spoken_numbers import spoken_numbers

_QUOTED = re.compile(
    r"(?=[`\"'“‘«„‹「『])(?:"
    r"```[^\n`]*\n(?P<fence>.*?)```"
    r"|`(?P<tick>[^`\n]+)`"
    r'|(?<!\\)"(?P<double>(?:[^"\\\n]|\\[^\n])+)"'  # with \" in it
    r'|(?<!\\)"(?P<bare>[^"\n]+)"'  # a path may end in a backslash
    r"|(?<![\w\\])'(?P<single>(?:[^'\\\n]|\\[^\n]|(?<=\w)'(?=\w))+)'(?!\w)"
    r"|(?<![\w\\])'(?P<apart>[^'\n]+)'(?!\w)"
    r"|“(?P<curly>[^”\n]+)”"
    r"|‘(?P<curl>(?:[^’\n]|(?<=\w)’(?=\w))+)’(?!\w)"
    r"|«(?P<angle>[^»\n]+)»"
    r"|„(?P<low>[^“”\n]+)[“”]"
    r"|‹(?P<point>[^›\n]+)›"
    r"|「(?P<corner>[^」\n]+)」"
    r"|『(?P<hollow>[^』\n]+)』"
    r")",
    re.DOTALL,
)
_OPEN, _CLOSE = "([{<\"'`“‘«‹「『„", ")]}>\"'`”’»›」』"
_END = ".,;:!?…。、，；：！？"
_LIST = re.compile(r",(?!\d)|(?<!\d),|;")
_LINK = re.compile(r"\]\(([^\s()]+(?:\([^\s()]*\)[^\s()]*)*)\)")  # Markdown's
_SPACE = re.compile(r"\s")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}(?::\d+)?(?:/\S*)?", re.IGNORECASE)
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#\s]*)(\S*)", re.IGNORECASE)
_SHAPED = re.compile(r"\w[/\\@_]\w|\w\w\.\w|\w\.\w\w|^[~/.]+\w|[^\W\d]-?\d|\d-?[^\W\d]")
_NUMBER = re.compile(r"[\d.,]*\d")
_FILE_ENDINGS = frozenset({
    "md", "py", "sh", "rs", "pl", "cc", "so", "zip", "mov", "ps", "app", "java", "ai", "ml", "ts", "txt", "csv",
    "tsv", "json", "jsonl", "yaml", "yml", "toml", "ini", "cfg", "conf", "log", "dat", "xml", "html", "htm", "css",
    "js", "rst", "tex", "pdf", "doc", "docx", "xls", "xlsx", "odt", "png", "jpg", "jpeg", "gif", "svg", "webp",
    "bmp", "gz", "tar", "db", "sql", "bak", "lock", "env",
})  # fmt: skip


def is_grounded(value: str, texts: Iterable[str]) -> bool:
    """Whether `value` stands as a whole literal in one of `texts`."""
    wanted = _same(unicodedata.normalize("NFC", value))
    return bool(wanted) and any(wanted in literals(text) for text in texts)


@lru_cache(maxsize=256)
def literals(text: str) -> frozenset[str]:
    """Return every literal of `text`, each in the form that comparisons use."""
    return frozenset(spans(text, None))


@lru_cache(maxsize=512)
def spans(text: str, room: int | None) -> tuple[str, ...]:
    """Return the literals of `text`, the last first; with `room`, those that stand whole in its last `room` characters.

    What a quotation is, the whole text decides: where the window begins, nothing is cut in two.
    """
    text = unicodedata.normalize("NFC", text).encode("utf-8", "replace").decode().strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" and text.count(text[0]) == 2:
        text = text[1:-1].strip()  # all of it is quoted: then the quotes mean nothing
    start = 0 if room is None else max(0, len(text) - room)
    parts = _parts(text, start)
    hosts = {part for part in parts if "." in part and _names_host(part)}
    said = [*([] if start else [text]), *_lines(text, start), *parts]
    found: dict[str, None] = {}
    for literal in dict.fromkeys(reversed(said)):
        if literal.isalnum():
            found[literal] = None
            continue
        found[_same(literal)] = None
        if literal in hosts:
            found[_same(f"https://{literal}")] = found[_same(f"http://{literal}")] = None
    found |= dict.fromkeys(map(str, spoken_numbers(text[start:])))
    found.pop("", None)
    return tuple(found)


@lru_cache(maxsize=256)
def pointed(text: str) -> frozenset[str]:
    """Return the literals of `text` that stand out as names: of the shape of a path, an address or an identifier.

    With them come the quoted ones, those that take a whole line of several, and numbers. Nothing at all is returned
    where nothing has such a shape: then any word may be the name.
    """
    found = literals(text)
    if not any(_SHAPED.search(literal) and " " not in literal for literal in found):
        return frozenset()
    text = unicodedata.normalize("NFC", text)
    lines = text.splitlines() if "\n" in text.strip() else []
    told = {_same(literal) for literal in (*_quoted(text), *lines)}
    return frozenset(
        literal
        for literal in found
        if literal in told or _NUMBER.fullmatch(literal) or (_SHAPED.search(literal) and " " not in literal)
    )


def _lines(text: str, start: int) -> list[str]:
    """Return the lines of `text` that begin at `start` or after it."""
    first = text.find("\n", start - 1) + 1 if start else 0
    return text[first:].split("\n") if first or not start else []


def _parts(text: str, start: int = 0) -> list[str]:
    """Return quotations and words in their order, from `start`; what is quoted has no words, but a code block has."""
    found: list[str] = []
    place = start
    for match in _QUOTED.finditer(text):
        if match.end() <= start:
            continue
        if place == start and start:
            place = _edge(text, start, match)
        found += _words(text[place : match.start()])
        fence = match["fence"]
        if fence is not None:
            cut = max(0, start - match.start("fence"))
            found += [*([] if cut else [fence]), *_lines(fence, cut), *_parts(fence, cut)]
        elif match.start() >= start:
            found += _readings(match)
        place = match.end()
    if place == start and start:
        place = _edge(text, start, None)
    return found + _words(text[place:])


def _edge(text: str, start: int, quotation: re.Match[str] | None) -> int:
    """Return where the first word begins that `start` does not cut; a quotation after it is an edge too."""
    if _SPACE.match(text, start - 1):
        return start
    space = _SPACE.search(text, start)
    found = space.start() if space else len(text)
    return min(found, max(start, quotation.start())) if quotation else found


def _quoted(text: str) -> Iterator[str]:
    for match in _QUOTED.finditer(text):
        if (fence := match["fence"]) is None:
            yield from _readings(match)
        else:
            yield fence
            yield from fence.splitlines()


def _readings(match: re.Match[str]) -> Iterator[str]:
    """Yield what is quoted as it stands, and what JSON means by it."""
    said = match[match.lastgroup or 0]
    yield said
    if "\\" in said and match.lastgroup == "double":
        try:
            meant = json.loads(f'"{said}"')
            meant.encode()  # half of a surrogate pair is no text
        except ValueError:
            return
        yield unicodedata.normalize("NFC", meant)


def _words(text: str) -> list[str]:
    found = []
    for chunk in reversed(dict.fromkeys(reversed(text.split()))):  # each once, where it stands last
        if (bare := chunk.rstrip(_END)).isalnum():
            found.append(bare)
            continue
        found.append(word := _trimmed(chunk))
        if "](" in chunk:
            found += [_trimmed(target) for target in _LINK.findall(chunk)]
        if ("," in word or ";" in word) and "://" not in word:
            parts = [_trimmed(part) for part in _LIST.split(word)]
            found += parts if len(parts) > 1 else []
    return found


def _trimmed(chunk: str) -> str:
    """Return `chunk` without the punctuation of the sentence around it."""
    while chunk:
        last = chunk[-1]
        if last.isalnum() and last != "s" and chunk[0].isalnum():
            break
        if chunk[0] in _OPEN:
            chunk = chunk[1:]
        elif (
            last in _END
            or (last in _CLOSE and chunk.count(last) > chunk.count(_OPEN[_CLOSE.index(last)]))
            or last in "\"'`"
        ):
            chunk = chunk[:-1]
        elif chunk.endswith(("'s", "’s")):
            chunk = chunk[:-2]
        else:
            break
    return chunk


def _same(value: str) -> str:
    """Return the form in which literals are compared; `value` is in NFC."""
    value = value.strip()
    if "://" in value and (url := _URL.fullmatch(value)):
        user, at, host = url[2].rpartition("@")
        return f"{url[1].lower()}://{user}{at}{host.lower()}{'' if url[3] == '/' else url[3]}"
    while value.startswith("./") and len(value) > 2:
        value = value[2:]
    return value


def _names_host(literal: str) -> bool:
    host = literal.partition("/")[0].partition(":")[0]
    return bool(_DOMAIN.fullmatch(literal)) and host.rpartition(".")[2].lower() not in _FILE_ENDINGS
