"""Tuning: the fastest right schedule of a dispatch, as an entry of the tuning database."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from lumir.diagnostics import UserError
from lumir.kernels.families import families
from lumir.measure.bench import Case
from lumir.measure.kernel import Choice, key_of_text, model_choice, schedules_of
from lumir.measure.search import Outcome, Tell, pruned, search
from lumir.measure.workers import Workers
from lumir.schedule.tuning import Entry, version_of
from lumir.target import target_named

CHOICES = 128
"""How many schedules are measured at most, unless it is said."""


@dataclass(frozen=True)
class Tuned:
    """What tuning a dispatch gave.

    Args:
        key, entry: for the database.
        legal: how many legal schedules there are.
        model: what the cost model alone would choose.
    """

    key: str
    entry: Entry
    legal: int
    model: Choice
    outcome: Outcome


def tune(case: Case, arch: str, workers: Workers, most: int = CHOICES, tell: Tell | None = None) -> Tuned:
    """Search the schedules of every family that matches.

    Raises:
        UserError: `no-right-kernel`, where no schedule computes what the reference does.
    """
    text = case.reference.text
    legal, model = schedules_of(text, arch), model_choice(text, arch)
    choices = pruned(legal, most)
    if model not in choices:
        choices.append(model)
    outcome = search(case, arch, choices, workers, tell, keep=[model])
    if not outcome.ranked:
        failures: Mapping[str, object] = {str(choice): error.message for choice, error in outcome.failed[:6]}
        raise UserError("no schedule computes what the reference does", code="no-right-kernel", values=dict(failures))
    winner, by_model = outcome.ranked[0], outcome.of(model)
    versions = {family.name: version_of(family) for family in families(target_named(arch))}
    entry = Entry(
        dispatch=case.reference.summary,
        family=winner.choice.family,
        version=versions[winner.choice.family],
        schedule=dict(winner.choice.schedule),
        microseconds=round(winner.seconds * 1e6, 3),
        model_microseconds=round(by_model.seconds * 1e6, 3) if by_model else 0.0,
        choices=len(choices),
        error=float(f"{winner.error.relative:.3g}"),
        device=case.gpu.name,
        date=datetime.date.today().isoformat(),
    )
    return Tuned(key_of_text(text), entry, len(legal), model, outcome)
