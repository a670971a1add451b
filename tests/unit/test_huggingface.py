"""Hugging Face directories: the built graph against BERT in float64, and what is refused."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest

from lumir.diagnostics import UnsupportedError, UserError
from lumir.frontend.hf_safetensors import read_directory
from lumir.frontend.huggingface import bert_to_onnx, load_huggingface

CONFIG = {
    "model_type": "bert", "vocab_size": 31, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 40, "max_position_embeddings": 19, "type_vocab_size": 2, "layer_norm_eps": 1e-2,
    "hidden_act": "gelu",
}  # fmt: skip
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
Tensors = dict[str, np.ndarray]


def random_tensors(rng: np.random.Generator, config: dict[str, Any], *, pooler: bool = True) -> Tensors:
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    linears = {"pooler.dense": (width, width)} if pooler else {}
    for layer in range(config["num_hidden_layers"]):
        root = f"encoder.layer.{layer}"
        linears |= {f"{root}.attention.self.{name}": (width, width) for name in ("query", "key", "value")}
        linears |= {
            f"{root}.attention.output.dense": (width, width),
            f"{root}.intermediate.dense": (inner, width),
            f"{root}.output.dense": (width, inner),
        }
        for norm in (f"{root}.attention.output.LayerNorm", f"{root}.output.LayerNorm"):
            shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return {name: rng.standard_normal(shape) / shape[-1] ** (0.5 * (len(shape) - 1)) for name, shape in shapes.items()}


def save_safetensors(path: Path, tensors: Tensors, dtype: str = "F32") -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, value in tensors.items():
        raw = value.astype(DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def save_model(directory: Path, tensors: Tensors, config: dict[str, Any] = CONFIG, dtype: str = "F32") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    save_safetensors(directory / "model.safetensors", tensors, dtype)
    return directory


def stored(tensors: Tensors, dtype: str) -> Tensors:
    """What the file holds, in float64: the reference computes from the rounded weights."""
    return {name: value.astype(DTYPES[dtype]).astype(np.float64) for name, value in tensors.items()}


@dataclass
class Reference:
    """BERT in float64 numpy, written from the paper and independent of the graph builder."""

    weights: Tensors
    config: dict[str, Any]

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return np.einsum("...i,oi->...o", x, self.weights[f"{name}.weight"]) + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def activation(self, x: np.ndarray) -> np.ndarray:
        name = self.config["hidden_act"]
        if name == "gelu":
            return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
        if name in ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"):
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        if name in ("silu", "swish"):
            return x / (1 + np.exp(-x))
        return {"relu": np.maximum(x, 0), "tanh": np.tanh(x)}[name]

    def attention(self, root: str, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        heads = self.config["num_attention_heads"]
        out = np.zeros_like(x)
        query, key, value = (self.linear(f"{root}.self.{name}", x) for name in ("query", "key", "value"))
        size = x.shape[-1] // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[..., part] @ key[..., part].swapaxes(1, 2) / math.sqrt(size)
            scores = np.where(mask[:, None, :] != 0, scores, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            out[..., part] = weights / weights.sum(-1, keepdims=True) @ value[..., part]
        return out

    def hidden(self, feeds: Tensors) -> np.ndarray:
        table = {
            name: self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "token_type", "position")
        }
        x = table["word"][feeds["input_ids"]] + table["token_type"][feeds["token_type_ids"]]
        x = self.norm("embeddings.LayerNorm", x + table["position"][: x.shape[1]])
        for layer in range(self.config["num_hidden_layers"]):
            root = f"encoder.layer.{layer}"
            context = self.attention(f"{root}.attention", x, feeds["attention_mask"])
            x = self.norm(
                f"{root}.attention.output.LayerNorm", x + self.linear(f"{root}.attention.output.dense", context)
            )
            wide = self.activation(self.linear(f"{root}.intermediate.dense", x))
            x = self.norm(f"{root}.output.LayerNorm", x + self.linear(f"{root}.output.dense", wide))
        return x

    def pooled(self, hidden: np.ndarray) -> np.ndarray:
        return np.tanh(self.linear("pooler.dense", hidden[:, 0]))


def random_feeds(rng: np.random.Generator, batch: int, seq: int) -> Tensors:
    lengths = rng.integers(1, seq + 1, batch)
    return {
        "input_ids": rng.integers(0, CONFIG["vocab_size"], (batch, seq)),
        "attention_mask": (np.arange(seq) < lengths[:, None]).astype(np.int64),
        "token_type_ids": rng.integers(0, 2, (batch, seq)),
    }


def run(model: onnx.ModelProto, base: Path, feeds: Tensors) -> Tensors:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(base))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, feeds)
    return {output.name: np.asarray(value) for output, value in zip(session.get_outputs(), results, strict=True)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "seq"), [(1, 1), (1, 8), (3, 13), (2, 19)])
def test_matches_bert_in_float64(tmp_path: Path, dtype: str, batch: int, seq: int):
    rng = np.random.default_rng(batch * 100 + seq)
    tensors = random_tensors(rng, CONFIG)
    model, base = load_huggingface(save_model(tmp_path / "m", tensors, dtype=dtype))
    feeds = random_feeds(rng, batch, seq)
    reference = Reference(stored(tensors, dtype), CONFIG)
    hidden = reference.hidden(feeds)
    got = run(model, base, feeds)
    assert list(got) == ["last_hidden_state", "pooler_output"]
    np.testing.assert_allclose(got["last_hidden_state"], hidden, atol=2e-5)
    np.testing.assert_allclose(got["pooler_output"], reference.pooled(hidden), atol=2e-5)


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"])
def test_activations(tmp_path: Path, name: str):
    rng = np.random.default_rng(5)
    config = CONFIG | {"hidden_act": name}
    tensors = random_tensors(rng, config, pooler=False)
    model, base = load_huggingface(save_model(tmp_path / "m", tensors, config))
    feeds = random_feeds(rng, 2, 7)
    got = run(model, base, feeds)
    assert list(got) == ["last_hidden_state"]
    np.testing.assert_allclose(
        got["last_hidden_state"], Reference(stored(tensors, "F32"), config).hidden(feeds), atol=2e-5
    )


def save_sentence_model(directory: Path, tensors: Tensors, pooling: dict[str, Any], kinds: list[str]) -> Path:
    save_model(directory, tensors)
    folders = ["", *(f"{index}_{kind}" for index, kind in enumerate(kinds[1:], 1))]
    modules = [
        {"idx": index, "name": str(index), "path": folder, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, folder) in enumerate(zip(kinds, folders, strict=True))
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return directory


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("pooling", "mode"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"embedding_dimension": 24, "pooling_mode": "mean"}, "mean"),
    ],
)
def test_sentence_embedding(tmp_path: Path, pooling: dict[str, Any], mode: str, normalize: bool):
    rng = np.random.default_rng(9)
    tensors = random_tensors(rng, CONFIG)
    kinds = ["Transformer", "Pooling", "Normalize"] if normalize else ["Transformer", "Pooling"]
    model, base = load_huggingface(save_sentence_model(tmp_path / "m", tensors, pooling, kinds))
    feeds = random_feeds(rng, 4, 11)
    hidden = Reference(stored(tensors, "F32"), CONFIG).hidden(feeds)
    rows = [row[: mask.sum()].mean(0) for row, mask in zip(hidden, feeds["attention_mask"], strict=True)]
    expected = np.stack(rows) if mode == "mean" else hidden[:, 0]
    if normalize:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(run(model, base, feeds)["sentence_embedding"], expected, atol=2e-5)


def test_weights_are_referred_to_and_not_copied(tmp_path: Path):
    tensors = random_tensors(np.random.default_rng(0), CONFIG)
    directory = save_model(tmp_path / "m", tensors)
    model, base = load_huggingface(directory)
    external = [tensor for tensor in model.graph.initializer if tensor.external_data]
    assert {tensor.name for tensor in external} == set(tensors)
    data = (directory / "model.safetensors").read_bytes()
    for tensor in external:
        place = {entry.key: entry.value for entry in tensor.external_data}
        start, length = int(place["offset"]), int(place["length"])
        assert (base / place["location"]).samefile(directory / "model.safetensors")
        assert data[start : start + length] == tensors[tensor.name].astype(np.float32).tobytes()
    inline = [tensor for tensor in model.graph.initializer if not tensor.external_data]
    assert sum(len(tensor.raw_data) for tensor in inline) < 200


def test_graph_is_valid_beside_its_weights_and_every_shape_is_known(tmp_path: Path):
    directory = save_model(tmp_path / "m", random_tensors(np.random.default_rng(0), CONFIG))
    model = bert_to_onnx(directory)
    onnx.save(model, directory / "model.onnx")
    onnx.checker.check_model(directory / "model.onnx", full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    symbols = {dim.dim_param for value in inferred.graph.value_info for dim in value.type.tensor_type.shape.dim}
    assert symbols == {"", "batch", "seq"}
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert "/encoder/layer.0/attention/self/query/MatMul" in names
    assert {prop.key: prop.value for prop in model.metadata_props} == {"lumir.dim.seq.max": "19"}


def test_names_of_old_checkpoints_with_heads(tmp_path: Path):
    rng = np.random.default_rng(2)
    tensors = random_tensors(rng, CONFIG)
    renamed = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in tensors.items()
    }
    renamed["cls.predictions.bias"] = rng.standard_normal(31)
    model, base = load_huggingface(save_model(tmp_path / "m", renamed))
    feeds = random_feeds(rng, 2, 5)
    expected = Reference(stored(tensors, "F32"), CONFIG).hidden(feeds)
    np.testing.assert_allclose(run(model, base, feeds)["last_hidden_state"], expected, atol=2e-5)


def test_shards_behind_the_links_of_a_cache(tmp_path: Path):
    rng = np.random.default_rng(3)
    tensors = random_tensors(rng, CONFIG)
    names = sorted(tensors)
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    (snapshot / "config.json").write_text(json.dumps(CONFIG))
    weight_map = {}
    for index, part in enumerate((names[:7], names[7:])):
        save_safetensors(blobs / f"{index:064x}", {name: tensors[name] for name in part})
        shard = f"model-{index}.safetensors"
        (snapshot / shard).symlink_to(blobs / f"{index:064x}")
        weight_map |= dict.fromkeys(part, shard)
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    model, base = load_huggingface(snapshot)
    assert base == blobs.resolve()
    feeds = random_feeds(rng, 2, 6)
    expected = Reference(stored(tensors, "F32"), CONFIG).hidden(feeds)
    np.testing.assert_allclose(run(model, base, feeds)["last_hidden_state"], expected, atol=2e-5)


# What is refused


def refusal(kind: type[Exception], directory: Path) -> str:
    with pytest.raises(kind) as caught:
        load_huggingface(directory)
    return str(caught.value)


def test_not_a_model_directory(tmp_path: Path):
    assert "no config.json" in refusal(UserError, tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00", "[" * 100_000])
def test_malformed_config(tmp_path: Path, text: str):
    (tmp_path / "config.json").write_text(text)
    assert "config.json" in refusal(UserError, tmp_path)


@pytest.mark.parametrize("model_type", ["llama", None, 7, ["bert"], {}])
def test_other_model_types_are_named(tmp_path: Path, model_type: Any):
    message = refusal(UnsupportedError, save_model(tmp_path / "m", {}, CONFIG | {"model_type": model_type}))
    assert repr(model_type) in message
    assert "supported: bert" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"hidden_act": "mish"}, "mish"),
        ({"is_decoder": True}, "is_decoder"),
    ],
)
def test_variants_of_bert(tmp_path: Path, change: dict[str, Any], words: str):
    assert words in refusal(UnsupportedError, save_model(tmp_path / "m", {}, CONFIG | change))


@pytest.mark.parametrize(
    "change", [{"hidden_size": 0}, {"hidden_size": "24"}, {"num_hidden_layers": True}, {"num_attention_heads": 5},
               {"layer_norm_eps": 0.0}, {"hidden_act": None}, {"vocab_size": -3}],
)  # fmt: skip
def test_impossible_configs(tmp_path: Path, change: dict[str, Any]):
    tensors = random_tensors(np.random.default_rng(0), CONFIG)
    message = refusal(UserError, save_model(tmp_path / "m", tensors, CONFIG | change))
    assert next(iter(change)) in message


def test_missing_weight(tmp_path: Path):
    tensors = random_tensors(np.random.default_rng(0), CONFIG)
    del tensors["encoder.layer.1.output.dense.bias"]
    message = refusal(UserError, save_model(tmp_path / "m", tensors))
    assert "'encoder.layer.1.output.dense.bias'" in message
    assert "expected shape: [24]" in message


def test_misshapen_weight(tmp_path: Path):
    tensors = random_tensors(np.random.default_rng(0), CONFIG)
    tensors["encoder.layer.0.intermediate.dense.weight"] = np.zeros((24, 40))
    message = refusal(UserError, save_model(tmp_path / "m", tensors))
    assert "'encoder.layer.0.intermediate.dense.weight'" in message
    assert "expected shape: [40, 24]" in message
    assert "found shape: [24, 40]" in message


def edit_header(directory: Path, tensor: str, **fields: Any) -> None:
    """Rewrites one entry of the header; the data keep their place relative to its end."""
    path = directory / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header[tensor] |= fields
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


def test_weight_of_another_dtype(tmp_path: Path):
    directory = save_model(tmp_path / "m", random_tensors(np.random.default_rng(0), CONFIG))
    edit_header(directory, "pooler.dense.bias", dtype="I32")
    message = refusal(UserError, directory)
    assert "'pooler.dense.bias'" in message
    assert "I32" in message


@pytest.mark.parametrize(
    "fields",
    [
        {"data_offsets": [0, 10**12]}, {"data_offsets": [-4, 92]}, {"data_offsets": [8, 4]}, {"data_offsets": [0]},
        {"data_offsets": None}, {"data_offsets": [0, 92]}, {"data_offsets": [0, 96.0]}, {"data_offsets": [True, 97]},
        {"shape": [-24]}, {"shape": 24}, {"shape": ["24"]}, {"shape": [25]}, {"dtype": 5}, {"dtype": "F16"},
    ],
)  # fmt: skip
def test_inconsistent_safetensors_entries(tmp_path: Path, fields: dict[str, Any]):
    directory = save_model(tmp_path / "m", random_tensors(np.random.default_rng(0), CONFIG))
    edit_header(directory, "pooler.dense.bias", **fields)
    assert "'pooler.dense.bias'" in refusal(UserError, directory)


@pytest.mark.parametrize("keep", [0, 5, 8, 100, -1])
def test_truncated_safetensors(tmp_path: Path, keep: int):
    directory = save_model(tmp_path / "m", random_tensors(np.random.default_rng(0), CONFIG))
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "not a valid safetensors file" in refusal(UserError, directory)


@pytest.mark.parametrize("header", [b"[]", b"{", b"\xff\xfe", b'{"a": 3}', b"[" * 100_000])
def test_malformed_safetensors_header(tmp_path: Path, header: bytes):
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(UserError, match="safetensors"):
        read_directory(tmp_path)


def test_no_weights(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert "neither model.safetensors nor" in refusal(UserError, tmp_path)


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {"a": "../x"}}])
def test_malformed_shard_index(tmp_path: Path, index: dict[str, Any]):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model.safetensors.index.json" in refusal(UserError, tmp_path)


@pytest.mark.parametrize(
    ("kinds", "pooling", "words"),
    [
        (["Transformer", "Pooling", "Dense"], {"pooling_mode": "mean"}, "Dense"),
        (["Transformer"], {"pooling_mode": "mean"}, "modules Transformer"),
        (["Transformer", "Pooling"], {"pooling_mode": "max"}, "max"),
        (["Transformer", "Pooling"], {"pooling_mode": ["mean", "cls"]}, "cls"),
        (["Transformer", "Pooling"], {"pooling_mode_lasttoken": True}, "lasttoken"),
    ],
)
def test_other_sentence_models(tmp_path: Path, kinds: list[str], pooling: dict[str, Any], words: str):
    directory = save_sentence_model(tmp_path / "m", {}, pooling, kinds)
    assert words in refusal(UnsupportedError, directory)


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"type": "x"}]', '[{"type": "a.Transformer", "path": "../other"}]'])
def test_malformed_modules(tmp_path: Path, text: str):
    directory = save_model(tmp_path / "m", {})
    (directory / "modules.json").write_text(text)
    message = refusal((UserError, UnsupportedError), directory)  # type: ignore[arg-type]
    assert "modules" in message
