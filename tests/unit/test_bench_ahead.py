"""What `lumir-bench kernels` does ahead of measuring: kernels and references, operands for torch, turns at the GPU."""

import fcntl
import gc
import io
import sys
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lumir.artifact.tensors import TensorSpec
from lumir.measure.peer import tensor_at
from lumir.measure.peers_ahead import _take_turns, compiled_peers
from lumir.measure.prepared import batches, prepared
from lumir.measure.report import Ceiling, Reporter, Row
from lumir.measure.suite import Benchmark, benchmarks
from lumir.measure.turn import Turn

ROWS, COLUMNS = 40, 6


def add_text() -> str:
    from nvidia_helpers import contraction_cases, harness

    with harness.kernel_context():
        return contraction_cases.cases.op("add", ((ROWS, COLUMNS), "float32"), ((COLUMNS,), "float32"))


class Inline:
    """Workers that do what they are asked when they are asked."""

    count = 1

    def __init__(self):
        self.asked = []

    def call(self, function, *arguments):
        self.asked.append(arguments[0].name)
        done = Future()
        done.set_result(function(*arguments))
        return done


def items(count: int) -> list[Benchmark]:
    return [Benchmark("g", str(number), add_text) for number in range(count)]


def test_benchmarks_are_prepared_in_order_and_a_few_ahead():
    workers = Inline()
    found = prepared(items(6), "sm_90a", workers, None, with_model=True)  # pyright: ignore[reportArgumentType]
    assert workers.asked == ["0", "1", "2"]
    first = next(found)
    assert first.item.name == "0" and workers.asked == ["0", "1", "2", "3"]
    assert [one.item.name for one in found] == ["1", "2", "3", "4", "5"]
    assert first.kernel.family == "map" and first.model is None  # pyright: ignore[reportAttributeAccessIssue]
    assert first.expected[0].shape == (ROWS, COLUMNS) and first.expected[0].dtype == np.float64


def test_inputs_that_a_benchmark_changes_are_changed_in_what_is_expected():
    def with_zeros(inputs):
        inputs[0][:] = 0

    changed = Benchmark("g", "zeros", add_text, inputs=with_zeros)
    (found,) = prepared([changed], "sm_90a", Inline(), None, False)  # pyright: ignore[reportArgumentType]
    assert (found.expected[0] == found.expected[0][0]).all()


def test_what_goes_to_the_gpu_at_once_is_bounded(monkeypatch):
    (one,) = prepared(items(1), "sm_90a", Inline(), None, False)  # pyright: ignore[reportArgumentType]
    ready = []
    assert [len(batch) for batch in batches(iter([one] * 30), ready.append)] == [12, 12, 6] and len(ready) == 30
    monkeypatch.setattr("lumir.measure.prepared._BATCH_BYTES", one.nbytes)
    assert [len(batch) for batch in batches(iter([one] * 3), ready.append)] == [2, 1]


def test_rows_are_measured_and_a_wrong_kernel_is_said(monkeypatch, tmp_path):
    pytest.importorskip("cuda.bindings.driver")
    from fake_cuda import FakeDriver, floats

    from lumir.measure import Bench
    from lumir.runtime import cuda_driver

    def right(x, b, y):
        floats(y, ROWS, COLUMNS)[:] = floats(x, ROWS, COLUMNS) + floats(b, COLUMNS)

    (one,) = prepared(items(1), "sm_90a", Inline(), None, False)  # pyright: ignore[reportArgumentType]
    other = replace(one, item=Benchmark("g", "wrong", add_text), expected=[one.expected[0] + 1])
    fake = FakeDriver({"dispatch": right})
    monkeypatch.setattr(cuda_driver, "api", lambda: fake)
    reporter = Reporter(Bench(), Ceiling(1e12), with_peer=False, samples=10, turn=Turn(tmp_path / "turn"))
    row, wrong = reporter.rows([replace(one, model=one.kernel), other])  # pyright: ignore[reportArgumentType]
    assert [row.seconds, row.model_seconds] == pytest.approx([fake.kernel_seconds] * 2) and row.error < 1e-6
    assert row.share == pytest.approx(row.nbytes / 1e12 / fake.kernel_seconds) and row.family == "map"
    assert wrong.seconds is None and "error" in wrong.note
    gc.unfreeze()
    gc.collect()


def test_the_turn_is_one_processs_and_may_be_taken_again_by_it(tmp_path):
    mine, other = Turn(tmp_path / "turn"), Turn(tmp_path / "turn")
    with mine, mine, pytest.raises(BlockingIOError):
        fcntl.flock(other._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with other, pytest.raises(BlockingIOError):
        fcntl.flock(mine._file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Tensor:
    """Stands for torch's: what it was made of, and the type that it is viewed as."""

    def __init__(self, memory, device):
        self.interface, self.viewed = memory.__cuda_array_interface__, None
        assert device == "cuda"

    def view(self, dtype):
        self.viewed = dtype
        return self


@pytest.mark.parametrize(
    ("dtype", "kind", "shape", "viewed"),
    [
        ("float16", "<f2", (4, 6), None),
        ("bfloat16", "<i2", (4, 6), "torch.bfloat16"),
        ("float8_e5m2", "|u1", (4, 6), "torch.float8_e5m2"),
        ("uint4", "|u1", (4, 3), None),
        ("bool", "|b1", (4, 6), None),
        ("int32", "<i4", (4, 6), None),
    ],
)
def test_torch_reads_the_operands_where_they_lie(dtype, kind, shape, viewed):
    torch = SimpleNamespace(as_tensor=Tensor, bfloat16="torch.bfloat16", float8_e5m2="torch.float8_e5m2")
    tensor = tensor_at(torch, TensorSpec("x", dtype, (4, 6)), 4096)
    assert tensor.interface == {"shape": shape, "typestr": kind, "data": (4096, False), "version": 3}
    assert tensor.viewed == viewed


@pytest.mark.parametrize("newer", [False, True])
def test_torchs_own_measurements_take_the_turn(newer, monkeypatch, tmp_path):
    turn, taken = Turn(tmp_path / "turn"), []

    class Benchmarker:
        def benchmark_gpu(self, what):
            taken.append(turn._depth)
            return what

    module, runtime = ModuleType("torch._inductor.runtime.benchmarking"), ModuleType("torch._inductor.runtime")
    hooks = []
    vars(module).update(Benchmarker=Benchmarker, **({"set_gpu_benchmark_lock_context": hooks.append} if newer else {}))
    vars(runtime).update(benchmarking=module)
    for name, made in (("torch", ModuleType("torch")), ("torch._inductor", ModuleType("i"))):
        monkeypatch.setitem(sys.modules, name, made)
    monkeypatch.setitem(sys.modules, "torch._inductor.runtime", runtime)
    monkeypatch.setitem(sys.modules, "torch._inductor.runtime.benchmarking", module)
    _take_turns(turn)
    assert Benchmarker().benchmark_gpu(7) == 7
    assert taken == [0 if newer else 1] and [hook() for hook in hooks] == [turn] * newer


def test_the_peers_that_torch_compiles_are_known():
    count = {item.group: len(compiled_peers(item)) for item in benchmarks()}
    assert count["rmsnorm"] == count["map"] == count["gated"] == 2 and count["gemm"] == count["prefill"] == 0


def test_the_picture_has_all_groups(tmp_path):
    pytest.importorskip("matplotlib")
    from lumir.tools.bench_plot import write_plot

    rows = [
        Row("gemm", "a", 1e9, 1e6, seconds=1e-5, share=0.9, peer="p", peer_seconds=2e-5),
        Row("int8", "b", 1e9, 1e6, seconds=1e-5, share=0.5, rate=2.0),
        Row("rows", "c", 0, 1e6, seconds=1e-5, share=0.8, peer="p", peer_seconds=1e-5),
        Row("rows", "wrong", 0, 1e6, note="error"),
    ]
    write_plot(tmp_path / "p.png", "GPU", Ceiling(1e12, 1e14), rows)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    write_plot(tmp_path / "empty.png", "GPU", Ceiling(1e12), [])


def test_memory_is_given_back_between_groups_of_benchmarks(monkeypatch):
    """The tool goes through a group to its end, and the reporter frees what it held there."""
    from lumir.tools import bench_kernels

    freed, items = [], benchmarks()[:3]

    class Fake(Reporter):
        def __init__(self, *arguments):
            pass

        def _free(self):
            freed.append(True)

        def _ready(self, prepared, case):
            return prepared

        def _row(self, ready):
            return Row(ready.item.group, ready.item.name, 1, 1)

    bench = SimpleNamespace(case=lambda text: None)
    monkeypatch.setattr(Fake, "_bench", bench, raising=False)
    found = [SimpleNamespace(item=item, text="") for item in items]
    replaced = {
        "Workers": lambda count: nullcontext(),
        "prepared": lambda *arguments: iter(found),
        "batches": lambda kernels, ready: [[one] for one in kernels],
        "Reporter": Fake,
        "ceiling": lambda *arguments: Ceiling(1.0),
        "local_gpu": lambda: SimpleNamespace(name="sm_90a"),
    }
    for name, value in replaced.items():
        monkeypatch.setattr(bench_kernels, name, value)
    flags = {"workers": 1, "tuning_db": None, "cost": True, "peer": False, "samples": 5}
    measured: Any = bench_kernels._measured
    rows, _ = measured(items, bench, nullcontext(), Console(file=io.StringIO()), flags)
    assert len(freed) == 3 and [row.name for row in rows] == [item.name for item in items]
