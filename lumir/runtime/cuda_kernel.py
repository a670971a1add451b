"""One kernel launch on a GPU: arguments, tensor maps, clusters, programmatic dependent launch."""

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

from lumir.artifact.dtypes import numpy_dtype
from lumir.artifact.tensor_map import TensorMap
from lumir.runtime import cuda_driver
from lumir.runtime.cuda_driver import call, enum

_DATA_TYPES = {
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "float32": "FLOAT32",
    "float64": "FLOAT64",
    "int32": "INT32",
    "int64": "INT64",
}
_FILLS = ("NONE", "NAN_REQUEST_ZERO_FMA")
_UNSIGNED = {1: "UINT8", 2: "UINT16", 4: "UINT32", 8: "UINT64"}


class LaunchShape(Protocol):
    """What a launch needs to know of its kernel, beside the function and the grid."""

    @property
    def block(self) -> int: ...
    @property
    def shared_bytes(self) -> int: ...
    @property
    def cluster(self) -> tuple[int, int, int]: ...
    @property
    def pdl(self) -> bool: ...


def launch_kernel(
    function: Any,
    shape: LaunchShape,
    grid: tuple[int, int, int],
    tensor_maps: Sequence[TensorMap],
    addresses: Sequence[int],
    scalars: Sequence[int],
    stream: Any,
    **values: Any,
) -> None:
    """Put a launch into a stream, or into the graph that is captured from it.

    Args:
        shape: a `KernelEntry` or `KernelCode`.
        tensor_maps: views of the buffers, for these sizes.
        addresses: of the buffers.
        scalars: 64-bit integers; they come last, after the tensor maps.
        values: shown in the error of a launch that fails.
    """
    maps = [encode(tensor_map, addresses[tensor_map.arg]) for tensor_map in tensor_maps]
    arguments = (*addresses, *maps, *scalars)
    types = (ctypes.c_void_p,) * len(addresses) + (None,) * len(maps) + (ctypes.c_int64,) * len(scalars)
    config = _config(shape, grid, stream)
    call("cuLaunchKernelEx", config, function, (arguments, types) if arguments else 0, 0, **values)


def encode(tensor_map: TensorMap, address: int) -> Any:
    """The driver's form of a tensor map of the buffer at `address`.

    Raises:
        InternalError: `driver`, for a map or an address that the GPU cannot take.
    """

    wide = [cuda_driver.api().cuuint64_t(n) for n in (*tensor_map.dims, *tensor_map.strides)]
    box, steps = ([cuda_driver.api().cuuint32_t(n) for n in part] for part in (tensor_map.box, tensor_map.steps))
    rank = tensor_map.rank
    name, boxes = "cuTensorMapEncodeTiled", [box]
    if tensor_map.im2col:
        name, boxes = "cuTensorMapEncodeIm2col", [list(tensor_map.lower), list(tensor_map.upper), *box]
    return call(
        name,
        enum("CUtensorMapDataType", f"CU_TENSOR_MAP_DATA_TYPE_{_data_type(tensor_map)}"),
        rank,
        address + tensor_map.offset,
        wide[:rank],
        wide[rank:],
        *boxes,
        steps,
        enum("CUtensorMapInterleave", "CU_TENSOR_MAP_INTERLEAVE_NONE"),
        enum("CUtensorMapSwizzle", f"CU_TENSOR_MAP_SWIZZLE_{_bytes(tensor_map.swizzle)}"),
        enum("CUtensorMapL2promotion", f"CU_TENSOR_MAP_L2_PROMOTION_{_bytes(tensor_map.promotion, 'L2_')}"),
        enum("CUtensorMapFloatOOBfill", f"CU_TENSOR_MAP_FLOAT_OOB_FILL_{_FILLS[tensor_map.nan_fill]}"),
        tensor_map=tensor_map,
    )


def _bytes(count: int, prefix: str = "") -> str:
    return f"{prefix}{count}B" if count else "NONE"


def _data_type(tensor_map: TensorMap) -> str:
    """The driver's name; a type that it has no name for is copied as an integer of its size."""
    dtype = tensor_map.dtype
    return "TFLOAT32" if tensor_map.tf32 else _DATA_TYPES.get(dtype) or _UNSIGNED[numpy_dtype(dtype).itemsize]


def _config(shape: LaunchShape, grid: tuple[int, int, int], stream: Any) -> Any:
    config = cuda_driver.api().CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = grid
    config.blockDimX, config.blockDimY, config.blockDimZ = shape.block, 1, 1
    config.sharedMemBytes, config.hStream = shape.shared_bytes, stream
    attributes = _attributes(shape)
    config.attrs, config.numAttrs = attributes, len(attributes)
    return config


def _attributes(shape: LaunchShape) -> list[Any]:
    attributes = []
    if tuple(shape.cluster) != (1, 1, 1):
        cluster = _attribute("CLUSTER_DIMENSION")
        cluster.value.clusterDim.x, cluster.value.clusterDim.y, cluster.value.clusterDim.z = shape.cluster
        attributes.append(cluster)
    if shape.pdl:
        overlap = _attribute("PROGRAMMATIC_STREAM_SERIALIZATION")
        overlap.value.programmaticStreamSerializationAllowed = 1
        attributes.append(overlap)
    return attributes


def _attribute(name: str) -> Any:
    attribute = cuda_driver.api().CUlaunchAttribute()
    attribute.id = enum("CUlaunchAttributeID", f"CU_LAUNCH_ATTRIBUTE_{name}")
    return attribute
