"""The kernel families of each kind of target, the most specific first."""

from lumir.diagnostics import InternalError
from lumir.extensions import load_extensions
from lumir.kernels.dispatch import Dispatch
from lumir.schedule.family import Family
from lumir.schedule.schedule import Schedule
from lumir.target import Target


def families(target: Target) -> list[Family]:
    """The families for a target, those of extensions first; the last one fits every dispatch."""
    if target.kind == "cpu":
        from lumir.kernels.cpu import FAMILIES
    else:
        from lumir.kernels.nvidia import FAMILIES
    return [*load_extensions().families, *FAMILIES]


def family_named(name: str, target: Target) -> Family:
    return next(family for family in families(target) if family.name == name)


def choose(dispatch: Dispatch, target: Target) -> tuple[Family, Schedule]:
    """The first family that matches, and the cheapest of its legal schedules.

    Raises:
        InternalError: no family has a legal schedule; the message lists what each rejected.
    """
    rejected: dict[str, str] = {}
    for family in families(target):
        if not (dispatch.is_static or getattr(family, "symbolic", False)) or not family.match(dispatch, target):
            continue
        ranked = sorted(family.space(dispatch, target), key=lambda s: family.cost(dispatch, s, target))
        for schedule in ranked:
            reasons = family.legal(dispatch, schedule, target)
            if not reasons:
                return family, schedule
            rejected[f"{family.name} {schedule}"] = "; ".join(reasons)
    raise InternalError(
        f"no schedule found for {dispatch.name}",
        code="no-schedule",
        node=str(dispatch.function.location),
        values=dict(list(rejected.items())[:8]),
    )
