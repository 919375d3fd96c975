"""Every setting, where it is read from, and which of them make a start unsafe."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from clarity.config import callers
from clarity.config.addresses import DatabaseAddress
from clarity.domain.break_glass import DEFAULT_MINUTES, MAX_NAME
from clarity.domain.errors import Invalid, Misconfigured
from clarity.domain.practice_hours import PracticeHours

_SECRETS = Path("/run/secrets")


class Environment(StrEnum):
    """Where this runs. Everywhere but in development, what is unsafe refuses the start."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class LogFormat(StrEnum):
    """How lines of the log are written."""

    TEXT = "text"
    JSON = "json"


class SecondFactorUse(StrEnum):
    """Whether roles that need a second factor may do anything without one."""

    OPTIONAL = "optional"
    REQUIRED = "required"


# NIST SP 800-63B-4, 2.2.3, for two factors: at most an hour without activity, and at most a day in all.
_LONGEST_IDLE_MINUTES = 60
_LONGEST_SESSION_HOURS = 24


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _database_url(value: SecretStr) -> SecretStr:
    DatabaseAddress.parse(value.get_secret_value())
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    if not re.match(r"(rediss?|unix)://.", value.get_secret_value()):
        raise ValueError("expected redis://, rediss:// or unix://")
    return value


def _mail_url(value: SecretStr) -> SecretStr:
    if not re.match(r"(smtps?://.|folder:.)", value.get_secret_value()):
        raise ValueError("expected smtps://, smtp:// or folder:PATH")
    return value


def _public_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
        raise ValueError("expected https://HOST, and nothing behind the path")
    return value


def _search_snapshot(value: str) -> str:
    if not re.fullmatch(r"file:.+|none", value):
        raise ValueError("expected file:PATH or none")
    return value


def _token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]{16,}", value.get_secret_value()):
        raise ValueError("expected at least 16 characters of ASCII, without spaces")
    return value


def _collector(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError("expected http://HOST:4318 or https://…, without a password")
    return value


def _proxies(value: str) -> str:
    callers.trusted_proxies(value)
    return value


def _hosts(value: str) -> str:
    callers.allowed_hosts(value)
    return value


def _origins(value: str) -> str:
    callers.cors_origins(value)
    return value


def _time_zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no such time zone; expected a name like Europe/Berlin or America/New_York") from None


def _practice_hours(value: str) -> str:
    try:
        PracticeHours.parse(value)
    except Invalid as exc:
        raise ValueError(exc.rule) from None
    return value


DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]


class Settings(BaseSettings):
    """What an operator may set, each by the name of its field in capitals.

    `NAME_FILE` may name a file that holds the value instead, and `/run/secrets/name` may hold it, as containers
    like it. What is set in the environment wins over `.env`, and both win over files.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        # A value that breaks a rule may be a password in the wrong place.
        hide_input_in_errors=True,
    )

    environment: Annotated[Environment, BeforeValidator(_lower)] = Environment.DEVELOPMENT
    debug: bool = False
    data_dir: Path = Path("clarity-data")

    async_database_uri: DatabaseUrl | None = None
    database_url: DatabaseUrl | None = None
    migration_database_uri: DatabaseUrl | None = None
    db_app_role: str = Field("clarity_app", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    db_trail_guard: bool = True
    db_ssl_root_cert: Path | None = None
    db_pool_size: int = Field(15, ge=1)
    db_max_overflow: int = Field(0, ge=0)
    db_pool_timeout: float = Field(30, gt=0)
    db_pool_recycle: int = Field(1800, ge=1)
    db_statement_timeout_ms: int = Field(30_000, ge=0)
    db_transaction_timeout_ms: int = Field(60_000, ge=0)
    db_slow_statement_ms: int = Field(250, ge=0)
    db_long_transaction_ms: int = Field(1_000, ge=0)
    db_idle_in_transaction_timeout_ms: int = Field(60_000, ge=0)
    sql_echo: bool = False
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None

    # Kept out of `repr`, since the URI of a hardware module may hold its PIN.
    key_root: str = Field(
        default_factory=lambda given: f"file:{given['data_dir']}/root.key",
        pattern=r"^(file|pkcs11|awskms):.+",
        repr=False,
    )
    key_store: str = Field(
        default_factory=lambda given: f"file:{given['data_dir']}/keys.json", pattern=r"^\w+:.+", repr=False
    )

    search_snapshot: Annotated[str, AfterValidator(_search_snapshot)] = Field(
        default_factory=lambda given: f"file:{given['data_dir']}/search.snapshot"
    )

    practice_name: str = Field("this practice", pattern=r"\S", max_length=MAX_NAME)
    practice_time_zone: Annotated[ZoneInfo, BeforeValidator(_time_zone)] = ZoneInfo("UTC")
    practice_hours: Annotated[str, AfterValidator(_practice_hours)] = "mon-fri 07:00-20:00"
    practice_region: str = Field("US", pattern=r"^[A-Z]{2}$")
    retention_years: int = Field(10, ge=1)
    break_glass_minutes: int = Field(DEFAULT_MINUTES, ge=5, le=480)

    access_token_ttl_seconds: int = Field(600, ge=10, le=86_400)
    stolen_passwords: Path | None = None
    session_ttl_hours: int = Field(12, ge=1, le=8_760)
    session_idle_minutes: int = Field(30, ge=1, le=1_440)
    second_factor: Annotated[SecondFactorUse, BeforeValidator(_lower)] = Field(
        default_factory=lambda given: (
            SecondFactorUse.OPTIONAL
            if given.get("environment") is Environment.DEVELOPMENT
            else SecondFactorUse.REQUIRED
        )
    )
    public_url: Annotated[str, AfterValidator(_public_url)] = "http://localhost:8000"
    invitation_ttl_hours: int = Field(72, ge=1, le=720)
    reset_ttl_minutes: int = Field(30, ge=5, le=1_440)
    mail_url: Annotated[SecretStr, AfterValidator(_mail_url)] | None = None
    mail_from: str = Field("Clarity <clarity@localhost>", pattern=r"^[^\r\n<>]*<?[^\s@<>]+@[^\s@<>]+>?$")
    mail_ssl_root_cert: Path | None = None
    outbox_pause_seconds: float = Field(5, gt=0)
    audit_queue_size: int = Field(10_000, ge=1)
    audit_timeout_seconds: float = Field(5, gt=0)
    max_body_bytes: int = Field(1_048_576, ge=1_024)

    # As many as there are connections to the database: whoever is let in finds one free, and one that is open already,
    # since by default none is closed after its use.
    max_concurrent_requests: int = Field(
        default_factory=lambda given: given.get("db_pool_size", 15) + given.get("db_max_overflow", 0), ge=1
    )
    max_waiting_requests: int = Field(default_factory=lambda given: 2 * given.get("max_concurrent_requests", 15), ge=0)
    max_connections: int = Field(1_000, ge=1)
    request_timeout_seconds: float = Field(30, gt=0, le=3_600)
    keep_alive_seconds: float = Field(75, gt=0)
    drain_seconds: float = Field(
        default_factory=lambda given: 0 if given.get("environment") is Environment.DEVELOPMENT else 5, ge=0, le=20
    )
    requests_per_minute_of_account: int = Field(1_200, ge=0)
    requests_per_minute_from_address: int = Field(6_000, ge=0)
    trusted_proxies: Annotated[str, AfterValidator(_proxies)] | None = None
    allowed_hosts: Annotated[str, AfterValidator(_hosts)] | None = None
    cors_origins: Annotated[str, AfterValidator(_origins)] | None = None

    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = LogFormat.TEXT
    metrics_token: Annotated[SecretStr, AfterValidator(_token)] | None = None
    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(_collector)] | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the files behind the environment and `.env`."""
        sources = (
            init_settings,
            env_settings,
            dotenv_settings,
            _NamedFiles(settings_cls, env_settings, dotenv_settings),
        )
        if isinstance(file_secret_settings, SecretsSettingsSource) and file_secret_settings.secrets_dir is not None:
            return (*sources, file_secret_settings)
        # The library warns about a folder that is not there, and on most machines this one is not.
        return (*sources, SecretsSettingsSource(settings_cls, _SECRETS)) if _SECRETS.is_dir() else sources

    @property
    def database(self) -> DatabaseAddress:
        """Where the application connects; if nothing says it, an SQLite file in `data_dir`."""
        url = self.async_database_uri or self.database_url
        return self._address(url.get_secret_value() if url else f"sqlite:///{self.data_dir}/clarity.db")

    @property
    def migration_database(self) -> DatabaseAddress:
        """Where migrations connect, as the owner of the tables; if nothing says it, where the application does."""
        url = self.migration_database_uri
        return self._address(url.get_secret_value()) if url else self.database

    @property
    def mail_address(self) -> str:
        """Where messages go; if nothing says it, to a folder in `data_dir`."""
        return self.mail_url.get_secret_value() if self.mail_url else f"folder:{self.data_dir}/outbox"

    @property
    def search_snapshot_path(self) -> Path | None:
        """Where a server keeps its search index between two runs; nowhere if it is told so."""
        scheme, _, path = self.search_snapshot.partition(":")
        return Path(path) if scheme == "file" else None

    @property
    def proxies(self) -> tuple[callers.Network, ...]:
        """The networks of the proxies that are believed."""
        return callers.trusted_proxies(self.trusted_proxies or "")

    @property
    def trusts_local(self) -> bool:
        """Whether whoever comes through a Unix socket is such a proxy."""
        return callers.LOCAL in callers.members(self.trusted_proxies or "")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that the service goes by; none if it goes by any."""
        return callers.allowed_hosts(self.allowed_hosts or "")

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins whose pages may call the service."""
        return callers.cors_origins(self.cors_origins or "")

    def unhurried(self) -> Self:
        """Return these settings for a command that may take as long as it needs, as nobody's request waits for it."""
        return self.model_copy(update={"db_transaction_timeout_ms": 0, "db_long_transaction_ms": 0})

    def check_start(self, found: Sequence[str] = ()) -> None:
        """Refuse to start with `Misconfigured` that names every problem and what to do about it.

        `found` are further problems, which only a connection could tell. In development nothing is refused.
        """
        unsafe = [*self._unsafe_databases(), *self._unsafe_switches(), *self._unsafe_sessions(), *self._unsafe_mail()]
        unsafe += self._unsafe_origins()
        self._refuse([*unsafe, *self._missing_keys(), *found])

    def check_migration(self) -> None:
        """Refuse to migrate over an unsafe connection, as `check_start` does for the whole."""
        name = "MIGRATION_DATABASE_URI" if self.migration_database_uri else self._source
        self._refuse([*_unsafe_address(name, self.migration_database)])

    def _refuse(self, problems: Sequence[str]) -> None:
        if problems and self.environment is not Environment.DEVELOPMENT:
            raise Misconfigured(f"refused in {self.environment}: {'; '.join(problems)}")

    def _address(self, url: str) -> DatabaseAddress:
        address = DatabaseAddress.parse(url)
        if self.db_ssl_root_cert is None or address.root_certificate:
            return address
        return replace(address, root_certificate=str(self.db_ssl_root_cert))

    @property
    def _source(self) -> str:
        """The name of the setting that says where the application connects."""
        return "DATABASE_URL" if self.database_url and not self.async_database_uri else "ASYNC_DATABASE_URI"

    def _unsafe_databases(self) -> Iterator[str]:
        yield from _unsafe_address(self._source, self.database)
        if self.migration_database_uri:
            yield from _unsafe_address("MIGRATION_DATABASE_URI", self.migration_database)
            if self.database.user == self.migration_database.user:
                yield (
                    f"{self._source}: the role is the one of MIGRATION_DATABASE_URI, which owns the tables;"
                    f" connect as {self.db_app_role}"
                )

    def _unsafe_switches(self) -> Iterator[str]:
        if self.debug:
            yield "DEBUG: turn it off"
        if self.sql_echo:
            yield "SQL_ECHO: turn it off, since it logs every statement"
        if sys.flags.dev_mode:
            yield "Python is in development mode: start it without -X dev and PYTHONDEVMODE"

    def _unsafe_sessions(self) -> Iterator[str]:
        if self.second_factor is not SecondFactorUse.REQUIRED:
            yield "SECOND_FACTOR: must be required, since a password alone does not protect records"
        if self.session_idle_minutes > _LONGEST_IDLE_MINUTES:
            yield f"SESSION_IDLE_MINUTES: at most {_LONGEST_IDLE_MINUTES}"
        if self.session_ttl_hours > _LONGEST_SESSION_HOURS:
            yield f"SESSION_TTL_HOURS: at most {_LONGEST_SESSION_HOURS}"

    def _unsafe_mail(self) -> Iterator[str]:
        if self.mail_address.startswith("folder:"):
            yield "MAIL_URL: nobody reads a folder; set the address of a mail server, smtps://USER:PASSWORD@HOST"
        if not self.public_url.startswith("https://"):
            yield "PUBLIC_URL: the links in messages lead there, and whoever sees one may use it; set https://…"

    def _unsafe_origins(self) -> Iterator[str]:
        if any(origin.startswith("http://") for origin in self.origins):
            yield "CORS_ORIGINS: whoever is on the way could change a page that came by http; name https origins only"

    def _missing_keys(self) -> Iterator[str]:
        for name, place in (("KEY_ROOT", self.key_root), ("KEY_STORE", self.key_store)):
            scheme, _, path = place.partition(":")
            if scheme == "file" and not Path(path).is_file():
                yield f"{name}: there is no file {path}; name the right one, or make the keys with `clarity keys init`"


def load_settings() -> Settings:
    """Read the settings, or raise `Misconfigured` that names every setting which breaks a rule, but no value."""
    try:
        return Settings()
    except ValidationError as exc:
        problems = [
            f"{'.'.join(map(str, error['loc'])).upper()}: {error['msg'].removeprefix('Value error, ')}"
            for error in exc.errors(include_url=False, include_context=False, include_input=False)
            # What is computed from the others has no value while one of those is wrong, and is itself no mistake.
            if error["type"] != "default_factory_not_called"
        ]
        raise Misconfigured("; ".join(problems)) from None
    except UnicodeDecodeError:
        raise Misconfigured("a file with settings is not UTF-8") from None


def _unsafe_address(name: str, address: DatabaseAddress) -> Iterator[str]:
    if address.dialect == "sqlite":
        yield f"{name}: SQLite is for development; set the address of a PostgreSQL server"
        return
    if not address.verified:
        yield (
            f"{name}: TLS does not verify who answers; use a host name and sslmode=verify-full,"
            " with sslrootcert=PATH if your own authority signed"
        )
    if address.guessable:
        yield f"{name}: the password is one that everybody tries first; set another"


class _NamedFiles(PydanticBaseSettingsSource):
    """Values from the files that `NAME_FILE` names, in the environment or in `.env`."""

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables: dict[str, str | None] = {}
        for source in reversed(sources):
            if isinstance(source, EnvSettingsSource):
                self._variables.update(source.env_vars)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the file, without the line's end that editors leave."""
        del field
        path = self._variables.get(f"{field_name}_file")
        if not path:
            return None, field_name, False
        if self._variables.get(field_name):
            raise Misconfigured(f"{field_name.upper()} and {field_name.upper()}_FILE are both set; keep one")
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except OSError as exc:
            raise Misconfigured(f"{field_name.upper()}_FILE: {exc.strerror}") from None

    def __call__(self) -> dict[str, Any]:
        """Return the value of every setting that is in a file."""
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}
