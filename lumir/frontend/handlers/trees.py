"""Ensembles of decision trees (domain ai.onnx.ml): every tree takes one step at a time, by gathers."""

import math
from collections.abc import Sequence

import numpy as np
from onnx import numpy_helper

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.classical import ML, post_transform
from lumir.frontend.registry import Result, handler
from lumir.frontend.trees import MEMBER, MODES, Forest, Node, member_chains
from lumir.mlir import ir

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_NAMES = {"BRANCH_LEQ": 0, "BRANCH_LT": 1, "BRANCH_GTE": 2, "BRANCH_GT": 3, "BRANCH_EQ": 4, "BRANCH_NEQ": 5}


@handler("TreeEnsemble", domain=ML, since=5)
def tree_ensemble(ctx: NodeContext) -> Result:
    forest = _tables(ctx)
    scores = _aggregated(ctx, forest, AGGREGATES[ctx.attribute("aggregate_function", 1)])
    return post_transform(ctx, scores, TRANSFORMS[ctx.attribute("post_transform", 0)])


@handler("TreeEnsembleRegressor", domain=ML)
def tree_ensemble_regressor(ctx: NodeContext) -> Result:
    targets = ctx.attribute("n_targets")
    forest = _listed(ctx, "target", targets)
    scores = _based(ctx, _aggregated(ctx, forest, ctx.attribute("aggregate_function", "SUM")))
    kind = ctx.attribute("post_transform", "NONE")
    if targets == 1 and kind != "NONE":
        ctx.refuse(f"the transformation {kind} of one target is not supported: runtimes differ in what it does")
    return emit.cast(post_transform(ctx, scores, kind), emit.type_("float32"))


@handler("TreeEnsembleClassifier", domain=ML)
def tree_ensemble_classifier(ctx: NodeContext) -> list[Result]:
    """Labels [n] and scores [n, classes]."""
    if ctx.attribute("classlabels_strings"):
        ctx.refuse("labels that are strings are not supported: convert the classifier with integer labels")
    labels = np.array(ctx.attribute("classlabels_int64s"), np.int64)
    forest, kind = _listed(ctx, "class", len(labels)), ctx.attribute("post_transform", "NONE")
    scores = _based(ctx, _aggregated(ctx, forest, "SUM"))
    if len(labels) == 2 and len(set(ctx.attribute("class_ids"))) == 1:
        positive, scores = _one_score(ctx, forest, scores, kind)
        choice = emit.cast(positive, emit.type_("int64"))
    else:
        choice = build("arg_reduce", scores, kind="max", axis=1, last=False)
        scores = post_transform(ctx, scores, kind)
    return [emit.gather(ctx.constant(labels), choice, 0), emit.cast(scores, emit.type_("float32"))]


def _one_score(ctx: NodeContext, forest: Forest, scores: ir.Value, kind: str) -> tuple[ir.Value, ir.Value]:
    """Two classes of which the trees score one: whether it is the second class, [n], and both scores."""
    ids, n = ctx.attribute("class_ids"), emit.shape(scores)[0]
    score = emit.slice_(scores, 1, ids[0], 1)
    shares = bool((forest.scores[forest.given] >= 0).all())
    positive = emit.reshape(emit.binary("gt", score, 0.5 if shares else 0), [n])
    if kind == "LOGISTIC" and not shares:
        return positive, emit.concat([build("sigmoid", emit.neg(score)), build("sigmoid", score)], 1)
    if kind != "NONE":
        ctx.refuse(f"the transformation {kind} of a single score is not supported: runtimes differ in what it does")
    return positive, emit.concat([emit.subtract_from(1, score) if shares else emit.neg(score), score], 1)


def _based(ctx: NodeContext, scores: ir.Value) -> ir.Value:
    base = _numbers(ctx, "base_values")
    if len(base) == 0:
        return scores
    if len(base) != emit.shape(scores)[1]:
        ctx.refuse(f"{len(base)} base values for {emit.shape(scores)[1]} scores are not supported")
    return emit.add(scores, ctx.constant(np.array([base], emit.dtype(scores))))


def _aggregated(ctx: NodeContext, forest: Forest, kind: str) -> ir.Value:
    """[n, targets]: the leaves' scores, joined over the trees; a target that no leaf speaks of has 0."""
    neutral = {"MIN": np.inf, "MAX": -np.inf}.get(kind, 0.0)
    double = ctx.tensor(0).dtype == np.float64
    table = np.where(forest.given, forest.scores, neutral).astype(np.float64 if double else np.float32)
    leaf = emit.sub(_leaves(ctx, forest), len(forest.nodes))
    found = emit.gather(ctx.constant(table), leaf, 0)
    result = emit.reduce(found, {"MIN": "min", "MAX": "max"}.get(kind, "sum"), [1])
    if kind == "AVERAGE":
        return emit.div(result, len(forest.roots))
    return emit.select(build("isinf", result), 0, result) if math.isinf(neutral) else result


def _leaves(ctx: NodeContext, forest: Forest) -> ir.Value:
    """[n, trees] int64: the leaf that each row ends at in each tree."""
    x = ctx.value(0)
    values = x if ctx.tensor(0).dtype == np.float64 else emit.cast(x, emit.type_("float32"))
    try:
        depth = forest.depth
    except ValueError as error:
        ctx.malformed(str(error))
    columns = {name: ctx.constant(forest.column(name, np.int64)) for name in ("feature", "mode")}
    splits = ctx.constant(forest.column("value", np.float64).astype(emit.dtype(values)))
    yes, no = (ctx.constant(forest.children(name)) for name in ("yes", "no"))
    missing = ctx.constant(forest.column("missing", np.bool_)) if any(n.missing for n in forest.nodes) else None
    at = emit.broadcast(ctx.constant(np.array([forest.roots], np.int64)), [emit.shape(x)[0], len(forest.roots)])
    for _ in range(depth):
        found = build("gather_elements", values, emit.gather(columns["feature"], at, 0), axis=1)
        taken = _compared(forest, found, emit.gather(splits, at, 0), columns["mode"], at)
        if missing is not None:
            taken = build("or", taken, build("and", build("isnan", found), emit.gather(missing, at, 0)))
        at = emit.select(taken, emit.gather(yes, at, 0), emit.gather(no, at, 0))
    return at


def _compared(forest: Forest, found: ir.Value, splits: ir.Value, modes: ir.Value, at: ir.Value) -> ir.Value:
    used = sorted({node.mode for node in forest.nodes})
    taken = build(MODES[used[0]], found, splits)
    for mode in used[1:]:
        chosen = emit.binary("eq", emit.gather(modes, at, 0), mode)
        taken = emit.select(chosen, build(MODES[mode], found, splits), taken)
    return taken


def _numbers(ctx: NodeContext, name: str) -> np.ndarray:
    """An attribute that lists floats, or a tensor of that name or of `<name>_as_tensor`; empty where left out."""
    given = ctx.attribute(name) or ctx.attribute(f"{name}_as_tensor") or []
    return np.array(given) if isinstance(given, list) else numpy_helper.to_array(given)


def _missing(ctx: NodeContext, count: int) -> list[int]:
    return ctx.attribute("nodes_missing_value_tracks_true") or [0] * count


def _tables(ctx: NodeContext) -> Forest:
    """The trees of a TreeEnsemble: interior nodes and leaves are numbered apart, a leaf has one target."""
    modes, splits, weights = (_numbers(ctx, name) for name in ("nodes_modes", "nodes_splits", "leaf_weights"))
    tests = [i for i, mode in enumerate(modes) if mode == MEMBER]
    members = _members(ctx, len(tests))
    interior = len(modes) + sum(max(len(m), 1) - 1 for m in members)
    names = ("nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs", "nodes_falseleafs", "nodes_featureids")
    yes, no, yes_leaf, no_leaf, features = (ctx.attribute(name) for name in names)
    yes, no = (np.array(ids) + interior * np.array(leaf) for ids, leaf in ((yes, yes_leaf), (no, no_leaf)))
    rows = zip(features, modes, splits, yes, no, _missing(ctx, len(modes)), strict=True)
    nodes = [Node(f, int(mode), float(split), int(y), int(n), bool(nan)) for f, mode, split, y, n, nan in rows]
    member_chains(nodes, members, tests)
    targets, count = ctx.attribute("leaf_targetids"), ctx.attribute("n_targets")
    given = np.array(targets)[:, None] == np.arange(count)
    return Forest(nodes, ctx.ints_attribute("tree_roots", []), given * weights.astype(np.float64)[:, None], given)


def _members(ctx: NodeContext, tests: int) -> list[list[float]]:
    """The values that each membership test asks for; NaN ends each list."""
    lists: list[list[float]] = [[]]
    for value in _numbers(ctx, "membership_values"):
        if math.isnan(value):
            lists.append([])
        else:
            lists[-1].append(float(value))
    if tests and (len(lists) != tests + 1 or lists[-1]):
        ctx.malformed(f"membership_values must hold one list, ended by NaN, for each of {tests} membership tests")
    return lists[:tests]


def _listed(ctx: NodeContext, kind: str, targets: int) -> Forest:
    """The trees of the older operators: nodes and leaves share numbers in each tree, a leaf may have many targets."""
    keys = list(zip(ctx.attribute("nodes_treeids"), ctx.attribute("nodes_nodeids"), strict=True))
    modes = ctx.attribute("nodes_modes")
    interior = [i for i, mode in enumerate(modes) if mode != "LEAF"]
    leaves = [i for i, mode in enumerate(modes) if mode == "LEAF"]
    number = {keys[i]: n for n, i in enumerate([*interior, *leaves])}
    unknown = {modes[i] for i in interior} - _NAMES.keys()
    if unknown:
        ctx.refuse(f"nodes of mode {', '.join(sorted(unknown))} are not supported")
    yes, no, features = (ctx.attribute(f"nodes_{name}") for name in ("truenodeids", "falsenodeids", "featureids"))
    values, missing = _numbers(ctx, "nodes_values"), _missing(ctx, len(modes))
    nodes = [
        Node(features[i], _NAMES[modes[i]], float(values[i]), number.get((keys[i][0], yes[i]), -1),
             number.get((keys[i][0], no[i]), -1), bool(missing[i]))
        for i in interior
    ]  # fmt: skip
    scores, given = np.zeros((len(leaves), targets)), np.zeros((len(leaves), targets), np.bool_)
    for at, target, weight in _weights(ctx, kind):
        place = number[at] - len(interior)
        scores[place, target] += weight
        given[place, target] = True
    return Forest(nodes, _roots(keys, yes, no, modes, number), scores, given)


def _weights(ctx: NodeContext, kind: str) -> list[tuple[tuple[int, int], int, float]]:
    """(tree, node), target and score, for each score of a leaf."""
    trees, nodes, ids = (ctx.attribute(f"{kind}_{name}") for name in ("treeids", "nodeids", "ids"))
    rows = zip(zip(trees, nodes, strict=True), ids, _numbers(ctx, f"{kind}_weights"), strict=True)
    return [(at, target, float(weight)) for at, target, weight in rows]


def _roots(
    keys: Sequence[tuple[int, int]], yes: Sequence[int], no: Sequence[int], modes: Sequence[str],
    number: dict[tuple[int, int], int],
) -> list[int]:  # fmt: skip
    """The number of each tree's node that no other leads to."""
    inner = [i for i, mode in enumerate(modes) if mode != "LEAF"]
    children = {(keys[i][0], child) for i in inner for child in (yes[i], no[i])}
    return [number[key] for key in keys if key not in children]
