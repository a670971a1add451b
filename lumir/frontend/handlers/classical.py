"""Classical machine learning (domain ai.onnx.ml): scaling, linear models, tables."""

import numpy as np
from onnx import numpy_helper

from lumir.dialects import build
from lumir.dialects.base import is_float
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

ML = "ai.onnx.ml"


def _real(x: ir.Value) -> ir.Value:
    """x as these operators compute: in float32, doubles as float32 too."""
    return emit.cast(x, emit.type_("float32"))


@handler("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(ctx: NodeContext) -> Result:
    """Columns of the last dimension; a vector counts as one row."""
    x = ctx.value(0)
    x = emit.unsqueeze(x, [0]) if emit.rank(x) == 1 else x
    return emit.gather(x, emit.reshape(ctx.value(1), [ctx.tensor(1).size]), emit.rank(x) - 1)


@handler("Binarizer", domain=ML)
def binarizer(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    return emit.cast(emit.binary("gt", x, ctx.attribute("threshold", 0.0)), emit.element(x))


@handler("Scaler", domain=ML)
def scaler(ctx: NodeContext) -> Result:
    """(x - offset) * scale, each one number or one a column."""
    x = _real(ctx.value(0))
    offset, scale = (ctx.constant(np.array(ctx.attribute(name), np.float32)) for name in ("offset", "scale"))
    return emit.mul(emit.sub(x, offset), scale)


@handler("Imputer", domain=ML)
def imputer(ctx: NodeContext) -> Result:
    """Replace one value, NaN included, by another, or by one a column."""
    x = ctx.value(0)
    kind = "float" if is_float(emit.element(x)) else "int64"
    old = ctx.attribute(f"replaced_value_{kind}", 0)
    new = ctx.constant(np.array(ctx.attribute(f"imputed_value_{kind}s"), emit.dtype(x)))
    found = build("isnan", x) if old != old else emit.binary("eq", x, old)  # noqa: PLR0124
    return build("select", found, new, x)


@handler("Normalizer", domain=ML)
def normalizer(ctx: NodeContext) -> Result:
    """Rows divided by their largest element, the sum of their magnitudes (L1), or their length (L2)."""
    x = _real(ctx.value(0))
    axis = [emit.rank(x) - 1]
    match ctx.attribute("norm", "MAX"):
        case "MAX":
            size = emit.reduce(x, "max", axis, True)
        case "L1":
            size = emit.reduce(build("abs", x), "sum", axis, True)
        case _:
            size = emit.unary("sqrt", emit.reduce(emit.mul(x, x), "sum", axis, True))
    return emit.div(x, emit.select(emit.binary("eq", size, 0), 1, size))


@handler("LinearRegressor", domain=ML)
def linear_regressor(ctx: NodeContext) -> Result:
    targets, kind = ctx.attribute("targets", 1), ctx.attribute("post_transform", "NONE")
    if targets == 1 and kind != "NONE":
        ctx.refuse(f"the transformation {kind} of one target is not supported: runtimes differ in what it does")
    return post_transform(ctx, _linear(ctx, targets), kind)


@handler("LinearClassifier", domain=ML)
def linear_classifier(ctx: NodeContext) -> list[Result]:
    """Labels [n] and scores [n, classes]."""
    if ctx.attribute("classlabels_strings"):
        ctx.refuse("labels that are strings are not supported: convert the classifier with integer labels")
    labels, features = np.array(ctx.attribute("classlabels_ints"), np.int64), ctx.tensor(0).shape[-1]
    rows, kind = len(ctx.attribute("coefficients")) // features, ctx.attribute("post_transform", "NONE")
    scores = _linear(ctx, rows)
    if rows == 1 and len(labels) == 2 and kind == "LOGISTIC":
        scores = emit.concat([emit.neg(scores), scores], 1)
    elif rows != len(labels):
        ctx.refuse(f"{rows} scores for {len(labels)} labels are not supported: runtimes differ in what they do")
    choice = build("arg_reduce", scores, kind="max", axis=1, last=False)
    return [emit.gather(ctx.constant(labels), choice, 0), post_transform(ctx, scores, kind)]


def _linear(ctx: NodeContext, targets: int) -> ir.Value:
    """x [n, features] times the coefficients [targets, features], plus the intercepts."""
    x = _real(ctx.value(0))
    x = emit.unsqueeze(x, [0]) if emit.rank(x) == 1 else x
    weights = np.array(ctx.attribute("coefficients"), np.float32).reshape(targets, -1)
    result = emit.contract(x, ctx.constant(weights), "nk,mk->nm")
    bias = ctx.attribute("intercepts")
    return emit.add(result, ctx.constant(np.array(bias, np.float32))) if bias else result


def post_transform(ctx: NodeContext, scores: ir.Value, kind: str) -> ir.Value:
    """What these operators may do with scores [n, classes] last."""
    if kind == "NONE":
        return scores
    if kind == "SOFTMAX":
        return build("softmax", scores, axis=1, log=False)
    if kind == "LOGISTIC":
        return build("sigmoid", scores)
    if kind != "SOFTMAX_ZERO":
        ctx.refuse(f"the transformation {kind} is not supported")
    top = emit.reduce(scores, "max", [1], True)
    near = emit.binary("le", build("abs", scores), 1e-7)
    powers = emit.select(near, emit.mul(scores, emit.exp(emit.neg(top))), emit.exp(emit.sub(scores, top)))
    total = emit.reduce(powers, "sum", [1], True)
    empty = emit.binary("eq", total, 0)
    return emit.select(empty, 0.5, emit.div(powers, emit.select(empty, 1, total)))


@handler("LabelEncoder", domain=ML, since=2)
def label_encoder(ctx: NodeContext) -> Result:
    """Each element's place among the keys gives its value; others get the default."""
    keys, values, default = _pairs(ctx)
    x = ctx.value(0)
    flat = emit.reshape(x, [ctx.tensor(0).size, 1])
    equal = build("eq", flat, ctx.constant(keys[None].astype(emit.dtype(x))))
    if is_float(emit.element(x)) and np.isnan(keys).any():
        known_nan = ctx.constant(np.isnan(keys)[None])
        equal = build("or", equal, build("and", build("isnan", flat), known_nan))
    place = build("arg_reduce", emit.cast(equal, emit.type_("int32")), kind="max", axis=1, last=False)
    found = emit.gather(ctx.constant(values), place, 0)
    result = emit.select(emit.reduce(equal, "max", [1]), found, ctx.constant(default))
    return emit.reshape(result, list(ctx.tensor(0).shape))


def _pairs(ctx: NodeContext) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, values and the value of what is no key, whichever attributes hold them."""
    types = {"int64s": np.int64, "floats": np.float32}
    found: dict[str, np.ndarray] = {}
    for kind in ("keys", "values"):
        if ctx.attribute(f"{kind}_strings"):
            ctx.refuse("strings are not supported")
        tensor = ctx.attribute(f"{kind}_tensor")
        if tensor is not None:
            found[kind] = numpy_helper.to_array(tensor).reshape(-1)
        for suffix, dtype in types.items():
            if ctx.attribute(f"{kind}_{suffix}"):
                found[kind] = np.array(ctx.attribute(f"{kind}_{suffix}"), dtype)
    if found.keys() != {"keys", "values"} or len(found["keys"]) != len(found["values"]):
        ctx.malformed("needs as many keys as values")
    values, given = found["values"], ctx.attribute("default_tensor")
    if given is not None:
        default = numpy_helper.to_array(given).reshape(())
    elif values.dtype.kind == "f":
        default = np.array(ctx.attribute("default_float", -0.0))
    else:
        default = np.array(ctx.attribute("default_int64", -1))
    return found["keys"], values, default.astype(values.dtype)
