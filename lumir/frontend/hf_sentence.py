"""sentence-transformers directories: what modules.json says happens to the hidden states of the encoder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from lumir.diagnostics import UnsupportedError, UserError
from lumir.frontend.hf_safetensors import read_json

if TYPE_CHECKING:
    from lumir.frontend.hf_graph import GraphBuilder

POOLING_MODES = ("mean", "cls")
OLD_POOLING_KEYS = {
    "pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How hidden states become one vector a sentence.

    Attributes:
        encoder: the folder with the encoder's config.json and weights.
        pooling: `mean` over the tokens the mask keeps, or `cls` for the first token.
        normalize: whether the vector is scaled to length one.
    """

    encoder: Path
    pooling: str
    normalize: bool


def read_recipe(directory: Path) -> Recipe | None:
    """Reads modules.json; None when the directory is not a sentence-transformers model.

    Raises:
        UserError: modules.json is malformed.
        UnsupportedError: modules other than Transformer, Pooling and Normalize in this order, or another pooling.
    """
    path = directory / "modules.json"
    if not path.is_file():
        return None
    modules = _read_modules(path)
    kinds = [kind for kind, _ in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UnsupportedError(
            f"a sentence-transformers model of modules {', '.join(kinds)} cannot be built", code="hf-unsupported",
            hint="supported: Transformer, Pooling and, optionally, Normalize",
        )  # fmt: skip
    pooling = _pooling_mode(directory / modules[1][1] / "config.json")
    return Recipe(directory / modules[0][1], pooling, normalize="Normalize" in kinds)


def _read_modules(path: Path) -> list[tuple[str, str]]:
    """The (class name, folder) of each module, in order."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        modules = [(str(entry["type"]).rpartition(".")[2], str(entry["path"])) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path} is not a list of modules with type and path", code="hf-bad-json") from error
    outside = [folder for _, folder in modules if Path(folder).is_absolute() or ".." in Path(folder).parts]
    if outside:
        raise UserError(f"{path} names a folder outside its directory: {outside[0]!r}", code="hf-bad-json")
    return modules


def _pooling_mode(path: Path) -> str:
    config: dict[str, Any] = read_json(path)
    modes = config.get("pooling_mode") or [mode for key, mode in OLD_POOLING_KEYS.items() if config.get(key)] or "mean"
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in POOLING_MODES:
        raise UnsupportedError(
            f"pooling {modes} cannot be built", code="hf-unsupported",
            values={"file": path}, hint=f"supported: one of {', '.join(POOLING_MODES)}",
        )  # fmt: skip
    return modes[0]


def add_sentence_embedding(graph: "GraphBuilder", recipe: Recipe, hidden: str) -> str:
    """Pools [batch, seq, hidden] to [batch, hidden] and, if the recipe says so, divides by the Euclidean length.

    The two floors, 1e-9 tokens and a length of 1e-12, are sentence-transformers' own.
    """
    pooled = _mean(graph, hidden) if recipe.pooling == "mean" else _first(graph, hidden)
    if not recipe.normalize:
        return pooled
    scope = "/normalize"
    norm = graph.node("ReduceL2", [pooled, graph.constant([1], "axis_1")], scope, keepdims=1)
    norm = graph.node("Max", [norm, graph.constant(1e-12, "smallest_norm", np.float32)], scope)
    return graph.node("Div", [pooled, norm], scope)


def _mean(graph: "GraphBuilder", hidden: str) -> str:
    scope = "/pooling"
    kept = graph.node("Cast", ["attention_mask"], scope, to=TensorProto.FLOAT)
    weights = graph.node("Unsqueeze", [kept, graph.constant([2], "axis_2")], scope)
    axis = graph.constant([1], "axis_1")
    total = graph.node("ReduceSum", [graph.node("Mul", [hidden, weights], scope), axis], scope, keepdims=0)
    count = graph.node("ReduceSum", [weights, axis], scope, "token_count", keepdims=0)
    count = graph.node("Max", [count, graph.constant(1e-9, "smallest_count", np.float32)], scope)
    return graph.node("Div", [total, count], scope)


def _first(graph: "GraphBuilder", hidden: str) -> str:
    return graph.node("Gather", [hidden, graph.constant(0, "zero")], "/pooling", axis=1)
