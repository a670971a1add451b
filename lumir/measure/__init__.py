"""Measurement of kernels on this machine's GPU: correct first, then timed.

bench = Bench()
case = bench.case(text)                                  # one dispatch in lumir ops: operands, reference
kernel = compile_dispatch(text, "sm_90a")                # or with a family and a schedule of it
case.check(kernel)                                       # raises WrongResult
print(case.time(kernel))                                 # 12.3 us +- 0.4 %
"""

from lumir.measure.bench import Bench, Case
from lumir.measure.compare import WrongResult
from lumir.measure.kernel import CompiledDispatch, compile_dispatch, schedules_of
from lumir.measure.timing import Timing

__all__ = ["Bench", "Case", "CompiledDispatch", "Timing", "WrongResult", "compile_dispatch", "schedules_of"]
