"""Which network address a web address may lead to.

A name is resolved once, every address it has is checked, and the connection is made to an address that was
checked: a name that answers differently the second time gains nothing. Standard library only; the fetching
itself is `agentkit.fetching`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

__all__ = ["NotAllowed", "PrivateAddress", "Resolve", "Target", "check", "is_public", "resolve"]

Resolve = Callable[[str, int], Sequence[str]]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}


class NotAllowed(Exception):
    """This address is not fetched; the message says why."""


class PrivateAddress(NotAllowed):
    """It leads inside this machine or network, and nobody allowed that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A checked address: what was asked for, and what to connect to.

    Attributes:
        url: without its fragment.
        host: in lower case and ASCII.
        port: 1 to 65535.
        addresses: IP addresses of the host, all of them checked, in the order to try them.
    """

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]

    def connect_url(self, address: str) -> str:
        """Return the URL with the host replaced by one of the checked addresses."""
        parts = urlsplit(self.url)
        literal = f"[{address}]" if ":" in address else address
        return urlunsplit((parts.scheme, f"{literal}:{self.port}", parts.path or "/", parts.query, ""))

    @property
    def host_header(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[urlsplit(self.url).scheme] else f"{host}:{self.port}"


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of `host`."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def check(url: str, allow_hosts: Sequence[str], *, resolver: Resolve = resolve) -> Target:
    """Return where `url` leads.

    Args:
        url: what was asked for.
        allow_hosts: hosts, or host:port, that may be reached although their addresses are private.
        resolver: turns a name into addresses.

    Raises:
        PrivateAddress: any address of the host is private.
        NotAllowed: it is no web address, or its host cannot be found.
    """
    parts, host, port = _parts(url)
    try:
        host = host.encode("idna").decode("ascii") if not host.isascii() else host
        addresses = list(dict.fromkeys(resolver(host, port)))
    except (OSError, ValueError) as error:  # ValueError: no name at all, such as one of 300 letters
        raise NotAllowed(f"the host '{host}' cannot be found ({getattr(error, 'strerror', None) or error})") from error
    if not addresses:
        raise NotAllowed(f"the host '{host}' has no address")
    allowed = {name.casefold() for name in allow_hosts}
    if not {host.casefold(), f"{host}:{port}".casefold()} & allowed:
        private = [address for address in addresses if not is_public(address)]
        if private:
            raise PrivateAddress(
                f"'{host}' leads to {private[0]}, an address inside this machine or network, which is refused; "
                f"the setting policy.allow_hosts can allow it"
            )
    return Target(url=urlunsplit(parts._replace(fragment="")), host=host, port=port, addresses=tuple(addresses))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet; those wrapped in IPv6 are looked into."""
    try:
        ip = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def _parts(url: str) -> tuple[SplitResult, str, int]:
    text = url.strip()
    if "://" not in text and text and " " not in text and "." in text.split("/", 1)[0]:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NotAllowed(f"'{text[:100]}' is no web address ({error})") from error
    if parts.scheme not in _PORTS or not host:
        raise NotAllowed(f"'{text[:100]}' is no web address; give one that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise NotAllowed("an address with a user name or password in it is not fetched; leave them out")
    return parts, host.rstrip("."), port or _PORTS[parts.scheme]
