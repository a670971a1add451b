"""What watches a compile: timing, printing, dumps, reproducers, counters and diagnostics."""

from lumir.instrument.diagnostics import Diagnostic, collect
from lumir.instrument.dump import DumpDirectory
from lumir.instrument.printing import PrintIR
from lumir.instrument.session import Session, current_session
from lumir.instrument.timing import Timing

__all__ = ["Diagnostic", "DumpDirectory", "PrintIR", "Session", "Timing", "collect", "current_session"]
