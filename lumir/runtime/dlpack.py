"""Read DLPack capsules (v0 and v1): where a tensor of another library lies, without importing that library."""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from lumir.artifact.dtypes import numpy_dtype
from lumir.diagnostics import UserError

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
_FAMILIES = {0: "int", 1: "uint", 2: "float", 5: "complex"}
_NAMES = {
    4: "bfloat16",
    6: "bool",
    10: "float8_e4m3fn",
    11: "float8_e4m3fnuz",
    12: "float8_e5m2",
    13: "float8_e5m2fnuz",
    14: "float8_e8m0fnu",
}


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_VERSIONED_HEADER_BYTES = 32
"""What precedes the tensor in a versioned capsule: version, context, deleter and flags."""

_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


@dataclass(frozen=True)
class ForeignTensor:
    """A tensor of another library, alive as long as this object is.

    Args:
        strides: in elements.
        device_type: DLPack's number (`CPU`, `CUDA`, ...).
    """

    address: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device_type: int
    device_id: int
    owner: Any

    @property
    def is_contiguous(self) -> bool:
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides)):
            if size != 1 and stride != expected:
                return False
            expected *= max(size, 1)
        return True

    @property
    def is_on_gpu(self) -> bool:
        return self.device_type in (CUDA, CUDA_MANAGED)

    def to_numpy(self) -> np.ndarray:
        """A view of a tensor in host memory."""
        dtype = numpy_dtype(self.dtype)
        if 0 in self.shape:
            return np.empty(self.shape, dtype)
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        memory = (ctypes.c_uint8 * ((last + 1) * dtype.itemsize)).from_address(self.address)
        memory.owner = self.owner  # pyright: ignore[reportAttributeAccessIssue]
        return np.ndarray(self.shape, dtype, memoryview(memory), strides=[n * dtype.itemsize for n in self.strides])


def from_dlpack(source: Any, stream: int | None = None) -> ForeignTensor:
    """Describe the tensor behind an object with `__dlpack__`.

    Args:
        stream: for GPU tensors, the CUDA stream on which the caller will read: the producer makes it wait.

    Raises:
        UserError: `bad-dlpack`, when the object refuses or its element type is unknown.
    """
    options = {} if stream is None else {"stream": stream}
    try:
        try:
            capsule = source.__dlpack__(max_version=(1, 0), **options)
        except TypeError:
            capsule = source.__dlpack__(**options)
    except Exception as error:
        raise UserError(f"{type(source).__name__} does not share its memory: {error}", code="bad-dlpack") from error
    tensor = _tensor_of(capsule)
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] for i in range(tensor.ndim)) if tensor.strides else _dense_strides(shape)
    address = (tensor.data or 0) + tensor.byte_offset
    return ForeignTensor(
        address, _dtype_name(tensor), shape, strides, tensor.device_type, tensor.device_id, (source, capsule)
    )


def _tensor_of(capsule: Any) -> _Tensor:
    """The capsule keeps its name, so that its own destructor frees it."""
    if _is_valid(capsule, b"dltensor_versioned"):
        return _Tensor.from_address(_get_pointer(capsule, b"dltensor_versioned") + _VERSIONED_HEADER_BYTES)
    if _is_valid(capsule, b"dltensor"):
        return _Tensor.from_address(_get_pointer(capsule, b"dltensor"))
    raise UserError("__dlpack__ returned no DLPack capsule", code="bad-dlpack")


def _dtype_name(tensor: _Tensor) -> str:
    name = _NAMES.get(tensor.code) or (_FAMILIES.get(tensor.code, "") + str(tensor.bits))
    try:
        numpy_dtype(name)
    except UserError:
        name = ""
    if tensor.lanes != 1 or not name:
        raise UserError(
            "the tensor's element type is unknown",
            code="bad-dlpack",
            values={"DLPack code": tensor.code, "bits": tensor.bits, "lanes": tensor.lanes},
        )
    return name


def _dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


class _ManagedTensor(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


_CODES = {name: code for code, name in _NAMES.items()}
_shared: dict[int, tuple[Any, ...]] = {}
"""What each capsule given out keeps alive, by the address of its managed tensor."""

_raw_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_raw_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _delete(managed: int) -> None:
    _shared.pop(managed, None)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _destroy_capsule(capsule: int) -> None:
    """Free a capsule that nobody took: one that was taken has another name, and its new owner calls the deleter."""
    if _raw_is_valid(capsule, b"dltensor"):
        _shared.pop(_raw_pointer(capsule, b"dltensor"), None)


def to_dlpack(address: int, dtype: str, shape: tuple[int, ...], device: tuple[int, int], owner: Any) -> Any:
    """A DLPack capsule (v0) for dense memory that `owner` keeps alive."""
    bits = numpy_dtype(dtype).itemsize * 8
    family = next((code for code, prefix in _FAMILIES.items() if dtype == f"{prefix}{bits}"), None)
    sizes = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    strides = (ctypes.c_int64 * max(len(shape), 1))(*_dense_strides(shape))
    managed = _ManagedTensor()
    tensor = managed.tensor
    tensor.data, tensor.device_type, tensor.device_id, tensor.ndim = address, *device, len(shape)
    tensor.code, tensor.bits, tensor.lanes = _CODES[dtype] if family is None else family, bits, 1
    tensor.shape = ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64))
    tensor.strides = ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = ctypes.cast(_delete, ctypes.c_void_p)
    at = ctypes.addressof(managed)
    _shared[at] = (managed, sizes, strides, owner)
    return _new_capsule(at, b"dltensor", ctypes.cast(_destroy_capsule, ctypes.c_void_p))
