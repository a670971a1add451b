"""RNN, GRU, LSTM, and Fourier transforms."""

from typing import Any

import numpy as np

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import Value

SMALL = Domain(-4, 4)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
OTHERS = ("Tanh", "Sigmoid", "Relu", "Softsign")


@recipe("recurrent", *GATES)
def recurrent(g: Grower, op: str) -> None:
    t, b, size, h = g.choose((3, 1, 4)), g.choose((2, 1, 3)), g.choose((4, 1, 5)), g.choose((3, 1, 8))
    direction = g.choose((None, "forward", "reverse", "bidirectional"))
    d, n = (2 if direction == "bidirectional" else 1), GATES[op]
    x = g.like("float32", (t, b, size), SMALL)
    inputs: list[Value | None] = [
        x,
        g.like("float32", (d, n * h, size), SMALL),
        g.like("float32", (d, n * h, h), SMALL),
    ]
    inputs.append(g.like("float32", (d, 2 * n * h), SMALL) if g.flag() else None)
    lengths = np.random.default_rng([g.seed, len(g.values)]).integers(1, t + 1, b)
    inputs.append(g.given(lengths, "int32") if g.flag(3) else None)
    inputs += [g.like("float32", (d, b, h), SMALL) if g.flag() else None for _ in range(2 if op == "LSTM" else 1)]
    if op == "LSTM":
        inputs.append(g.like("float32", (d, 3 * h), SMALL) if g.flag(3) else None)
    options: dict[str, Any] = {"hidden_size": h, "direction": direction}
    if g.flag(3):
        options["activations"] = [g.choose((name, *OTHERS)) for name in ACTIVATIONS[op]] * d
    if op == "GRU":
        options["linear_before_reset"] = g.choose((None, 0, 1))
    g.add(op, inputs, 3 if op == "LSTM" else 2, absolute=1e-5, **options)


@recipe("recurrent", "DFT")
def dft(g: Grower, op: str) -> None:
    if g.opset < 17:
        return
    rank = g.choose((3, 2))
    parts = g.choose((1, 2))
    x = g.like(g.choose(("float32", "float64")), [*(g.choose((5, 1, 8, 16)) for _ in range(rank - 1)), parts], SMALL)
    axis = g.integer(0, rank - 2)
    inverse = 1 if parts == 2 and g.flag() else None
    onesided = 1 if parts == 1 and g.flag() else None
    length = g.fixed(g.choose((8, 3, 16))) if g.flag(3) else None
    inputs = [x, length, g.fixed(axis)] if g.opset >= 20 else [x, length]
    given = None if g.opset >= 20 else axis
    g.add("DFT", inputs, absolute=1e-5, inverse=inverse, onesided=onesided, axis=given)


@recipe("recurrent", "STFT")
def stft(g: Grower, op: str) -> None:
    if g.opset < 17:
        return
    signal = g.like("float32", [g.choose((1, 2)), g.choose((16, 33)), 1], SMALL)
    length = g.choose((8, 5, 16))
    window = g.like("float32", [length], SMALL) if g.flag() else None
    inputs = [signal, g.fixed(g.choose((4, 3))), window, g.fixed(length)]
    g.add("STFT", inputs, absolute=1e-5, onesided=g.choose((None, 0, 1)))
