"""Tuning: the fastest right schedule of a dispatch, as an entry of the tuning database."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from lumir.diagnostics import UserError
from lumir.kernels.families import families
from lumir.measure.bench import Case
from lumir.measure.kernel import Choice, CompiledDispatch, key_of_text, model_choice, schedules_of
from lumir.measure.operands import random_inputs
from lumir.measure.reference import Reference
from lumir.measure.search import Outcome, Tell, pruned, search
from lumir.measure.workers import Workers
from lumir.schedule.tuning import Entry, version_of
from lumir.target import target_named

CHOICES = 128
"""How many schedules are measured at most, unless it is said."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured for a dispatch.

    Args:
        key: of the dispatch in tuning databases.
        legal: how many legal schedules there are.
        model: what the cost model alone would choose.
        choices: those to measure, with the model's.
        expected: the results for the inputs of seed 0.
    """

    text: str
    arch: str
    key: str
    legal: int
    model: Choice
    choices: list[Choice]
    expected: list[np.ndarray]


def plan(text: str, arch: str, most: int = CHOICES, known: Collection[str] = ()) -> Plan | None:
    """Ask every family that matches for its schedules; leave out what the cost model expects to be slow.

    Takes a processor's time alone, so that it can be done while something else is measured.

    Args:
        known: keys of dispatches that have been tuned; None is returned for them.
    """
    if (key := key_of_text(text)) in known:
        return None
    legal, model, reference = schedules_of(text, arch), model_choice(text, arch), Reference(text)
    choices = pruned(legal, most)
    choices += [model] * (model not in choices)
    expected = reference.evaluate(random_inputs(reference.inputs, 0))
    return Plan(text, arch, key, len(legal), model, choices, expected)


def current_keys(entries: Mapping[str, Entry], arch: str) -> set[str]:
    """The dispatches whose entry counts: families that have changed since are tuned anew."""
    versions = _versions(arch)
    return {key for key, entry in entries.items() if versions.get(entry.family) == entry.version}


def _versions(arch: str) -> dict[str, int]:
    return {family.name: version_of(family) for family in families(target_named(arch))}


Compiling = Sequence[tuple[Choice, Future[CompiledDispatch]]]


def compile_all(todo: Plan, workers: Workers) -> Compiling:
    """Have the workers compile a plan's kernels, after those of earlier plans."""
    return [(choice, workers.compile(todo.text, todo.arch, choice)) for choice in todo.choices]


@dataclass(frozen=True)
class Tuned:
    """What tuning a dispatch gave."""

    plan: Plan
    entry: Entry
    outcome: Outcome


def tune(case: Case, todo: Plan, compiling: Compiling, tell: Tell | None = None) -> Tuned:
    """Measure a plan's kernels.

    Raises:
        UserError: `no-right-kernel`, where none computes what the reference does.
    """
    case.expected = todo.expected
    outcome = search(case, compiling, tell, keep=[todo.model])
    if not outcome.ranked:
        failures: Mapping[str, object] = {str(choice): error.message for choice, error in outcome.failed[:6]}
        raise UserError("no schedule computes what the reference does", code="no-right-kernel", values=dict(failures))
    winner, by_model = outcome.ranked[0], outcome.of(todo.model)
    entry = Entry(
        dispatch=case.reference.summary,
        family=winner.choice.family,
        version=_versions(todo.arch)[winner.choice.family],
        schedule=dict(winner.choice.schedule),
        microseconds=round(winner.seconds * 1e6, 3),
        model_microseconds=round(by_model.seconds * 1e6, 3) if by_model else 0.0,
        choices=len(todo.choices),
        error=float(f"{winner.error.relative:.3g}"),
        device=case.gpu.name,
        date=datetime.date.today().isoformat(),
    )
    return Tuned(todo, entry, outcome)
