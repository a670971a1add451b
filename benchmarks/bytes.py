"""Products of bytes, summed in int32, against onnxruntime's QLinearMatMul on a CPU and torch's _int_mm on a GPU.

    python benchmarks/bytes.py [--target cpu|cuda]

On a CPU one thread works, and its own time is measured, which other processes hardly change. Every result is checked
first: int32 sums exactly, quantised results to one quantum. Prints medians, and writes them to
benchmarks/results/bytes-<target>.json.
"""

import datetime
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from onnx import helper, numpy_helper

import lumir.api

ROOT = Path(__file__).parent.parent
SIZES = {
    "cpu": [(1, 768, 3072), (128, 768, 768), (128, 768, 3072), (512, 512, 512)],
    "cuda": [(1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096)],
}
Row = dict[str, Any]


@click.command()
@click.option("--target", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def main(target: str) -> None:
    rows = list(on_cpu() if target == "cpu" else on_gpu())
    for row in rows:
        print(json.dumps(row))
    record = {"date": datetime.date.today().isoformat(), "target": target, "rows": rows}
    (ROOT / "benchmarks" / "results" / f"bytes-{target}.json").write_text(json.dumps(record, indent=1) + "\n")


def on_cpu() -> Iterator[Row]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for m, k, n in SIZES["cpu"]:
        for left, right in (("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8")):
            model, x = qlinear_matmul(m, k, n, left, right)
            session = onnxruntime.InferenceSession(model.SerializeToString(), options)
            executable = lumir.api.compile(model, target="cpu", threads=1)
            expected, found = np.asarray(session.run(None, {"x": x})[0]), executable.run({"x": x})["y"]
            far = np.abs(found.astype(int) - expected.astype(int))
            assert far.max() <= 1, far.max()
            ours = median(lambda e=executable, x=x: e.run({"x": x}))
            theirs = median(lambda s=session, x=x: s.run(None, {"x": x}))
            yield row((m, k, n), (left, right), ours, theirs) | {"one_quantum_off": float((far > 0).mean())}


def qlinear_matmul(m: int, k: int, n: int, left: str, right: str):
    rng = np.random.default_rng(0)
    x, w = (_bytes(rng, dtype, shape) for dtype, shape in ((left, (m, k)), (right, (k, n))))
    weights = {"w": w, "xs": np.float32(0.05), "ws": np.float32(0.01), "ys": np.float32(3)}
    weights |= {"xz": np.array(7, left), "wz": np.array(0, right)}
    node = helper.make_node("QLinearMatMul", ["x", "xs", "xz", "w", "ws", "wz", "ys", "xz"], ["y"])
    element = helper.np_dtype_to_tensor_dtype(np.dtype(left))
    graph = helper.make_graph(
        [node],
        "bytes",
        [helper.make_tensor_value_info("x", element, [m, k])],
        [helper.make_tensor_value_info("y", element, [m, n])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), x


def _bytes(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def median(call: Callable[[], Any], count: int = 30) -> float:
    samples = []
    for _ in range(count + 3):
        start = time.thread_time()
        call()
        samples.append(time.thread_time() - start)
    return float(np.median(samples[3:]))


def on_gpu() -> Iterator[Row]:
    """The kernel alone, as one of many in a CUDA graph, and torch's the same way."""
    import torch  # pyright: ignore[reportMissingImports]

    from lumir.measure import Bench, compile_dispatch
    from lumir.target import local_gpu

    bench, arch = Bench(), local_gpu().arch
    for m, k, n in SIZES["cuda"]:
        text = (
            f"module {{ func.func private @d(%x: tensor<{m}x{k}xi8>, %w: tensor<{n}x{k}xi8>) -> tensor<{m}x{n}xi32> "
            'attributes {lumir.dispatch} { %0 = "lumir.contract"(%x, %w) {equation = "mk,nk->mn", to = i32} : '
            f"(tensor<{m}x{k}xi8>, tensor<{n}x{k}xi8>) -> tensor<{m}x{n}xi32>\n return %0 : tensor<{m}x{n}xi32> }} }}"
        )
        rng, case = np.random.default_rng(1), bench.case(text)
        arrays = [_bytes(rng, "int8", shape) for shape in ((m, k), (n, k))]
        case.set_inputs(arrays)
        kernel = compile_dispatch(text, arch)
        case.check(kernel)
        ours = case.time(kernel).median
        x, w = (torch.from_numpy(array).cuda() for array in arrays)
        yield row((m, k, n), ("int8", "int8"), ours, _torch_seconds(torch, lambda x=x, w=w: torch._int_mm(x, w.t())))


def _torch_seconds(torch: Any, call: Callable[[], Any], calls: int = 20) -> float:
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    samples = []
    for _ in range(20):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        samples.append(start.elapsed_time(end) / 1e3 / calls)
    return float(np.median(samples))


def row(size: tuple[int, int, int], types: tuple[str, str], ours: float, theirs: float) -> Row:
    work = 2 * size[0] * size[1] * size[2]
    return {
        "m_k_n": size,
        "types": types,
        "lumir_us": round(ours * 1e6, 2),
        "peer_us": round(theirs * 1e6, 2),
        "lumir_gops": round(work / ours / 1e9),
        "peer_over_lumir": round(theirs / ours, 3),
    }


if __name__ == "__main__":
    main()
