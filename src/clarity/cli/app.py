"""Every command, and what `clarity --help` says. Nothing here loads an adapter, so that it answers at once."""

import inspect
import re
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from clarity import __version__
from clarity.cli import (
    access_report,
    accounts,
    amendments,
    appointments,
    audit,
    break_glass,
    chart_search,
    consents,
    credentials,
    demo,
    disclosures,
    doctor,
    duplicates,
    imports,
    interactions,
    keys,
    life,
    me,
    medications,
    migrate,
    notes,
    outbox,
    patients,
    policy,
    practitioners,
    research,
    serve,
    sessions,
)
from clarity.cli.endings import MEANING

_FIRST_STEPS = (
    "First steps: `clarity keys init`, `clarity migrate`, `clarity account add`, `clarity serve`; or `clarity demo` for"
    " all of them with made-up patients. `clarity doctor` says what is missing."
)
_SETTINGS = (
    "Settings come from the environment or a file .env, such as ASYNC_DATABASE_URI, KEY_ROOT and KEY_STORE;"
    " docs/operations.md lists them."
)
_STATUSES = "Exit status: " + "; ".join(f"{status.value} {meaning}" for status, meaning in MEANING.items()) + "."

app = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    # What a traceback shows may be patient content.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"{_FIRST_STEPS}\n\n{_SETTINGS}\n\n{_STATUSES}",
)


@app.callback()
def clarity(*, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Clarity: a clinical data backend for psychiatric care. Records are sealed, and every look at one is audited."""
    if version:
        typer.echo(f"clarity {__version__}")
        raise typer.Exit


app.command()(serve.serve)
app.command()(migrate.migrate)
app.command()(demo.demo)
app.command(name="import", epilog=imports.EXAMPLES)(imports.import_)
patients.app.add_typer(life.app)
patients.app.command(name="search-chart", epilog=chart_search.EXAMPLES)(chart_search.search_chart)
app.add_typer(patients.app, name="patient")
app.add_typer(appointments.app, name="appointment")
app.add_typer(notes.app, name="note")
app.add_typer(amendments.app, name="amendment")
app.add_typer(consents.app, name="consent")
app.add_typer(disclosures.app, name="disclosure")
app.add_typer(medications.app, name="medication")
app.add_typer(interactions.app, name="interaction")
app.add_typer(break_glass.app, name="break-glass")
app.add_typer(duplicates.app, name="duplicate")
app.add_typer(research.app, name="research")
accounts.app.command(name="remove-second-factor")(sessions.remove_second_factor)
audit.app.command(epilog=access_report.EXAMPLES)(access_report.report)
app.add_typer(practitioners.app, name="practitioner")
app.add_typer(accounts.app, name="account")
app.add_typer(audit.app, name="audit")
app.add_typer(outbox.app, name="outbox")
app.add_typer(credentials.app, name="credential")
app.add_typer(sessions.app, name="session")
app.add_typer(me.app, name="me")
app.add_typer(keys.app, name="keys")
app.add_typer(policy.app, name="policy")
app.command()(doctor.doctor)
app.command()(serve.openapi)


def command_line() -> TyperGroup:
    """Return every command, with its help in paragraphs that are as wide as the terminal, not as a source file."""
    group = get_group(app)
    _unwrap(group)
    return group


def _unwrap(command: TyperCommand | TyperGroup) -> None:
    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help or ""))
    for one in getattr(command, "commands", {}).values():
        _unwrap(one)
