"""Random functions of lumir ops, dense with what graph passes look for."""

from collections.abc import Callable

import numpy as np
from graph_helpers import Case, scalar

from lumir.dialects import build
from lumir.dialects.base import broadcast
from lumir.dialects.constants import constant
from lumir.dtypes import mlir_type
from lumir.mlir import ir

Value = ir.Value


class Generator:
    """Builds `count` random ops over float32 values, some bools and integers; returns the last ones."""

    def __init__(self, seed: int, count: int):
        self.rng, self.count, self.floats, self.weights = np.random.default_rng(seed), count, [], 0

    def case(self) -> Case:
        shapes = [(2, 3, 4), (4, 6), (1, 4), (3, 1, 2)]
        return Case(self.body, *(np.zeros(s, np.float32) for s in shapes), seed=int(self.rng.integers(1 << 30)))

    def body(self, case: Case, *arguments: Value) -> list[Value]:
        self.floats = list(arguments)
        makers: list[Callable[[Case], Value]] = [
            self.with_number, self.with_number, self.unary, self.binary, self.binary, self.reshape, self.reshape,
            self.transpose, self.transpose, self.slice, self.concat, self.broadcast, self.cast, self.select,
            self.reduce, self.contract, self.weight, self.normalized, self.softmaxed, self.gather, self.pad,
        ]  # fmt: skip
        for _ in range(self.count):
            value = self.rng.choice(makers)(case)  # pyright: ignore[reportArgumentType, reportCallIssue]
            if np.prod(value.type.shape) <= 2000:
                self.floats.append(value)
        return self.floats[-6:]

    def some(self) -> Value:
        return self.floats[int(self.rng.integers(max(0, len(self.floats) - 12), len(self.floats)))]

    def with_number(self, _) -> Value:
        name = str(self.rng.choice(["add", "sub", "mul", "div", "max", "min", "pow"]))
        number = float(
            self.rng.choice([1, 2, 3] if name in ("div", "pow") else [0, 1, -1, 0.5, 2, -np.inf][: 5 + (name == "max")])
        )
        x = build("tanh", self.some()) if name == "pow" else self.some()
        return build(name, x, scalar(number))

    def unary(self, _) -> Value:
        return build(str(self.rng.choice(["tanh", "neg", "abs", "sigmoid", "sign"])), self.some())

    def binary(self, _) -> Value:
        x, y = self.some(), self.some()
        try:
            broadcast(tuple(x.type.shape), tuple(y.type.shape))
        except ValueError:
            y = x
        return build(str(self.rng.choice(["add", "sub", "mul", "max", "min"])), build("tanh", x), y)

    def reshape(self, _) -> Value:
        x = self.some()
        size, dims = int(np.prod(x.type.shape)), []
        while size > 1 and len(dims) < 3:
            factor = int(self.rng.choice([d for d in range(1, size + 1) if size % d == 0]))
            dims, size = [*dims, factor], size // factor
        return build("reshape", x, shape=[*dims, size])

    def transpose(self, _) -> Value:
        x = self.some()
        return build("transpose", x, permutation=[int(i) for i in self.rng.permutation(len(x.type.shape))])

    def slice(self, _) -> Value:
        x = self.some()
        starts, sizes, steps = [], [], []
        for d in x.type.shape:
            step = int(self.rng.choice([1, 1, 2, -1]))
            size = int(self.rng.integers(1, d + 1)) if abs(step) == 1 else (d + 1) // 2
            starts.append(int(self.rng.integers(0, d - size + 1)) if step == 1 else (d - 1 if step < 0 else 0))
            sizes.append(size)
            steps.append(step)
        return build("slice", x, starts=starts, sizes=sizes, steps=steps)

    def concat(self, _) -> Value:
        x = self.some()
        axis = int(self.rng.integers(len(x.type.shape))) if len(x.type.shape) else None
        return x if axis is None else build("concat", x, build("neg", x) if self.rng.random() < 0.5 else x, axis=axis)

    def broadcast(self, _) -> Value:
        x = self.some()
        dims = [int(self.rng.choice([1, 3])) if d == 1 else d for d in x.type.shape]
        return build("broadcast", x, shape=[2, *dims] if self.rng.random() < 0.3 else dims)

    def cast(self, _) -> Value:
        middle = mlir_type(str(self.rng.choice(["float64", "float32"])))
        return build("cast", build("cast", self.some(), to=middle), to=mlir_type("float32"))

    def select(self, _) -> Value:
        x = self.some()
        flag = build("lt", x, scalar(0))
        return build("select", build("not", flag) if self.rng.random() < 0.5 else flag, x, scalar(1))

    def reduce(self, _) -> Value:
        x = self.some()
        axes = [i for i in range(len(x.type.shape)) if self.rng.random() < 0.4]
        return build("reduce", x, kind=str(self.rng.choice(["sum", "max", "min"])), axes=axes)

    def contract(self, case: Case) -> Value:
        x = self.some()
        if not len(x.type.shape):
            return x
        labels = "abcdefg"[: len(x.type.shape)]
        other, out = f"n{labels[-1]}", f"{labels[:-1]}n"
        weight = self.fresh(case, 3, x.type.shape[-1])
        if self.rng.random() < 0.5:
            weight, other = build("transpose", weight, permutation=[1, 0]), other[::-1]
        return build("contract", x, weight, equation=f"{labels},{other}->{out}", to=mlir_type("float32"))

    def weight(self, case: Case) -> Value:
        x = self.some()
        return build("mul", x, build("tanh", self.fresh(case, *(list(x.type.shape)[-1:]))))

    def fresh(self, case: Case, *dims: int) -> Value:
        self.weights += 1
        return case.weight(f"w{self.weights}", self.rng.standard_normal(dims).astype(np.float32))

    def normalized(self, _) -> Value:
        x = self.some()
        if not len(x.type.shape):
            return x
        axis = len(x.type.shape) - 1
        kept = [*list(x.type.shape)[:-1], 1]
        squares = build("reduce", build("mul", x, x), kind="sum", axes=[axis])
        mean = build("div", build("reshape", squares, shape=kept), scalar(x.type.shape[-1]))
        return build("mul", x, build("rsqrt", build("add", mean, scalar(0.5))))

    def softmaxed(self, _) -> Value:
        x = build("tanh", self.some())
        if not len(x.type.shape):
            return x
        axis = int(self.rng.integers(len(x.type.shape)))
        kept = [1 if i == axis else d for i, d in enumerate(x.type.shape)]
        e = build("exp", x)
        return build("div", e, build("reshape", build("reduce", e, kind="sum", axes=[axis]), shape=kept))

    def gather(self, _) -> Value:
        x = self.some()
        if not len(x.type.shape):
            return x
        axis = int(self.rng.integers(len(x.type.shape)))
        size = x.type.shape[axis]
        picks = [np.arange(size), np.arange(size)[::-1], np.array(size - 1), self.rng.integers(-size, size, (2, 2))]
        return build("gather", x, constant(picks[int(self.rng.integers(4))].astype(np.int64)), axis=axis)

    def pad(self, _) -> Value:
        x = self.some()
        rank = len(x.type.shape)
        low, high = ([int(n) for n in self.rng.integers(0, 2, rank)] for _ in range(2))
        return build("pad", x, scalar(0), low=low, high=high, interior=[0] * rank, mode="constant")
