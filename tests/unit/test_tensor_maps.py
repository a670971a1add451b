"""Tensor maps, clusters and dependent launches: from a kernel's declaration through the artifact to the driver."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from fake_cuda import FakeDriver, real

from lumir.artifact.check_plan import check_maps, check_plan
from lumir.artifact.launches import Launch
from lumir.artifact.manifest import KernelEntry
from lumir.artifact.plan import Plan
from lumir.artifact.tensor_map import TensorMap
from lumir.artifact.tensors import BufferRef, TensorSpec
from lumir.context import make_context
from lumir.diagnostics import UserError
from lumir.kernels.emit import _declare
from lumir.mlir import func, ir
from lumir.module import symbols
from lumir.plan.launches import kernel_entries, tensor_maps_of
from lumir.runtime import cuda_driver
from lumir.runtime.cuda_kernel import encode, launch_kernel
from lumir.schedule.family import KernelCode
from lumir.size_text import declare
from lumir.sizes import size_of
from lumir.symbols import Symbol

MAP = TensorMap(1, "bfloat16", (64, 10, 3), (128, 1280), (64, 8, 1), offset=256)
SEQ = size_of(Symbol("seq", 1, 40))
SHAPES = KernelEntry("kernels/k.ptx", "k", 128, cluster=(2, 1, 1), pdl=True)


def test_json_keeps_everything():
    data = json.loads(json.dumps(MAP.to_json()))
    assert TensorMap.from_json(data, "launch 0") == MAP
    assert KernelEntry.from_json(json.loads(json.dumps(SHAPES.to_json())), "kernel 'k'") == SHAPES
    assert MAP.end == 256 + 2 * 1280 + 9 * 128 + 128


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": [0, 10, 3]}, "a dimension is not in"),
        ({"dims": [64, 10]}, "do not go together"),
        ({"dims": []}, "1 to 5 dimensions"),
        ({"box": [64, 257, 1]}, "a box is not in"),
        ({"box": [4, 8, 1]}, "a line of the box is not a multiple"),
        ({"box": [72, 8, 1]}, "wider than the swizzle"),
        ({"strides": [120, 1280]}, "is not a multiple of 16 bytes"),
        ({"offset": 8}, "is not a multiple of 16 bytes"),
        ({"swizzle": 48}, "the swizzle is unknown"),
        ({"promotion": 100}, "the L2 promotion is unknown"),
        ({"element_strides": [1, 9, 1]}, "an element stride is not in"),
        ({"dtype": "float33"}, "unknown element type"),
        ({"arg": -1}, "is not an integer"),
        ({"nan_fill": 1}, "is not true or false"),
    ],
)
def test_maps_that_the_driver_would_refuse(change, message):
    with pytest.raises(UserError) as caught:
        TensorMap.from_json(MAP.to_json() | change, "kernel 'k'")
    assert caught.value.code == "bad-artifact" and message in str(caught.value)


WINDOWS = replace(MAP, dims=(64, 10, 3, 2), strides=(128, 1280, 3840), box=(64, 200), lower=(-1, 0), upper=(-1, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upper": [-1]}, "has two corners"),
        ({"dims": [64, 10], "strides": [128]}, "has two corners"),
        ({"box": [64, 8, 1]}, "do not go together"),
        ({"box": [64, 1025]}, "is not 1..1024 pixels"),
        ({"box": [257, 8]}, "a box is not in"),
        ({"box": [4, 8]}, "a line of the box is not a multiple"),
        ({"lower": [-129, 0]}, "a corner is not in -128..127"),
        ({"upper": [-11, 0]}, "no pixel lies between the corners"),
        ({"lower": [-1, 2**15 + 1]}, "is not an integer in"),
    ],
)
def test_im2col_maps_that_the_driver_would_refuse(change, message):
    assert TensorMap.from_json(WINDOWS.to_json(), "kernel 'k'") == WINDOWS
    with pytest.raises(UserError) as caught:
        TensorMap.from_json(WINDOWS.to_json() | change, "kernel 'k'")
    assert caught.value.code == "bad-artifact" and message in str(caught.value)


@pytest.mark.parametrize("cluster", [[2, 1], [0, 1, 1], [4, 4, 1], [9, 1, 1]])
def test_clusters_that_no_gpu_runs(cluster):
    with pytest.raises(UserError, match="cluster"):
        KernelEntry.from_json(SHAPES.to_json() | {"cluster": cluster}, "kernel 'k'")


def test_a_map_must_stay_inside_its_buffer():
    refs = {"arena": BufferRef.arena(64), "input": BufferRef.input(0), "weight": BufferRef("weight", name="w")}
    sizes = {"arena": 64 + MAP.end, "input": MAP.end, "weight": MAP.end}
    for space, ref in refs.items():
        for short in (0, 1):
            size = sizes[space] - short
            plan = Plan(
                inputs=(TensorSpec("x", "uint8", (size,)),) if space == "input" else (),
                outputs=(),
                launches=(Launch("k", (1, 1, 1), (ref, ref), tensor_maps=(MAP,)),),
                arena_bytes=size if space == "arena" else 0,
            )
            weights = {"w": size} if space == "weight" else {}
            if short:
                with pytest.raises(UserError, match=f"a tensor map of launch 0 of p reaches past its {space}"):
                    check_plan(plan, {"k": SHAPES}, weights, "p")
            else:
                check_plan(plan, {"k": SHAPES}, weights, "p")
    plan = Plan((), (), (Launch("k", (1, 1, 1), (refs["arena"],), tensor_maps=(MAP,)),), 10_000)
    with pytest.raises(UserError, match="has a tensor map of argument 1 of 1"):
        check_plan(plan, {"k": SHAPES}, {}, "p")


def test_the_declaration_carries_them_to_the_artifact():
    open_map = replace(MAP, dims=(64, SEQ, 3), strides=(128, 128 * SEQ), offset=16 * SEQ)
    maps = (MAP, replace(MAP, arg=0, element_strides=(1, 2, 1)), open_map)
    code = KernelCode((4, 1, 1), 128, tensor_maps=maps, cluster=(2, 1, 1), pdl=True)
    with make_context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            ir.Operation.create(
                "lumir.code",
                attributes={
                    name: ir.StringAttr.get(text)
                    for name, text in {"sym_name": "d.kernel", "target": "sm_90a", "format": "ptx", "data": ""}.items()
                },
            )
            function = func.FuncOp("d", ([], []), visibility="private")
            function.attributes["lumir.dispatch"] = ir.UnitAttr.get()
            function.attributes["lumir.family"] = ir.StringAttr.get("f")
            function.attributes["lumir.schedule"] = ir.DictAttr.get({})
            _declare(function, code)
            function.operation.erase()
        module = ir.Module.parse(str(module))
        entry = kernel_entries(module)["d"]
        with declare({"seq": Symbol("seq", 1, 40)}):
            found = tensor_maps_of(symbols(module)["d"])
    assert (found, entry.cluster, entry.pdl) == (maps, code.cluster, code.pdl)


def test_a_map_follows_the_sizes_of_its_launch():
    open_map = replace(MAP, dims=(64, SEQ, 3), strides=(128, 128 * SEQ), offset=16 * SEQ)
    with declare({"seq": Symbol("seq", 0, 40)}):
        data = json.loads(json.dumps(open_map.to_json()))
        assert TensorMap.from_json(data, "launch 0") == open_map
        with pytest.raises(UserError, match="multiple of 16 bytes"):
            TensorMap.from_json(data | {"strides": [128, "8*seq"]}, "launch 0")
    fixed = replace(MAP, dims=(64, 10, 3), strides=(128, 1280), offset=160)
    assert open_map.at({"seq": 10}) == fixed
    launch = Launch("k", (SEQ, 1, 1), (BufferRef.input(0),) * 2, tensor_maps=(open_map,))
    assert launch.at({"seq": 10}).tensor_maps == (fixed,)


@pytest.mark.parametrize("rows", [39, 40])
def test_a_map_that_depends_on_sizes_is_held_against_its_buffer_once_they_are_known(rows):
    open_map = TensorMap(0, "float16", (64, SEQ), (128,), (64, 8))
    spec = TensorSpec("x", "float16", (64 * rows,))
    launch = Launch("k", (1, 1, 1), (BufferRef.input(0),), tensor_maps=(open_map,))
    plan = Plan((spec,), (), (launch,), symbols={"seq": "1..40"})
    check_plan(plan, {"k": SHAPES}, {}, "p")
    check_maps(plan.at({"seq": 39}), {}, "p")
    if rows == 39:
        with pytest.raises(UserError, match="reaches past its input"):
            check_maps(plan.at({"seq": 40}), {}, "p")
    else:
        check_maps(plan.at({"seq": 40}), {}, "p")


def test_the_driver_gets_them(monkeypatch):
    seen = []
    driver = FakeDriver({"k": lambda *arguments: seen.append(arguments)})
    driver.contexts.append("context")
    monkeypatch.setattr(cuda_driver, "api", lambda: driver)
    memory = np.zeros(8192, np.uint8)
    start = memory.ctypes.data + -memory.ctypes.data % 16
    launch_kernel("k", SHAPES, (4, 1, 1), [MAP], [start, start + 1024], [7], 77)
    ((first, second, given, scalar),) = seen
    assert (first, second, scalar) == (start, start + 1024, 7)
    kind, address, dims, strides, box = given
    assert kind == real.CUtensorMapDataType.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
    assert address == start + 1024 + MAP.offset
    assert [tuple(part) for part in (dims, strides, box)] == [MAP.dims, MAP.strides, MAP.box]
    ids = [attribute for attribute, _ in driver.attributes[0]]
    names = real.CUlaunchAttributeID
    assert ids == [
        names.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
        names.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
    ]
    cluster = driver.attributes[0][0][1].clusterDim
    assert (cluster.x, cluster.y, cluster.z) == (2, 1, 1)


def test_the_driver_gets_im2col_maps(monkeypatch):
    driver = FakeDriver({})
    driver.contexts.append("context")
    monkeypatch.setattr(cuda_driver, "api", lambda: driver)
    encoded = encode(replace(WINDOWS, element_strides=(1, 2, 3, 1)), 4096)
    assert driver.maps[encoded.getPtr()] == ([-1, 0], [-1, 0], 64, 200, [1, 2, 3, 1])


def test_maps_are_plain_data():
    assert TensorMap(**asdict(MAP)) == MAP
