"""RNN, GRU and LSTM, unrolled over time. All inputs of all steps are multiplied by the weights at once, up front."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers import activation
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

STEP_LIMIT = 512
Function = Callable[[ir.Value], ir.Value]

# name -> (function of the value, alpha and beta; their defaults)
ACTIVATIONS: dict[str, tuple[Callable[..., ir.Value], tuple[float, ...]]] = {
    "relu": (activation.relu, ()),
    "tanh": (lambda x: build("tanh", x), ()),
    "sigmoid": (lambda x: build("sigmoid", x), ()),
    "affine": (lambda x, a, b: emit.add(emit.mul(x, a), b), (1.0, 0.0)),
    "leakyrelu": (activation.leaky_relu, (0.01,)),
    "thresholdedrelu": (lambda x, a: emit.select(emit.binary("gt", x, a), x, 0), (1.0,)),
    "scaledtanh": (lambda x, a, b: emit.mul(build("tanh", emit.mul(x, b)), a), (1.0, 1.0)),
    "hardsigmoid": (activation.hard_sigmoid, (0.2, 0.5)),
    "elu": (activation.elu, (1.0,)),
    "softsign": (lambda x: emit.div(x, emit.add(build("abs", x), 1)), ()),
    "softplus": (activation.softplus, ()),
}


@dataclass(frozen=True)
class Cell:
    """One direction of a layer.

    Attributes:
        gates: the inputs of all steps times W, plus the input bias: [t, b, gates * h].
        recurrent: R, [gates * h, h]; `bias` its bias [gates * h].
        peephole: P, [3 * h] (LSTM only).
        functions: the activations.
    """

    gates: ir.Value
    recurrent: ir.Value
    bias: ir.Value | None
    peephole: ir.Value | None
    functions: Sequence[Function]
    size: int

    def project(self, hidden: ir.Value, start: int, count: int) -> ir.Value:
        """`count` gates from `start` on of hidden R' + bias: [b, count * h]."""
        rows = emit.slice_(self.recurrent, 0, start * self.size, count * self.size)
        result = emit.contract(hidden, rows, "bk,nk->bn")
        if self.bias is None:
            return result
        return emit.add(result, emit.slice_(self.bias, 0, start * self.size, count * self.size))

    def input(self, step: int) -> ir.Value:
        """[b, gates * h] at a step."""
        return emit.reshape(emit.slice_(self.gates, 0, step, 1), emit.shape(self.gates)[1:])

    def part(self, x: ir.Value, index: int) -> ir.Value:
        """Gate `index` of [b, gates * h]."""
        return emit.slice_(x, 1, index * self.size, self.size)


Step = Callable[[NodeContext, Cell, int, list[ir.Value]], list[ir.Value]]


@dataclass(frozen=True)
class Kind:
    """A kind of cell: its number of gates and of states, its activations, and what one step does."""

    gates: int
    states: int
    activations: Sequence[str]
    step: Step


@handler("RNN")
def rnn(ctx: NodeContext) -> list[Result]:
    return _layer(ctx, Kind(1, 1, ["Tanh"], _rnn_step))


@handler("GRU")
def gru(ctx: NodeContext) -> list[Result]:
    return _layer(ctx, Kind(3, 1, ["Sigmoid", "Tanh"], _gru_step))


@handler("LSTM")
def lstm(ctx: NodeContext) -> list[Result]:
    return _layer(ctx, Kind(4, 2, ["Sigmoid", "Tanh", "Tanh"], _lstm_step))


def _rnn_step(ctx: NodeContext, cell: Cell, step: int, states: list[ir.Value]) -> list[ir.Value]:
    return [cell.functions[0](emit.add(cell.input(step), cell.project(states[0], 0, 1)))]


def _gru_step(ctx: NodeContext, cell: Cell, step: int, states: list[ir.Value]) -> list[ir.Value]:
    """Gates z (update), r (reset), h; see the equations of ONNX's GRU."""
    f, g = cell.functions
    hidden, x = states[0], cell.input(step)
    update_reset = f(emit.add(emit.slice_(x, 1, 0, 2 * cell.size), cell.project(hidden, 0, 2)))
    update, reset = cell.part(update_reset, 0), cell.part(update_reset, 1)
    if ctx.attribute("linear_before_reset", 0):
        new = g(emit.add(cell.part(x, 2), emit.mul(reset, cell.project(hidden, 2, 1))))
    else:
        new = g(emit.add(cell.part(x, 2), cell.project(emit.mul(reset, hidden), 2, 1)))
    return [emit.add(emit.mul(emit.subtract_from(1, update), new), emit.mul(update, hidden))]


def _lstm_step(ctx: NodeContext, cell: Cell, step: int, states: list[ir.Value]) -> list[ir.Value]:
    """Gates i, o, f, c with peepholes; see the equations of ONNX's LSTM."""
    f, g, h = cell.functions
    hidden, memory = states
    gates = emit.add(cell.input(step), cell.project(hidden, 0, 4))

    def gate(index: int, peek: ir.Value) -> ir.Value:
        total = cell.part(gates, index)
        if cell.peephole is not None:
            total = emit.add(total, emit.mul(emit.slice_(cell.peephole, 0, index * cell.size, cell.size), peek))
        return f(total)

    let_in = gate(0, memory)
    forget = emit.subtract_from(1, let_in) if ctx.attribute("input_forget", 0) else gate(2, memory)
    memory = emit.add(emit.mul(forget, memory), emit.mul(let_in, g(cell.part(gates, 3))))
    return [emit.mul(gate(1, memory), h(memory)), memory]


def _layer(ctx: NodeContext, kind: Kind) -> list[Result]:
    """All directions of a layer: Y [t, d, b, h], then the last states [d, b, h] (batch first under layout 1)."""
    batch_first = bool(ctx.attribute("layout", 0))
    x = emit.transpose(ctx.value(0), [1, 0, 2]) if batch_first else ctx.value(0)
    if emit.shape(x)[0] > STEP_LIMIT:
        ctx.refuse(f"more than {STEP_LIMIT} time steps are not unrolled")
    direction = ctx.attribute("direction", "forward")
    reversals = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    functions = _functions(ctx, list(kind.activations) * len(reversals))
    series, finals = [], []
    for index, reverse in enumerate(reversals):
        own = functions[index * len(kind.activations) :][: len(kind.activations)]
        outputs, last = _direction(ctx, kind, _cell(ctx, x, index, own), index, reverse=reverse)
        series.append(emit.unsqueeze(outputs, [1]))
        finals.append([emit.unsqueeze(state, [0]) for state in last])
    results = [emit.concat(series, 1), *(emit.concat(list(parts), 0) for parts in zip(*finals, strict=True))]
    if batch_first:
        orders = [[2, 0, 1, 3]] + [[1, 0, 2]] * kind.states
        results = [emit.transpose(r, order) for r, order in zip(results, orders, strict=True)]
    return list(results)


def _direction(
    ctx: NodeContext, kind: Kind, cell: Cell, index: int, *, reverse: bool
) -> tuple[ir.Value, list[ir.Value]]:
    """Run one direction: outputs [t, b, h] in the order of the input, and the last states [b, h]."""
    steps, batch, _ = emit.shape(cell.gates)
    dims, element = [batch, cell.size], emit.element(cell.gates)
    states = [_initial(ctx, 5 + i, index, dims, element) for i in range(kind.states)]
    lengths = ctx.optional(4)
    outputs: dict[int, ir.Value] = {}
    for time in reversed(range(steps)) if reverse else range(steps):
        new = kind.step(ctx, cell, time, states)
        if lengths is None:
            states, outputs[time] = new, new[0]
            continue
        inside = emit.unsqueeze(emit.binary("gt", lengths, time), [1])
        states = [emit.select(inside, after, before) for after, before in zip(new, states, strict=True)]
        outputs[time] = emit.select(inside, new[0], 0)
    return emit.concat([emit.unsqueeze(outputs[time], [0]) for time in range(steps)], 0), states


def _cell(ctx: NodeContext, x: ir.Value, index: int, functions: Sequence[Function]) -> Cell:
    w, r = _own(ctx.value(1), index), _own(ctx.value(2), index)
    rows, size = emit.shape(r)
    products = emit.contract(x, w, "tbk,nk->tbn")
    bias = None
    if ctx.has(3):
        both = _own(ctx.value(3), index)
        products = emit.add(products, emit.slice_(both, 0, 0, rows))
        bias = emit.slice_(both, 0, rows, rows)
    peephole = _own(ctx.value(7), index) if ctx.has(7) else None
    return Cell(products, r, bias, peephole, functions, size)


def _own(x: ir.Value, index: int) -> ir.Value:
    """The part of a parameter that belongs to one direction."""
    return emit.reshape(emit.slice_(x, 0, index, 1), emit.shape(x)[1:])


def _initial(ctx: NodeContext, position: int, index: int, dims: list[int], element: ir.Type) -> ir.Value:
    if not ctx.has(position):
        return emit.broadcast(emit.scalar(0, element), dims)
    state = ctx.value(position)
    state = emit.transpose(state, [1, 0, 2]) if ctx.attribute("layout", 0) else state
    return _own(state, index)


def _functions(ctx: NodeContext, defaults: Sequence[str]) -> list[Function]:
    """The activations of all directions, with their alpha and beta, each clipped before it is applied."""
    alphas, betas = list(ctx.attribute("activation_alpha", [])), list(ctx.attribute("activation_beta", []))
    clip = ctx.attribute("clip", 0.0)
    functions: list[Function] = []
    for name in ctx.attribute("activations") or defaults:
        if name.lower() not in ACTIVATIONS:
            ctx.refuse(f"activation '{name}' is not supported")
        function, parameters = ACTIVATIONS[name.lower()]
        given = [(values.pop(0) if values else default) for values, default in zip((alphas, betas), parameters)]
        functions.append(_clipped(function, given, clip))
    return functions


def _clipped(function: Callable[..., ir.Value], parameters: Sequence[float], clip: float) -> Function:
    if not clip:
        return lambda x: function(x, *parameters)
    return lambda x: function(emit.minimum(emit.maximum(x, -clip), clip), *parameters)
