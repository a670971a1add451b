"""Attention of few rows by name: groups of heads, masks, depths, layouts, ragged and tiny lengths."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cases
from attention_cases import Attention, Open, lengths_of

from lumir.dialects import build
from lumir.mlir import ir

_PLAIN = Attention(h=8, g=2, m=1, n=300, d=128, e=128)
_VARIANTS = {
    "grouped": {},
    "aligned": {"n": 512},
    "long": {"n": 5000, "b": 1},
    "unwritten": {"n": 900, "unwritten": True},
    "one-head": {"h": 2, "g": 2},
    "sixteen-rows": {"h": 16, "g": 1},
    "twelve-rows": {"h": 8, "g": 2, "m": 3},
    "twenty-rows": {"h": 8, "g": 2, "m": 5},
    "forty-rows": {"h": 8, "g": 1, "m": 5, "causal": True, "offset": 290, "d": 64, "e": 64},
    "few-keys": {"n": 17},
    "causal": {"causal": True, "m": 4, "offset": 296},
    "causal-short": {"causal": True, "m": 4, "offset": 100},
    "causal-nothing": {"causal": True, "m": 4, "offset": -2},
    "window": {"causal": True, "offset": 299, "window": 100},
    "window-long": {"causal": True, "offset": 4990, "window": 1024, "n": 5000, "m": 3},
    "window-nothing": {"causal": True, "m": 4, "offset": 310, "window": 12},
    "band": {"causal": True, "m": 4, "offset": 120, "window": 33},
    "first-keys-dropped": {"offset": 130, "window": 40},
    "bool-mask": {"mask": "bool", "m": 2},
    "key-mask": {"mask": "keys"},
    "float-mask": {"mask": "float"},
    "float32-mask": {"mask": "float32", "m": 2},
    "softcap": {"softcap": 5.0},
    "packed": {"packed": True, "m": 2},
    "lengths": {"mask": "lengths", "b": 7},
    "lengths-unwritten": {"mask": "wide-lengths", "unwritten": True, "n": 1000, "b": 5},
    "lengths-causal": {"mask": "lengths", "causal": True, "m": 4, "offset": -4, "b": 5},
    "lengths-window": {"mask": "wide-lengths", "causal": True, "m": 3, "offset": -3, "window": 70, "n": 900, "b": 5},
    "lengths-first-dropped": {"mask": "lengths", "offset": -1, "window": 40, "softcap": 3.0, "n": 512, "b": 5},
    "everything": {"mask": "bool", "causal": True, "offset": 250, "softcap": 3.0, "m": 4, "packed": True},
    "depth-32": {"d": 32, "e": 32},
    "depth-64": {"d": 64, "e": 64},
    "depth-96": {"d": 96, "e": 96},
    "depth-192": {"d": 192, "e": 128},
    "depth-256": {"d": 256, "e": 256},
}

CASES: dict[str, Callable[[], str]] = {
    f"{name}-{dtype}": replace(_PLAIN, dtype=dtype, **changes).text
    for name, changes in _VARIANTS.items()
    for dtype in ("float16", "bfloat16")
}


@dataclass(frozen=True)
class Paged:
    """One query of each of b sequences against a cache in pages, which a table [b, table] says the order of.

    Args:
        heads_first: a page is [g, page, d], else [page, g, d].
        length: keys that count, of the table's pages together; 0 for all.
    """

    dtype: str = "float16"
    b: int = 2
    h: int = 8
    g: int = 2
    d: int = 128
    page: int = 16
    pages: int = 50
    table: int = 20
    heads_first: bool = False
    length: int = 0
    masked: bool = False
    lengths: bool = False
    unwritten: bool = True

    def text(self) -> str:
        c = self
        keys = c.table * c.page

        def seen(cache: ir.Value, table: ir.Value) -> ir.Value:
            chosen = build("gather", cache, table, axis=0)
            turned = build("transpose", chosen, permutation=[0, 2, 1, 3, 4] if c.heads_first else [0, 3, 1, 2, 4])
            whole = build("reshape", turned, shape=[c.b, c.g, keys, c.d])
            if not c.length:
                return whole
            return build("slice", whole, starts=[0] * 4, sizes=[c.b, c.g, c.length, c.d], steps=[1] * 4)

        def body(q: ir.Value, k: ir.Value, v: ir.Value, table: ir.Value, *mask: ir.Value) -> ir.Value:
            options = {"scale": c.d**-0.5, "causal": False, "offset": 0, "window": 0, "softcap": 0.0}
            mask = tuple(lengths_of(x) for x in mask) if c.lengths else mask
            return build("attention", q, seen(k, table), seen(v, table), *mask, **options)

        inner = (c.g, c.page, c.d) if c.heads_first else (c.page, c.g, c.d)
        cache = ((c.pages, *inner), c.dtype)
        arguments = [((c.b, c.h, 1, c.d), c.dtype), cache, cache, ((c.b, c.table), "int64")]
        arguments += [((c.b, 1, 1, keys), "bool")] if c.masked else []
        arguments += [((c.b, 1, 1, 1), "int32")] if c.lengths else []
        return cases.dispatch(body, *arguments, unwritten=(1, 2, 3) if c.unwritten else ())


_PAGED = Paged()
_PAGED_VARIANTS = {
    "paged": {},
    "paged-heads-first": {"heads_first": True},
    "paged-masked": {"masked": True, "h": 16},
    "paged-written": {"unwritten": False, "page": 64, "table": 5},
    "paged-wide": {"page": 128, "table": 3, "d": 64, "g": 1},
    "paged-one": {"table": 1, "page": 32, "b": 5},
    "paged-part": {"length": 311},
    "paged-lengths": {"lengths": True, "b": 5},
}
PAGED: dict[str, Callable[[], str]] = {
    f"{name}-{dtype}": replace(_PAGED, dtype=dtype, **changes).text
    for name, changes in _PAGED_VARIANTS.items()
    for dtype in ("float16", "bfloat16")
}
"""Negative entries of the table count from the end, as random ones of -5 to 5 do."""
CASES |= PAGED


def _after(**changes) -> Open:
    """One query behind a past, itself the last key."""
    return lambda s: replace(_PLAIN, b=2, n=s["past"] + 1, offset=s["past"], **changes)


OPEN: dict[str, Open] = {
    "past": _after(),
    "window": _after(causal=True, window=200, dtype="bfloat16"),
    "masked": _after(mask="keys"),
    "lengths": lambda s: replace(_PLAIN, b=s["b"], n=s["past"] + 20, mask="lengths"),
    "batches": lambda s: replace(_PLAIN, b=s["b"], n=s["past"] + 20, unwritten=True),
}
"""Of sizes that are known when they run."""
