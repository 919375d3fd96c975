"""Who calls the service over the network: proxies that are trusted, names it goes by, origins of pages."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

LOCAL = "unix"
"""The word for whoever comes through a Unix socket."""

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*{_LABEL}|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[^/:\s]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_OWN_PORT = {"https": "443", "http": "80"}


def members(text: str) -> Iterator[str]:
    """Yield what stands between the commas of a setting."""
    for member in text.split(","):
        if stripped := member.strip():
            yield stripped


def trusted_proxies(text: str) -> tuple[Network, ...]:
    """Return the networks in a setting. Raises `ValueError` that says what was expected."""
    networks = []
    for member in members(text):
        if member == LOCAL:
            continue
        try:
            network = ip_network(member)
        except ValueError:
            raise ValueError(f"expected addresses, networks such as 10.0.0.0/8, or {LOCAL}") from None
        if network.prefixlen == 0:
            raise ValueError("trusting everybody would let everybody say who they are; name the proxies")
        networks.append(network)
    return tuple(networks)


def allowed_hosts(text: str) -> tuple[str, ...]:
    """Return the names in a setting, in lower case. Raises `ValueError` that says what was expected."""
    hosts = tuple(member.lower() for member in members(text))
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError("expected names of hosts or addresses, without scheme and port")
    return hosts


def cors_origins(text: str) -> tuple[str, ...]:
    """Return the origins in a setting. Raises `ValueError` that says what was expected."""
    origins = tuple(members(text))
    for origin in origins:
        found = _ORIGIN.fullmatch(origin)
        if found is None or not _HOST.fullmatch(found["host"]) or found["port"] == _OWN_PORT[found["scheme"]]:
            raise ValueError(
                "expected exact origins as browsers write them, https://HOST or https://HOST:PORT, never *"
            )
    return origins
