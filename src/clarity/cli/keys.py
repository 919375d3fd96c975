"""`clarity keys`: the keys everything else is sealed under."""

import typer

from clarity.cli.practice import read_settings
from clarity.cli.terminal import note

app = typer.Typer(no_args_is_help=True, help="Make the keys that everything is sealed under.")


@app.command()
def init() -> None:
    """Make the key root and the key store where KEY_ROOT and KEY_STORE say. Never overwrites anything.

    A root that is there already, because you made it yourself, is used as it is.
    """
    from clarity.upkeep import make_keys

    made = make_keys(read_settings())
    note(f"Key root {made.root_id}: {made.root}{'' if made.root_is_new else ' (was there)'}")
    note(f"Key store:         {made.store}")
    note("Back up both now, apart from each other and from the database: without them nobody can read the records,")
    note("and whoever has all three can read everything.")
