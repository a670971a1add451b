"""Step 1, import: ONNX -> the `lumir` dialect, weights by reference."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from lumir.dims import Dims, as_symbols
from lumir.frontend import handlers as _handlers  # noqa: F401  (fills the table of handlers)
from lumir.frontend.graph import import_graph
from lumir.frontend.model import read_model
from lumir.frontend.topology import check_topology
from lumir.mlir import ir
from lumir.module import record_symbols
from lumir.size_text import declare, declared_symbols
from lumir.weights import WeightStore


def import_onnx(
    model: Path | str | onnx.ModelProto,
    *,
    folder: Path | None = None,
    dims: Dims | None = None,
    constants: Mapping[str, np.ndarray] | None = None,
) -> tuple[ir.Module, WeightStore]:
    """Import an ONNX model into the current context.

    Args:
        model: a file, or a model in memory.
        folder: what the paths of external weight files start at; the file's own folder unless given.
        dims: sizes or ranges of the symbolic dimensions of the inputs, e.g. `{"batch": 1, "seq": "1..512"}`.
        constants: values for inputs that are fixed at compile time, which disappear from the signature.

    Returns:
        a module with the `lumir.weight`s and one function `main`, whose arguments and results carry the names of the
        graph's inputs and outputs as `lumir.name`; and the store that holds the weights' bytes.

    Raises:
        UserError: the model, its weights or `dims` are wrong.
        UnsupportedError: the model is valid and cannot be compiled; every such node is listed.
    """
    read = read_model(model, folder)
    check_topology(read.proto.graph)
    symbols = as_symbols(dims or {})
    with declare(symbols):
        module, store = import_graph(read, symbols, constants or {})
        record_symbols(module, declared_symbols())
    return module, store


__all__ = ["import_onnx"]
