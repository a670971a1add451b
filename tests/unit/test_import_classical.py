"""Classical machine learning (ai.onnx.ml) and training steps against onnxruntime or their definition."""

from typing import Any

import numpy as np
import onnx
import pytest
from import_helpers import assert_matches_onnxruntime, model, node, run
from onnx import numpy_helper

from lumir.diagnostics import LumirError

ML = "ai.onnx.ml"
RNG = np.random.default_rng(3)
Array = np.ndarray


def f32(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def proto_of(op: str, inputs: dict[str, Array], outputs: str = "y", version: int = 3, **attributes: Any):
    call = node(op, " ".join(inputs), outputs, ML, **attributes)
    return model([call], inputs, outputs.split(), domains={ML: version})


def check(op: str, inputs: dict[str, Array], outputs: str = "y", version: int = 3, **attributes: Any) -> None:
    assert_matches_onnxruntime(proto_of(op, inputs, outputs, version, **attributes), inputs)


def test_columns_and_thresholds():
    check("ArrayFeatureExtractor", {"x": f32(3, 5), "at": np.array([4, 0, 4])})
    check("ArrayFeatureExtractor", {"x": f32(2, 3, 5), "at": np.array([1])})
    check("Binarizer", {"x": f32(3, 5)}, threshold=0.25)


def test_scaling():
    check("Scaler", {"x": f32(3, 5)}, offset=[0.0, 1.0, 2.0, 3.0, 4.0], scale=[0.5] * 5)
    check("Scaler", {"x": np.arange(6).reshape(2, 3)}, offset=[1.0], scale=[0.5])
    for norm in ("MAX", "L1", "L2"):
        check("Normalizer", {"x": np.abs(f32(3, 5))}, norm=norm)
    x = f32(3, 4)
    x[0, 1] = x[2, 3] = np.nan
    check("Imputer", {"x": x}, imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=np.nan)
    check("Imputer", {"x": np.arange(6).reshape(2, 3)}, imputed_value_int64s=[9], replaced_value_int64=4)


@pytest.mark.parametrize("kind", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
def test_linear_models(kind):
    weights = f32(3 * 5).tolist()
    check("LinearRegressor", {"x": f32(4, 5)}, coefficients=weights, intercepts=[1.0, 2.0, 3.0], targets=3,
          post_transform=kind)  # fmt: skip
    check("LinearClassifier", {"x": f32(4, 5)}, "y z", coefficients=weights, intercepts=[0.1, 0.2, 0.3],
          classlabels_ints=[7, -3, 5], post_transform=kind)  # fmt: skip


def test_a_linear_classifier_with_one_score():
    check("LinearClassifier", {"x": f32(9, 5)}, "y z", coefficients=f32(5).tolist(), intercepts=[0.1],
          classlabels_ints=[4, 8], post_transform="LOGISTIC")  # fmt: skip


def test_label_encoders():
    keys = RNG.permutation(20)[:7].tolist()
    x = np.arange(24).reshape(4, 6)
    check("LabelEncoder", {"x": x}, version=2, keys_int64s=keys, values_floats=f32(7).tolist(), default_float=0.5)
    check("LabelEncoder", {"x": x}, version=2, keys_int64s=keys, values_int64s=list(range(7)))
    real = np.array([1.5, 2.5, np.nan, 9], np.float32)
    check("LabelEncoder", {"x": real}, version=4, keys_floats=[np.nan, 1.5], values_int64s=[3, 4], default_int64=-7)


def ensemble(trees: int, depth: int, features: int, modes: tuple[str, ...]) -> dict[str, Any]:
    """The nodes of random trees; every leaf is at most `depth` steps from its root."""
    rows: list[tuple[Any, ...]] = []
    for tree in range(trees):
        count, stack = 1, [(0, 0)]
        while stack:
            number, level = stack.pop()
            if level == depth or (level and RNG.random() < 0.2):
                rows.append((tree, number, 0, "LEAF", 0.0, 0, 0, 0))
                continue
            feature, mode = int(RNG.integers(features)), str(RNG.choice(modes))
            split = float(np.round(RNG.standard_normal(), 1))
            rows.append((tree, number, feature, mode, split, count, count + 1, int(RNG.integers(2))))
            stack += [(count, level + 1), (count + 1, level + 1)]
            count += 2
    names = ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    columns = list(zip(*rows, strict=True))
    result: dict[str, Any] = {f"nodes_{name}": list(column) for name, column in zip(names, columns, strict=False)}
    return result | {"nodes_missing_value_tracks_true": list(columns[7])}


def leaves(nodes: dict[str, Any], kind: str, ids: list[int], weights: Array) -> dict[str, Any]:
    """Scores for every leaf: one for each of `ids`."""
    rows = zip(nodes["nodes_treeids"], nodes["nodes_nodeids"], nodes["nodes_modes"], strict=True)
    at = [(tree, number) for tree, number, mode in rows if mode == "LEAF" for _ in ids]
    return {
        f"{kind}_treeids": [tree for tree, _ in at],
        f"{kind}_nodeids": [number for _, number in at],
        f"{kind}_ids": ids * (len(at) // len(ids)),
        f"{kind}_weights": weights[: len(at)].tolist(),
    }


def samples(rows: int, features: int) -> Array:
    x = np.round(f32(rows, features), 1)
    x[0, 0] = np.nan
    return x


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize(
    "modes", [("BRANCH_LEQ",), ("BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")]
)
def test_regression_trees(aggregate, modes):
    nodes = ensemble(5, 4, 6, modes)
    scores = leaves(nodes, "target", [0, 2], f32(999))
    check("TreeEnsembleRegressor", {"x": samples(30, 6)}, n_targets=3, aggregate_function=aggregate, **nodes, **scores)
    single = leaves(nodes, "target", [0], f32(999))
    check("TreeEnsembleRegressor", {"x": samples(9, 6)}, n_targets=1, aggregate_function=aggregate, base_values=[0.5],
          **nodes, **single)  # fmt: skip


@pytest.mark.parametrize("kind", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_classification_trees(kind):
    nodes = ensemble(4, 3, 5, ("BRANCH_LEQ",))
    scores = leaves(nodes, "class", [0, 1, 2], f32(999))
    check("TreeEnsembleClassifier", {"x": samples(30, 5)}, "y z", classlabels_int64s=[4, 2, 9], post_transform=kind,
          base_values=[0.1, 0.2, 0.3], **nodes, **scores)  # fmt: skip


@pytest.mark.parametrize(("kind", "shares"), [("NONE", True), ("NONE", False), ("LOGISTIC", False)])
def test_two_classes_with_one_score(kind, shares):
    nodes = ensemble(4, 3, 5, ("BRANCH_LEQ",))
    weights = np.abs(f32(999)) / 5 if shares else f32(999)
    scores = leaves(nodes, "class", [0], weights)
    check("TreeEnsembleClassifier", {"x": samples(30, 5)}, "y z", classlabels_int64s=[4, 2], post_transform=kind,
          **nodes, **scores)  # fmt: skip


def tables(**changes: Any) -> dict[str, Any]:
    """One tree: is feature 0 one of some values; else is feature 1 below 0.5."""
    attributes = {
        "n_targets": 1,
        "tree_roots": [0],
        "nodes_featureids": [0, 1],
        "nodes_modes": numpy_helper.from_array(np.array([6, 1], np.uint8)),
        "nodes_splits": numpy_helper.from_array(np.array([0, 0.5], np.float32)),
        "membership_values": numpy_helper.from_array(np.array([1, 2, 3.5, np.nan], np.float32)),
        "nodes_truenodeids": [0, 1],
        "nodes_falsenodeids": [1, 2],
        "nodes_trueleafs": [1, 1],
        "nodes_falseleafs": [0, 1],
        "leaf_targetids": [0, 0, 0],
        "leaf_weights": numpy_helper.from_array(np.array([10, 20, 30], np.float32)),
    }
    return attributes | changes


def test_membership_is_a_chain_of_comparisons():
    x = np.array([[1, 0], [2, 0], [3.5, 9], [3, 0], [4, 0.5]], np.float32)
    found = run(proto_of("TreeEnsemble", {"x": x}, version=5, **tables()), {"x": x})["y"]
    np.testing.assert_array_equal(found[:, 0], [10, 10, 10, 20, 30])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes_falsenodeids": [0, 2]}, "no trees"),
        ({"membership_values": numpy_helper.from_array(np.array([1], np.float32))}, "one list"),
    ],
)
def test_tables_that_are_no_trees_are_refused(changes, message):
    with pytest.raises(LumirError) as caught:
        run(proto_of("TreeEnsemble", {"x": f32(2, 2)}, version=5, **tables(**changes)), {"x": f32(2, 2)})
    assert message in str(caught.value)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12])
def test_determinants(size):
    x = f32(3, size, size)
    x[0, :, 0] = 0
    check_det = model([node("Det", "x")], {"x": x}, ["y"])
    found = run(check_det, {"x": x})["y"]
    np.testing.assert_allclose(found, np.linalg.det(x.astype(np.float64)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize(("low", "high", "skip"), [(1, 1, 0), (1, 2, 0), (2, 2, 3), (1, 3, 2), (2, 3, 5), (3, 3, 4)])
def test_ngrams(mode, low, high, skip):
    attributes = {
        "mode": mode,
        "min_gram_length": low,
        "max_gram_length": high,
        "max_skip_count": skip,
        "ngram_counts": [0, 3, 9],
        "ngram_indexes": [7, 0, 1, 2, 3, 4, 6, 5],
        "pool_int64s": [0, 1, 2, 1, 1, 2, 3, 0, 0, 1, 2, 3, 3, 3, 3],
        "weights": [0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    }
    for x in (RNG.integers(0, 4, (3, 9)), RNG.integers(0, 4, 6).astype(np.int32)):
        proto: onnx.ModelProto = model([node("TfIdfVectorizer", "x", **attributes)], {"x": x}, ["y"])
        assert_matches_onnxruntime(proto, {"x": x})


@pytest.mark.parametrize(("op", "domain", "message"), [
    ("ZipMap", ML, "zipmap=False"),
    ("Gradient", "ai.onnx.preview.training", "gradients are not computed"),
])  # fmt: skip
def test_what_has_no_meaning_here_is_refused_with_a_way_out(op, domain, message):
    proto = model([node(op, "x", domain=domain)], {"x": f32(2, 3)}, ["y"], domains={domain: 1})
    with pytest.raises(LumirError) as caught:
        run(proto, {"x": f32(2, 3)})
    assert message in str(caught.value)
