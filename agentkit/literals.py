"""Whether a value stands in a text as a whole: a path, a URL, an address, a number, a quoted string.

Plain words are literals too, since a folder may be called `docs`; `pointed` tells those that can hardly be anything else
than a name.

A piece of a literal is not a literal: `bob@example.co` is not in `bob@example.com`, `etc/passwd` not in
`/etc/passwd`, and of a quoted string only the whole counts. Comparison is exact after Unicode NFC.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

_QUOTED = re.compile(
    r"```[^\n`]*\n(?P<fence>.*?)```"
    r"|`(?P<tick>[^`\n]+)`"
    r'|"(?P<double>[^"\n]+)"'
    r"|(?<!\w)'(?P<single>[^'\n]+)'(?!\w)"
    r"|“(?P<curly>[^”\n]+)”"
    r"|‘(?P<curl>[^’\n]+)’"
    r"|«(?P<angle>[^»\n]+)»",
    re.DOTALL,
)
_OPEN, _CLOSE = "([{<\"'`“‘«", ")]}>\"'`”’»"
_END = ".,;:!?…"
_LIST = re.compile(r",(?!\d)|(?<!\d),|;")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}(?::\d+)?(?:/\S*)?", re.IGNORECASE)
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
    wanted = _same(value)
    return bool(wanted) and any(wanted in literals(text) for text in texts)


@lru_cache(maxsize=256)
def literals(text: str) -> frozenset[str]:
    """Return every literal of `text`, each in the form that comparisons use."""
    text = unicodedata.normalize("NFC", text).strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" and text.count(text[0]) == 2:
        text = text[1:-1].strip()  # all of it is quoted: then the quotes mean nothing
    found = {_same(text), *(_same(line) for line in text.splitlines())}
    for literal in (*_quoted(text), *_words(_QUOTED.sub(_unquoted, text))):
        found.add(_same(literal))
        if _names_host(literal):
            found |= {_same(f"https://{literal}"), _same(f"http://{literal}")}
    return frozenset(found - {""})


@lru_cache(maxsize=256)
def pointed(text: str) -> frozenset[str]:
    """Return the literals of `text` that stand out as names: of the shape of a path, an address or an identifier.

    With them come the quoted ones, those that take a whole line of several, and numbers. Nothing at all is returned
    where nothing has such a shape: then any word may be the name.
    """
    found = literals(text)
    if not any(_SHAPED.search(literal) and " " not in literal for literal in found):
        return frozenset()
    lines = text.splitlines() if "\n" in text.strip() else []
    told = {_same(literal) for literal in (*_quoted(unicodedata.normalize("NFC", text)), *lines)}
    return frozenset(
        literal
        for literal in found
        if literal in told or _NUMBER.fullmatch(literal) or (_SHAPED.search(literal) and " " not in literal)
    )


def _quoted(text: str) -> Iterator[str]:
    for match in _QUOTED.finditer(text):
        fence = match["fence"]
        if fence is None:
            yield next(group for group in match.groups() if group is not None)
        else:
            yield fence
            yield from fence.splitlines()


def _unquoted(match: re.Match[str]) -> str:
    """Return what is left of a quotation for the search for words: code blocks are words, quotes are not."""
    return f"\n{match['fence']}\n" if match["fence"] is not None else " \x00 "


def _words(text: str) -> Iterator[str]:
    for chunk in text.split():
        if "\x00" in chunk:
            continue
        yield (word := _trimmed(chunk))
        if "://" not in word:
            parts = [_trimmed(part) for part in _LIST.split(word)]
            yield from parts if len(parts) > 1 else ()


def _trimmed(chunk: str) -> str:
    """Return `chunk` without the punctuation of the sentence around it."""
    while chunk:
        last = chunk[-1]
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
    """Return the form in which literals are compared."""
    value = unicodedata.normalize("NFC", value).strip()
    if "://" in value:
        head, _, rest = value.partition("://")
        host, slash, path = rest.partition("/")
        return f"{head.lower()}://{host.lower()}" + (f"/{path}" if slash and path else "")
    while value.startswith("./") and len(value) > 2:
        value = value[2:]
    return value


def _names_host(literal: str) -> bool:
    host = literal.partition("/")[0].partition(":")[0]
    return bool(_DOMAIN.fullmatch(literal)) and host.rpartition(".")[2].lower() not in _FILE_ENDINGS
