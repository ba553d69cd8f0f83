"""Names of people and things that problems are about, and ways of saying."""

from __future__ import annotations

import re
from datetime import date
from random import Random

from agentkit_synthesis.traces.calendar_functions import MONTHS

__all__ = ["CITIES", "GOODS", "PEOPLE", "SERVICES", "date_in_words", "say"]

PEOPLE = (
    "Ada", "Amir", "Bea", "Bo", "Carlos", "Chen", "Dana", "Dmitri", "Elif", "Emil", "Farah", "Finn", "Grace", "Hana", "Hugo", "Ines",
    "Ivo", "Jana", "Jonas", "Kai", "Kira", "Lars", "Lea", "Mara", "Milo", "Nadia", "Nils", "Olga", "Omar", "Paula", "Pedro", "Quinn",
    "Rosa", "Ravi", "Sara", "Sven", "Tara", "Theo", "Uma", "Viktor", "Wanda", "Yusuf", "Zoe", "Abel", "Ruth", "Noor",
)  # fmt: skip
GOODS = (
    "apples", "batteries", "bolts", "books", "bottles", "boxes", "brushes", "buttons", "cables", "candles", "cards", "chairs", "cups",
    "envelopes", "files", "folders", "forks", "hammers", "jars", "keys", "lamps", "lemons", "markers", "melons", "mugs", "nails",
    "notebooks", "onions", "pencils", "pens", "plates", "postcards", "ropes", "screws", "shelves", "spoons", "stamps", "stickers",
    "tiles", "tins", "towels", "valves",
)  # fmt: skip
CITIES = (
    "Aarhus", "Bergen", "Bilbao", "Bologna", "Brno", "Cork", "Dresden", "Gdansk", "Ghent", "Graz", "Lille", "Linz", "Lyon", "Malmo",
    "Namur", "Nice", "Oslo", "Oulu", "Porto", "Riga", "Split", "Tartu", "Turin", "Turku", "Uppsala", "Utrecht", "Vigo", "Zagreb",
)  # fmt: skip
SERVICES = (
    "api", "auth", "billing", "cache", "cart", "catalog", "gateway", "images", "mailer", "metrics", "orders", "payments", "queue",
    "reports", "search", "sessions", "shipping", "stock", "uploads", "users",
)  # fmt: skip
_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")


def say(rng: Random, *templates: str, **values: object) -> str:
    """Return one of several templates with its alternatives `(a|b)` chosen and its slots `{name}` filled."""
    text = rng.choice(templates)
    while "|" in text and _CHOICE.search(text):
        text = _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), text)
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text[:1].upper() + text[1:]


def date_in_words(rng: Random, iso: str) -> str:
    """Return a date as people write it: 2031-05-04, 4 May 2031, or May 4, 2031."""

    day = date.fromisoformat(iso)
    month = MONTHS[day.month - 1]
    return rng.choice((iso, f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}"))
