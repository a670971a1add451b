"""Step 5: a family and a schedule for every dispatch."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lumir.diagnostics import LumirWarning, UserError
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.families import choose, families, takes
from lumir.mlir import ir
from lumir.module import dispatches, name_of, node_names
from lumir.schedule.family import Family
from lumir.schedule.schedule import Schedule
from lumir.schedule.tuning import databases, find, read_json
from lumir.target import Target, target_named


@dataclass(frozen=True)
class ChooseSchedules:
    """Choose for each dispatch a kernel family and one of its schedules; nothing is applied yet.

    What was measured comes before what the cost model says: a schedule given by hand, the user's tuning database, the
    one that ships, the cheapest by the model.

    Requires: dispatch functions in linalg.
    Guarantees: each carries `lumir.family` and `lumir.schedule`. One that carries them already keeps them.

        func.func private @dispatch_0(...) attributes {lumir.dispatch}
    ->  ... attributes {lumir.dispatch, lumir.family = "map", lumir.schedule = {lanes = 16, chunk = 4096, units = 4}}

    Args:
        tuning_db: a tuning database, or a folder of them by architecture; empty for none but the one that ships.
        schedules: a file with schedules by dispatch, as an artifact's `schedules.json`; empty for none.
    """

    target: str = "cpu"
    tuning_db: str = ""
    schedules: str = ""
    name: ClassVar[str] = "lumir-choose-schedules"

    def run(self, module: ir.Module) -> None:
        target = target_named(self.target)
        by_name = {family.name: family for family in reversed(families(target))}
        measured = databases(target, Path(self.tuning_db) if self.tuning_db else None)
        given = read_schedules(Path(self.schedules), [name_of(f) for f in dispatches(module)]) if self.schedules else {}
        for function in dispatches(module):
            if "lumir.family" in function.attributes:
                continue
            dispatch = Dispatch(function)
            if dispatch.name in given:
                family, schedule = _by_hand(dispatch, given[dispatch.name], by_name, target)
            else:
                found = find(function, by_name, measured)
                usable = _usable(dispatch, *found, target) if found else None
                family, schedule = usable or choose(dispatch, target)
            function.attributes["lumir.family"] = ir.StringAttr.get(family.name)
            function.attributes["lumir.schedule"] = schedule.to_attribute()


def read_schedules(path: Path, names: list[str]) -> dict[str, Any]:
    """Schedules by dispatch, from a file in the form of an artifact's `schedules.json`.

    Args:
        names: the dispatches there are.

    Raises:
        UserError: `unreadable`, `bad-schedules`; `unknown-dispatch` where there is none of a name.
    """
    data = read_json(path, "bad-schedules")
    if not isinstance(data, dict) or not all(map(_is_choice, data.values())):
        hint = 'write {"dispatch_0": {"family": "map", "schedule": {...}}}, as lumir-run --inspect prints it'
        raise UserError(f"{path} does not hold schedules by dispatch", code="bad-schedules", hint=hint)
    if unknown := sorted(set(data) - set(names)):
        raise UserError(
            f"{path} has schedules for {len(unknown)} dispatch(es) that the model does not have",
            code="unknown-dispatch",
            values={"unknown": ", ".join(unknown[:8]), "dispatches": ", ".join(names[:40])},
        )
    return data


def _is_choice(value: Any) -> bool:
    kinds = {"family": str, "schedule": dict}
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in kinds.items())


def _by_hand(
    dispatch: Dispatch, given: Mapping[str, Any], by_name: Mapping[str, Family], target: Target
) -> tuple[Family, Schedule]:
    family = by_name.get(given["family"])
    if family is None or not takes(family, dispatch, target):
        raise UserError(
            f"family {given['family']!r} cannot run {dispatch.name}",
            code="illegal-schedule",
            node=", ".join(node_names(dispatch.function.location)) or None,
            values={"families that can": ", ".join(f.name for f in by_name.values() if takes(f, dispatch, target))},
        )
    try:
        return family, _legal(dispatch, family, given["schedule"], target)
    except ValueError as error:
        raise UserError(
            f"the schedule given for {dispatch.name} cannot run: {error}",
            code="illegal-schedule",
            node=", ".join(node_names(dispatch.function.location)) or None,
            hint="leave the dispatch out to have a schedule chosen, or start from what lumir-run --inspect prints",
        ) from None


def _usable(
    dispatch: Dispatch, family: Family, values: Mapping[str, Any], target: Target
) -> tuple[Family, Schedule] | None:
    """A schedule of a database, unless the family does not take it any more: then with a warning."""
    try:
        return family, _legal(dispatch, family, values, target)
    except ValueError as error:
        message = f"the measured schedule of {dispatch.name} ({family.name}) is not used: {error}"
        warnings.warn(message, LumirWarning, stacklevel=2)
        return None


def _legal(dispatch: Dispatch, family: Family, values: Mapping[str, Any], target: Target) -> Schedule:
    """The family's schedule with these values.

    Raises:
        ValueError: why it cannot run.
    """
    if not takes(family, dispatch, target):
        raise ValueError("the family does not match")
    schedule = family.schedule.of(values)
    if reasons := family.legal(dispatch, schedule, target):
        raise ValueError("; ".join(reasons))
    return schedule
