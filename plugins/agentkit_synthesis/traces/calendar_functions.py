"""Dates and times of day for the verifier, reckoned from day numbers; solvers use `datetime`.

Dates are texts `YYYY-MM-DD` of the Gregorian calendar, times `HH:MM` of a day of 24 hours. Day numbers follow Hinnant,
"chrono-compatible low-level date algorithms" (`days_from_civil`, `civil_from_days`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["CALENDAR", "MONTHS", "WEEKDAYS"]

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def add_days(date: str, days: int) -> str:
    """Return the date so many days later."""
    return _date(_number(date) + days)


def days_between(first: str, last: str) -> int:
    """Return the days from one date to another; negative where it is earlier."""
    return _number(last) - _number(first)


def weekday(date: str) -> str:
    """Return the name of the weekday."""
    return WEEKDAYS[(_number(date) + 3) % 7]  # day 0, 1970-01-01, was a Thursday


def month_length(year: int, month: int) -> int:
    """Return the days of a month."""
    after = (year + 1, 1) if month == 12 else (year, month + 1)
    return _day_number(*after, 1) - _day_number(year, month, 1)


def is_leap(year: int) -> bool:
    """Return whether a year has 366 days."""
    return _day_number(year + 1, 1, 1) - _day_number(year, 1, 1) == 366


def year_of(date: str) -> int:
    """Return the year."""
    return int(date[:4])


def month_of(date: str) -> int:
    """Return the month, 1 to 12."""
    return int(date[5:7])


def day_of(date: str) -> int:
    """Return the day of the month."""
    return int(date[8:])


def end_of_month(date: str) -> str:
    """Return the last day of a date's month."""
    return f"{date[:8]}{month_length(year_of(date), month_of(date)):02}"


def add_workdays(date: str, days: int) -> str:
    """Return the date so many working days (Monday to Friday) later."""
    day = _number(date)
    while days:
        day += 1
        days -= (day + 3) % 7 < 5
    return _date(day)


def minutes_between(first: str, last: str) -> int:
    """Return the minutes from one time to a later one, past midnight where it is not later on the clock."""
    return (_minute(last) - _minute(first)) % 1440


def add_minutes(time: str, minutes: int) -> str:
    """Return the time so many minutes later, on the next day's clock where it comes to that."""
    total = (_minute(time) + minutes) % 1440
    return f"{total // 60:02}:{total % 60:02}"


def _number(date: str) -> int:
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", date)
    if found is None:
        raise ValueError(f"{date!r} is no date")
    year, month, day = map(int, found.groups())
    if not 1 <= month <= 12 or not 1 <= day <= month_length(year, month):
        raise ValueError(f"there is no {date}")
    return _day_number(year, month, day)


def _day_number(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _date(number: int) -> str:
    era, day = divmod(number + 719_468, 146_097)
    of_era = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    of_year = day - (365 * of_era + of_era // 4 - of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return f"{of_era + era * 400 + (month <= 2):04}-{month:02}-{of_year - (153 * shifted + 2) // 5 + 1:02}"


def _minute(time: str) -> int:
    hours, _, minutes = time.partition(":")
    if not (int(hours) < 24 and int(minutes) < 60):
        raise ValueError(f"{time!r} is no time")
    return int(hours) * 60 + int(minutes)


CALENDAR: Mapping[str, Callable[..., Any]] = {
    "add_days": add_days, "add_minutes": add_minutes, "add_workdays": add_workdays, "day_of": day_of, "days_between": days_between,
    "end_of_month": end_of_month, "is_leap": is_leap, "minutes_between": minutes_between, "month_length": month_length,
    "month_of": month_of, "weekday": weekday, "year_of": year_of,
}  # fmt: skip
