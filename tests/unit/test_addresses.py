"""Which addresses may be reached: those of the open internet, and what is allowed by name."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.addresses import NotAllowed, check, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "192.0.2.1", "2001:db8::1", "not an address",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


def names(table: dict[str, list[str]]) -> Any:
    def resolver(host: str, port: int) -> list[str]:
        if host not in table:
            raise OSError(-2, "Name or service not known")
        return table[host]

    return resolver


def test_the_checked_address_is_the_one_connected_to() -> None:
    target = check("https://example.com/a?b=c#d", (), resolver=names({"example.com": ["93.184.216.34"]}))
    assert target.connect_url(*target.addresses) == "https://93.184.216.34:443/a?b=c"
    assert target.host_header == "example.com"
    assert target.url == "https://example.com/a?b=c"
    bare = check("example.com/a", (), resolver=names({"example.com": ["2606:4700::1111"]}))
    assert bare.connect_url(*bare.addresses) == "https://[2606:4700::1111]:443/a"
    assert check("http://a.com:8080", (), resolver=names({"a.com": ["8.8.8.8"]})).host_header == "a.com:8080"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/x", "is no web address"),
        ("file:///etc/passwd", "is no web address"),
        ("javascript:alert(1)", "is no web address"),
        ("http://", "is no web address"),
        ("http://[bad", "is no web address"),
        ("http://example.com:99999/", "is no web address"),
        ("just words", "is no web address"),
        ("http://user:pass@example.com/", "user name"),
        ("http://nowhere.test/", "cannot be found"),
        ("http://inside.test/", "10.0.0.7"),
        ("http://both.test/", "192.168.0.1"),
    ],
)
def test_addresses_that_are_refused(url: str, why: str) -> None:
    table = {"example.com": ["8.8.8.8"], "inside.test": ["10.0.0.7"], "both.test": ["8.8.8.8", "192.168.0.1"]}
    with pytest.raises(NotAllowed) as caught:
        check(url, (), resolver=names(table))
    assert why in str(caught.value)


def test_an_allowed_host_may_be_private() -> None:
    table = names({"wiki.corp": ["10.0.0.7"]})
    assert check("http://WIKI.corp/x", ("wiki.corp",), resolver=table).addresses == ("10.0.0.7",)
    assert check("http://wiki.corp:81/x", ("wiki.corp:81",), resolver=table).port == 81
    with pytest.raises(NotAllowed):
        check("http://wiki.corp:82/x", ("wiki.corp:81",), resolver=table)


def test_every_address_of_a_host_is_kept_in_order() -> None:
    table = names({"two.test": ["2606:4700::1111", "8.8.8.8", "8.8.8.8"]})
    assert check("http://two.test/", (), resolver=table).addresses == ("2606:4700::1111", "8.8.8.8")


@given(url=st.text(max_size=80) | st.text("htps:/.@[]%#?x0\\\n\0", max_size=40).map("http://".__add__))
def test_any_text_is_an_address_or_refused(url: str) -> None:
    def public(host: str, port: int) -> list[str]:
        host.encode("idna")  # as `socket.getaddrinfo` does
        return ["8.8.8.8"]

    with contextlib.suppress(NotAllowed):
        target = check(url, (), resolver=public)
        assert target.connect_url("8.8.8.8").startswith(("http://8.8.8.8:", "https://8.8.8.8:"))
        assert target.host_header.isascii()
