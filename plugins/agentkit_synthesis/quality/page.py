"""The report as one page of HTML that needs nothing besides itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from agentkit_synthesis.quality.charts import bars, columns

__all__ = ["page", "shown"]

TEMPLATE = "page.html"


def page(report: Mapping[str, Any]) -> str:
    """Return the page of a report."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(shown=shown, percent=percent)
    environment.globals.update(bars=bars, columns=columns)
    text = files("agentkit_synthesis.quality").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(text).render(report=report)


def shown(value: Any) -> str:
    """Return a figure for people; where rows were too few, that."""
    match value:
        case {"too_few": count, "wanted": wanted}:
            return f"too few ({count} of {wanted})"
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}"
    return str(value)


def percent(value: Any) -> str:
    """Return a share for people."""
    return f"{100 * value:.2f} %" if isinstance(value, (int, float)) else shown(value)
