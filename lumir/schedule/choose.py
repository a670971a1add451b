"""Step 5: a family and a schedule for every dispatch."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.kernels.dispatch import Dispatch
from lumir.kernels.families import choose
from lumir.mlir import ir
from lumir.module import dispatches
from lumir.target import target_named


@dataclass(frozen=True)
class ChooseSchedules:
    """Choose for each dispatch a kernel family and one of its schedules; nothing is applied yet.

    Requires: dispatch functions in linalg.
    Guarantees: each carries `lumir.family` and `lumir.schedule`. One that carries them already keeps them.

        func.func private @dispatch_0(...) attributes {lumir.dispatch}
    ->  ... attributes {lumir.dispatch, lumir.family = "map", lumir.schedule = {lanes = 16, chunk = 4096, units = 4}}
    """

    target: str = "cpu"
    name: ClassVar[str] = "lumir-choose-schedules"

    def run(self, module: ir.Module) -> None:
        target = target_named(self.target)
        for function in dispatches(module):
            if "lumir.family" in function.attributes:
                continue
            family, schedule = choose(Dispatch(function), target)
            function.attributes["lumir.family"] = ir.StringAttr.get(family.name)
            function.attributes["lumir.schedule"] = schedule.to_attribute()
