"""What the API is told by whoever starts it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from ipaddress import IPv4Network, IPv6Network

from clarity.application.ports.telemetry import UNOBSERVED, RequestObserver

ROOT = "/api/v1"
"""Where everything begins that shows or changes something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """What may differ between practices. `today` returns the calendar day in the practice.

    `trusted_proxies` may say of others who they speak for; `trusts_local` is the same for peers of a Unix socket. With
    `secure` everybody comes by https, whatever the last part of their way. No `allowed_hosts` allow any.

    `observer` is told of every request. `figures` returns what Prometheus reads, given which checks of `/ready` hold,
    to whoever has `metrics_token`; without a token, to callers on the same machine.
    """

    today: Callable[[], date]
    title: str = "Clarity"
    max_body_bytes: int = 1_048_576
    max_concurrent_requests: int = 15
    max_waiting_requests: int = 30
    request_timeout_seconds: float = 30.0
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
    trusts_local: bool = False
    secure: bool = False
    allowed_hosts: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    observer: RequestObserver = UNOBSERVED
    figures: Callable[[Mapping[str, bool]], bytes] | None = None
    metrics_token: str = field(default="", repr=False)
