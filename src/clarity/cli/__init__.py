"""The command line. Results go to standard output, everything else to standard error."""

from collections.abc import Sequence

from clarity.cli.app import command_line
from clarity.cli.endings import ending
from clarity.cli.memory import keep_to_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default the one this process was started with, and return its exit status."""
    if arguments is None:  # or the process is not ours
        keep_to_memory()
    with ending() as end:
        end.status = command_line().main(arguments, prog_name="clarity", standalone_mode=False) or 0
    return end.status
