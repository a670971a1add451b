# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Element-wise operators."""

from dataclasses import dataclass

import numpy as np

from tests.fuzz.grower import ANY, TAME, Domain, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import ALL, FLOATS, INTEGERS, NUMBERS, SIGNED, UNSIGNED


@dataclass(frozen=True)
class Unary:
    """A unary operator: where it is compared, on what types, and whether it rounds.

    `absolute` allows for the approximations of transcendental functions.
    """

    domain: Domain = TAME
    dtypes: tuple[str, ...] = FLOATS
    exact: bool = False
    absolute: float = 0.0
    since: int = 1


SMOOTH = 2e-6
UNARY = {
    "Relu": Unary(ANY, (*FLOATS, *SIGNED), exact=True),
    "Neg": Unary(ANY, (*FLOATS, *SIGNED), exact=True),
    "Abs": Unary(ANY, NUMBERS, exact=True),
    "Sign": Unary(TAME, NUMBERS, exact=True),
    "Floor": Unary(ANY, exact=True),
    "Ceil": Unary(ANY, exact=True),
    "Round": Unary(ANY, exact=True),
    "IsNaN": Unary(ANY, exact=True),
    "Not": Unary(ANY, ("bool",), exact=True),
    "BitwiseNot": Unary(ANY, INTEGERS, exact=True, since=18),
    "Identity": Unary(ANY, ALL, exact=True),
    "Sqrt": Unary(Domain(0, 1e4)),
    "Reciprocal": Unary(Domain(away=0.125)),
    "Exp": Unary(Domain(-12, 6), absolute=SMOOTH),
    "Log": Unary(Domain(0.05, 1e4), absolute=SMOOTH),
    "Sin": Unary(Domain(-50, 50), absolute=SMOOTH),
    "Cos": Unary(Domain(-50, 50), absolute=SMOOTH),
    "Tan": Unary(Domain(-1.4, 1.4), absolute=SMOOTH),
    "Asin": Unary(Domain(-0.98, 0.98), absolute=SMOOTH),
    "Acos": Unary(Domain(-0.98, 0.98), absolute=SMOOTH),
    "Atan": Unary(absolute=SMOOTH),
    "Sinh": Unary(Domain(-6, 6), absolute=SMOOTH),
    "Cosh": Unary(Domain(-6, 6), absolute=SMOOTH),
    "Tanh": Unary(absolute=SMOOTH),
    "Asinh": Unary(absolute=SMOOTH),
    "Acosh": Unary(Domain(1.05, 1e3), absolute=SMOOTH),
    "Atanh": Unary(Domain(-0.95, 0.95), absolute=SMOOTH),
    "Erf": Unary(absolute=SMOOTH),
    "Sigmoid": Unary(absolute=SMOOTH),
    "Softplus": Unary(absolute=SMOOTH),
    "Softsign": Unary(),
    "HardSwish": Unary(since=14),
    "Mish": Unary(absolute=SMOOTH, since=18),
}
PARAMETERS = {
    "LeakyRelu": {"alpha": (0.01, 0.5, -0.25, 1.5)},
    "Elu": {"alpha": (1.0, 0.5, 2.0)},
    "Celu": {"alpha": (1.0, 0.5, 2.0)},
    "Selu": {"alpha": (1.673, 1.0), "gamma": (1.05, 0.5)},
    "HardSigmoid": {"alpha": (0.2, 0.5), "beta": (0.5, 0.25)},
    "ThresholdedRelu": {"alpha": (1.0, 0.25, 0.0)},
    "Shrink": {"lambd": (0.5, 0.25), "bias": (0.0, 0.25, 0.5)},
}
BINARY = {
    "Add": NUMBERS,
    "Sub": NUMBERS,
    "Mul": NUMBERS,
    "And": ("bool",),
    "Or": ("bool",),
    "Xor": ("bool",),
    "Equal": ALL,
    "Less": NUMBERS,
    "LessOrEqual": NUMBERS,
    "Greater": NUMBERS,
    "GreaterOrEqual": NUMBERS,
}
BITWISE = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


@recipe("elementwise", *UNARY)
def unary(g: Grower, op: str) -> None:
    row = UNARY[op] if g.opset >= UNARY[op].since else UNARY["Relu"]
    op = op if g.opset >= UNARY[op].since else "Relu"
    g.add(op, [g.pick(row.dtypes, domain=row.domain)], exact=row.exact, absolute=row.absolute)


@recipe("elementwise", *PARAMETERS)
def with_parameters(g: Grower, op: str) -> None:
    given = {name: g.choose((None, *values)) for name, values in PARAMETERS[op].items()}
    dtypes = (*FLOATS, "int32", "uint8") if op == "Shrink" else FLOATS
    g.add(op, [g.pick(dtypes)], absolute=SMOOTH, **given)


@recipe("elementwise", "Gelu")
def gelu(g: Grower, op: str) -> None:
    form = g.choose((None, "none", "tanh"))
    if g.opset >= 20:
        g.add("Gelu", [g.pick(FLOATS)], absolute=SMOOTH, approximate=form)
    else:
        g.add("Gelu" if form else "QuickGelu", [g.pick(("float32",))], absolute=SMOOTH, domain="com.microsoft")


@recipe("elementwise", "IsInf")
def is_inf(g: Grower, op: str) -> None:
    given = {name: g.choose((None, 0, 1)) for name in ("detect_positive", "detect_negative")}
    g.add("IsInf", [g.pick(("float32", "float64"), domain=ANY)], exact=True, **given)


@recipe("elementwise", *BINARY, *BITWISE)
def binary(g: Grower, op: str) -> None:
    if op in BITWISE and g.opset < 18:
        op = "Add"
    domain = ANY if op in COMPARISONS or op in BITWISE else TAME
    x = g.pick(BINARY.get(op, INTEGERS), domain=domain)
    operands = [x, g.partner(x, domain)]
    g.add(op, operands[::-1] if g.flag() else operands, exact=op not in ("Add", "Sub", "Mul") or x.dtype not in FLOATS)


@recipe("elementwise", "Div")
def div(g: Grower, op: str) -> None:
    """Neither by zero, nor the least integer by -1: onnxruntime traps there."""
    x = g.pick(NUMBERS, domain=Domain(-1e4, 1e4))
    g.add("Div", [x, g.partner(x, Domain(away=0.125 if x.dtype in FLOATS else 1))], exact=x.dtype not in FLOATS)


@recipe("elementwise", "Mod")
def mod(g: Grower, op: str) -> None:
    """By nothing that is zero; floats need fmod."""
    fmod = int(g.flag())
    x = g.pick(FLOATS if fmod and g.flag() else INTEGERS, domain=Domain(-1e4, 1e4))
    g.add("Mod", [x, g.partner(x, Domain(away=0.5 if x.dtype in FLOATS else 1))], exact=True, fmod=fmod or None)


@recipe("elementwise", "Pow")
def power(g: Grower, op: str) -> None:
    """Positive bases with any exponent, any base with small integers; the exponent may have another type."""
    base = g.pick(("float32", "float64", "float16", "int32", "int64"), domain=Domain(-16, 16, away=0.25))
    whole = base.dtype not in FLOATS or (base.array < 0).any()
    exponent = (
        g.choose(("int32", "int64", "float32")) if whole else g.choose((base.dtype, "float32", "float64", "int32"))
    )
    if whole:
        shape = g.broadcastable(base.shape)
        rng = np.random.default_rng(g.integer(0, 99))
        y = g.given(rng.integers(0, 4, shape), exponent)
    else:
        y = g.partner(base, Domain(-3, 3), exponent)
    g.add("Pow", [base, y], absolute=SMOOTH)


@recipe("elementwise", "BitShift")
def bit_shift(g: Grower, op: str) -> None:
    """By less than the number of bits: more is undefined."""
    x = g.pick(UNSIGNED, domain=ANY)
    y = g.partner(x, Domain(0, np.dtype(x.dtype).itemsize * 8 - 1))
    g.add("BitShift", [x, y], exact=True, direction=g.choose(("LEFT", "RIGHT")))


@recipe("elementwise", "Max", "Min", "Sum", "Mean")
def variadic(g: Grower, op: str) -> None:
    x = g.pick(NUMBERS if op in ("Max", "Min") else FLOATS)
    others = [g.partner(x) for _ in range(g.integer(0, 3))]
    g.add(op, [x, *others], exact=op in ("Max", "Min"))


@recipe("elementwise", "PRelu")
def prelu(g: Grower, op: str) -> None:
    x = g.pick((*FLOATS, "int32"))
    dims = [1 if d != 1 and g.flag(3) else d for d in x.shape][g.integer(0, x.rank) :]
    g.add("PRelu", [x, g.like(x.dtype, dims)])


@recipe("elementwise", "Where")
def where(g: Grower, op: str) -> None:
    x = g.pick(ALL, domain=ANY)
    g.add("Where", [g.partner(x, dtype="bool"), x, g.partner(x, ANY)], exact=True)


@recipe("elementwise", "Clip")
def clip(g: Grower, op: str) -> None:
    x = g.pick(NUMBERS, domain=ANY)
    low, high = (g.choose((0, 1, 2)), g.choose((3, 6, 2)))
    bounds = [None if g.flag(4) else g.given(np.asarray(bound), x.dtype) for bound in (low, high)]
    g.add("Clip", [x, *bounds], exact=True)
