"""lumir-fuse-attention: the ways that exporters scatter attention, and what only looks like it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from graph_helpers import Case, scalar

from lumir.dialects import build
from lumir.dialects.constants import constant
from lumir.dtypes import mlir_type

B, H, M, N, D, E = 2, 4, 5, 6, 8, 3
LOWEST = float(np.finfo(np.float32).min)


def contract(lhs, rhs, equation, to="float32"):
    return build("contract", lhs, rhs, equation=equation, to=mlir_type(to))


def transpose(x, *permutation):
    return build("transpose", x, permutation=list(permutation))


def reshape(x, *dims):
    return build("reshape", x, shape=list(dims))


def tri(rows, columns, offset=0):
    return np.tri(rows, columns, offset, dtype=bool)


@dataclass
class Scattered:
    """An attention as an exporter may write it.

    Arguments of the function: q [B, M, H, D], k [B, N, g, D], v [B, N, g, E], float mask [B, 1, M, N], keep [B, N].
    """

    groups: int = H
    scale: str = "after"
    mask: str = "none"
    flat: bool = False
    softcap: float = 0.0
    guard: bool = False
    swapped: bool = False
    rows: int = M
    batch: int = B
    extra: dict[str, Any] = field(default_factory=dict)

    def case(self) -> Case:
        b, m, g = self.batch, self.rows, self.groups
        dims = [(b, m, H, D), (b, N, g, D), (b, N, g, E), (b, 1, m, N)]
        arrays = [np.zeros(d, np.float32) for d in dims]
        return Case(lambda _, *values: self.build(*values), *arrays, np.zeros((b, N), np.bool_))

    def build(self, q, k, v, mask, keep):
        q, k, v = (
            transpose(q, 0, 2, 1, 3),
            self.expanded(transpose(k, 0, 2, 1, 3)),
            self.expanded(transpose(v, 0, 2, 1, 3)),
        )
        q, k = self.scaled_before(q, k)
        if self.flat:
            q, k, v = (reshape(x, self.batch * H, *x.type.shape[2:]) for x in (q, k, v))
        scores = self.scores(q, k)
        scores = self.masked(self.capped(self.scaled_after(scores)), mask, keep)
        weights = build("softmax", scores, axis=-1, log=False)
        if self.guard:
            weights = build("select", build("isnan", weights), scalar(0), weights)
        if self.flat and self.mask != "none":
            weights = reshape(weights, self.batch * H, self.rows, N)
        result = contract(weights, v, "zmn,zne->zme" if self.flat else "bhmn,bhne->bhme")
        if self.flat:
            result = reshape(result, self.batch, H, self.rows, E)
        return reshape(transpose(result, 0, 2, 1, 3), self.batch, self.rows, H * E)

    def expanded(self, x):
        """Repeat the key/value heads, as repeat_kv does."""
        if self.groups == H:
            return x
        b, g, n, d = x.type.shape
        once = reshape(x, b, g, 1, n, d)
        return reshape(build("broadcast", once, shape=[b, g, H // g, n, d]), b, H, n, d)

    def scaled_before(self, q, k):
        if self.scale == "query":
            q = build("mul", q, scalar(D**-0.5))
        if self.scale == "both":
            q, k = build("mul", q, scalar(D**-0.25)), build("div", k, scalar(D**0.25))
        return q, k

    def scores(self, q, k):
        if self.flat:
            turned = transpose(k, 0, 2, 1)
            scores = contract(q, turned, "zmd,zdn->zmn")
            return scores if self.mask == "none" else reshape(scores, self.batch, H, self.rows, N)
        if self.swapped:
            return contract(k, q, "bhnd,bhmd->bhmn")
        return contract(q, transpose(k, 0, 1, 3, 2), "bhmd,bhdn->bhmn")

    def scaled_after(self, scores):
        if self.scale == "after":
            return build("mul", scalar(D**-0.5), scores)
        return build("div", scores, scalar(D**0.5)) if self.scale == "div" else scores

    def capped(self, scores):
        if not self.softcap:
            return scores
        return build("mul", build("tanh", build("div", scores, scalar(self.softcap))), scalar(self.softcap))

    def masked(self, scores, mask, keep):
        keep = reshape(keep, self.batch, 1, 1, N)
        causal = constant(tri(self.rows, N, N - self.rows)[None, None])
        match self.mask:
            case "float":
                return build("add", scores, mask)
            case "select":
                return build("select", keep, scores, scalar(-np.inf))
            case "finite select":
                return build("select", keep, scores, scalar(LOWEST))
            case "select other way":
                return build("select", build("not", keep), scalar(-np.inf), scores)
            case "added select":
                return build("add", build("select", keep, scalar(0), scalar(-np.inf)), scores)
            case "causal":
                return build("select", causal, scores, scalar(LOWEST))
            case "added causal":
                table = np.where(tri(self.rows, N, N - self.rows), 0, -np.inf).astype(np.float32)
                return build("add", scores, constant(table))
            case "causal and keep":
                both = build("and", causal, keep)
                return build("add", scores, build("select", both, scalar(0), scalar(-np.inf)))
            case "finite causal":
                table = np.where(tri(self.rows, N, N - self.rows), 0, LOWEST).astype(np.float32)
                return build("add", scores, constant(table))
            case "both":
                table = np.where(tri(self.rows, N, N - self.rows), 0, LOWEST).astype(np.float32)
                return build("add", build("select", causal, scores, scalar(LOWEST)), constant(table))
            case "causal with an empty row":
                return build("select", constant(tri(self.rows, N, -1)[None, None]), scores, scalar(LOWEST))
            case "finite causal and keep":
                scores = build("select", causal, scores, scalar(LOWEST))
                return build("select", keep, scores, scalar(LOWEST))
            case "counted":
                rows, columns = (self.iota(axis) for axis in (0, 1))
                allowed = build("le", columns, build("add", rows, scalar(N - self.rows, np.int64)))
                return build("select", allowed, scores, scalar(-np.inf))
            case "keep and float":
                return build("add", build("select", keep, scores, scalar(-np.inf)), mask)
        return scores

    def iota(self, axis):
        from lumir.mlir import ir

        type_ = ir.RankedTensorType.get([self.rows, N], ir.IntegerType.get_signless(64))
        return build("iota", type=type_, axis=axis)

    def inputs(self, case):
        inputs = case.inputs()
        inputs["x4"][:, 0] = True
        return inputs


PASSES = "lumir-canonicalize,lumir-fuse-normalization,lumir-fuse-attention,lumir-canonicalize"
MASKS = [
    "none",
    "float",
    "select",
    "select other way",
    "added select",
    "causal",
    "added causal",
    "causal and keep",
    "counted",
    "keep and float",
]


def check(scattered: Scattered) -> dict[str, Any]:
    """Fuse and compare; gives the attention's attributes and its operands' types."""
    case = scattered.case()
    count = case.check(PASSES, 1e-6 if scattered.softcap else 1e-9, scattered.inputs(case))
    assert count["attention"] == 1 and not {"softmax", "isnan", "contract", "broadcast"} & set(count), count
    with case.context:
        from lumir.dialects import attributes_of

        op = case.op("attention")
        types = [tuple(operand.type.shape) for operand in op.operands]
        return {**attributes_of(op), "types": types, "mask": str(op.operands[3].type) if len(types) > 3 else None}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("groups", [H, 2, 1])
def test_masks_layouts_and_groups(mask, flat, groups):
    found = check(Scattered(mask=mask, flat=flat, groups=groups))
    if not flat or mask != "none":
        assert found["types"][1] == (B, groups, N, D)
    causal = mask in ("causal", "added causal", "causal and keep", "counted")
    assert found["causal"] == causal and found["offset"] == (N - M if causal else 0)
    boolean = mask in ("select", "select other way", "added select", "causal and keep")
    assert (found["mask"] is not None) == (boolean or mask in ("float", "keep and float"))
    assert not boolean or found["mask"] == f"tensor<{B}x1x1x{N}xi1>"


@pytest.mark.parametrize("scale", ["none", "query", "both", "after", "div"])
@pytest.mark.parametrize("mask", ["none", "float"])
def test_scales(scale, mask):
    found = check(Scattered(scale=scale, mask=mask, guard=True))
    assert found["scale"] == pytest.approx(1.0 if scale == "none" else D**-0.5, rel=1e-6)


@pytest.mark.parametrize("mask", ["none", "causal and keep", "float"])
def test_softcap(mask):
    assert check(Scattered(softcap=3.0, mask=mask))["softcap"] == 3.0


@pytest.mark.parametrize("mask", MASKS)
def test_one_query(mask):
    found = check(Scattered(rows=1, mask=mask, groups=2))
    assert not found["causal"]


@pytest.mark.parametrize("mask", ["none", "causal and keep", "float"])
@pytest.mark.parametrize("flat", [False, True])
def test_one_batch_entry(mask, flat):
    found = check(Scattered(batch=1, mask=mask, groups=2, flat=flat, swapped=not flat))
    if mask != "none" or not flat:
        assert found["types"][1] == (1, 2, N, D)


def test_labels_that_share_heads():
    """Grouped queries as labels: key and value lack the label that counts the queries of a group."""

    def body(_, q, k, v):
        weights = build("softmax", contract(q, k, "bgrmd,bgnd->bgrmn"), axis=4, log=False)
        return contract(weights, v, "bgrmn,bnge->mbgre")

    arrays = [np.zeros(d, np.float32) for d in [(2, 2, 3, 5, 8), (2, 2, 6, 8), (2, 6, 2, 4)]]
    case = Case(body, *arrays)
    assert case.check(PASSES)["attention"] == 1
    assert [tuple(o.type.shape) for o in case.op("attention").operands] == [(2, 6, 5, 8), (2, 2, 6, 8), (2, 2, 6, 4)]


def test_short_types_between_casts():
    """Scores and softmax in float32 around float16 operands."""

    def body(_, q, k, v):
        f32, f16 = mlir_type("float32"), mlir_type("float16")
        scores = contract(build("cast", q, to=f32), build("cast", k, to=f32), "bhmd,bhnd->bhmn")
        weights = build("cast", build("softmax", scores, axis=3, log=False), to=f16)
        return contract(weights, v, "bhmn,bhne->bhme", "float16")

    case = Case(body, *(np.zeros(d, np.float16) for d in [(B, H, M, D), (B, H, N, D), (B, H, N, E)]))
    assert case.check(PASSES) == {"attention": 1, "func.return": 1}


@pytest.mark.parametrize("mask", ["causal", "finite causal", "both"])
@pytest.mark.parametrize("flat", [False, True])
def test_known_finite_masks_that_leave_every_row_a_key_are_causal(mask, flat):
    scattered = Scattered(mask=mask, flat=flat)
    case = scattered.case()
    case.check(PASSES.replace("fuse-attention", "fuse-attention{keep-empty-rows=true}"), 1e-9, scattered.inputs(case))
    with case.context:
        from lumir.dialects import attributes_of

        op = case.op("attention")
        assert (attributes_of(op)["causal"], len(op.operands)) == (True, 3)


@pytest.mark.parametrize("mask", ["causal with an empty row", "finite causal and keep"])
def test_known_finite_masks_stay_where_a_row_may_have_no_key(mask):
    scattered = Scattered(mask=mask)
    case = scattered.case()
    inputs = scattered.inputs(case)
    (before,) = case.evaluate(inputs, "declared")
    case.run(PASSES.replace("fuse-attention", "fuse-attention{keep-empty-rows=true}"))
    (after,) = case.evaluate(inputs, "declared")
    np.testing.assert_allclose(after, before, 1e-5, 1e-6)
    with case.context:
        assert len(case.op("attention").operands) == 4


@pytest.mark.parametrize(("option", "keeps"), [("", False), ("{keep-empty-rows=true}", True)])
def test_rows_without_keys(option, keeps):
    """Every key dropped by a huge finite number: zeros, unless `keep_empty_rows` asks for the exporter's mean."""
    scattered = Scattered(mask="finite select")
    case = scattered.case()
    inputs = scattered.inputs(case)
    inputs["x4"][1] = False
    (before,) = case.evaluate(inputs, "declared")
    case.run(PASSES.replace("fuse-attention", f"fuse-attention{option}"))
    assert case.count()["attention"] == 1
    (after,) = case.evaluate(inputs, "declared")
    np.testing.assert_allclose(after[0], before[0], 1e-5, 1e-6)
    np.testing.assert_allclose(after[1], before[1] if keeps else 0, 1e-5, 1e-6)
    assert np.abs(before[1]).max() > 0.1


def test_a_row_that_two_finite_fills_leave_without_keys():
    """A key that both drop has the fill once, so that the row is the mean of all values, as the model says."""
    scattered = Scattered(mask="finite causal and keep")
    case = scattered.case()
    inputs = scattered.inputs(case)
    inputs["x4"][1] = False
    inputs["x4"][1, N - scattered.rows + 1] = True  # the first row may not see it
    (before,) = case.evaluate(inputs, "declared")
    case.run(PASSES.replace("fuse-attention", "fuse-attention{keep-empty-rows=true}"))
    assert case.count()["attention"] == 1
    (after,) = case.evaluate(inputs, "declared")
    np.testing.assert_allclose(after, before, 1e-5, 1e-6)


def test_an_attention_is_refined():
    """Scales, repeated heads and a causal mask in the operands of an attention that is one op already."""

    def body(_, q, k, v):
        k, v = (Scattered(groups=2).expanded(x) for x in (k, v))
        mask = constant(np.where(tri(M, N), 0, LOWEST).astype(np.float32))
        options = {"scale": 0.5, "causal": False, "offset": 0, "window": 0, "softcap": 0.0}
        return build("attention", build("mul", q, scalar(0.25)), k, build("mul", v, scalar(3)), mask, **options)

    case = Case(body, *(np.zeros(d, np.float32) for d in [(B, H, M, D), (B, 2, N, D), (B, 2, N, E)]))
    assert case.check(PASSES) == {"attention": 1, "mul": 1, "constant": 1, "func.return": 1}
    with case.context:
        from lumir.dialects import attributes_of

        attributes = attributes_of(case.op("attention"))
    assert attributes == {"scale": 0.125, "causal": True, "offset": 0, "window": 0, "softcap": 0.0}


def negative(body):
    """A body of q [B, H, M, D], k [B, H, N, D], v [B, H, N, E] that must stay."""

    def run():
        arrays = [np.zeros(d, np.float32) for d in [(B, H, M, D), (B, H, N, D), (B, H, N, E)]]
        case = Case(lambda _, *values: body(*values), *arrays)
        count = case.check(PASSES)
        assert count["attention"] == 0 and count["softmax"] >= 1

    return run


def scores_of(q, k):
    return contract(q, k, "bhmd,bhnd->bhmn")


def softmax(x, axis=-1, log=False):
    return build("softmax", x, axis=axis, log=log)


def with_values(weights, v):
    return contract(weights, v, "bhmn,bhne->bhme")


def half_mask():
    return constant(np.linspace(-1, 1, M * N, dtype=np.float32).reshape(M, N))


NEGATIVE = {
    "softmax over the queries": lambda q, k, v: with_values(softmax(scores_of(q, k), axis=2), v),
    "log softmax": lambda q, k, v: with_values(softmax(scores_of(q, k), log=True), v),
    "scale after the mask": lambda q, k, v: with_values(
        softmax(build("mul", build("add", scores_of(q, k), half_mask()), scalar(0.3))), v
    ),
    "scale after the cap": lambda q, k, v: with_values(
        softmax(build("mul", build("mul", build("tanh", scores_of(q, k)), scalar(3)), scalar(2))), v
    ),
    "cap with a negative factor": lambda q, k, v: with_values(
        softmax(build("mul", build("tanh", scores_of(q, k)), scalar(-3))), v
    ),
    "cap after the mask": lambda q, k, v: with_values(
        softmax(build("tanh", build("add", scores_of(q, k), half_mask()))), v
    ),
    "scores used elsewhere": lambda q, k, v: [
        with_values(softmax(s := scores_of(q, k)), v),
        build("reduce", s, kind="max", axes=[3]),
    ],
    "weights used elsewhere": lambda q, k, v: [with_values(w := softmax(scores_of(q, k)), v), build("exp", w)],
    "a fill that keeps the key": lambda q, k, v: with_values(
        softmax(build("select", constant(tri(M, N)), scores_of(q, k), scalar(-5))), v
    ),
    "a guard that gives one": lambda q, k, v: with_values(
        build("select", build("isnan", w := softmax(scores_of(q, k))), scalar(1), w), v
    ),
    "a guard of something else": lambda q, k, v: with_values(
        build("select", build("isnan", scores_of(q, k)), scalar(0), softmax(scores_of(q, k))), v
    ),
    "scores of one more dimension by a mask": lambda q, k, v: contract(
        softmax(build("add", scores_of(q, k), constant(np.linspace(0, 1, 3, dtype=np.float32).reshape(3, 1, 1, 1, 1)))),
        v,
        "zbhmn,bhne->zbhme",
    ),
    "values summed over heads": lambda q, k, v: contract(softmax(scores_of(q, k)), v, "bhmn,bhne->bme"),
    "values per query": lambda q, k, v: contract(
        softmax(scores_of(q, k)),
        build("broadcast", reshape(v, B, H, 1, N, E), shape=[B, H, M, N, E]),
        "bhmn,bhmne->bhme",
    ),
    "scores with queries and keys exchanged": lambda q, k, v: with_values(
        softmax(reshape(transpose(scores_of(q, k), 0, 1, 3, 2), B, H, M, N)), v
    ),
    "no scores at all": lambda q, k, v: with_values(softmax(build("exp", scores_of(q, k))), v),
    "a scale that is not one number": lambda q, k, v: with_values(
        softmax(build("mul", scores_of(q, k), constant(np.linspace(1, 2, N, dtype=np.float32)))), v
    ),
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_what_only_looks_like_attention_stays(name):
    negative(NEGATIVE[name])()


@pytest.mark.parametrize(
    "keep", [np.tri(M, N, 1, dtype=bool)[::-1], ~np.tri(M, N, dtype=bool), np.eye(M, N, dtype=bool)]
)
def test_tables_that_are_not_causal_stay_masks(keep):
    keep = np.ascontiguousarray(keep)
    keep[:, 0] = True

    def body(_, q, k, v):
        return with_values(softmax(build("select", constant(keep), scores_of(q, k), scalar(-np.inf))), v)

    case = Case(body, *(np.zeros(d, np.float32) for d in [(B, H, M, D), (B, H, N, D), (B, H, N, E)]))
    count = case.check(PASSES)
    assert count["attention"] == 1 and len(case.op("attention").operands) == 4
