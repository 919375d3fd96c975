"""Who a request comes from, and which name it was sent to: what proxies say of it counts if they are trusted."""

import re
from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from clarity.api.overload import PROBES

Network = IPv4Network | IPv6Network
Headers = Sequence[tuple[bytes, bytes]]

_WITH_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*):[0-9]{0,5}", re.ASCII)

BY_PROXY = "by_proxy"
"""The key in a request's state that says that a trusted proxy brought it."""


class TrustedProxies:
    """Takes the client's address and scheme from `X-Forwarded-For` and `X-Forwarded-Proto` of trusted peers.

    A proxy adds the address it was called from at the right of the list, and what stands left of that anybody may have
    written. So the list is walked from the right, past trusted proxies; the first who is none is the client. Nobody
    else is believed, and neither is any other header (`Forwarded`, `X-Real-IP`).
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network], *, local: bool = False) -> None:
        """Believe the peers in `trusted`; with `local`, also those of a Unix socket, who have no address."""
        self._app = app
        self._trusted = trusted
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, as coming from its client."""
        if scope["type"] == "http" and self._believes(scope):
            headers: Headers = scope["headers"]
            scope.setdefault("state", {})[BY_PROXY] = True
            if client := self._client(headers):
                scope["client"] = (client, 0)
            said = _values(headers, b"x-forwarded-proto")
            if said and said[-1].lower() in {"http", "https"}:
                scope["scheme"] = said[-1].lower()
        await self._app(scope, receive, send)

    def _believes(self, scope: Scope) -> bool:
        client = scope.get("client")
        if not client or not client[0]:
            return self._local
        peer = _address(client[0])
        return peer is not None and self._trusts(peer)

    def _client(self, headers: Headers) -> str:
        """Return the address of the client, "" if the proxy names none."""
        client = ""
        for hop in reversed(_values(headers, b"x-forwarded-for")):
            address = _address(hop)
            if address is None:
                break
            client = str(address)
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


class AllowedHosts:
    """Answers only requests that were sent to one of our names. Probes come by address, and are answered."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        """Allow `hosts`, in lower case and without ports."""
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or raise `HTTPException` with 421."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            names = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(names) != 1 or _without_port(names[0]).lower() not in self._hosts:
                raise HTTPException(421)
        await self._app(scope, receive, send)


def _values(headers: Headers, wanted: bytes) -> list[str]:
    """Return the members of a list that may stand in several headers."""
    return list(_members(value for name, value in headers if name == wanted))


def _members(lines: Iterator[bytes]) -> Iterator[str]:
    for line in lines:
        for member in line.decode("latin-1").split(","):
            if stripped := member.strip():
                yield stripped


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a proxy wrote, which may have a port, or none if it is none."""
    try:
        address = ip_address(_without_port(text).strip("[]"))
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _without_port(text: str) -> str:
    found = _WITH_PORT.fullmatch(text)
    return found[1] if found else text
