"""Database URLs as people have them, and what our drivers and TLS need to know of them."""

import re
import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import parse_qsl, unquote, urlencode

from clarity.domain.errors import Misconfigured

# As SQLAlchemy reads a URL: the password reaches to the first "@", and may hold anything else.
_POSTGRESQL = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?:(?P<user>[^:/?@]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<hosts>[^/?@]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///(?P<path>[^?]+)")
_TRANSLATED = ("sslmode", "ssl", "sslrootcert", "sslcert", "sslkey", "application_name", "connect_timeout")
_PASSED_ON = ("host", "port", "target_session_attrs")
# What examples, images and tutorials set, and so what is tried first.
_TRIED_FIRST = {
    "admin",
    "changeme",
    "change-me",
    "clarity",
    "example",
    "password",
    "postgres",
    "root",
    "secret",
    "test",
}


class TlsMode(StrEnum):
    """How far a connection is protected, in the words of libpq. Only `verify-full` proves who answers."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """A database URL taken apart. `url` names the async driver and holds only parameters which that takes."""

    url: str = field(repr=False)
    dialect: str
    user: str = ""
    password: str = field(default="", repr=False)
    over_network: bool = False
    tls: TlsMode = TlsMode.PREFER
    root_certificate: str = ""
    certificate: str = ""
    key: str = ""
    application_name: str = ""
    connect_timeout_seconds: float | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take apart a URL of PostgreSQL or SQLite, for any driver, with TLS in the words of libpq or asyncpg.

        Raises `ValueError`, which does not quote it.
        """
        if sqlite := _SQLITE.fullmatch(url):
            if ":memory:" in sqlite["path"]:
                raise ValueError("connections cannot share a database in memory; name a file")
            return cls(url=f"sqlite+aiosqlite:///{sqlite['path']}", dialect="sqlite")
        if postgresql := _POSTGRESQL.fullmatch(url):
            return cls._postgresql(**postgresql.groupdict(default=""))
        raise ValueError("expected postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///PATH")

    @classmethod
    def _postgresql(cls, *, user: str, password: str, hosts: str, database: str, query: str) -> Self:
        parameters = parse_qsl(query, keep_blank_values=True)
        if any(name not in _TRANSLATED + _PASSED_ON for name, _ in parameters):
            # Not quoted: in a URL that was mangled, the name may be a part of the password.
            raise ValueError(f"has an unknown parameter; known are {', '.join(_TRANSLATED + _PASSED_ON)}")
        said = dict(parameters)
        passed_on = [(name, value) for name, value in parameters if name in _PASSED_ON]
        if unquote(hosts).startswith("/"):  # libpq writes the folder of a socket in the place of the host
            passed_on.append(("host", unquote(hosts)))
            hosts = ""
        every_host = [*filter(None, [hosts]), *(value for name, value in passed_on if name == "host")]
        login = f"{user}:{password}@" if password else f"{user}@" if user else ""
        return cls(
            url=f"postgresql+asyncpg://{login}{hosts}/{database}" + (f"?{urlencode(passed_on)}" if passed_on else ""),
            dialect="postgresql",
            user=unquote(user),
            password=unquote(password),
            over_network=bool(every_host) and not any(host.startswith("/") for host in every_host),
            tls=_tls_mode(said.get("sslmode") or said.get("ssl") or "prefer"),
            root_certificate=said.get("sslrootcert", ""),
            certificate=said.get("sslcert", ""),
            key=said.get("sslkey", ""),
            application_name=said.get("application_name", ""),
            connect_timeout_seconds=_seconds(said.get("connect_timeout") or None),
        )

    @property
    def verified(self) -> bool:
        """Whether TLS proves that the server is the one that is meant. There is no TLS over a socket in a folder."""
        return self.over_network and self.tls is TlsMode.VERIFY_FULL

    @property
    def guessable(self) -> bool:
        """Whether the password is one that everybody tries first."""
        return bool(self.password) and self.password.lower() in {*_TRIED_FIRST, self.user.lower()}

    def tls_context(self) -> ssl.SSLContext | str | None:
        """Return what asyncpg is to be told about TLS. Raises `Misconfigured` if a certificate cannot be read.

        As with libpq, `require` encrypts for whoever answers, unless a root certificate is named: then that
        must have signed.
        """
        if self.dialect == "sqlite":
            return None
        if self.tls in {TlsMode.DISABLE, TlsMode.ALLOW, TlsMode.PREFER}:
            return self.tls.value
        # "system" is libpq's word for the authorities that the operating system trusts.
        root = None if self.root_certificate == "system" else self.root_certificate or None
        try:
            context = ssl.create_default_context(cafile=root)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except OSError:  # also what `ssl` raises for a file that is no certificate
            raise Misconfigured("a TLS certificate or key of the database's address cannot be read") from None
        context.check_hostname = self.tls is TlsMode.VERIFY_FULL
        if self.tls is TlsMode.REQUIRE and root is None:
            context.verify_mode = ssl.CERT_NONE
        return context


def _tls_mode(value: str) -> TlsMode:
    try:
        return TlsMode("require" if value == "true" else value)
    except ValueError:
        raise ValueError(f"sslmode is one of {', '.join(TlsMode)}") from None


def _seconds(value: str | None) -> float | None:
    if value is not None and not (value.isascii() and value.isdigit()):
        raise ValueError("connect_timeout is a number of seconds")
    return float(value) if value else None
