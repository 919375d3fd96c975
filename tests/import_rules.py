"""A kind of import contract that `.importlinter` uses beside the built-in ones."""

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from typing_extensions import override


class ImportsOnly(Contract):
    """Some modules import the standard library, each other, what is listed in `also`, and nothing else.

    A list of what is forbidden would have to grow with every dependency; a list of what is allowed
    does not. `not_even` takes parts of the standard library away again.
    """

    # A field declares an option of the contract; on an instance it is the list that was configured.
    modules: Any = fields.ListField(subfield=fields.StringField())
    also: Any = fields.ListField(subfield=fields.StringField(), default=[])
    not_even: Any = fields.ListField(subfield=fields.StringField(), default=[])

    @override
    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find every import that leaves the allowed set."""
        own = {name for module in self.modules for name in {module, *graph.find_descendants(module)}}
        strays = sorted(
            (importer, imported)
            for importer in own
            for imported in graph.find_modules_directly_imported_by(importer)
            if imported not in own and not self._allows(imported)
        )
        return ContractCheck(kept=not strays, metadata={"strays": strays})

    @override
    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each stray import."""
        for importer, imported in check.metadata["strays"]:
            output.print_error(f"{importer} imports {imported}")

    def _allows(self, imported: str) -> bool:
        if any(imported == module or imported.startswith(f"{module}.") for module in self.also):
            return True
        root = imported.partition(".")[0]
        return root in sys.stdlib_module_names and root not in self.not_even
