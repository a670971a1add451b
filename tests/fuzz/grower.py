# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Growing a graph node by node. Each node is run by onnxruntime as it is added, so that values and types are known."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper

from tests.fuzz.conditioning import IllConditioned, errors_of
from tests.fuzz.exclusions import excluded
from tests.fuzz.oracle import InvalidNode, NodeRunner, NoKernel
from tests.fuzz.values import ANY, TAME, Array, Domain, Value, random_array

T = TypeVar("T")
DIMS = (2, 3, 1, 5, 4, 7, 8, 16, 17, 33)
LARGEST = 4096
GREATEST = {2: 2e3, 4: 1e6, 8: 1e8}
"""By the size of a float in bytes: a node whose result grows beyond this is not added."""


class NotAdded(Exception):
    """The node does not become part of the graph; the message says why."""


class Grower:
    """A graph under construction.

    Args:
        draw: hypothesis's draw function.
        opset: of ai.onnx.
        seed: of the elements of fresh values.
    """

    def __init__(self, draw: Callable[[st.SearchStrategy], Any], opset: int, seed: int):
        self.draw, self.opset, self.seed = draw, opset, seed
        self.values: list[Value] = []
        self.nodes: list[onnx.NodeProto] = []
        self.skipped: Counter[str] = Counter()

    def choose(self, options: Sequence[T]) -> T:
        """One of the options; shrinks towards the first."""
        return options[self.draw(st.integers(0, len(options) - 1))] if len(options) > 1 else options[0]

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high)) if high > low else low

    def flag(self, one_in: int = 2) -> bool:
        """True in one of so many cases; shrinks towards False."""
        return self.integer(0, one_in - 1) == one_in - 1

    def shape(self, low: int = 0, high: int = 4, largest: int = LARGEST, filled: bool = False) -> tuple[int, ...]:
        """A fresh shape of so many dimensions; one in thirty-two has a dimension of size 0, unless `filled`."""
        dims: list[int] = []
        for _ in range(self.integer(low, high)):
            room = largest // max(int(np.prod(dims)), 1)
            dims.append(self.choose([d for d in DIMS if d <= max(room, 1)]))
        if dims and not filled and self.flag(32):
            dims[self.integer(0, len(dims) - 1)] = 0
        return tuple(dims)

    def fresh(
        self, dtype: str, shape: Sequence[int], domain: Domain = TAME, kinds: Sequence[str] = ("input", "initializer")
    ) -> Value:
        """A value that the graph starts with."""
        rng = np.random.default_rng([self.seed, len(self.values)])
        edges = domain.special and self.flag(3)
        kind = self.choose((*kinds, "constant") if "initializer" in kinds and np.prod(shape) <= 64 else kinds)
        return self._keep(random_array(rng, dtype, tuple(shape), domain, edges), kind)

    def given(self, array: Any, dtype: str | None = None) -> Value:
        """An array as an initializer or an input, as drawn."""
        return self._keep(np.asarray(array, dtype), self.choose(("initializer", "input", "constant")))

    def fixed(self, array: Any, dtype: str = "int64") -> Value:
        """A parameter that is known at compile time."""
        return self._keep(np.asarray(array, dtype), self.choose(("initializer", "constant")), fixed=True)

    def _keep(self, array: Array, kind: str, fixed: bool = False) -> Value:
        prefix = {"input": "x", "initializer": "w", "constant": "c"}[kind]
        value = Value(f"{prefix}{len(self.values)}", array, None, kind, fixed)
        self.values.append(value)
        return value

    def pick(
        self,
        dtypes: Sequence[str] = ("float32",),
        rank: tuple[int, int] = (0, 4),
        domain: Domain = TAME,
        where: Callable[[Value], bool] = lambda value: True,
        shape: Callable[[], Sequence[int]] | None = None,
        filled: bool = False,
    ) -> Value:
        """A value of the graph that fits, or a fresh one.

        Args:
            where: what else must hold of a value of the graph.
            shape: draws the shape of a fresh value; by default any of a rank in `rank`.
            filled: whether it must have elements.
        """
        found = [
            v for v in self.values[-24:]
            if not v.fixed and v.dtype in dtypes and rank[0] <= v.rank <= rank[1] and (v.array.size or not filled)
            and where(v) and domain.holds(v.array)
        ]  # fmt: skip
        if found and self.integer(0, 4):
            return self.choose(found[::-1])
        dtype = self.choose([dtypes[0], dtypes[0], *dtypes])
        return self.fresh(dtype, shape() if shape else self.shape(*rank, filled=filled), domain)

    def like(self, dtype: str, shape: Sequence[int], domain: Domain = TAME) -> Value:
        """A value of exactly this type."""
        return self.pick((dtype,), (len(shape),) * 2, domain, lambda v: v.shape == tuple(shape), lambda: shape)

    def partner(self, value: Value, domain: Domain = TAME, dtype: str | None = None) -> Value:
        """A value that broadcasts with another one; of the same type unless `dtype` is given."""
        return self.pick(
            (dtype or value.dtype,), (0, 6), domain, lambda v: _broadcasts(v.shape, value.shape),
            lambda: self.broadcastable(value.shape),
        )  # fmt: skip

    def broadcastable(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts with another: equal, with dimensions of size 1, shorter, or longer."""
        if not self.flag():
            return tuple(shape)
        dims = [1 if d != 1 and self.flag(3) else d for d in shape]
        dims = dims[self.integer(0, len(dims)) :]
        small = int(np.prod(np.broadcast_shapes(tuple(dims), tuple(shape)))) * 3 <= LARGEST
        return (3, *dims) if small and len(dims) == len(shape) < 5 and self.flag(4) else tuple(dims)

    def add(
        self,
        op: str,
        inputs: Sequence[Value | None],
        outputs: int = 1,
        *,
        exact: bool = False,
        absolute: float = 0.0,
        domain: str = "",
        **attributes: Any,
    ) -> list[Value]:
        """Run a node and add it.

        Args:
            exact, absolute: see `conditioning.errors_of`.

        Raises:
            NotAdded: it is excluded, onnxruntime has no kernel for it, or its results are not worth comparing.
        """
        number = len(self.nodes)
        names = [f"r{number}_{i}" for i in range(outputs)]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        inputs = list(inputs)
        while inputs and inputs[-1] is None:
            inputs.pop()
        node = helper.make_node(
            op, [x.name if x else "" for x in inputs], names, name=f"{op}_{number}", domain=domain, **attributes
        )
        present = [x for x in inputs if x is not None]
        reason = excluded(node, inputs, self.opset)
        if reason:
            raise NotAdded(f"excluded: {reason}")
        results = self._run(node, inputs, present, exact, absolute)
        self.nodes.append(node)
        self.values += results
        return results

    def _run(
        self, node: onnx.NodeProto, inputs: Sequence[Value | None], present: list[Value], exact: bool, absolute: float
    ) -> list[Value]:
        types = ", ".join(sorted({x.dtype for x in present}))
        try:
            runner = NodeRunner(node, inputs, self.opset)
            arrays = runner.run()
            _check_sizes(arrays, all(np.isfinite(x.array).all() for x in present if x.array.dtype.kind == "f"))
            errors = errors_of(runner, present, arrays, exact, absolute)
        except NoKernel as error:
            raise NotAdded(f"onnxruntime has no kernel: {node.op_type}({types})") from error
        except InvalidNode as error:
            raise NotAdded(f"onnxruntime rejects: {node.op_type}({types}): {error}") from error
        except IllConditioned as error:
            raise NotAdded(f"ill-conditioned: {node.op_type}") from error
        return [Value(n, a, e) for n, a, e in zip(node.output, arrays, errors, strict=True)]


def _check_sizes(arrays: Sequence[Array], tame: bool) -> None:
    for array in arrays:
        if array.size > 4 * LARGEST:
            raise NotAdded("too large")
        if array.dtype.kind == "f" and array.size and tame:
            largest = np.abs(array).max()
            if not largest <= GREATEST[array.dtype.itemsize]:
                raise NotAdded("values grow too large")


def _broadcasts(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    try:
        return int(np.prod(np.broadcast_shapes(x, y))) <= LARGEST
    except ValueError:
        return False


__all__ = ["ANY", "TAME", "Domain", "Grower", "NotAdded"]
