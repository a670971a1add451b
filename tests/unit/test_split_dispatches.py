"""What a kernel would compute over and over goes to memory: which tensors, and that the results stay."""

import numpy as np
import pytest
from cpu_helpers import check, run, values

from lumir.context import make_context
from lumir.dialects import build
from lumir.kernels.dispatch import Dispatch
from lumir.mlir import ir
from lumir.schedule.recomputation import recomputed
from lumir.schedule.split_dispatches import SplitDispatches

ROW_MAXIMUM = """
#row = affine_map<(d0, d1) -> (d0)>
#all = affine_map<(d0, d1) -> (d0, d1)>
func.func private @d(%x: tensor<AxBxf32>) -> tensor<AxBxf32> attributes {lumir.dispatch} {
  %low = arith.constant 0xFF800000 : f32
  %e = tensor.empty() : tensor<Axf32>
  %s = linalg.fill ins(%low : f32) outs(%e : tensor<Axf32>) -> tensor<Axf32>
  %m = linalg.generic {indexing_maps = [#all, #row], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<AxBxf32>) outs(%s : tensor<Axf32>) {
    ^bb0(%v: f32, %t: f32):
      %r = arith.maximumf %v, %t : f32
      linalg.yield %r : f32
  } -> tensor<Axf32>
  %f = tensor.empty() : tensor<AxBxf32>
  %y = linalg.generic {indexing_maps = [#all, #row, #all], iterator_types = ["parallel", "parallel"]}
      ins(%x, %m : tensor<AxBxf32>, tensor<Axf32>) outs(%f : tensor<AxBxf32>) {
    ^bb0(%v: f32, %t: f32, %o: f32):
      %r = arith.subf %v, %t : f32
      linalg.yield %r : f32
  } -> tensor<AxBxf32>
  return %y : tensor<AxBxf32>
}
"""


def _recomputed(rows: int, columns: int) -> list[str]:
    with make_context():
        module = ir.Module.parse(ROW_MAXIMUM.replace("A", str(rows)).replace("B", str(columns)))
        (function,) = module.body.operations
        return [str(value.type) for value in recomputed(Dispatch(function))]


def test_a_maximum_that_each_element_of_its_row_reads_is_worth_a_buffer():
    assert _recomputed(3, 200) == ["tensor<3xf32>"]


@pytest.mark.parametrize(("rows", "columns"), [(300, 1), (5, 3)])
def test_what_is_read_a_few_times_is_not(rows, columns):
    assert _recomputed(rows, columns) == []


def test_a_dispatch_that_a_family_takes_whole_stays(monkeypatch):
    x = values(np.random.default_rng(1), (9, 200))
    assert run(lambda x: build("softmax", x, axis=1, log=False), x).families == ["rows"]


@pytest.fixture
def only_map(monkeypatch):
    """No family but the one that computes every element by itself."""
    from lumir.kernels import cpu

    monkeypatch.setattr(cpu, "FAMILIES", [family for family in cpu.FAMILIES if family.name == "map"])


def test_every_composite_is_right_when_split(only_map):
    rng = np.random.default_rng(2)
    x, q, k = values(rng, (5, 60)), values(rng, (1, 2, 20, 8)), values(rng, (1, 1, 40, 8))
    assert len(check(lambda x: build("softmax", x, axis=1, log=False), x, rtol=1e-5).families) == 3
    check(lambda x: build("normalize", x, axis=1, epsilon=1e-5, center=True), x, rtol=1e-5, atol=1e-5)
    check(lambda x: build("top_k", x, k=9, largest=True), x)
    ran = check(
        lambda q, k: build("attention", q, k, k, scale=0.5, causal=True, offset=3, window=0, softcap=0.0),
        q,
        k,
        rtol=1e-5,
        atol=1e-5,
    )
    assert len(ran.families) > 4


def test_both_calls_of_a_shared_dispatch_are_split(only_map):
    rng = np.random.default_rng(3)
    x, y = values(rng, (4, 50)), values(rng, (4, 50))

    def body(x, y):
        return [build("softmax", v, axis=1, log=False) for v in (x, y)]

    ran = check(body, x, y, rtol=1e-5)
    assert len(ran.dispatches) == 1
    assert len(ran.families) == 6


def test_the_pass_has_a_name():
    from lumir.passes.table import PASSES

    assert PASSES[SplitDispatches.name].endswith(":SplitDispatches")
