"""A pass that failed: which one, where in the pipeline, and every diagnostic that MLIR gave."""

from collections.abc import Sequence

from lumir.diagnostics import InternalError
from lumir.instrument.diagnostics import Diagnostic


class PassFailure(InternalError):
    """A pass emitted errors, or left invalid IR behind.

    `diagnostics` holds what was emitted, with locations; `pass_name` the pass.
    """

    default_code = "pass-failed"

    def __init__(self, message: str, *, pass_name: str, diagnostics: Sequence[Diagnostic], **fields):
        self.pass_name, self.diagnostics = pass_name, tuple(diagnostics)
        node = next((d.node for d in self.diagnostics if d.node), None)
        super().__init__(message, node=node, **fields)

    def render(self) -> str:
        return "\n".join([super().render(), *(d.render() for d in self.diagnostics)])
