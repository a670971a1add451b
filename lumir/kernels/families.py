"""The kernel families of each kind of target, the most specific first."""

from lumir.diagnostics import UnsupportedError
from lumir.extensions import load_extensions
from lumir.kernels.dispatch import Dispatch
from lumir.module import node_names
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


MODELS_DIFFER = 0.9
"""Cost models of two families agree to about a tenth: the more general one must be expected to be faster by more."""


def choose(dispatch: Dispatch, target: Target) -> tuple[Family, Schedule]:
    """The cheapest of what the families that match have to offer; the last family's only where nothing else is legal,
    or what is contested.

    Raises:
        UnsupportedError: no family has a legal schedule; the message says why of each.
    """
    rejected: dict[str, str] = {}
    best: tuple[float, Family, Schedule] | None = None
    *specific, general = families(target)
    for family in (*specific, general):
        settled = best is not None and family is general and not is_contested(best[1], dispatch)
        if settled or not takes(family, dispatch, target):
            continue
        found = _cheapest(family, dispatch, target, rejected)
        if found and (best is None or found[0] < MODELS_DIFFER * best[0]):
            best = (found[0], family, found[1])
    if best:
        return best[1:]
    raise UnsupportedError(
        f"no kernel of {target} can compute {dispatch.name}",
        code="no-schedule",
        node=", ".join(node_names(dispatch.function.location)) or None,
        values={f"of family {name}": reasons for name, reasons in rejected.items()},
        hint="give a smaller size or a narrower range with --dim, or ranges of their own with several --profile",
    )


def is_contested(family: Family, dispatch: Dispatch) -> bool:
    """Whether even the general family may be faster on the dispatch."""
    contested = getattr(family, "contested", None)
    return contested is not None and contested(dispatch)


def takes(family: Family, dispatch: Dispatch, target: Target) -> bool:
    """Whether a family can run a dispatch, its sizes considered."""
    return (dispatch.is_static or getattr(family, "symbolic", False)) and family.match(dispatch, target)


def _cheapest(
    family: Family, dispatch: Dispatch, target: Target, rejected: dict[str, str]
) -> tuple[float, Schedule] | None:
    """The cheapest legal schedule and its cost; why the one that would be cheapest cannot run goes into `rejected`."""
    costs = [(family.cost(dispatch, schedule, target), schedule) for schedule in family.space(dispatch, target)]
    for cost, schedule in sorted(costs, key=lambda pair: pair[0]):
        reasons = family.legal(dispatch, schedule, target)
        if not reasons:
            return cost, schedule
        rejected.setdefault(family.name, "; ".join(reasons))
    return None
