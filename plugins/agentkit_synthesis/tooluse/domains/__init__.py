"""The worlds that there are, by name."""

from __future__ import annotations

from collections.abc import Mapping

from agentkit_synthesis.tooluse.domains import (
    bank,
    calendar,
    files,
    house,
    library,
    pages,
    servers,
    shop,
    tickets,
    units,
)
from agentkit_synthesis.tooluse.values import Domain

__all__ = ["DOMAINS"]

DOMAINS: Mapping[str, Domain] = {
    module.DOMAIN.key: module.DOMAIN
    for module in (bank, calendar, files, house, library, pages, servers, shop, tickets, units)
}
