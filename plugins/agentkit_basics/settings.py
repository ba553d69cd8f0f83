"""The section `plugins.basics`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from agentkit.config import PolicySettings

_POLICY = PolicySettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicsSettings:
    """What the tools may reach, and how much of it."""

    commands: tuple[str, ...] = _POLICY.commands  # programs that run_command may start
    allow_hosts: tuple[str, ...] = _POLICY.allow_hosts  # private hosts (host or host:port) that fetch_url may reach
    max_file_bytes: int = 10_000_000  # of one file read or written
    max_page_bytes: int = 2_000_000  # of one web page
    max_command_bytes: int = 50_000_000  # a program that writes more is stopped
    max_list: int = 1_000  # names in a listing
    max_matches: int = 200  # lines that a search shows

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> BasicsSettings:
        """Return the settings that `section` holds; what is not in it keeps its default."""
        known = {item.name for item in fields(cls)}
        given = {key: value for key, value in section.items() if key in known}
        for key in ("commands", "allow_hosts"):
            if key in given:
                given[key] = _names(given[key])
        for key in known - {"commands", "allow_hosts"}:
            if key in given:
                given[key] = int(given[key])
        return cls(**given)


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return tuple(str(item) for item in value)
