"""One step of an optimiser: the domain ai.onnx.preview.training.

Each takes a learning rate R, a step count T, and then the tensors X..., their gradients G... and what it keeps of the
steps before, in groups of equal length.
"""

from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

TRAINING = "ai.onnx.preview.training"


def _groups(ctx: NodeContext, kinds: int) -> list[tuple[ir.Value, ...]]:
    """For each tensor: itself, its gradient, its states."""
    count, rest = divmod(len(ctx.inputs) - 2, kinds)
    if rest or not count:
        ctx.malformed(
            f"behind R and T there must be {kinds} inputs for each tensor, and there are {len(ctx.inputs) - 2}"
        )
    return [tuple(ctx.value(2 + kind * count + i) for kind in range(kinds)) for i in range(count)]


def _scalar(ctx: NodeContext, index: int, like: ir.Value) -> ir.Value:
    """R or T, as a scalar of the element type of `like`."""
    return emit.reshape(emit.cast(ctx.value(index), emit.element(like)), [])


def _regularised(ctx: NodeContext, x: ir.Value, gradient: ir.Value) -> ir.Value:
    return emit.add(emit.mul(x, ctx.attribute("norm_coefficient", 0.0)), gradient)


def _by_group(rows: list[tuple[ir.Value, ...]]) -> list[Result]:
    return [value for column in zip(*rows, strict=True) for value in column]


@handler("Adagrad", domain=TRAINING)
def adagrad(ctx: NodeContext) -> list[Result]:
    """J. Duchi, E. Hazan, Y. Singer: Adaptive Subgradient Methods, JMLR 12 (2011)."""
    rows = []
    for x, gradient, squares in _groups(ctx, 3):
        decayed = emit.add(emit.mul(_scalar(ctx, 1, x), ctx.attribute("decay_factor", 0.0)), 1)
        rate = emit.div(_scalar(ctx, 0, x), decayed)
        gradient = _regularised(ctx, x, gradient)
        squares = emit.add(squares, emit.mul(gradient, gradient))
        divisor = emit.add(emit.unary("sqrt", squares), ctx.attribute("epsilon", 1e-6))
        rows.append((emit.sub(x, emit.div(emit.mul(gradient, rate), divisor)), squares))
    return _by_group(rows)


@handler("Adam", domain=TRAINING)
def adam(ctx: NodeContext) -> list[Result]:
    """D. P. Kingma, J. Ba: Adam, arXiv:1412.6980; from step 1 on the rate is corrected for the moments' start at 0."""
    alpha, beta, rows = ctx.attribute("alpha", 0.9), ctx.attribute("beta", 0.999), []
    for x, gradient, mean, squares in _groups(ctx, 4):
        rate, step = _scalar(ctx, 0, x), _scalar(ctx, 1, x)
        gradient = _regularised(ctx, x, gradient)
        mean = emit.add(emit.mul(mean, alpha), emit.mul(gradient, 1 - alpha))
        squares = emit.add(emit.mul(squares, beta), emit.mul(emit.mul(gradient, gradient), 1 - beta))
        divisor = emit.add(emit.unary("sqrt", squares), ctx.attribute("epsilon", 1e-6))
        corrected = emit.div(emit.mul(rate, emit.unary("sqrt", _remaining(beta, step))), _remaining(alpha, step))
        rate = emit.select(emit.binary("gt", step, 0), corrected, rate)
        moved = emit.sub(x, emit.div(emit.mul(mean, rate), divisor))
        rows.append((emit.mul(moved, 1 - ctx.attribute("norm_coefficient_post", 0.0)), mean, squares))
    return _by_group(rows)


def _remaining(base: float, step: ir.Value) -> ir.Value:
    """1 - base ** step."""
    return emit.subtract_from(1, emit.binary("pow", emit.scalar(base, emit.element(step)), step))


@handler("Momentum", domain=TRAINING)
def momentum(ctx: NodeContext) -> list[Result]:
    """Stochastic gradient with momentum, `standard` or `nesterov`; step 0 takes the gradient whole."""
    alpha, rows = ctx.attribute("alpha"), []
    for x, gradient, velocity in _groups(ctx, 3):
        rate, step = _scalar(ctx, 0, x), _scalar(ctx, 1, x)
        gradient = _regularised(ctx, x, gradient)
        share = emit.select(emit.binary("gt", step, 0), emit.scalar(ctx.attribute("beta"), emit.element(x)), 1)
        velocity = emit.add(emit.mul(velocity, alpha), emit.mul(gradient, share))
        nesterov = ctx.attribute("mode") == "nesterov"
        move = emit.add(gradient, emit.mul(velocity, alpha)) if nesterov else velocity
        rows.append((emit.sub(x, emit.mul(move, rate)), velocity))
    return _by_group(rows)
