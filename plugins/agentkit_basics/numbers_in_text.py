"""The numbers in a text: one a line, in columns, after labels.

Digits inside words (`Q3`, `v1.2.3`), dates, times and addresses are not numbers. A table's columns of ids and dates are
left out. Thousands separators are told from column separators by looking at the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_NUMBER = re.compile(
    rf"(?<![\w.,:/\-+])(?:(?P<open>\()\s*)?(?P<sign>[-+\u2212]?)\s?[$€£¥]?\s?(?P<minus>-?)"
    rf"(?P<number>(?:{_DIGITS}(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{{1,3}})?)"
    r"(?P<close>\s*\))?(?![\w:/]|\.\w|-\w|,\d)"
)
_NOT_NUMBERS = re.compile(
    r"\b\d{4}-\d{1,2}-\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"  # 2024-01-31T10:00
    r"|\b\d{1,2}([/.-])\d{1,2}\1\d{2,4}\b"  # 31.01.2024, 1/31/24
    r"|\b\d{4}/\d{1,2}/\d{1,2}\b"
    r"|\b\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]m\b)?"  # 10:30
    r"|\b\d+(?:\.\d+){2,}\b"  # 1.2.3, 192.168.0.1
    r"|\b[\w.+-]+@[\w.-]+|\bhttps?://\S+",
    re.IGNORECASE,
)
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_WORDY_DATE = re.compile(rf"\b(?:{_MONTHS}\.?\s+\d{{1,2}}|\d{{1,2}}\.?\s+{_MONTHS})(?:,?\s+\d{{4}})?\b", re.IGNORECASE)
_RUN = re.compile(r"\d+(?:,\d+)+")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
_LABEL = re.compile(r"^[^:\n]*[^\W\d_][^:\n]*:\s*(?=\S)")
_NO_AMOUNT = re.compile(
    r"^\W*(?:id|ids|no|nr|num|number|#|index|row|line|year|date|day|month|week|time|timestamp|zip|phone|code|sku)\W*$",
    re.IGNORECASE,
)


def numbers_in(text: str) -> list[Decimal]:
    """Return the numbers of `text` in reading order."""
    lines = [line.strip() for line in text.replace("\u00a0", " ").replace("\u2212", "-").splitlines() if line.strip()]
    separator = _separator(lines)
    if separator is not None:
        return [number for cell in _cells(lines, separator) for number in _scan(cell)]
    return [number for line in lines for number in _scan(_after_label(line))]


def _separator(lines: list[str]) -> str | None:
    """Return what separates columns, or None where the text is not a table."""
    for separator in ("\t", ";"):
        if len(lines) > 1 and all(line.count(separator) == lines[0].count(separator) > 0 for line in lines):
            return separator
    if not any("," in line for line in lines):
        return None
    plain = [re.sub(r'"[^"]*"', "", line) for line in lines]
    runs = [run for line in plain for run in _RUN.findall(line)]
    if any(not _THOUSANDS.fullmatch(run) for run in runs):
        return ","  # 1,20 is no thousand: the commas separate columns
    columns = plain[0].count(",")
    header = columns and not re.search(r"\d", plain[0])
    if header and len(lines) > 1 and all(line.count(",") == columns for line in plain):
        return ","
    return None


def _cells(lines: list[str], separator: str) -> Iterator[str]:
    rows = [_split(line, separator) for line in lines]
    header = rows[0] if not any(re.search(r"\d", cell) for cell in rows[0]) else []
    skipped = {column for column, title in enumerate(header) if _NO_AMOUNT.match(title)}
    for row in rows[1:] if header else rows:
        yield from (_after_label(cell) for column, cell in enumerate(row) if column not in skipped)


def _split(line: str, separator: str) -> list[str]:
    cells, quoted, start = [], False, 0
    for position, char in enumerate(line):
        if char == '"':
            quoted = not quoted
        elif char == separator and not quoted:
            cells.append(line[start:position])
            start = position + 1
    return [cell.strip().strip('"').strip() for cell in (*cells, line[start:])]


def _after_label(line: str) -> str:
    """Return what follows `label:`, where a number does; a label's own digits do not count."""
    rest = _LABEL.sub("", line, count=1)
    return rest if rest != line and _NUMBER.search(_NOT_NUMBERS.sub(" ", rest)) else line


def _scan(text: str) -> Iterator[Decimal]:
    text = _WORDY_DATE.sub(" ", _NOT_NUMBERS.sub(" ", text))
    for match in _NUMBER.finditer(text):
        value = Decimal(match["number"].replace(",", ""))
        in_brackets = bool(match["open"] and match["close"]) and match[0].strip() == text.strip()
        negative = match["sign"] in ("-", "\u2212") or match["minus"] == "-" or in_brackets
        yield -value if negative else value
