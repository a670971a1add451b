"""Attention that an exporter scattered over a dozen ops, as one op again."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import build
from lumir.dialects.contraction import parse_equation
from lumir.graph.attention_band import Band
from lumir.graph.attention_empty_rows import with_means
from lumir.graph.attention_geometry import (
    Operand,
    batch_and_heads,
    common_heads,
    read_scores_equation,
    read_values_equation,
    with_groups_as_heads,
)
from lumir.graph.attention_mask import Mask, build_mask
from lumir.graph.attention_operands import look_through
from lumir.graph.attention_scores import Scores, match_probabilities, match_scores, only_used_by
from lumir.graph.canonicalize import CANONICAL
from lumir.graph.rewrite import merged, rewrite
from lumir.graph.simplify_arithmetic import scalar
from lumir.graph.values import attribute, element, shape
from lumir.mlir import ir
from lumir.passes.registry import register_pass


@register_pass
@dataclass(frozen=True)
class FuseAttention:
    """Recognise softmax(scale * Q K^T [capped] + mask) V, and what an attention's own operands hide.

    Requires: canonical form (`lumir-canonicalize`), softmaxes as one op (`lumir-fuse-normalization`).
    Guarantees: such a chain is one `lumir.attention` if nothing else reads its scores. Scales before and after the
    contraction are its `scale`, tanh capping its `softcap`; repeated key/value heads are read once; conditions that
    drop keys (also as addends of 0 and a huge negative number) are a bool mask, or `causal` and `window` where they
    compare the places of query and key.

    A row without any key gives zeros, as the op says. Exporters that drop keys with a huge finite number give the mean
    of all values there instead; `keep_empty_rows` keeps that, at the price of a float mask and of causality
    unless the masks are known and leave every row a key.

        %0 = lumir.contract(%q, %k) "bhmd,bhnd->bhmn"
        %1 = lumir.mul(%0, 0.125)
        %2 = lumir.add(%1, %mask)                      ->    %4 = lumir.attention(%q, %k, %v, %mask) scale = 0.125, ...
        %3 = lumir.softmax(%2)
        %4 = lumir.contract(%3, %v) "bhmn,bhnd->bhmd"
    """

    name: ClassVar[str] = "lumir-fuse-attention"
    keep_empty_rows: bool = False

    def run(self, module: ir.Module) -> None:
        own = {
            "contract": [lambda op: fuse(op, self.keep_empty_rows)],
            "attention": [lambda op: refine(op, self.keep_empty_rows)],
        }
        rewrite(module, merged(CANONICAL, own))


def fuse(op: ir.Operation, keep_empty_rows: bool) -> ir.Value | None:
    """The attention that the contraction `op` with values ends, if it is one."""
    *labels, out = parse_equation(attribute(op, "equation"))
    for index in (0, 1):
        found = match_probabilities(op.operands[index])
        scores = match_scores(found.softmax.operands[0]) if found else None
        if found is None or scores is None or not only_used_by([*scores.chain, *found.chain], op):
            continue
        weights = shape(op.operands[index])
        heads = batch_and_heads([*scores.shapes, weights])
        type_ = element(op.operands[1 - index])
        pair = read_scores_equation(scores.contraction, type_, heads)
        weighed = (labels[index], weights)
        values = read_values_equation(op.operands[1 - index], labels[1 - index], weighed, out, heads)
        if pair is None or values is None or any(element(s.side.source) != type_ for s in (*pair, values)):
            continue
        query, key, values = with_groups_as_heads(*pair, values)
        if (once := common_heads(key, values)) is not None:
            mask = Mask(weights[-2], weights[-1], keep_empty_rows)
            attended = _attention(Parts(query, key, values, once), scores, mask)
            return _like_contraction(attended, op, labels[index], values, out)
    return None


@dataclass(frozen=True)
class Parts:
    """Query, key and value; `once` says for key and value whether their repetition is left out."""

    query: Operand
    key: Operand
    value: Operand
    once: tuple[bool, bool]


def _attention(parts: Parts, scores: Scores, mask: Mask) -> ir.Value:
    for condition, dims in scores.conditions:
        mask.add_condition(condition, dims)
    for addend, dims in scores.masks:
        mask.add_addend(addend, dims)
    mask.drop_finite()
    scale = scores.scale * parts.query.side.factor * parts.key.side.factor
    return _build(parts, mask, scale, scores.softcap)


def _build(parts: Parts, mask: Mask, scale: float, softcap: float) -> ir.Value:
    query, key, value = parts.query.built(False), parts.key.built(parts.once[0]), parts.value.built(parts.once[1])
    factor = parts.value.side.factor
    operand = build_mask(mask, ir.F32Type.get(), (shape(query)[0], shape(query)[1]))
    result = build(
        "attention",
        query,
        key,
        value,
        *([] if operand is None else [operand]),
        scale=float(scale),
        **mask.band.attributes,
        softcap=float(softcap),
    )
    if mask.has_means and operand is not None:
        result = with_means(result, value, operand, mask.band)
    return result if factor == 1 else build("mul", result, scalar(factor, element(result)))


def _like_contraction(attended: ir.Value, op: ir.Operation, weights: str, values: Operand, out: str) -> ir.Value:
    """[b, h, m, e] with the shape, the order of dimensions and the element type of the contraction's result."""
    sizes = dict(zip(out, shape(op.results[0]), strict=True))
    found = weights[:-1] + values.last
    split = build("reshape", attended, shape=[sizes[label] for label in found])
    turned = build("transpose", split, permutation=[found.index(label) for label in out])
    return turned if element(turned) == attribute(op, "to") else build("cast", turned, to=attribute(op, "to"))


def refine(op: ir.Operation, keep_empty_rows: bool) -> ir.Value | None:
    """Take into an attention what its own operands hide: scales, repeated heads, causality, windows."""
    q, k, v, *masks = op.operands
    heads, type_ = (shape(q)[0], shape(q)[1]), element(v)
    query, key, value = (
        Operand(look_through(operand, labels, type_), "bh", labels[2], labels[3], heads)
        for operand, labels in ((q, "bhmd"), (k, "bhnd"), (v, "bhne"))
    )
    band = Band.of_attention(*(attribute(op, name) for name in ("causal", "offset", "window")))
    mask = Mask(shape(q)[2], shape(k)[2], keep_empty_rows, band)
    for operand in masks:
        mask.take(operand, (*heads, shape(q)[2], shape(k)[2]))
    mask.drop_finite()
    mask.find_length(heads)
    once = common_heads(key, value)
    scaled = query.side.factor * key.side.factor * value.side.factor != 1
    if once is None or not (mask.is_simpler or scaled or any(once)):
        return None
    scale = attribute(op, "scale") * query.side.factor * key.side.factor
    return _build(Parts(query, key, value, once), mask, scale, attribute(op, "softcap"))
