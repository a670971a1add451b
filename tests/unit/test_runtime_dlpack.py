"""DLPack both ways, in pure Python."""

import gc

import ml_dtypes
import numpy as np
import pytest

from lumir.diagnostics import UserError
from lumir.runtime import dlpack

DTYPES = ["bool", "int8", "int64", "uint16", "float16", "float32", "float64", "complex64", "bfloat16", "float8_e5m2"]


class Shared:
    """An array that is shared by our capsule alone."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **_):
        array = self.array
        return dlpack.to_dlpack(array.ctypes.data, array.dtype.name, array.shape, (1, 0), owner=array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_our_capsules_read_by_us(dtype, shape):
    array = np.random.default_rng().integers(0, 2, shape).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    tensor = dlpack.from_dlpack(Shared(array))
    assert (tensor.dtype, tensor.shape) == (dtype, shape)
    assert tensor.is_contiguous
    assert not tensor.is_on_gpu
    assert tensor.to_numpy().tobytes() == array.tobytes()


def test_capsules_are_freed_taken_or_not():
    start = len(dlpack._shared)
    capsule = Shared(np.zeros(4)).__dlpack__()
    assert len(dlpack._shared) == start + 1
    del capsule
    assert len(dlpack._shared) == start
    taken = np.from_dlpack(Shared(np.arange(4.0)))
    assert len(dlpack._shared) == start + 1
    assert taken.tolist() == [0, 1, 2, 3]
    del taken
    gc.collect()
    assert len(dlpack._shared) == start


def test_numpy_and_strides():
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for view in (array, array.transpose(2, 0, 1), array[:, 1:, ::2], array[1:1]):
        tensor = dlpack.from_dlpack(view)
        assert (tensor.to_numpy() == view).all()
        assert tensor.is_contiguous == (view.flags.c_contiguous or not view.size)


def test_torch():
    torch = pytest.importorskip("torch")
    for dtype in (torch.bfloat16, torch.bool, torch.float8_e4m3fn):
        tensor = torch.ones(2, 3).to(dtype)
        assert dlpack.from_dlpack(tensor).to_numpy().astype(np.float32).sum() == 6
    back = torch.from_dlpack(Shared(np.full((2, 2), 3, ml_dtypes.bfloat16)))
    assert back.dtype == torch.bfloat16
    assert back.float().sum() == 12
    with pytest.raises(UserError, match="does not share its memory"):
        dlpack.from_dlpack(torch.ones(2, requires_grad=True))


def test_memory_outlives_its_names():
    array = dlpack.from_dlpack(np.arange(1000)).to_numpy()
    gc.collect()
    assert (array == np.arange(1000)).all()


def test_no_capsule():
    class Liar(Shared):
        def __dlpack__(self, **_):
            return "capsule"

    with pytest.raises(UserError, match="returned no DLPack capsule"):
        dlpack.from_dlpack(Liar(np.zeros(1)))
