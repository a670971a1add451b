"""BERT encoders (Devlin et al., 2019) as ONNX, built from config.json and safetensors alone.

Attention is one opset-23 `Attention` node a layer, on [batch, seq, hidden] without head transposes, so that the
compiler sees it whole. Dropout is left out: this is inference.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, helper

from lumir.diagnostics import UnsupportedError, UserError
from lumir.frontend.hf_graph import GraphBuilder, scope_of
from lumir.frontend.hf_safetensors import read_directory, read_json
from lumir.frontend.hf_sentence import Recipe, add_sentence_embedding

TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TANH_GELUS = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh")
ACTIVATIONS = ("gelu", *TANH_GELUS, "relu", "silu", "swish", "tanh")


@dataclass(frozen=True)
class BertConfig:
    """The fields of config.json that shape the network; the defaults are Hugging Face's."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"

    @classmethod
    def from_json(cls, config: dict[str, Any]) -> "BertConfig":
        """Checks types, ranges and variants.

        Raises:
            UserError: a field has the wrong type or a size that cannot be.
            UnsupportedError: a variant of BERT that is not built here.
        """
        known = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        for name, value in known.items():
            _check_field(name, value, type(getattr(cls, name)))
        result = cls(**known)
        if result.hidden_size % result.num_attention_heads:
            raise UserError(
                "config.json: hidden_size is not a multiple of num_attention_heads", code="hf-bad-config",
                values={"hidden_size": result.hidden_size, "num_attention_heads": result.num_attention_heads},
            )  # fmt: skip
        problems = _unsupported(config, result)
        if problems:
            raise UnsupportedError("this variant of BERT cannot be built", code="hf-unsupported", problems=problems)
        return result


def _check_field(name: str, value: Any, expected: type) -> None:
    accepted = (int, float) if expected is float else (expected,)
    positive = expected is str or (type(value) in accepted and value > 0)
    if type(value) not in accepted or not positive:
        rule = f"{name} is a {'string' if expected is str else 'positive number'}"
        raise UserError(f"config.json: {name} is {value!r}", code="hf-bad-config", rule=rule)


def _unsupported(config: dict[str, Any], parsed: BertConfig) -> list[str]:
    problems = []
    if config.get("position_embedding_type", "absolute") != "absolute":
        problems.append(f"position_embedding_type {config['position_embedding_type']!r}; supported: 'absolute'")
    decoder = [flag for flag in ("is_decoder", "add_cross_attention") if config.get(flag)]
    problems += [f"{flag} is set; supported: encoders" for flag in decoder]
    if parsed.hidden_act not in ACTIVATIONS:
        problems.append(f"hidden_act {parsed.hidden_act!r}; supported: {', '.join(ACTIVATIONS)}")
    return problems


def build_bert(directory: Path, recipe: Recipe | None = None) -> tuple[ModelProto, Path]:
    """Builds the encoder of a directory with config.json and safetensors; see `lumir.frontend.huggingface`.

    Args:
        directory: holds config.json and the weights.
        recipe: what a sentence-transformers model does with the hidden states, if it is one.

    Returns:
        The model, and the folder that its external data is relative to.
    """
    config = BertConfig.from_json(read_json(directory / "config.json"))
    tensors = read_directory(directory)
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in tensors else ""
    graph = GraphBuilder(tensors, prefix)

    hidden = _embeddings(graph, config)
    mask = _attention_mask(graph)
    for layer in range(config.num_hidden_layers):
        hidden = _layer(graph, config, f"encoder.layer.{layer}", hidden, mask)

    outputs = {"last_hidden_state": (hidden, ["batch", "seq", config.hidden_size])}
    if graph.has("pooler.dense.weight"):
        outputs["pooler_output"] = (_pooler(graph, config, hidden), ["batch", config.hidden_size])
    if recipe is not None:
        embedding = add_sentence_embedding(graph, recipe, hidden)
        outputs["sentence_embedding"] = (embedding, ["batch", config.hidden_size])
    return _finish(graph, config, outputs), graph.base_directory()


def _finish(graph: GraphBuilder, config: BertConfig, outputs: dict[str, tuple[str, list]]) -> ModelProto:
    graph.rename({value: name for name, (value, _) in outputs.items()})
    tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"]) for name in TOKEN_INPUTS]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, (_, shape) in outputs.items()]
    model = graph.model("bert", tokens, results)
    helper.set_model_props(model, {"lumir.dim.seq.max": str(config.max_position_embeddings)})
    return model


def _embeddings(graph: GraphBuilder, config: BertConfig) -> str:
    """LayerNorm(word[input_ids] + type[token_type_ids] + position[0..seq]): [batch, seq, hidden]."""
    scope = "/embeddings"
    length = graph.node("Shape", ["input_ids"], scope, "sequence_length", start=1, end=2)
    scalar = graph.node("Squeeze", [length, graph.constant([0], "axis_0")], scope)
    positions = graph.node("Range", [graph.constant(0, "zero"), scalar, graph.constant(1, "one")], scope)
    graph.declare(positions, TensorProto.INT64, ["seq"])  # Range hides its length from shape inference

    def lookup(table: str, rows: int, indices: str) -> str:
        weight = graph.stored_weight(f"embeddings.{table}.weight", (rows, config.hidden_size))
        gathered = graph.node("Gather", [weight, indices], f"{scope}/{table}", axis=0)
        return graph.float32(gathered, weight, f"{scope}/{table}")

    words = lookup("word_embeddings", config.vocab_size, "input_ids")
    types = lookup("token_type_embeddings", config.type_vocab_size, "token_type_ids")
    places = lookup("position_embeddings", config.max_position_embeddings, positions)
    total = graph.node("Add", [graph.node("Add", [words, types], scope), places], scope, "Add_1")
    return _layer_norm(graph, config, "embeddings.LayerNorm", total)


def _attention_mask(graph: GraphBuilder) -> str:
    """Booleans [batch, 1, seq, seq], true where the key is a token: the same for each query of a sequence."""
    scope = "/attention_mask"
    keep = graph.node("Cast", ["attention_mask"], scope, to=TensorProto.BOOL)
    keys = graph.node("Unsqueeze", [keep, graph.constant([1, 2], "axes_1_2")], scope)
    length = graph.node("Shape", ["attention_mask"], scope, start=1, end=2)
    one = graph.constant([1], "one_1d")
    return graph.node("Expand", [keys, graph.node("Concat", [one, one, length, one], scope, axis=0)], scope)


def _layer(graph: GraphBuilder, config: BertConfig, module: str, hidden: str, mask: str) -> str:
    """One post-norm transformer layer on [batch, seq, hidden]."""
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    scope = scope_of(module)
    projected = [
        graph.linear(hidden, (width, width), f"{module}.attention.self.{name}") for name in ("query", "key", "value")
    ]
    context = graph.node(
        "Attention", [*projected, mask], f"{scope}/attention/self", q_num_heads=heads, kv_num_heads=heads
    )
    attended = graph.linear(context, (width, width), f"{module}.attention.output.dense")
    attended = graph.node("Add", [attended, hidden], f"{scope}/attention/output")
    attended = _layer_norm(graph, config, f"{module}.attention.output.LayerNorm", attended)

    wide = graph.linear(attended, (width, inner), f"{module}.intermediate.dense")
    wide = _activation(graph, config.hidden_act, wide, f"{scope}/intermediate")
    narrow = graph.linear(wide, (inner, width), f"{module}.output.dense")
    narrow = graph.node("Add", [narrow, attended], f"{scope}/output")
    return _layer_norm(graph, config, f"{module}.output.LayerNorm", narrow)


def _layer_norm(graph: GraphBuilder, config: BertConfig, module: str, value: str) -> str:
    """LayerNormalization over the last axis; checkpoints converted from TensorFlow call its weights gamma and beta."""
    legacy = graph.has(f"{module}.gamma") and not graph.has(f"{module}.weight")
    names = ("gamma", "beta") if legacy else ("weight", "bias")
    scope, shape = scope_of(module), (config.hidden_size,)
    weights = [graph.weight(f"{module}.{name}", shape, scope) for name in names]
    return graph.node("LayerNormalization", [value, *weights], scope, axis=-1, epsilon=config.layer_norm_eps)


def _activation(graph: GraphBuilder, name: str, value: str, scope: str) -> str:
    if name == "gelu" or name in TANH_GELUS:
        return graph.node("Gelu", [value], scope, approximate="none" if name == "gelu" else "tanh")
    if name in ("silu", "swish"):
        return graph.node("Mul", [value, graph.node("Sigmoid", [value], scope)], scope)
    return graph.node({"relu": "Relu", "tanh": "Tanh"}[name], [value], scope)


def _pooler(graph: GraphBuilder, config: BertConfig, hidden: str) -> str:
    """tanh(W h[0] + b) of the first token: [batch, hidden]."""
    first = graph.node("Gather", [hidden, graph.constant(0, "zero")], "/pooler", axis=1)
    dense = graph.linear(first, (config.hidden_size, config.hidden_size), "pooler.dense")
    return graph.node("Tanh", [dense], "/pooler")
