"""What `lumir-compile` keeps of each step: its text in the dump folder, and the model's FLOPs."""

from pathlib import Path

from lumir.diagnostics import UserError
from lumir.mlir import ir
from lumir.pipelines.stages import STAGES
from lumir.plan.flops import flops
from lumir.step_files import portable_text, weights_in_memory
from lumir.weights import WeightStore

_NUMBERS = {stage.name: number for number, stage in enumerate(STAGES, 1)}


class Watch:
    """Called after each step of each profile.

    Args:
        folder: where to write `NN-step.mlir`, in `profile-N/` when there are several profiles; None for nowhere.

    Attributes:
        flops: of each profile; empty when no step with `lumir` ops was seen.
    """

    def __init__(self, folder: Path | None, profiles: int):
        self.flops: dict[int, int] = {}
        self._folders = [folder / f"profile-{i}" if profiles > 1 else folder for i in range(profiles)] if folder else []

    def after(self, step: str, number: int, module: ir.Module, store: WeightStore) -> None:
        if step in ("import", "graph", "dispatch"):
            self.flops[number] = flops(module)
        if self._folders:
            self._dump(self._folders[number], step, module, store)

    def _dump(self, folder: Path, step: str, module: ir.Module, store: WeightStore) -> None:
        name = f"{_NUMBERS[step]:02}-{step}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if weights_in_memory(module):
                store.spill(module, folder.resolve() / f"{name}.weights.bin")
            (folder / f"{name}.mlir").write_text(portable_text(module, store, folder))
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}", code="unwritable") from error
