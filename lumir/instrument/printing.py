"""Which IR is printed around which pass, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lumir.diagnostics import UserError

if TYPE_CHECKING:
    from lumir.mlir import ir


@dataclass(frozen=True)
class PrintIR:
    """The passes before and after which the module is printed, by pass name.

    `after_change` and `after_failure` narrow what is printed after a pass; alone they mean every pass.
    """

    before: Sequence[str] = ()
    after: Sequence[str] = ()
    before_all: bool = False
    after_all: bool = False
    after_change: bool = False
    after_failure: bool = False

    def wants_before(self, name: str) -> bool:
        return self.before_all or name in self.before

    def wants_after(self, name: str, *, failed: bool) -> bool:
        """Whether to print after the pass, leaving aside whether it changed anything."""
        if self.after_failure and not failed:
            return False
        selected = self.after_all or name in self.after
        return selected or (not self.after and (self.after_change or self.after_failure))

    def check(self, known: Sequence[str]) -> None:
        """Raise `UserError` (code `unknown-pass`) for a name that no pass of the pipeline has."""
        for name in (*self.before, *self.after):
            if name not in known:
                raise UserError(
                    f"the IR is to be printed around pass '{name}', which the pipeline does not have",
                    code="unknown-pass",
                    values={"passes": ", ".join(dict.fromkeys(known)) or "none"},
                )


def header(when: str, name: str) -> str:
    """The line that stands over printed IR: `when` is `Before`, `After` or `After ... Failed`."""
    failed = " Failed" if when == "Failed" else ""
    return f"// -----// IR Dump {'After' if failed else when} {name}{failed} //----- //"


def module_text(module: "ir.Module", *, locations: bool = False) -> str:
    """The module's text; invalid IR is printed in the generic form."""
    return module.operation.get_asm(enable_debug_info=locations)
