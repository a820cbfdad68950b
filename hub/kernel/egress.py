"""The egress guard: every outgoing connection of a connector resolves its host here, once, and connects to the
very address that was checked, so that neither private addresses nor DNS rebinding reach anything inside."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from hub.kernel.errors import Misconfigured, Retry
from hub.kernel.settings import settings


class EgressRefused(Misconfigured):
    """The address is not on the public internet and not on the allow-list."""


def allowed_pairs() -> frozenset[str]:
    """host:port pairs that may be reached although they are not public."""
    return frozenset(part.strip().lower() for part in settings().egress_allow.split(",") if part.strip())


def is_public(address: str) -> bool:
    """True only for globally routable unicast addresses; IPv6-mapped and 6to4 forms are unwrapped first."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            ip = inner
        elif ip in ipaddress.ip_network("64:ff9b::/96"):  # NAT64 hides an IPv4 address in the last 32 bits
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def check_url(url: Any) -> None:
    """Refuse a URL whose scheme or literal address is not allowed. `url` is an httpx.URL."""
    if url.scheme not in ("http", "https"):
        raise EgressRefused(f"only http and https leave the hub, not {url.scheme}", code="egress_scheme")
    if url.userinfo:
        raise EgressRefused("put credentials into the connection, not into the URL", code="egress_userinfo")
    check_host(url.host, url.port or (443 if url.scheme == "https" else 80))


def check_host(host: str, port: int) -> None:
    """Refuse a literal address that may not be reached at `port`. A name passes: whoever resolves it decides."""
    host = host.strip("[]").lower()
    if f"{host}:{port}" in allowed_pairs():
        return
    try:
        literal = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        if _odd_number(host):  # 2130706433, 0x7f.1, 017700000001: inet_aton reads these as addresses
            raise EgressRefused(f"{host} is not a host name", code="egress_address") from None
        return  # a name: the resolver below decides
    if not is_public(str(literal)):
        raise EgressRefused(f"{host} is not a public address", code="egress_address")


def _odd_number(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


class GuardedResolver(AbstractResolver):
    """Resolves a name and keeps only addresses that may be reached; aiohttp then connects to exactly those."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await self._inner.resolve(host, port, family)
        if f"{host.lower()}:{port}" in allowed_pairs():
            return results
        public = [result for result in results if is_public(result["host"])]
        if not public:
            raise EgressRefused(f"{host} resolves to no public address", code="egress_address")
        return public

    async def close(self) -> None:
        await self._inner.close()


async def resolve_public(host: str, port: int) -> list[str]:
    """The addresses of `host` that may be reached at `port`, for protocols other than HTTP. Resolved once: connect to
    these very addresses and never to the name. Raises EgressRefused, and Retry while the name cannot be resolved."""
    check_host(host, port)
    resolver = GuardedResolver()
    try:
        found = await resolver.resolve(host.strip("[]"), port, socket.AF_UNSPEC)
    except OSError:
        raise Retry(f"{host} cannot be resolved", code="host_unknown", after=5.0) from None
    finally:
        await resolver.close()
    return list(dict.fromkeys(result["host"] for result in found))
