"""What commands are given, read from the words of a command line."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import typer

from clarity.cli.terminal import ask_secret
from clarity.domain.dates import PartialDate
from clarity.domain.dosages import Dose, DoseUnit, read_amount
from clarity.domain.errors import Invalid


def day(text: str) -> date:
    """Return the day that is meant."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a day such as 2026-03-13") from None


def partial_day(text: str) -> PartialDate:
    """Return the day, month or year that is meant."""
    try:
        return PartialDate.parse(text)
    except Invalid as exc:
        raise typer.BadParameter(exc.rule) from None


def instant(text: str, zone: ZoneInfo) -> datetime:
    """Return the instant that is meant; without an offset from UTC, by the clocks of the practice."""
    try:
        meant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be an instant such as 2026-03-13T20:15, or a day such as 2026-03-13") from None
    return meant if meant.tzinfo else meant.replace(tzinfo=zone)


def dose(text: str) -> Dose:
    """Return the dose that is meant: an amount and a unit."""
    amount, _, unit = text.strip().partition(" ")
    try:
        return Dose(value=read_amount(amount), unit=DoseUnit.written(unit))
    except Invalid as exc:
        raise typer.BadParameter(exc.rule) from None


def asked(text: str, what: str) -> str:
    """Return a text, after asking for it where a hyphen stands in its place."""
    return ask_secret(what) if text == "-" else text
