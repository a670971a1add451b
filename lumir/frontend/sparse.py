"""Sparse tensors."""

import numpy as np
import onnx


def dense(proto: onnx.SparseTensorProto) -> np.ndarray:
    """A sparse tensor written out."""
    values = onnx.numpy_helper.to_array(proto.values)
    indices = onnx.numpy_helper.to_array(proto.indices)
    array = np.zeros(tuple(proto.dims), values.dtype)
    if indices.ndim == 1:
        array.reshape(-1)[indices] = values
    else:
        array[tuple(indices.T)] = values
    return array
