"""A plan whose sizes the model computes itself: run up to each of them, read it, go on with what it says."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lumir.artifact.launches import Bind, Entry
from lumir.artifact.plan import Plan
from lumir.diagnostics import UserError
from lumir.runtime.inputs import Tensor
from lumir.runtime.session import Device, DeviceSession, LaunchResult

PREPARED = 32
"""Sessions that are kept, of all parts together."""


class PartedSession:
    """One plan on one device, in parts; each part has a session for every value of the sizes that were read before it.

    Parts share the arena and nothing else: the last one alone writes outputs.
    """

    def __init__(self, device: Device, plan: Plan):
        self._device, self._plan = device, plan
        self._parts = list(_parts(plan.launches))
        self._sessions: OrderedDict[tuple, DeviceSession] = OrderedDict()

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return self._last(inputs).run(inputs, outputs)

    def run_device(self, inputs: Sequence[Tensor]) -> list[Any]:
        return self._last(inputs).run_device(inputs)

    def run_each(self, inputs: Sequence[Tensor]) -> Iterator[LaunchResult]:
        binding: dict[str, int] = {}
        before = 0
        for number, (launches, bind) in enumerate(self._parts):
            session = self._session(number, binding)
            for result in session.run_each(inputs):
                yield replace(result, index=before + result.index)
            before += len(launches)
            if bind is not None:
                binding[bind.symbol] = self._checked(bind, session)

    def _last(self, inputs: Sequence[Tensor]) -> DeviceSession:
        """Run all parts but the last, whose session is returned."""
        binding: dict[str, int] = {}
        for number, (_, bind) in enumerate(self._parts[:-1]):
            session = self._session(number, binding)
            session.run(inputs, [])
            assert bind is not None, "every part but the last ends with a size"
            binding[bind.symbol] = self._checked(bind, session)
        return self._session(len(self._parts) - 1, binding)

    def _checked(self, bind: Bind, session: DeviceSession) -> int:
        value, symbol = session.read(bind.source), self._plan.ranges[bind.symbol]
        if not symbol.admits(value):
            raise UserError(
                f"the model computed {value} for {symbol.name}, which may be {symbol.low} to {symbol.high}",
                code="size-out-of-range",
                hint="its own arithmetic leaves the bounds that its shapes set: please report this with the model",
            )
        return value

    def _session(self, number: int, binding: Mapping[str, int]) -> DeviceSession:
        key = (number, *binding.items())
        if key not in self._sessions:
            last = number == len(self._parts) - 1
            part = replace(self._plan, launches=self._parts[number][0]).at(binding)
            self._sessions[key] = self._device.session(part if last else replace(part, outputs=()))
            if len(self._sessions) > PREPARED:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return self._sessions[key]


def _parts(entries: Sequence[Entry]) -> Iterator[tuple[tuple[Entry, ...], Bind | None]]:
    """The launches up to each size and that size; at last those that are left."""
    part: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Bind):
            yield tuple(part), entry
            part = []
        else:
            part.append(entry)
    yield tuple(part), None
