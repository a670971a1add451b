"""Convolutions as sums of products: their tensor maps, walked in numpy as the copy engine walks them."""

import itertools

import cases
import contraction_cases
import convolution_cases
import numpy as np
import pytest
from nvidia_helpers import harness, needs_ptxas

from lumir.artifact.launches import Launch
from lumir.artifact.tensor_map import TensorMap
from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.kernels.families import choose
from lumir.kernels.nvidia.contraction_wgmma import WgmmaFamily
from lumir.kernels.nvidia.tma_windows import WindowMatrices
from lumir.kernels.nvidia.wgmma_reading import reading_of
from lumir.kernels.nvidia.wgmma_schedule import WgmmaSchedule
from lumir.measure import compile_dispatch
from lumir.measure.kernel import schedules_of
from lumir.target import NVIDIA_ARCHS, target_named

FAMILY, TARGET = WgmmaFamily(), target_named("sm_90a")


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


def visited(images: np.ndarray, map_: TensorMap, offsets: tuple[int, ...]) -> np.ndarray:
    """[pixels, channels]: those between the corners, moved by the offsets; zeros where nothing is."""
    channels, *spatial, count = map_.dims
    ends = [size + high for size, high in zip(spatial, map_.upper, strict=True)]
    walks = [range(low, end, step) for low, end, step in zip(map_.lower, ends, map_.steps[1:-1], strict=True)]
    rows = []
    for image, *at in itertools.product(range(count), *walks[::-1]):
        place = [i + offset for i, offset in zip(at[::-1], offsets, strict=True)]
        inside = all(0 <= i < size for i, size in zip(place, spatial, strict=True))
        first = sum(i * n for i, n in zip((*place, image), map_.strides, strict=True)) + map_.offset
        start = first // images.itemsize
        rows.append(images.reshape(-1)[start : start + channels] if inside else np.zeros(channels))
    return np.array(rows, np.float64)


def windows_of(text: str) -> tuple[int, WindowMatrices]:
    """Which operand of the product the windows are, and they."""
    _module, dispatch = harness.lowered(text)
    reading = reading_of(dispatch)
    assert reading is not None
    (found,) = [
        (number, operand.matrices)
        for number, operand in enumerate((reading.left, reading.right))
        if isinstance(operand.matrices, WindowMatrices)
    ]
    return found


def for_all_channels(filters: np.ndarray, groups: int) -> np.ndarray:
    """[filters, places, channels of all groups]; zero for those of other groups."""
    count, *_, channels = filters.shape
    wide = np.zeros((groups, count // groups, filters[0].size // channels, groups, channels))
    for group, of_group in enumerate(filters.reshape(groups, count // groups, -1, channels)):
        wide[group, :, :, group] = of_group
    return wide.reshape(count, -1, groups * channels)


@pytest.mark.parametrize(
    "name", [name for name in convolution_cases.CASES if name != "3x3-many" and "runs" not in name]
)
def test_the_maps_walk_over_every_place_of_every_window(name):
    """The sum over places of what the copies bring, times that place's filters, is the convolution."""
    text = convolution_cases.CASES[name]()
    built, (side, windows) = harness.build(text, FAMILY), windows_of(text)
    slides = windows.windows.slides
    images, filters, bias, _, *rest = harness.random_inputs(built, 3)
    weights = for_all_channels(filters, windows.windows.groups)
    total = np.zeros(())
    for number, at in enumerate(itertools.product(*(range(s.window) for s in slides))):
        offsets = tuple(i * s.dilation for i, s in zip(at, slides, strict=True))[::-1]
        total = total + visited(images, built.code.tensor_maps[side], offsets) @ weights[:, number].T
    lowest = np.full((), -400, bias.dtype)
    (wanted,) = harness.expected(built, [images, filters, 0 * bias, lowest, *(0 * other for other in rest)])
    np.testing.assert_allclose(total.reshape(wanted.shape), wanted, rtol=1e-9, atol=1e-9)


def test_filters_are_a_matrix_for_each_place():
    built = harness.build(convolution_cases.CASES["3x3-ragged-channels"](), FAMILY)
    images, filters = built.code.tensor_maps[:2]
    assert (images.box[0], images.dims) == (64, (200, 10, 11, 2))
    assert (filters.dims, filters.strides) == ((200, 56, 9), (9 * 400, 400))
    assert "cp.async.bulk.tensor.4d.shared::cluster.global.im2col" in built.ptx


@pytest.mark.parametrize("name", convolution_cases.OPEN)
def test_maps_follow_the_number_of_images(name):
    kernel = compile_dispatch(convolution_cases.open_text(name), "sm_90a", FAMILY, WgmmaSchedule(128, 64))
    for images in (1, 9):
        (launch,) = kernel.plan.at({"b": images}).work
        assert isinstance(launch, Launch) and launch.tensor_maps[0].dims[-1] == images
    assert not kernel.plan.at({"b": 0}).work


@needs_ptxas
@pytest.mark.parametrize("schedule", convolution_cases.SCHEDULES, ids=str)
@pytest.mark.parametrize("name", ["3x3-residual", "three-dimensional"])
def test_schedules_assemble(name, schedule):
    report = harness.build(convolution_cases.CASES[name](), FAMILY, schedule=schedule).assemble()
    assert report.spills <= 16 and not report.warnings, (report.kernels, report.warnings)


def computed() -> str:
    """The convolution of an exponential."""

    def body(image, filters):
        where = {name: [1, 1] for name in ("strides", "dilations", "low", "high")}
        to = mlir_type("float16")
        return build("conv", build("exp", image), filters, **where, groups=1, to=to, channels_last=True)

    return cases.dispatch(body, ((2, 9, 9, 64), "float16"), ((64, 3, 3, 64), "float16"))


REFUSED = {
    "channels that are not 16 bytes": lambda: convolution_cases.convolution((2, 9, 9, 12), (16, 3, 3, 12), low=1),
    "channels apart": lambda: contraction_cases.convolution((2, 64, 9, 9), (64, 64, 3, 3), "float16", pad=1),
    "groups of ragged channels": lambda: convolution_cases.convolution((2, 9, 9, 144), (64, 3, 3, 72), low=1, groups=2),
    "a stride past what maps hold": lambda: convolution_cases.convolution((2, 40, 40, 64), (64, 3, 3, 64), strides=9),
    "a window past what offsets hold": lambda: convolution_cases.convolution(
        (1, 300, 300, 8), (8, 2, 2, 8), dilations=256
    ),
    "a corner past what maps hold": lambda: convolution_cases.convolution((1, 9, 9, 16), (8, 2, 2, 16), low=129),
    "images that are computed": computed,
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_it_leaves_to_other_families(why):
    _module, dispatch = harness.lowered(REFUSED[why]())
    assert not FAMILY.match(dispatch, TARGET)


@pytest.mark.parametrize("arch", NVIDIA_ARCHS)
def test_only_hopper_runs_it(arch):
    _module, dispatch = harness.lowered(convolution_cases.CASES["3x3-many"]())
    family, _schedule = choose(dispatch, target_named(arch))
    assert family.name == ("wgmma" if arch == "sm_90a" else "contraction")


CHOSEN = {
    "wgmma": lambda: convolution_cases.convolution((32, 28, 28, 128), (128, 3, 3, 128), low=1),
    "contraction": lambda: convolution_cases.convolution((32, 112, 112, 8), (64, 3, 3, 8), low=1),
    "map": lambda: contraction_cases.convolution((8, 64, 28, 28), (64, 1, 3, 3), "float16", pad=1, groups=64),
}


@pytest.mark.parametrize("family", CHOSEN)
def test_costs_decide_between_families(family):
    """Few channels fill little of a stage of wgmma's; a depthwise convolution has nothing that a tile could share."""
    text = CHOSEN[family]()
    _module, dispatch = harness.lowered(text)
    chosen, _schedule = choose(dispatch, TARGET)
    offered = {choice.family for choice in schedules_of(text, "sm_90a")}
    assert chosen.name == family and {family, "contraction"} <= offered
