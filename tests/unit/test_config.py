"""Settings are read from where operators put them, say what is wrong without repeating it, and refuse unsafe starts."""

import ssl
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from clarity.config import DatabaseAddress, Environment, Settings, TlsMode, load_settings
from clarity.domain.errors import Misconfigured
from tests.certificates import Authority

SECRET = "hunter2-b1f5e8"
APPLICATION = f"postgresql://clarity_app:{SECRET}@db.example/clarity?sslmode=verify-full"
OWNER = f"postgresql://clarity_owner:{SECRET}@db.example/clarity?sslmode=verify-full"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start with no setting at all, in a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        for variable in (name.upper(), f"{name.upper()}_FILE"):
            monkeypatch.delenv(variable, raising=False)


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


# Where settings come from


def test_nothing_has_to_be_set_for_development() -> None:
    settings = load_settings()
    assert settings.environment is Environment.DEVELOPMENT
    assert settings.database.url == "sqlite+aiosqlite:///clarity-data/clarity.db"
    assert (settings.key_root, settings.key_store) == ("file:clarity-data/root.key", "file:clarity-data/keys.json")
    assert (settings.db_pool_size, settings.db_max_overflow, settings.db_pool_timeout) == (15, 0, 30)
    assert (settings.db_pool_recycle, settings.retention_years, settings.access_token_ttl_seconds) == (1800, 10, 600)
    settings.check_start()


def test_everything_is_in_the_folder_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, DATA_DIR="/var/lib/clarity")
    assert settings.database.url == "sqlite+aiosqlite:////var/lib/clarity/clarity.db"
    assert settings.key_root == "file:/var/lib/clarity/root.key"
    assert settings.key_store == "file:/var/lib/clarity/keys.json"
    assert settings.search_snapshot_path == Path("/var/lib/clarity/search.snapshot")


def test_the_search_index_is_kept_in_a_file_or_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, SEARCH_SNAPSHOT="file:/run/names").search_snapshot_path == Path("/run/names")
    assert loaded(monkeypatch, SEARCH_SNAPSHOT="none").search_snapshot_path is None
    for wrong in ("/run/names", "file:", "nowhere"):
        with pytest.raises(Misconfigured, match="SEARCH_SNAPSHOT: expected file:PATH or none"):
            loaded(monkeypatch, SEARCH_SNAPSHOT=wrong)


def test_the_address_for_async_drivers_wins_and_migrations_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, DATABASE_URL="postgres://a@one/x")
    assert settings.database.url == settings.migration_database.url == "postgresql+asyncpg://a@one/x"
    settings = loaded(monkeypatch, ASYNC_DATABASE_URI="postgresql+asyncpg://b@two/x")
    assert settings.database.url == settings.migration_database.url == "postgresql+asyncpg://b@two/x"
    settings = loaded(monkeypatch, MIGRATION_DATABASE_URI="postgresql+psycopg2://c@three/x")
    assert settings.database.url == "postgresql+asyncpg://b@two/x"
    assert settings.migration_database.url == "postgresql+asyncpg://c@three/x"


def test_the_environment_wins_over_the_file_beside_it_and_both_over_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("db_app_role", "practice_region", "retention_years"):
        (secrets / name).write_text("7" if name == "retention_years" else "ZZ" if "region" in name else "from_secret\n")
    monkeypatch.setattr("clarity.config.settings._SECRETS", secrets)
    (tmp_path / ".env").write_text("DB_APP_ROLE=from_file\nPRACTICE_REGION=DE\nUNKNOWN=1\n")
    settings = loaded(monkeypatch, DB_APP_ROLE="from_environment")
    assert settings.db_app_role == "from_environment"
    assert settings.practice_region == "DE"
    assert settings.retention_years == 7


def test_any_setting_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "address").write_text(f"{APPLICATION}\n")
    (tmp_path / ".env").write_text(f"DB_POOL_SIZE_FILE={tmp_path}/size\nASYNC_DATABASE_URI_FILE=/nowhere\n")
    (tmp_path / "size").write_text("9\n")
    settings = loaded(monkeypatch, ASYNC_DATABASE_URI_FILE=str(tmp_path / "address"))
    assert settings.database.password == SECRET
    assert settings.db_pool_size == 9


def test_the_folder_of_secrets_may_be_another(tmp_path: Path) -> None:
    (tmp_path / "database_url").write_text(APPLICATION)
    assert Settings(_secrets_dir=tmp_path).database.password == SECRET


def test_a_value_and_a_file_with_another_are_too_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "address").write_text(APPLICATION)
    with pytest.raises(Misconfigured, match="DATABASE_URL and DATABASE_URL_FILE are both set"):
        loaded(monkeypatch, DATABASE_URL=APPLICATION, DATABASE_URL_FILE=str(tmp_path / "address"))


def test_a_file_that_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="DATABASE_URL_FILE: No such file"):
        loaded(monkeypatch, DATABASE_URL_FILE="/nowhere/at/all")


def test_a_file_that_is_no_text_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "address").write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match="not UTF-8"):
        loaded(monkeypatch, DATABASE_URL_FILE=str(tmp_path / "address"))


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, REDIS_URL="", DB_POOL_SIZE="", ASYNC_DATABASE_URI="")
    assert settings.redis_url is None
    assert settings.db_pool_size == 15
    assert settings.database.dialect == "sqlite"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().sql_echo = True  # type: ignore[misc]  # which is what is tested


# What is wrong with them


def test_every_mistake_is_named_at_once_and_none_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured) as refused:
        loaded(
            monkeypatch,
            ENVIRONMENT=SECRET,
            ASYNC_DATABASE_URI=f"mysql://root:{SECRET}@db/clarity",
            DATABASE_URL=f"postgresql://root:{SECRET}@db/clarity?sslmode={SECRET}",
            MIGRATION_DATABASE_URI=f"postgresql://root@db/clarity?{SECRET}=1",
            REDIS_URL=SECRET,
            DB_POOL_SIZE=SECRET,
            DB_APP_ROLE=f"{SECRET}; DROP",
            KEY_ROOT=SECRET,
            PRACTICE_TIME_ZONE=SECRET,
            PRACTICE_REGION=SECRET,
            DB_POOL_TIMEOUT="0",
            SQL_ECHO=SECRET,
        )
    said = str(refused.value)
    for name in (
        *("ENVIRONMENT", "ASYNC_DATABASE_URI", "DATABASE_URL", "MIGRATION_DATABASE_URI", "REDIS_URL", "DB_POOL_SIZE"),
        *("DB_APP_ROLE", "KEY_ROOT", "PRACTICE_TIME_ZONE", "PRACTICE_REGION", "DB_POOL_TIMEOUT", "SQL_ECHO"),
    ):
        assert f"{name}: " in said
    assert SECRET not in said
    # What is computed from the others is no mistake of anybody's.
    assert not [name for name in ("KEY_STORE", "SECOND_FACTOR", "DRAIN_SECONDS") if f"{name}: " in said]
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_no_mistake_is_repeated_to_who_makes_settings_in_code_either() -> None:
    with pytest.raises(ValueError, match="db_pool_size") as refused:
        Settings(db_pool_size=SECRET)  # type: ignore[arg-type]  # as text, as the environment has it
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("show", [repr, str, lambda settings: repr(settings.database), lambda s: repr(s.model_dump())])
def test_no_secret_is_in_a_repr(monkeypatch: pytest.MonkeyPatch, show: object) -> None:
    assert callable(show)
    settings = loaded(
        monkeypatch,
        ASYNC_DATABASE_URI=APPLICATION,
        DATABASE_URL=APPLICATION,
        MIGRATION_DATABASE_URI=OWNER,
        REDIS_URL=f"redis://:{SECRET}@cache/0",
    )
    assert SECRET not in show(settings)


def test_the_pin_of_a_hardware_module_is_not_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, KEY_ROOT=f"pkcs11:token=clarity?pin-value={SECRET}")
    assert SECRET not in repr(settings)
    assert settings.key_root.endswith(SECRET)


def test_time_zones_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, PRACTICE_TIME_ZONE="Europe/Berlin").practice_time_zone == ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "\x00"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no such time zone"):
        Settings(practice_time_zone=zone)  # type: ignore[arg-type]  # as text, as the environment has it


# What refuses a start


@pytest.fixture
def safe(tmp_path: Path) -> dict[str, str]:
    """Return what a practice sets in production."""
    for name in ("root.key", "keys.json"):
        (tmp_path / name).touch()
    return {
        "ENVIRONMENT": "production",
        "ASYNC_DATABASE_URI": APPLICATION,
        "MIGRATION_DATABASE_URI": OWNER,
        "DATA_DIR": str(tmp_path),
        "MAIL_URL": f"smtps://clarity:{SECRET}@mail.example",
        "PUBLIC_URL": "https://app.example/clarity",
    }


@pytest.mark.parametrize("environment", ["staging", "production", "Production"])
def test_what_is_safe_starts(monkeypatch: pytest.MonkeyPatch, safe: dict[str, str], environment: str) -> None:
    settings = loaded(monkeypatch, **safe | {"ENVIRONMENT": environment})
    settings.check_start()
    settings.check_migration()


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ASYNC_DATABASE_URI", "sqlite:///x.db", "ASYNC_DATABASE_URI: SQLite is for development"),
        ("ASYNC_DATABASE_URI", "", "ASYNC_DATABASE_URI: SQLite is for development"),
        *(
            ("ASYNC_DATABASE_URI", APPLICATION.replace("verify-full", mode), "TLS does not verify who answers")
            for mode in ("disable", "allow", "prefer", "require", "verify-ca")
        ),
        ("ASYNC_DATABASE_URI", APPLICATION.partition("?")[0], "TLS does not verify who answers"),
        ("ASYNC_DATABASE_URI", APPLICATION.replace("db.example", ""), "TLS does not verify who answers"),
        ("ASYNC_DATABASE_URI", APPLICATION + "&host=/run/postgresql", "TLS does not verify who answers"),
        ("ASYNC_DATABASE_URI", APPLICATION.replace("db.example", "%2Frun"), "TLS does not verify who answers"),
        ("ASYNC_DATABASE_URI", APPLICATION.replace(SECRET, "changeme"), "everybody tries first"),
        ("ASYNC_DATABASE_URI", APPLICATION.replace(SECRET, "Clarity_App"), "everybody tries first"),
        ("ASYNC_DATABASE_URI", OWNER, "the role is the one of MIGRATION_DATABASE_URI"),
        ("MIGRATION_DATABASE_URI", OWNER.replace("verify-full", "require"), "MIGRATION_DATABASE_URI: TLS does not"),
        ("MIGRATION_DATABASE_URI", OWNER.replace(SECRET, "postgres"), "MIGRATION_DATABASE_URI: the password"),
        ("DEBUG", "1", "DEBUG: turn it off"),
        ("SECOND_FACTOR", "optional", "SECOND_FACTOR: must be required"),
        ("SESSION_IDLE_MINUTES", "61", "SESSION_IDLE_MINUTES: at most 60"),
        ("SESSION_TTL_HOURS", "25", "SESSION_TTL_HOURS: at most 24"),
        ("MAIL_URL", "", "MAIL_URL: nobody reads a folder"),
        ("MAIL_URL", "folder:/var/mail", "MAIL_URL: nobody reads a folder"),
        ("PUBLIC_URL", "http://app.example", "PUBLIC_URL: the links in messages lead there"),
        ("SQL_ECHO", "true", "SQL_ECHO: turn it off"),
        ("KEY_ROOT", "file:/nowhere/root.key", "KEY_ROOT: there is no file /nowhere/root.key"),
        ("KEY_STORE", "file:/nowhere/keys.json", "KEY_STORE: there is no file /nowhere/keys.json"),
    ],
)
def test_what_is_unsafe_refuses_the_start(
    monkeypatch: pytest.MonkeyPatch, safe: dict[str, str], environment: str, variable: str, value: str, said: str
) -> None:
    settings = loaded(monkeypatch, **safe | {"ENVIRONMENT": environment, variable: value})
    with pytest.raises(Misconfigured, match=f"refused in {environment}") as refused:
        settings.check_start()
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
    loaded(monkeypatch, ENVIRONMENT="development").check_start()


@pytest.mark.parametrize(
    ("environment", "use"), [("development", "optional"), ("staging", "required"), ("production", "required")]
)
def test_a_second_factor_is_required_where_it_matters(
    monkeypatch: pytest.MonkeyPatch, environment: str, use: str
) -> None:
    assert loaded(monkeypatch, ENVIRONMENT=environment).second_factor == use
    assert loaded(monkeypatch, ENVIRONMENT=environment, SECOND_FACTOR="Required").second_factor == "required"
    with pytest.raises(Misconfigured, match="SECOND_FACTOR"):
        loaded(monkeypatch, SECOND_FACTOR="sometimes")


def test_every_reason_is_named_at_once(monkeypatch: pytest.MonkeyPatch, safe: dict[str, str]) -> None:
    settings = loaded(monkeypatch, **safe | {"DEBUG": "1", "SQL_ECHO": "1", "KEY_ROOT": "file:/nowhere"})
    with pytest.raises(Misconfigured) as refused:
        settings.check_start(["the role owns the tables"])
    assert all(part in str(refused.value) for part in ("DEBUG", "SQL_ECHO", "KEY_ROOT", "the role owns the tables"))


def test_what_only_a_connection_can_tell_refuses_the_start_too(
    monkeypatch: pytest.MonkeyPatch, safe: dict[str, str]
) -> None:
    with pytest.raises(Misconfigured, match="superuser"):
        loaded(monkeypatch, **safe).check_start(["the role is a superuser"])


def test_an_unsafe_connection_refuses_a_migration_that_needs_no_keys(
    monkeypatch: pytest.MonkeyPatch, safe: dict[str, str]
) -> None:
    loaded(monkeypatch, **safe | {"KEY_ROOT": "file:/nowhere"}).check_migration()
    with pytest.raises(Misconfigured, match="MIGRATION_DATABASE_URI: TLS"):
        loaded(monkeypatch, MIGRATION_DATABASE_URI=OWNER.replace("verify-full", "require")).check_migration()


def test_pythons_development_mode_refuses_the_start(safe: dict[str, str]) -> None:
    program = "from clarity.config import load_settings; load_settings().check_start()"
    for mode, status in (([], 0), (["-X", "dev"], 1)):
        run = subprocess.run(
            [sys.executable, *mode, "-c", program], env=safe, capture_output=True, text=True, check=False
        )
        assert run.returncode == status
        assert ("Python is in development mode" in run.stderr) is bool(status)


# Database addresses


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("postgres://u:p@h:6000/d", "postgresql+asyncpg://u:p@h:6000/d"),
        ("postgresql://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+psycopg2://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql+asyncpg://u:p%40%3F@h/d", "postgresql+asyncpg://u:p%40%3F@h/d"),
        ("postgresql://u:p?a/b#c:d@h/d?sslmode=require", "postgresql+asyncpg://u:p?a/b#c:d@h/d"),
        ("postgresql://u@%2Frun%2Fpostgresql/d", "postgresql+asyncpg://u@/d?host=%2Frun%2Fpostgresql"),
        ("postgresql:///d?host=/run&port=6000", "postgresql+asyncpg:///d?host=%2Frun&port=6000"),
        (
            "postgresql://u@h/d?host=a:1&host=b:2&target_session_attrs=read-write",
            "postgresql+asyncpg://u@h/d?host=a%3A1&host=b%3A2&target_session_attrs=read-write",
        ),
        ("postgresql://h/d?application_name=x&connect_timeout=3&ssl=true", "postgresql+asyncpg://h/d"),
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("sqlite+aiosqlite:////var/x.db", "sqlite+aiosqlite:////var/x.db"),
    ],
)
def test_an_address_for_any_driver_becomes_one_for_ours(given_url: str, url: str) -> None:
    assert DatabaseAddress.parse(given_url).url == url
    make_url(url)


def test_what_the_driver_does_not_take_in_an_address_stands_apart() -> None:
    address = DatabaseAddress.parse(
        "postgresql://u:p%40@h/d?sslmode=verify-ca&sslrootcert=/r&sslcert=/c&sslkey=/k&application_name=x&connect_timeout=3"
    )
    assert (address.user, address.password, address.tls) == ("u", "p@", TlsMode.VERIFY_CA)
    assert (address.root_certificate, address.certificate, address.key) == ("/r", "/c", "/k")
    assert (address.application_name, address.connect_timeout_seconds) == ("x", 3)


def test_an_authority_of_ones_own_may_be_named_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, ASYNC_DATABASE_URI=APPLICATION, DB_SSL_ROOT_CERT="/etc/root.pem")
    assert settings.database.root_certificate == "/etc/root.pem"
    settings = loaded(monkeypatch, ASYNC_DATABASE_URI=f"{APPLICATION}&sslrootcert=/other.pem")
    assert settings.database.root_certificate == "/other.pem"


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_password_is_the_one_the_driver_will_use(password: str) -> None:
    url = make_url("postgresql://u@h/d").set(password=password).render_as_string(hide_password=False)
    address = DatabaseAddress.parse(url)
    assert address.password == password
    assert make_url(address.url).password == password
    assert not address.over_network or make_url(address.url).host == "h"


@pytest.mark.parametrize(
    "url",
    [
        *("", "clarity.db", "mysql://h/d", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///x?mode=ro"),
        *("postgresql://u@v@h/d", "postgresql:/h/d", "postgresql://h/d?options=-c", "postgresql://h/d?sslmode=full"),
        *("postgresql://h/d?connect_timeout=soon", "postgresql://h/d?connect_timeout=-1", "postgresql://h/d?ssl=maybe"),
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(expected|has|sslmode|connect_timeout|connections)") as refused:
        DatabaseAddress.parse(url.replace("://h", f"://u:{SECRET}@h"))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("parameters", "mode", "check_hostname"),
    [
        ("sslmode=require", ssl.CERT_NONE, False),
        ("ssl=true", ssl.CERT_NONE, False),
        ("sslmode=require&sslrootcert=ROOT", ssl.CERT_REQUIRED, False),
        ("sslmode=verify-ca&sslrootcert=ROOT", ssl.CERT_REQUIRED, False),
        ("sslmode=verify-full&sslrootcert=ROOT", ssl.CERT_REQUIRED, True),
        ("sslmode=verify-full", ssl.CERT_REQUIRED, True),
        ("sslmode=verify-full&sslrootcert=system", ssl.CERT_REQUIRED, True),
    ],
)
def test_tls_verifies_what_the_mode_says(
    parameters: str, mode: ssl.VerifyMode, check_hostname: object, tmp_path: Path
) -> None:
    root = Authority.new().write(tmp_path / "root.pem")
    context = DatabaseAddress.parse(f"postgresql://h/d?{parameters.replace('ROOT', str(root))}").tls_context()
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is mode
    assert context.check_hostname is check_hostname


def test_who_is_believed_and_answered_is_a_list_of_exact_things(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8,fd00::/8, unix",
        ALLOWED_HOSTS="Clarity.Example.org, [::1]",
        CORS_ORIGINS="https://app.example.org, http://localhost:3000",
    )
    assert [str(network) for network in settings.proxies] == ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]
    assert settings.trusts_local
    assert settings.hosts == ("clarity.example.org", "[::1]")
    assert settings.origins == ("https://app.example.org", "http://localhost:3000")
    with pytest.raises(Misconfigured, match=r"CORS_ORIGINS: .* https origins"):
        loaded(monkeypatch, ENVIRONMENT="staging").check_start()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "proxy.example.org"),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", "https://clarity.example.org"),
        ("ALLOWED_HOSTS", "clarity.example.org:8000"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "https://*.example.org"),
        ("CORS_ORIGINS", "https://app.example.org/"),
        ("CORS_ORIGINS", "https://app.example.org:443"),
        ("CORS_ORIGINS", "https://App.example.org"),
        ("CORS_ORIGINS", "app.example.org"),
        ("DRAIN_SECONDS", "25"),
        ("MAX_CONCURRENT_REQUESTS", "0"),
        ("REQUEST_TIMEOUT_SECONDS", "0"),
    ],
)
def test_who_is_believed_is_never_everybody(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=name):
        loaded(monkeypatch, **{name: value})


def test_as_many_are_let_in_as_find_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, DB_POOL_SIZE="3", DB_MAX_OVERFLOW="1")
    assert (settings.max_concurrent_requests, settings.max_waiting_requests) == (4, 8)
    assert loaded(monkeypatch, MAX_CONCURRENT_REQUESTS="20").max_waiting_requests == 40
    assert loaded(monkeypatch, ENVIRONMENT="production").drain_seconds == 5
