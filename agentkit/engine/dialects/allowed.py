"""What an allow list lets an argument be, as a regular expression of the grammar.

It takes no more than policy does with the same pattern (`agentkit.policy`), and a little less: `*` stands for visible ASCII
without quotes, separators and what a shell obeys; in a host for no `/`, in an address for no further `@`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["expression", "is_anything"]

_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_NEVER = "\"'\\,;&|`$<>()"
_IN_ADDRESS = "@:!%"
_IN_HOST = "/?#@:[]"


def is_anything(patterns: Sequence[str]) -> bool:
    """Whether the patterns allow everything."""
    return "*" in patterns


@lru_cache(maxsize=256)
def expression(patterns: tuple[str, ...]) -> str:
    """Return the patterns as one Lark regular expression; empty where none can be written as one."""
    found = [
        _pattern(pattern) for pattern in patterns if "[" not in pattern and pattern.isascii() and pattern.isprintable()
    ]
    return f"/{'|'.join(found)}/" if found else ""


def _pattern(pattern: str) -> str:
    scheme, mark, rest = pattern.partition("://")
    if mark:
        host, slash, path = rest.partition("/")
        return _glob(f"{scheme}{mark}", "") + _glob(host, _IN_HOST) + (_glob(f"{slash}{path}", "") if slash else "")
    return _glob(pattern, _IN_ADDRESS if "@" in pattern else "", spaces=" " in pattern)


def _glob(text: str, without: str, *, spaces: bool = False) -> str:
    letters = [re.escape(char) for char in _VISIBLE if char not in _NEVER + without]
    some = f"[{''.join(letters).replace('/', chr(92) + '/')}{' ' if spaces else ''}]"
    parts = {"*": f"{some}*", "?": some}
    return "".join(parts.get(char) or re.escape(char).replace("/", r"\/") for char in text)
