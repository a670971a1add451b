"""One dispatch as a kernel: from its text and a schedule to code, an entry and a plan that calls it once."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lumir.artifact.manifest import KernelEntry
from lumir.artifact.plan import Plan
from lumir.codegen.compile import CompileKernels
from lumir.context import make_context
from lumir.diagnostics import UserError
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.emit import EmitKernels, emit_kernel
from lumir.kernels.families import choose, families, family_named, is_contested
from lumir.linalg.lower import LowerToLinalg
from lumir.mlir import ir
from lumir.module import dispatches, name_of, record_symbols, symbols, symbols_in
from lumir.plan.buffers import AssignBuffers
from lumir.plan.launches import kernel_entries, plan_of
from lumir.schedule.choose import ChooseSchedules
from lumir.schedule.family import Family
from lumir.schedule.schedule import Schedule
from lumir.schedule.tuning import key_of
from lumir.size_text import declare
from lumir.target import Target, target_named


@dataclass(frozen=True)
class CompiledDispatch:
    """A dispatch that can be launched. Holds no IR: it can cross a process boundary.

    Args:
        text: the dispatch in lumir ops.
        family, schedule: what it was emitted with; the schedule as JSON.
        files: the code by the file name that the kernel entries use.
        plan: calls the dispatch once, from the plan's inputs to its outputs.
        seconds: what compiling took of a processor, from linalg to the code; neighbours on other cores hardly matter.
    """

    text: str
    arch: str
    family: str
    schedule: Mapping[str, Any]
    kernels: Mapping[str, KernelEntry]
    files: Mapping[str, bytes]
    plan: Plan
    seconds: float

    def at(self, binding: Mapping[str, int]) -> "CompiledDispatch":
        """The same code, called for given values of the dispatch's symbols."""
        return replace(self, plan=self.plan.at(binding))

    @property
    def ptx(self) -> str:
        """The code of a dispatch that is one kernel."""
        (file,) = self.files.values()
        return file.decode()

    @property
    def entry(self) -> KernelEntry:
        (entry,) = self.kernels.values()
        return entry


@dataclass(frozen=True)
class Choice:
    """A legal way to run a dispatch, and what its family's cost model says of it, in seconds."""

    family: str
    schedule: Mapping[str, Any]
    cost: float

    def __str__(self) -> str:
        return f"{self.family} {schedule_text(self.schedule)}"


def schedule_text(schedule: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in schedule.items())


def compile_dispatch(
    text: str,
    arch: str,
    family: str | Family | None = None,
    schedule: Schedule | Mapping[str, Any] | None = None,
    tuning_db: Path | None = None,
) -> CompiledDispatch:
    """Compile a dispatch.

    Args:
        text: a module with one function marked `lumir.dispatch`, in lumir ops.
        family: by default what the compiler chooses.
        schedule: by default the legal one that costs least.
        tuning_db: used besides the one that ships, where no family is given.

    Raises:
        UserError: `illegal-schedule`, with the reasons.
    """
    target, lowered = target_named(arch), _lowered(text)
    known = symbols_in(lowered.module)
    with lowered.context, ir.Location.unknown(), declare(known):
        start = time.process_time()
        module = _calling(dispatches(lowered.module)[0])
        record_symbols(module, known)
        if family is None:
            ChooseSchedules(target.name, str(tuning_db or "")).run(module)
            EmitKernels(target.name).run(module)
        else:
            family = family_named(family, target) if isinstance(family, str) else family
            _set_schedule(dispatches(module)[0], family, schedule, target)
            emit_kernel(dispatches(module)[0], target, family)
        CompileKernels(target.name).run(module)
        seconds = time.process_time() - start
        AssignBuffers().run(module)
        entries = kernel_entries(module)
        codes = {entries[name].file: _code(module, name) for name in entries}
        chosen = next(iter(entries.values()))
        return CompiledDispatch(text, arch, chosen.family, chosen.schedule, entries, codes, plan_of(module), seconds)


def schedules_of(text: str, arch: str) -> list[Choice]:
    """Every legal schedule of every family that matches, cheapest by cost model first; `map` only where it is alone, or
    those before it are contested."""
    target, lowered, found, settled = target_named(arch), _lowered(text), [], False
    with lowered.context, ir.Location.unknown():
        dispatch = Dispatch(dispatches(lowered.module)[0])
        for family in families(target):
            if (family.name == "map" and settled) or not family.match(dispatch, target):
                continue
            for schedule in family.space(dispatch, target):
                if not family.legal(dispatch, schedule, target):
                    found.append(Choice(family.name, vars(schedule), family.cost(dispatch, schedule, target)))
            settled = settled or (bool(found) and not is_contested(family, dispatch))
    return sorted(found, key=lambda choice: choice.cost)


def model_choice(text: str, arch: str) -> Choice:
    """What the compiler chooses where nothing was measured."""
    target, lowered = target_named(arch), _lowered(text)
    with lowered.context, ir.Location.unknown():
        dispatch = Dispatch(dispatches(lowered.module)[0])
        family, schedule = choose(dispatch, target)
        return Choice(family.name, vars(schedule), family.cost(dispatch, schedule, target))


def key_of_text(text: str) -> str:
    """The dispatch's key in tuning databases."""
    lowered = _lowered(text)
    with lowered.context:
        return key_of(dispatches(lowered.module)[0])


@dataclass(frozen=True)
class _Lowered:
    context: ir.Context
    module: ir.Module


@lru_cache(maxsize=8)
def _lowered(text: str) -> _Lowered:
    """The dispatch in linalg; a search asks for it with every schedule."""
    context = make_context()
    with context, ir.Location.unknown():
        module = ir.Module.parse(text)
        with declare(symbols_in(module)):
            LowerToLinalg().run(module)
        return _Lowered(context, module)


def _calling(function: ir.OpView) -> ir.Module:
    """A module with a copy of the dispatch, and a @main that hands its arguments to it."""
    module = ir.Module.create()
    type_ = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    with ir.InsertionPoint(module.body):
        dispatch = function.operation.clone()
        main = ir.Operation.create(
            "func.func",
            attributes={"sym_name": ir.StringAttr.get("main"), "function_type": ir.TypeAttr.get(type_)},
            regions=1,
        )
    block = main.regions[0].blocks.append(*type_.inputs)
    with ir.InsertionPoint(block):
        callee = ir.FlatSymbolRefAttr.get(name_of(dispatch))
        call = ir.Operation.create(
            "func.call", results=type_.results, operands=list(block.arguments), attributes={"callee": callee}
        )
        ir.Operation.create("func.return", operands=list(call.results))
    return module


def _set_schedule(
    function: ir.OpView, family: Family, schedule: Schedule | Mapping[str, Any] | None, target: Target
) -> None:
    dispatch = Dispatch(function)
    if not family.match(dispatch, target):
        raise UserError(f"family {family.name} does not match the dispatch", code="illegal-schedule")
    if schedule is None:
        legal = (s for s in family.space(dispatch, target) if not family.legal(dispatch, s, target))
        chosen = min(legal, key=lambda s: family.cost(dispatch, s, target))
    else:
        chosen = schedule if isinstance(schedule, Schedule) else family.schedule(**schedule)
        if reasons := family.legal(dispatch, chosen, target):
            raise UserError(f"{family.name} {chosen} is not legal: {'; '.join(reasons)}", code="illegal-schedule")
    function.attributes["lumir.family"] = ir.StringAttr.get(family.name)
    function.attributes["lumir.schedule"] = chosen.to_attribute()


def _code(module: ir.Module, name: str) -> bytes:
    return symbols(module)[f"{name}.kernel"].attributes["data"].value.encode()
