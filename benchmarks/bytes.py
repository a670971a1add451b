"""Products of bytes on one CPU thread against onnxruntime's QLinearMatMul; `lumir-bench kernels int8` is the GPU's.

    python benchmarks/bytes.py

The thread's own time is measured, which other processes hardly change. Every result is checked first, to one quantum.
Prints medians, and writes them to benchmarks/results/bytes-cpu.json.
"""

import datetime
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

import lumir.api

ROOT = Path(__file__).parent.parent
SIZES = [(1, 768, 3072), (128, 768, 768), (128, 768, 3072), (512, 512, 512)]
Row = dict[str, Any]


def main() -> None:
    rows = []
    for found in measured():
        print(json.dumps(found))
        rows.append(found)
    record = {"date": datetime.date.today().isoformat(), "target": "cpu", "rows": rows}
    (ROOT / "benchmarks" / "results" / "bytes-cpu.json").write_text(json.dumps(record, indent=1) + "\n")


def measured() -> Iterator[Row]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for m, k, n in SIZES:
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
