"""The terminal: what is printed, what is asked, and how progress is shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

# What another program reads is not cut to the width of a terminal that is not there.
_WIDTH_OF_A_PIPE = 160

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much; 0 if that is not known."""


def results() -> Console:
    """Return what prints results: text as it stands, without colours where nobody could see them."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    return Console(width=width, markup=False, highlight=False, emoji=False)


def note(message: str) -> None:
    """Print a message beside the results, on standard error."""
    typer.echo(message, err=True)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show a bar on standard error, as long as it lasts and if that is a terminal."""
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    shown = Console(stderr=True, highlight=False)
    with bars.Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of or None)


def ask_secret(what: str) -> str:
    """Ask for something that is not shown as it is typed; where there is no terminal, read a line of standard input."""
    if sys.stdin.isatty():
        answer: str = typer.prompt(what, hide_input=True, err=True)
        return answer
    return read_line(what)


def ask_new_password() -> str:
    """Ask for a new password, twice, so that a slip is noticed."""
    if not sys.stdin.isatty():
        return read_line("password")
    answer: str = typer.prompt("New password", hide_input=True, confirmation_prompt="The same again", err=True)
    return answer


def read_line(what: str) -> str:
    """Read the next line of standard input."""
    line = sys.stdin.readline()
    if not line:
        raise typer.BadParameter(f"there is no terminal to ask for the {what} at, and no line on standard input")
    text = line.rstrip("\r\n")
    if not text:
        raise typer.BadParameter(f"the line of standard input for the {what} is empty")
    return text
