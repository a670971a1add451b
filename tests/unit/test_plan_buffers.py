"""Places of buffers: what kernels ask for besides their operands and results."""

from lumir.artifact.tensors import BufferRef
from lumir.context import make_context
from lumir.mlir import ir
from lumir.plan.buffers import AssignBuffers
from lumir.plan.launches import plan_of

MODULE = """
func.func private @plain(tensor<64xf32>) -> tensor<64xf32> attributes {{{launch}}}
func.func private @split(tensor<64xf32>) -> tensor<64xf32>
    attributes {{{launch}, lumir.workspace_bytes = 1000, lumir.counters = 3}}
func.func @main(%x: tensor<64xf32>) -> tensor<64xf32> {{
  %0 = func.call @split(%x) : (tensor<64xf32>) -> tensor<64xf32>
  %1 = func.call @plain(%0) : (tensor<64xf32>) -> tensor<64xf32>
  %2 = func.call @split(%1) : (tensor<64xf32>) -> tensor<64xf32>
  return %2 : tensor<64xf32>
}}
""".format(launch="lumir.dispatch, lumir.grid = array<i64: 1, 1, 1>")


def test_a_workspace_lives_for_its_launch_alone():
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(MODULE)
        AssignBuffers().run(module)
        plan = plan_of(module)
    first, middle, last = (list(launch.args) for launch in plan.launches)
    assert [len(args) for args in (first, middle, last)] == [4, 2, 4]
    assert first[3] == last[3] == BufferRef.counters()
    assert first[2] == last[2] == BufferRef.arena(0)
    assert first[1].offset >= 1000
    assert (plan.arena_bytes, plan.counter_bytes) == (1024 + 512, 12)
