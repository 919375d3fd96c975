"""The command line. Results go to standard output, everything else to standard error."""

from collections.abc import Sequence

from typer.main import get_command

from clarity.cli.app import app
from clarity.cli.endings import ending


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default the one this process was started with, and return its exit status."""
    with ending() as end:
        end.status = get_command(app).main(arguments, prog_name="clarity", standalone_mode=False) or 0
    return end.status
