"""What a job would cost, and how long a time is, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["duration", "plan_text"]


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return what a job would cost, in a line: `plan` is a `JobPlan` as plain data."""
    told = []
    if plan.get("seconds"):
        told.append(f"about {duration(plan['seconds'])}")
    if plan.get("flops"):
        told.append(f"{plan['flops']:.2g} FLOPs")
    told += [
        f"{plan[f'{what}_bytes'] / 1e6:,.0f} MB of {what}" for what in ("memory", "disk") if plan.get(f"{what}_bytes")
    ]
    return ", ".join(told)


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
