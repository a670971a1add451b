"""Sessions: timing, printing, dumps, reproducers, counters."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from lumir.diagnostics import UserError
from lumir.instrument import DumpDirectory, PrintIR, Session, Timing, collect, current_session
from lumir.instrument.diagnostics import Diagnostic
from lumir.instrument.reproducer import read_command, run_line, write_reproducer
from lumir.mlir import ir
from lumir.options import Options, describe, from_environment
from lumir.passes import register_pass, run_pipeline
from lumir.tools import lumir_opt

PROGRAM = """func.func @f() -> i32 {
  %0 = arith.constant 1 : i32
  %1 = arith.addi %0, %0 : i32
  return %1 : i32
}
"""


@register_pass
@dataclass(frozen=True)
class Explode:
    """Raise what is no error of the user."""

    name: ClassVar[str] = "test-explode"

    def run(self, module: ir.Module) -> None:
        raise ZeroDivisionError("boom")


@pytest.fixture
def module() -> ir.Module:
    return ir.Module.parse(PROGRAM, ir.Context())


def test_timing_is_a_tree_and_adds_up():
    timing = Timing()
    for _ in range(3):
        with timing.measure("kernel"), timing.measure("cse"):
            pass
    with pytest.raises(ValueError, match="x"), timing.measure("fails"):
        raise ValueError("x")
    kernel = timing.root.children["kernel"]
    assert (kernel.count, kernel.children["cse"].count, timing.root.children["fails"].count) == (3, 3, 1)
    assert kernel.seconds >= kernel.children["cse"].seconds > 0
    report = timing.report().splitlines()
    assert report[-3].endswith("  kernel (x3)") and report[-2].endswith("    cse (x3)") and report[-1].endswith("fails")
    assert timing.root.to_dict()["children"][0]["name"] == "kernel"


def test_report_of_nothing():
    assert "Total Execution Time: 0.0000" in Timing().report()


def test_sessions_nest_and_count():
    assert current_session() is not current_session()
    with Session() as outer:
        with Session() as inner:
            current_session().count("rejected", 2)
            assert current_session() is inner
        current_session().count("rejected")
        assert current_session() is outer
    assert (outer.counters["rejected"], inner.counters["rejected"]) == (1, 2)


def test_session_reports_its_time_at_the_end(module):
    stream = io.StringIO()
    with Session(report_timing=True, stream=stream) as session, session.step("graph"):
        run_pipeline("builtin.module(cse)", module)
    lines = stream.getvalue().splitlines()
    assert lines[-2].endswith("  graph") and lines[-1].endswith("    cse")


def printed(module: ir.Module, pipeline: str, **wanted) -> list[str]:
    stream = io.StringIO()
    with contextlib.suppress(ZeroDivisionError):
        run_pipeline(pipeline, module, Session(print_ir=PrintIR(**wanted), stream=stream))
    headers = [line for line in stream.getvalue().splitlines() if line.startswith("// -----//")]
    return [line.removeprefix("// -----// IR Dump ").removesuffix(" //----- //") for line in headers]


@pytest.mark.parametrize(
    ("wanted", "headers"),
    [
        ({}, []),
        ({"before": ["cse"]}, ["Before cse"]),
        ({"after": ["cse", "canonicalize"]}, ["After cse", "After canonicalize"]),
        ({"before_all": True}, ["Before cse", "Before canonicalize", "Before test-explode"]),
        ({"after_all": True}, ["After cse", "After canonicalize", "After test-explode Failed"]),
        ({"after_change": True}, ["After canonicalize", "After test-explode Failed"]),
        ({"after": ["cse"], "after_change": True}, []),
        ({"after_all": True, "after_change": True}, ["After canonicalize", "After test-explode Failed"]),
        ({"after_failure": True}, ["After test-explode Failed"]),
        ({"after": ["cse"], "after_failure": True}, []),
    ],
)
def test_what_is_printed(module, wanted, headers):
    assert printed(module, "builtin.module(cse,canonicalize,test-explode)", **wanted) == headers


def test_printing_around_an_unknown_pass():
    with pytest.raises(UserError, match="around pass 'sccp'") as error:
        PrintIR(after=["sccp"]).check(["cse", "cse"])
    assert error.value.code == "unknown-pass" and "passes: cse\n" in f"{error.value}\n"


def test_dump_files_follow_the_steps(module, tmp_path):
    with Session(dump=DumpDirectory(tmp_path / "dump")) as session:
        with session.step("import"):
            pass
        with session.step("graph", module):
            run_pipeline("builtin.module(cse,func.func(canonicalize))", module)
        with session.step("a/b: c", module):
            pass
    files = sorted(str(path.relative_to(tmp_path / "dump")) for path in (tmp_path / "dump").rglob("*.*"))
    assert files == [
        "02-graph.mlir",
        "02-graph/00-input.mlir",
        "02-graph/01-cse.mlir",
        "02-graph/02-canonicalize.mlir",
        "03-a-b-c.mlir",
        "steps.txt",
    ]
    last = (tmp_path / "dump/02-graph/02-canonicalize.mlir").read_text()
    assert last.startswith("// RUN: lumir-opt --pass-pipeline='builtin.module()' 02-canonicalize.mlir\n")
    assert "arith.constant 2" in last
    log = (tmp_path / "dump/steps.txt").read_text().splitlines()
    assert log[:5] == [
        "01-import started",
        "01-import done",
        "02-graph started",
        "02-graph/01-cse started",
        "02-graph/01-cse done",
    ]


def test_dumps_survive_a_crash(tmp_path):
    code = f"""
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from lumir.instrument import DumpDirectory, Session
from lumir.mlir import ir
from lumir.passes import register_pass, run_pipeline

@register_pass
@dataclass(frozen=True)
class Crash:
    "Kill the process."
    name: ClassVar[str] = "test-crash"
    def run(self, module): os._exit(9)

module = ir.Module.parse({PROGRAM!r}, ir.Context())
session = Session(dump=DumpDirectory(Path({str(tmp_path)!r})))
run_pipeline("builtin.module(canonicalize,test-crash,cse)", module, session)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / "steps.txt").read_text().splitlines()[-1] == "02-test-crash started"
    left = (tmp_path / "01-canonicalize.mlir").read_text()
    assert "arith.constant 2" in left
    assert read_command(left) == ["--pass-pipeline=builtin.module(test-crash,cse)"]


def test_reproducer_shows_the_failure_again(module, tmp_path, capsys):
    with pytest.raises(ZeroDivisionError) as error:
        run_pipeline(
            "builtin.module(cse,test-explode,canonicalize)", module, Session(reproducer=tmp_path, verify_each=False)
        )
    (path,) = tmp_path.iterdir()
    assert f"reproducer: {path}" in error.value.__notes__
    text = path.read_text()
    command = shlex.split(text.splitlines()[0].removeprefix("// RUN: "))
    assert command[:3] == ["lumir-opt", "--pass-pipeline=builtin.module(cse,test-explode)", "--verify-each=false"]
    assert command[3] == path.name
    assert lumir_opt.run(["--run-reproducer", str(path)]) == 1
    assert "ZeroDivisionError: boom" in capsys.readouterr().err


def test_reproducers_do_not_overwrite_each_other(tmp_path):
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            run_pipeline(
                "builtin.module(test-explode)", ir.Module.parse(PROGRAM, ir.Context()), Session(reproducer=tmp_path)
            )
    assert len(list(tmp_path.iterdir())) == 3


def test_errors_of_the_user_leave_no_reproducer(module, tmp_path):
    with pytest.raises(UserError):
        run_pipeline("builtin.module(nothing-like-this)", module, Session(reproducer=tmp_path))
    assert not list(tmp_path.iterdir())


def test_run_line_quotes(tmp_path):
    path = write_reproducer(tmp_path / "new" / "a b.mlir", "builtin.module(x{y='z'})", "module {}", ("--flag",))
    assert read_command(path.read_text()) == ["--pass-pipeline=builtin.module(x{y='z'})", "--flag"]
    assert shlex.split(run_line("p", "a b.mlir"))[-1] == "a b.mlir"


def test_file_that_is_no_reproducer():
    with pytest.raises(UserError, match="not a reproducer") as error:
        read_command("module {}")
    assert error.value.code == "not-a-reproducer"


def test_collecting_diagnostics(module):
    with module.context as context, collect(context) as everything, collect(context, only=("warning",)) as warnings:
        where = ir.Location.callsite(
            ir.Location.name("/a/Add", ir.Location.file("m.py", 3, 7)), [ir.Location.unknown()]
        )
        where.emit_error("bad")
    assert not warnings
    (found,) = everything
    assert (found.file, found.line, found.column, found.node) == ("m.py", 3, 7, "/a/Add")
    assert found.render() == 'm.py:3:7: error: bad (at node "/a/Add")'
    assert found.render("a\nb\nsome line\n", "M") == 'M:3:7: error: bad (at node "/a/Add")\nsome line\n      ^'


def test_positions_inside_fused_locations(module):
    with module.context as context, collect(context) as found:
        ir.Location.fused([ir.Location.unknown(), ir.Location.file("m.py", 1, 2)]).emit_error("bad")
        ir.Location.unknown().emit_error("nowhere")
    assert [(d.file, d.line) for d in found] == [("m.py", 1), (None, 0)]
    assert found[1].render() == "loc(unknown): error: nowhere"


def test_notes_are_rendered():
    note = Diagnostic("note", "here", file="a", line=1, column=1)
    assert Diagnostic("error", "bad", notes=(note,)).render() == "loc(unknown): error: bad\na:1:1: note: here"


def test_options_come_from_the_environment():
    options = from_environment(
        {"LUMIR_DUMP_DIR": "/d", "LUMIR_PRINT_IR_AFTER": "cse,sccp", "LUMIR_TIMING": "1", "X": "y"}
    )
    assert options == Options(dump_dir=Path("/d"), print_ir_after=("cse", "sccp"), timing=True)
    assert from_environment({}) == Options()


def test_session_from_options(tmp_path):
    asked = Options(dump_dir=tmp_path / "d", reproducer_dir=tmp_path, verify_each=False, print_ir_after_change=True)
    session = Session.from_options(asked)
    assert session.dump is not None and session.dump.root == tmp_path / "d"
    assert session.print_ir.after_change and not session.verify_each and session.reproducer == tmp_path


def test_mistyped_variable():
    with pytest.raises(UserError, match="unknown environment variable LUMIR_TIMINGS") as error:
        from_environment({"LUMIR_TIMINGS": "1"})
    assert error.value.code == "unknown-variable" and "did you mean LUMIR_TIMING?" in str(error.value)


def test_variable_of_the_wrong_type():
    with pytest.raises(UserError, match="LUMIR_TIMING: expected true or false, got 'often'") as error:
        from_environment({"LUMIR_TIMING": "often"})
    assert error.value.code == "bad-variable"


def test_table_of_variables():
    lines = describe().splitlines()
    assert lines[0] == "LUMIR_DUMP_DIR: folder for the IR after each step and pass (path, or none; default none)"
    assert len(lines) == 9


def test_every_variable_in_the_sources_is_in_the_table():
    root = Path(__file__).parents[2]
    sources = [*root.glob("lumir/**/*.py"), *root.glob("tools/*.py"), *root.glob("pipelines/*.py")]
    used = {name for path in sources for name in re.findall(r"LUMIR_[A-Z_]+[A-Z]", path.read_text())}
    table = set(re.findall(r"^(LUMIR_[A-Z_]+):", describe(), re.MULTILINE))
    assert used <= table, "add to lumir/options.py"
