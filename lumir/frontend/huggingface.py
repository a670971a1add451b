"""Hugging Face directories: config.json and safetensors in, an ONNX model that points into the safetensors out.

Neither torch nor transformers is needed, and no weight is read: each initialiser is ONNX external data, that is (file,
offset, length) inside model.safetensors. The graph takes the same road through the compiler as any ONNX file.
"""

from collections.abc import Callable
from pathlib import Path

from onnx import ModelProto

from lumir.diagnostics import UnsupportedError, UserError
from lumir.frontend.hf_bert import build_bert
from lumir.frontend.hf_safetensors import read_json
from lumir.frontend.hf_sentence import Recipe, read_recipe

BUILDERS: dict[str, Callable[[Path, Recipe | None], tuple[ModelProto, Path]]] = {"bert": build_bert}


def is_huggingface(path: Path) -> bool:
    """Whether a path is a directory that `load_huggingface` should be given."""
    return (path / "config.json").is_file() or (path / "modules.json").is_file()


def load_huggingface(directory: Path) -> tuple[ModelProto, Path]:
    """Builds the ONNX model of a Hugging Face or sentence-transformers directory.

    Returns:
        The model, and the folder that its external data is relative to: the directory itself, or where its symbolic
        links lead (the blobs of a Hugging Face cache).

    Raises:
        UserError: a file is missing or malformed, or a weight is missing or has another shape or dtype.
        UnsupportedError: a model_type, variant or sentence-transformers module that is not built.
    """
    if not is_huggingface(directory):
        raise UserError(
            f"{directory} has no config.json: it is not a Hugging Face directory",
            code="hf-no-config",
            hint="give an .onnx file, or the folder that holds config.json beside model.safetensors",
        )
    recipe = read_recipe(directory)
    encoder = recipe.encoder if recipe else directory
    model_type = read_json(encoder / "config.json").get("model_type")
    if not isinstance(model_type, str) or model_type not in BUILDERS:
        raise UnsupportedError(
            f"model_type {model_type!r} of {encoder / 'config.json'} cannot be built", code="hf-model-type",
            values={"supported": ", ".join(BUILDERS)},
            hint="export the model to ONNX and compile the .onnx file instead",
        )  # fmt: skip
    return BUILDERS[model_type](encoder, recipe)


def bert_to_onnx(directory: Path) -> ModelProto:
    """Builds a BERT encoder as ONNX, opset 23.

    Inputs: `input_ids`, `attention_mask` (1 = token, 0 = padding) and `token_type_ids`, int64 [batch, seq].
    Outputs, float32: `last_hidden_state` [batch, seq, hidden]; `pooler_output` [batch, hidden] if the checkpoint has a
    pooler; `sentence_embedding` [batch, hidden] if the directory is a sentence-transformers model. Task heads are left
    out. seq is at most max_position_embeddings, which the model's metadata holds as `lumir.dim.seq.max`.

    Weights keep their stored dtype (F32, F16, BF16) and are cast to float32 where they are used.

    Raises:
        UserError: a file is missing or malformed, or a weight is missing or has another shape or dtype.
        UnsupportedError: a variant of BERT or a sentence-transformers module that is not built.
    """
    recipe = read_recipe(directory)
    return build_bert(recipe.encoder if recipe else directory, recipe)[0]
