"""CPU family `attention`: scores of a few query rows stay on the stack between the two products.

A workgroup owns a block of query rows of one head. It transposes that head's keys once, so that scores are computed
with keys side by side in vectors; then, for `rows` queries at a time: scores, whatever changes them (scale, mask, cap),
softmax, and the product with the values. Where the stack does not hold all keys, they are transposed a part at a time,
and again for every `rows` queries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from lumir.kernels.cpu.attention_places import AttentionPlaces
from lumir.kernels.cpu.attention_writer import AttentionWriter, padded
from lumir.kernels.cpu.function import cpu_kernel, too_many_lanes
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.push import result_paths
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import high, is_static, typical
from lumir.target import Target

STACK_BYTES = 4 << 20


@dataclass(frozen=True)
class AttentionSchedule(Schedule):
    """Args:
    rows: query rows of a register tile.
    block: query rows of a workgroup, a multiple of rows.
    lanes: keys side by side.
    value_lanes: value elements side by side; divides the value's head dimension.
    key_lanes: head-dimension elements side by side while keys are transposed; divides it.
    keys: keys transposed at a time, a multiple of lanes.
    """

    rows: int = 8
    block: int = 32
    lanes: int = 16
    value_lanes: int = 16
    key_lanes: int = 16
    keys: int = 1024


class AttentionFamily:
    name: ClassVar[str] = "attention"
    schedule: ClassVar[type[Schedule]] = AttentionSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        places = AttentionPlaces.of(dispatch)
        if places is None or 0 in places.sizes or dispatch.writes_packed:
            return False
        if not all(is_static(size) for size in places.sizes[-2:]):
            return False
        return result_paths(dispatch, places.space.second.result) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[AttentionSchedule]:
        places = _places(dispatch)
        *_, m, n, d, e = places.sizes
        m, n = typical(m), high(n)
        lanes = target.lanes(8 if "f64" in str(places.space.first.accumulator) else 4)
        for rows in (8, 4, 2, 1):
            for keys in (padded(n, lanes), 512):
                if (rows <= m or rows == 1) and keys <= padded(n, lanes):
                    yield AttentionSchedule(rows, max(rows, 64), lanes, _divisor(e, lanes), _divisor(d, lanes), keys)

    def legal(self, dispatch: Dispatch, schedule: AttentionSchedule, target: Target) -> list[str]:
        if reasons := too_many_lanes(schedule.lanes, schedule.value_lanes, schedule.key_lanes):
            return reasons
        *_, n, d, _e = map(high, _places(dispatch).sizes)
        needed = (d * schedule.keys + schedule.rows * padded(n, schedule.lanes)) * 8
        return (
            [f"keys and scores take {needed} bytes of stack, more than {STACK_BYTES}"] if needed > STACK_BYTES else []
        )

    def cost(self, dispatch: Dispatch, schedule: AttentionSchedule, target: Target) -> float:
        b, g, r, m, n, d, e = map(typical, _places(dispatch).sizes)
        tiles = b * g * r * -(-m // schedule.rows)
        once = schedule.keys >= high(_places(dispatch).sizes[4])
        transposed = b * g * r * (-(-m // schedule.block) if once else 4 * tiles)
        return (tiles * n * (d + e) * (schedule.rows + 2) + transposed * n * d) / schedule.lanes * 1e-9

    def emit(self, dispatch: Dispatch, schedule: AttentionSchedule, target: Target, name: str) -> KernelCode:
        places = _places(dispatch)
        b, g, r, m, *_ = places.sizes
        blocks = -(-m // schedule.block)
        with cpu_kernel(dispatch, name) as kernel:
            AttentionWriter(kernel, places, schedule, blocks).write()
        return KernelCode((b * g * r * blocks, 1, 1))


def _places(dispatch: Dispatch) -> AttentionPlaces:
    places = AttentionPlaces.of(dispatch)
    assert places is not None
    return places


def _divisor(size: int, lanes: int) -> int:
    while size % lanes:
        lanes //= 2
    return lanes
