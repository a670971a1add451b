"""Runs the expansions on a GPU over every f32 argument (2^32 of them), or 2^29 random pairs. Needs CuPy.

    python benchmarks/measure_math.py --emit build/math && python benchmarks/measure_math_gpu.py build/math

References are CUDA's double-precision functions. The formulas of the CPU use IEEE operations only, so that a GPU
computes the same bits (compared on samples): its exhaustive maximum is the CPU's.
"""

import json
import sys
from pathlib import Path

import cupy as cp  # pyright: ignore[reportMissingImports]
import numpy as np

REFERENCE = {"math.powf": "pow(x, y)", "math.atan2": "atan2(x, y)", "arith.remf": "fmod(x, y)"}
CHUNK = 1 << 26

# CuPy compiles with -ftz=true, hence the conversion from bits.
ERRORS = r"""
__device__ double wide(unsigned u) {
  unsigned e = (u >> 23) & 255, m = u & 0x7fffff;
  double s = (u >> 31) ? -1.0 : 1.0, infinity = __longlong_as_double(0x7ff0000000000000LL);
  if (e == 255) return m ? infinity - infinity : s * infinity;
  return e ? s * ldexp((double)(m | 0x800000), (int)e - 150) : s * ldexp((double)m, -149);
}
extern "C" __global__ void errors(const unsigned* a, const unsigned* b, const unsigned* r, double* out, long long n) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  double x = wide(a[i]), y = wide(b[i]), w = %s, g = wide(r[i]), e;
  bool over = fabs(w) >= 3.4028235677973366e38;
  if (isnan(w) || isnan(g)) e = isnan(w) && isnan(g) ? 0 : 1e300;
  else if (isinf(g) || over) e = isinf(g) && over && (g > 0) == (w > 0) ? 0 : (fabs(w) > 3.4028230e38 ? 1 : 1e300);
  else { int k; frexp(w, &k); k = w == 0 || k < -125 ? -125 : k; e = fabs(g - w) / ldexp(1.0, k - 24); }
  out[i] = !isnan(w) && (signbit(g) != 0) != (signbit(w) != 0) ? 1e300 : e;
}
"""


def launch(module: cp.RawModule, name: str, arrays: list[cp.ndarray]) -> None:
    """One thread for each element, in blocks of 128."""
    size = arrays[0].size
    module.get_function(name)((-(-size // 128),), (128,), (*arrays, np.int64(size)))


def operands(op: str, count: int, chunk: int) -> list[cp.ndarray]:
    """The next chunk of all arguments, or of random pairs: any bits; results in range; numbers near one."""
    if count == 1:
        return [(cp.arange(CHUNK, dtype=cp.uint32) + np.uint32(chunk * CHUNK)).view(cp.float32)]
    x, y = (cp.random.randint(0, 2**32, CHUNK, dtype=cp.uint32).view(cp.float32) for _ in range(2))
    if chunk % 4 == 1 and op == "math.powf":
        y = (cp.random.uniform(-105, 90, CHUNK) / cp.log(cp.abs(x).astype(cp.float64))).astype(cp.float32)
    if chunk % 4 == 2:
        x, y = (cp.random.uniform(-limit, limit, CHUNK).astype(cp.float32) for limit in (8, 40))
    if chunk % 4 == 3:
        x, y = cp.random.uniform(0.9, 1.1, CHUNK), cp.random.uniform(-1000, 1000, CHUNK)
    return [x.astype(cp.float32), y.astype(cp.float32)]


def largest_error(module: cp.RawModule, name: str, op: str, count: int) -> tuple[float, list[float]]:
    """The largest error in ulp, and its arguments."""
    errors = cp.RawModule(code=ERRORS % REFERENCE.get(op, f"{op.removeprefix('math.')}(x)"))
    result, out = cp.empty(CHUNK, cp.float32), cp.empty(CHUNK, cp.float64)
    worst, place = -1.0, []
    for chunk in range(64 if count == 1 else 8):
        arrays = operands(op, count, chunk)
        launch(module, name, [*arrays, result])
        launch(errors, "errors", [arrays[0], arrays[-1], result, out])
        at = int(cp.argmax(out))
        if float(out[at]) > worst:
            worst, place = float(out[at]), [float(array[at]) for array in arrays]
    return worst, place


def main(folder: Path) -> None:
    """Print the errors for each function and target, and whether the GPU's bits are the CPU's."""
    expected = np.load(folder / "cpu.npz")
    modules = {target: cp.RawModule(path=str(folder / f"{target}.ptx")) for target in ("cpu", "nvidia")}
    for name, (op, count) in json.loads((folder / "cases.json").read_text()).items():
        arrays = [cp.asarray(expected[key]) for key in ("x", "y")[:count]]
        got = cp.empty_like(arrays[0])
        launch(modules["cpu"], name, [*arrays, got])
        same = np.array_equal(cp.asnumpy(got), expected[name], equal_nan=True)
        found = {target: largest_error(module, name, op, count) for target, module in modules.items()}
        numbers = "  ".join(f"{target} {error:.4g} at {place}" for target, (error, place) in found.items())
        print(f"{op:12s} {numbers}  bits of the CPU: {same}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
