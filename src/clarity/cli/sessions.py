"""`clarity session`: who is logged in where, and ending it. Acts as the operator."""

from typing import Annotated

import typer

from clarity.cli.accounts import known
from clarity.cli.me import sessions_table
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.terminal import note, results

app = typer.Typer(
    no_args_is_help=True,
    help="See and end the sessions of an account. Acts as the operator: the trail has your user name on this machine.",
)
Email = Annotated[str, typer.Argument(help="The e-mail address the account logs in with.", show_default=False)]


@app.command(name="list")
def list_(*, email: Email) -> None:
    """List where an account is logged in."""
    from clarity.bootstrap import operator

    settings = read_settings()
    with known(email):
        found = in_practice(settings, lambda services: services.open_sessions.list_of(operator(), email))
    if found:
        results().print(sessions_table(found, settings.practice_time_zone))
    else:
        note("The account is not logged in anywhere.")


@app.command()
def revoke(*, email: Email) -> None:
    """End every session of an account; the next request of each is refused."""
    from clarity.bootstrap import operator

    with known(email):
        ended = in_practice(read_settings(), lambda services: services.open_sessions.end_all_of(operator(), email))
    note(f"Ended {ended} {'session' if ended == 1 else 'sessions'}.")


def remove_second_factor(*, email: Email) -> None:
    """Take away the second factor of somebody who lost it, and end their sessions. First make sure who asks."""
    from clarity.bootstrap import operator

    with known(email):
        in_practice(read_settings(), lambda services: services.second_factors.remove_of(operator(), email))
    note(f"The account {email} logs in with its password alone, until it enrols another second factor.")
