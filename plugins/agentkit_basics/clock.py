"""What time it is, here or anywhere."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from agentkit.tools import tool
from agentkit.types import Done, Failed, Outcome

_COMMON = {
    "z": "UTC",
    "zulu": "UTC",
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "mdt": "America/Denver",
    "cst": "America/Chicago",
    "cdt": "America/Chicago",
    "edt": "America/New_York",
    "est": "America/New_York",
    "bst": "Europe/London",
    "cest": "Europe/Paris",
    "ist": "Asia/Kolkata",
    "jst": "Asia/Tokyo",
}


@tool(
    effect="read",
    egress=False,
    idempotent=True,
    timeout_s=5.0,
    trust="trusted",
    keywords=("clock day today hour weekday",),
)
def now(timezone: str | None = None) -> Outcome:
    """Tell the current date and time.

    Args:
        timezone: a name such as Europe/Paris, or a city; left out, the time here.
    """
    zone: tzinfo | None = None
    if timezone and timezone.strip():
        name = zone_name(timezone)
        if name is None:
            return Failed(text=f"no time zone is called '{timezone}'{_hint(timezone)}")
        try:
            zone = UTC if name == "UTC" else ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return Failed(text=f"the time zone '{name}' is not installed here; ask for UTC")
    moment = datetime.now(UTC).astimezone(zone)
    return Done(text=f"{moment:%A, %d %B %Y, %H:%M:%S} {moment.tzname()}", data=moment.isoformat(timespec="seconds"))


def zone_name(asked: str) -> str | None:
    """Return the zone that a name, an abbreviation or a city stands for, or None."""
    key = _key(asked)
    return _COMMON.get(key) or _zones().get(key)


def _hint(asked: str) -> str:
    near = difflib.get_close_matches(_key(asked), _zones(), 1, 0.6)
    return f"; did you mean '{_zones()[near[0]]}'?" if near else "; give one such as Europe/Paris or UTC"


def _key(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    names = sorted(name for name in available_timezones() if not name.startswith(("Etc/", "posix", "right")))
    cities = {_key(name.rsplit("/", 1)[-1]): name for name in reversed(names) if "/" in name}
    return {**cities, **{_key(name): name for name in names}, "utc": "UTC"}
