"""`clarity audit`: who did what to whose record, for those who answer for it."""

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Read the audit trail: who saw whom, who did what. Every look at it is in the trail too.",
)
