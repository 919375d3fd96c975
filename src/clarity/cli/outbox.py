"""`clarity outbox`: the messages that wait to be sent. Acts as the operator."""

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from clarity.application.outbox import Delivered
from clarity.application.pages import MAX_PAGE
from clarity.application.services import Services
from clarity.cli.practice import in_practice, read_settings
from clarity.cli.rendering import as_json
from clarity.cli.terminal import note, results
from clarity.domain.errors import Undeliverable
from clarity.domain.messages import Posted

app = typer.Typer(
    no_args_is_help=True,
    help="See and send the messages to the holders of accounts. A running server sends them by itself.",
)


@app.command()
def deliver() -> None:
    """Send every message that is due, and say how that went. Fails if one could not be sent."""
    from clarity.bootstrap import operator

    async def send(services: Services) -> Delivered:
        return await services.outbox.deliver(operator())

    done = in_practice(read_settings(), send)
    note(f"{done.sent} sent, {done.postponed} to be tried again, {done.given_up} given up.")
    if done.postponed:
        raise Undeliverable("the mail server did not take every message; check MAIL_URL, and see `clarity outbox list`")


@app.command(name="list")
def list_(
    *,
    unsent: Annotated[bool, typer.Option("--unsent", help="Only those that were not sent.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="How many at most.")] = 50,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List messages, the newest first: to which account, about what, and whether they were sent. Not what they say."""
    from clarity.bootstrap import operator

    async def found(services: Services) -> tuple[Posted, ...]:
        return await services.outbox.list(operator(), at_most=limit, unsent=unsent)

    messages = in_practice(read_settings(), found)
    if as_json_:
        typer.echo(as_json([_plain(posted) for posted in messages]))
    elif messages:
        results().print(_table(messages))
    else:
        note("There is no message.")


def _plain(posted: Posted) -> dict[str, object]:
    return {
        "id": posted.id,
        "account": posted.message.to,
        "kind": str(posted.message.kind),
        "created_at": posted.created_at,
        "state": _state(posted),
        "attempts": posted.attempts,
        "due_at": posted.due_at if _state(posted) == "waiting" else None,
        "sent_at": posted.sent_at,
    }


def _table(messages: tuple[Posted, ...]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("Made (UTC)", "Account", "About", "State", "Attempts"):
        table.add_column(title, overflow="fold")
    for posted in messages:
        made = f"{posted.created_at:%Y-%m-%d %H:%M}"
        table.add_row(made, str(posted.message.to), posted.message.kind, _state(posted), str(posted.attempts))
    return table


def _state(posted: Posted) -> str:
    if posted.sent_at is not None:
        return "sent"
    return "given up" if posted.given_up else "waiting"
