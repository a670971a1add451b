"""Step 3: which ops run in one launch."""

import heapq
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lumir.dispatch.fusion import POINTWISE, absorbs_consumer, absorbs_producer, is_root, short_name
from lumir.dispatch.group import Group
from lumir.dispatch.outline import outline
from lumir.dispatch.row_chain import Rows, row_chain
from lumir.dispatch.ways import DIRECT, Ways, few_enough, ways_into
from lumir.mlir import ir
from lumir.module import main_of

Value = ir.Value
LONGEST_CHAIN = 48
"""Ops of a group that read one another: a kernel is written by descending through them."""
LONGEST_RUN = 24
"""Ops that are looked at to find where the users of one value meet again."""


@dataclass(frozen=True)
class FormDispatches:
    """Group the ops of @main into dispatches: a root, element-wise consumers of its only result, and cheap producers.

    A root that reduces rows goes on with them as far as each row needs nothing but itself (`row_chain.py`).

    Args:
        bands: a contraction takes consumers that combine equal bands of its columns: the target has kernels for them.

    Requires: @main holds lumir ops on static shapes.
    Guarantees: @main holds only `lumir.load`, `lumir.bind`, `lumir.reshape` of a buffer, and calls of functions marked
    `lumir.dispatch`, in which every other op stands. Equal dispatches are one function.

        %0 = lumir.contract(%x, %w)               %0 = func.call @dispatch_0(%x, %w, %b)
        %1 = lumir.add(%0, %b)              ->
        %2 = lumir.erf(%1)
    """

    name: ClassVar[str] = "lumir-form-dispatches"
    bands: bool = False

    def run(self, module: ir.Module) -> None:
        main = main_of(module)
        grouping = Grouping(main.regions[0].blocks[0], self.bands)
        outline(module, main, [(group.ordered(), group.returned) for group in grouping.groups()])


class Grouping:
    """Assigns the ops of one block to groups."""

    def __init__(self, block: ir.Block, bands: bool = False):
        self.bands = bands
        self.ops = [op for op in block.operations if not op.operation.name.startswith("func.")]
        self.position = {op.operation: i for i, op in enumerate(self.ops)}
        self.users: list[list[ir.Operation]] = [
            [use.owner.operation for result in op.results for use in result.uses] for op in self.ops
        ]
        self.fixed = _fixed(self.ops)
        self.binds = any(op.operation.name == "lumir.bind" for op in self.ops)
        self.taken: set[ir.Operation] = set()
        self.members: dict[ir.Operation, list[Group]] = {}
        self.last_joint = 0
        """The place of the last op of a group that returns more than its result: what is read may come before it."""

    def groups(self) -> list[Group]:
        """Groups in the order of their tails.

        Every root takes its consumers before any takes producers: an op between two roots belongs to the first, which
        can then return it. What is left is grouped from its last op back.
        """
        roots = (op for op in self.ops if is_root(op) and self._users(op))
        found = [self._around_root(op) for op in roots if op.operation not in self.taken]
        for group in found:
            self._absorb_producers(group)
        for op in reversed(self.ops):
            if op.operation not in self.taken and short_name(op) in POINTWISE and self._is_read(op):
                if host := self._host_of(op):
                    host.returned.append(op.results[0])
                    self.last_joint = max(self.last_joint, self._at(host.tail))
                    self.taken.add(op.operation)
                    continue
                group = Group(op, op)
                self._take(group, op)
                self._absorb_producers(group)
                found.append(group)
        return sorted(found, key=lambda group: self._at(group.tail))

    def _at(self, op: ir.OpView | ir.Operation) -> int:
        return self.position[op.operation]

    def _users(self, op: ir.OpView | ir.Operation) -> list[ir.Operation]:
        return self.users[self._at(op)]

    def _is_read(self, op: ir.OpView) -> bool:
        """Someone reads its result from memory. A reshape that nobody absorbed is a view and needs no launch itself."""
        return short_name(op) != "reshape" and self._has_reader(op.operation)

    def _has_reader(self, op: ir.Operation) -> bool:
        for user in self._users(op):
            if user not in self.position or user.name == "lumir.bind":
                return True
            if any(self._at(op) not in group.ops for group in self.members.get(user, ())):
                return True
            if user not in self.taken and user.name == "lumir.reshape" and self._has_reader(user):
                return True
        return False

    def _add(self, group: Group, op: ir.OpView) -> None:
        group.ops[self._at(op)] = op
        self.members.setdefault(op.operation, []).append(group)

    def _take(self, group: Group, op: ir.OpView) -> None:
        self._add(group, op)
        self.taken.add(op.operation)

    def _around_root(self, root: ir.OpView) -> Group:
        group, runs = Group(root, root), [[root]]
        self._take(group, root)
        while len(group.ops) < LONGEST_CHAIN and (consumers := self._next_consumers(group)):
            for op in consumers:
                self._take(group, op)
            group.tail = consumers[-1]
            runs.append(consumers)
        self._end_in_integers(group, runs)
        self._go_on_with_rows(group)
        return group

    def _go_on_with_rows(self, group: Group) -> None:
        """Take what a root that reduces rows may do with them besides."""
        following = self.ops[self._at(group.root) + 1 :]
        free = self.position.keys() - self.taken if not self.binds else set()
        chain = row_chain(list(group.ops.values()), following, lambda op: op.operation in free)
        if chain is None or self._waits_for_itself(chain.ops):
            return
        for op in chain.ops:
            if self._at(op) not in group.ops:
                self._take(group, op)
        group.tail = max(chain.ops, key=self._at)
        group.returned = [value for value in chain.outputs if value.owner != group.tail.operation]
        self.last_joint = max(self.last_joint, self._at(group.tail))

    def _host_of(self, op: ir.OpView) -> Group | None:
        """A group around rows that computes an element-wise op anyway, and can return what others read of it."""
        for group in self.members.get(op.operation, ()):
            rows = Rows.of(group.root)
            if rows and rows.returns(op) and not self.binds and not self._comes_back(op, group):
                return group
        return None

    def _waits_for_itself(self, ops: Iterable[ir.OpView]) -> bool:
        """Whether one launch of these ops would read what is computed, by however many launches, from its results."""
        inside = set(map(self._at, ops))
        return self._reaches(inside, {at for i in inside for at in self._readers(i)} - inside)

    def _comes_back(self, op: ir.OpView, group: Group) -> bool:
        """Whether the group reads something that others compute from the op."""
        return self._reaches(group.ops.keys(), self._readers(self._at(op)) - group.ops.keys())

    def _reaches(self, places: Collection[int], start: Iterable[int]) -> bool:
        """Whether anything at these places waits for a start: all that a launch returns waits for all that it reads."""
        last = max(*places, self.last_joint)
        waiting = list(start)
        seen = set(waiting)
        while waiting:
            at = waiting.pop()
            if at in places:
                return True
            groups = self.members.get(self.ops[at].operation, ())
            ends = {at, *(self._at(op) for group in groups for op in group.ends)}
            further = {reader for end in ends for reader in self._readers(end) if reader <= last} - seen
            seen |= further
            waiting += further
        return False

    def _readers(self, at: int) -> set[int]:
        """The places of the ops that read a result of the one at a place."""
        return {self.position[op] for op in self.users[at] if op in self.position}

    def _end_in_integers(self, group: Group, runs: list[list[ir.OpView]]) -> None:
        """Leave a dequantisation at the end, and moves after it, to its readers: memory then holds the integers."""
        last = len(runs)
        while last > 1 and len(runs[last - 1]) == 1 and short_name(runs[last - 1][0]) in ("reshape", "transpose"):
            last -= 1
        if last == 1 or [short_name(op) for op in runs[last - 1]] != ["dequantize"] or self._is_returned(group.tail):
            return
        for (op,) in runs[last - 1 :]:
            del group.ops[self._at(op)]
            self.members[op.operation].remove(group)
            self.taken.remove(op.operation)
        group.tail = runs[last - 2][-1]

    def _is_returned(self, op: ir.OpView) -> bool:
        return any(user not in self.position for user in self._users(op))

    def _next_consumers(self, group: Group) -> list[ir.OpView]:
        """The shortest run of ops after the tail that takes in every user of the tail and again ends in one value."""
        if len(group.tail.results) != 1:
            return []
        run: dict[ir.Operation, ir.OpView] = {}
        waiting = sorted(set(self._users(group.tail)), key=lambda op: self.position.get(op, len(self.ops)))
        while waiting and len(run) < LONGEST_RUN:
            op = waiting.pop(0)
            if (
                op in self.taken
                or op not in self.position
                or op.name == "lumir.bind"
                or not absorbs_consumer(group.root, group.tail.results[0], op.opview, self.bands)
            ):
                return []
            run[op] = op.opview
            if not waiting and self._closes(group, run):
                return list(run.values())
            later = {*waiting, *(user for user in self._users(op) if user not in run)}
            waiting = sorted(later, key=lambda op: self.position.get(op, len(self.ops)))
        return []

    def _closes(self, group: Group, run: dict[ir.Operation, ir.OpView]) -> bool:
        """Only the run's last op is used outside it."""
        *inner, _ = run
        return all(user in run for op in (group.tail.operation, *inner) for user in self._users(op))

    def _absorb_producers(self, group: Group) -> None:
        """Take producers from the last one back, so that all readers of each are known when its turn comes."""
        ways: dict[int, Ways] = dict.fromkeys(group.ops, DIRECT)
        depth: dict[int, int] = dict.fromkeys(group.ops, len(group.ops))
        waiting = [-p for op in group.ops.values() for p in self._producers(op)]
        heapq.heapify(waiting)
        while waiting:
            position = -heapq.heappop(waiting)
            if position in group.ops:
                continue
            producer = self.ops[position]
            users = dict.fromkeys(self._at(user) for user in self._users(producer) if user in self.position)
            readers = [group.ops[at] for at in users if at in group.ops]
            found = ways_into(producer, [(op, self._at(op), ways[self._at(op)]) for op in readers])
            deep = 1 + max(depth[self._at(op)] for op in readers)
            fits = short_name(producer) == "constant" or (deep <= LONGEST_CHAIN and few_enough(producer, found))
            if fits and any(self._may_absorb(group, producer, reader) for reader in readers):
                self._add(group, producer)
                ways[position], depth[position] = found, deep
                for further in self._producers(producer):
                    heapq.heappush(waiting, -further)

    def _may_absorb(self, group: Group, producer: ir.OpView, reader: ir.OpView) -> bool:
        if short_name(producer) == "constant":
            return ir.DenseElementsAttr(producer.attributes["value"]).is_splat
        if producer.operation in self.taken:
            return False
        if producer.operation in self.fixed and short_name(producer) in POINTWISE:
            return True
        single_use = all(group in self.members.get(user, ()) for user in self._users(producer))
        return absorbs_producer(group.root, producer, single_use, reader)

    def _producers(self, op: ir.OpView) -> list[int]:
        """The positions of the ops that an op reads."""
        owners = [value.owner.operation for value in op.operands if not isinstance(value.owner, ir.Block)]
        return [self.position[owner] for owner in owners if owner in self.position]


def _fixed(ops: Sequence[ir.OpView]) -> set[ir.Operation]:
    """Ops that only weights and constants reach, and that are no weights themselves.

    They were left to run because their results take far more memory than what they are computed from: the real values
    of packed integers, say. So they are computed where they are read.
    """
    known: set[ir.Operation] = set()
    for op in ops:
        if short_name(op) in ("load", "constant") or (op.operands and all(v.owner in known for v in op.operands)):
            known.add(op.operation)
    return {op for op in known if short_name(op.opview) not in ("load", "constant")}
