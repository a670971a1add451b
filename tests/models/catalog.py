"""The model fixtures of this folder, and inputs that suit them.

    for path in MODELS:
        for dims in default_dims(path):
            feeds = random_inputs(path, seed=0, dims=dims)

Nothing here knows a model by name: vocabulary sizes, shapes and symbols are read from the ONNX graph, so the same
functions serve any exported transformer or vision model.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

FOLDER = Path(__file__).parent
MODELS = sorted(FOLDER.glob("*.onnx"))

SHAPES: dict[str, tuple[int, int]] = {"batch": (1, 2), "seq": (8, 13), "past": (5, 11), "m": (2, 3), "n": (5, 4)}


def default_dims(path: Path) -> list[dict[str, int]]:
    """The two shapes at which tests run a model: values for each symbol of its inputs; one empty dict when static."""
    symbols = _symbols(onnx.load(path, load_external_data=False))
    if not symbols:
        return [{}]
    return [{symbol: SHAPES[symbol][which] for symbol in symbols} for which in range(2)]


def random_inputs(path: Path, seed: int, dims: dict[str, int]) -> dict[str, np.ndarray]:
    """Draws one valid set of inputs.

    Integers that index an embedding table stay inside it. A mask is right-padded: each row keeps a random non-empty
    prefix, so no query of a causal model is left without a key. Positions count from zero. Other integers are 0 or 1,
    booleans are fair coins, floats are standard normal.

    Args:
        path: the ONNX file; external data is not read.
        seed: the same seed and dims give the same arrays.
        dims: a value for each symbol, e.g. `{"batch": 2, "seq": 13}`.

    Returns:
        Input name -> array of the declared dtype and shape.

    Raises:
        KeyError: a symbol of an input has no value in `dims`.
    """
    graph = onnx.load(path, load_external_data=False).graph
    rng = np.random.default_rng(seed)
    weights = {initializer.name for initializer in graph.initializer}
    return {value.name: _draw(graph, value, dims, rng) for value in graph.input if value.name not in weights}


def _symbols(model: onnx.ModelProto) -> list[str]:
    """The plain symbols (`past`, not `past + 1`) of the inputs, in order of appearance."""
    names = (dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim)
    return list(dict.fromkeys(name for name in names if name.isidentifier()))


def _size(dim: onnx.TensorShapeProto.Dimension, dims: dict[str, int]) -> int:
    """The extent of a dimension: a constant, a symbol, or a sum such as `past + 1`."""
    if not dim.dim_param:
        return dim.dim_value
    terms = [term.strip() for term in dim.dim_param.split("+")]
    return sum(int(term) if term.isdigit() else dims[term] for term in terms)


def _draw(graph: onnx.GraphProto, value: onnx.ValueInfoProto, dims: dict[str, int], rng: np.random.Generator):
    tensor = value.type.tensor_type
    shape = [_size(dim, dims) for dim in tensor.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if "position" in value.name:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype)
    if "mask" in value.name:
        return _mask(shape, rng).astype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(0, _table_rows(graph, value.name), shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def _mask(shape: list[int], rng: np.random.Generator) -> np.ndarray:
    """[..., length] of zeros and ones; the first row is whole, each other keeps a random prefix of at least one."""
    lengths = rng.integers(1, shape[-1] + 1, shape[:-1])
    lengths.reshape(-1)[0] = shape[-1]
    return np.arange(shape[-1]) < lengths[..., None]


def _table_rows(graph: onnx.GraphProto, name: str) -> int:
    """How many values an index input may take: the rows of the table it gathers from; 2 when it gathers none."""
    rows = {initializer.name: initializer.dims[0] for initializer in graph.initializer if initializer.dims}
    indices, tables = {name}, []
    for node in graph.node:
        if node.op_type in ("Reshape", "Cast", "Identity") and node.input[0] in indices:
            indices.add(node.output[0])
        if node.op_type == "Gather" and node.input[1] in indices:
            tables.append(node.input[0])
    return min((rows[table] for table in tables if table in rows), default=2)
