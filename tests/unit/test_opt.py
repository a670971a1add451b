"""`lumir-opt` where a filecheck test cannot reach, and the runner of filecheck tests itself."""

import importlib.util
import io
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from lumir.diagnostics import UnsupportedError
from lumir.instrument.expected import check_expected, parse_expected
from lumir.mlir import ir
from lumir.passes import register_pass
from lumir.tools import lumir_opt
from lumir.tools.opt_flags import normalize, read_rest

RUNNER = Path(__file__).parents[1] / "filecheck" / "run_lines.py"


def load_runner():
    spec = importlib.util.spec_from_file_location("run_lines_under_test", RUNNER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runner = load_runner()


@register_pass
@dataclass(frozen=True)
class Complain:
    """Fail in each way that a pass can."""

    name: ClassVar[str] = "test-complain"
    how: str

    def run(self, module: ir.Module) -> None:
        if self.how == "python":
            raise KeyError("lost")
        if self.how == "unsupported":
            raise UnsupportedError("no kernel for it", hint="wait")


def opt(capsys, *arguments: str, text: str = "module {}", monkeypatch=None) -> tuple[int, str, str]:
    if monkeypatch:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    status = lumir_opt.run(arguments)
    return status, *capsys.readouterr()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["-canonicalize"], ["--canonicalize"]),
        (["-o", "x"], ["-o", "x"]),
        (["-o=x"], ["-ox"]),
        (["-"], ["-"]),
        (["-split-input-file"], ["--split-input-file=// -----"]),
        (["--split-input-file=// ==="], ["--split-input-file=// ==="]),
        (["-verify-diagnostics", "a.mlir"], ["--verify-diagnostics=all", "a.mlir"]),
        (["--verify-each", "--verify-each=false"], ["--verify-each=true", "--verify-each=false"]),
        (["--pass-pipeline", "a"], ["--pass-pipeline", "a"]),
    ],
)
def test_spelling(given, expected):
    assert normalize(given) == expected


def test_passes_keep_their_order_and_options():
    rest = read_rest(["--b", "file", "--a={x=1 y=2}", "--b=z=1"])
    assert rest.file == "file"
    assert rest.passes == (("b", ""), ("a", "x=1 y=2"), ("b", "z=1"))


def test_python_exception_shows_traceback_and_notes(capsys, monkeypatch):
    status, out, err = opt(capsys, "--test-complain=how=python", monkeypatch=monkeypatch)
    assert (status, out) == (1, "")
    assert "Traceback" in err and "KeyError: 'lost'" in err and "pass: test-complain{how=python}" in err


def test_lumir_error_shows_no_traceback(capsys, monkeypatch):
    status, _, err = opt(capsys, "--test-complain=how=unsupported", monkeypatch=monkeypatch)
    assert status == 1 and "Traceback" not in err
    assert err.startswith("unsupported[unsupported]: no kernel for it\n  help:  wait\n  pass: test-complain")


def test_lumir_error_can_be_expected(capsys, monkeypatch):
    text = "// expected-error@unknown {{no kernel}}\nmodule {}"
    flags = ["--test-complain=how=unsupported", "--verify-diagnostics"]
    assert opt(capsys, *flags, text=text, monkeypatch=monkeypatch)[0] == 0
    assert opt(capsys, *flags, text="module {}", monkeypatch=monkeypatch)[0] == 1
    assert opt(capsys, "--verify-diagnostics", text=text, monkeypatch=monkeypatch)[0] == 1


def test_failure_leaves_no_output_file(tmp_path, capsys, monkeypatch):
    text = "module {}\n// -----\nbroken\n"
    status, out, _ = opt(capsys, "--split-input-file", "-o", str(tmp_path / "out"), text=text, monkeypatch=monkeypatch)
    assert (status, out, list(tmp_path.iterdir())) == (1, "", [])


def test_output_file_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    status, _, err = opt(capsys, "-o", str(tmp_path / "no" / "out"), monkeypatch=monkeypatch)
    assert status == 1 and err.startswith("error[no-output]: cannot write output file")


@pytest.mark.parametrize("flags", [[], ["--split-input-file"]])
def test_input_that_is_neither_text_nor_bytecode(tmp_path, capsys, flags):
    (tmp_path / "in").write_bytes(b"\xff\xfe")
    status, _, err = opt(capsys, *flags, str(tmp_path / "in"))
    assert status == 1 and err.startswith("error[no-input]: the input is neither UTF-8 text nor bytecode")


def test_input_from_a_pipe_that_has_a_name(tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("func.func private @f()"))
    writer.start()
    status, out, _ = opt(capsys, str(pipe))
    writer.join()
    assert status == 0 and "@f" in out


def test_environment_is_heeded(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LUMIR_DUMP_DIR", str(tmp_path / "d"))
    assert opt(capsys, "--cse", monkeypatch=monkeypatch)[0] == 0
    assert (tmp_path / "d" / "01-cse.mlir").exists()


def test_verify_each_can_be_left_out(capsys, monkeypatch):
    assert opt(capsys, "--cse", "--verify-each=false", monkeypatch=monkeypatch)[0] == 0
    assert opt(capsys, "--cse", "--verify-each", monkeypatch=monkeypatch)[0] == 0


def test_bytecode_is_bytecode(tmp_path, capsys, monkeypatch):
    assert opt(capsys, "--emit-bytecode", "-o", str(tmp_path / "b"), monkeypatch=monkeypatch)[0] == 0
    assert (tmp_path / "b").read_bytes().startswith(b"ML\xefR")


def test_installed_command_runs_and_imports_no_importer_and_no_code_generator():
    program = shutil.which("lumir-opt", path=str(Path(sys.executable).parent))
    assert program
    done = subprocess.run([program, "--cse"], input="module {}", capture_output=True, text=True, check=True)
    assert done.stdout == "module {\n}\n"
    probe = "import sys, lumir.tools.lumir_opt; print(sorted({'onnx', 'llvmlite', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("x // expected-error {{a}}", ("error", 2, "a")),
        ("// expected-warning@+2 {{a}}", ("warning", 4, "a")),
        ("// expected-remark @-1 {{a}}  ", ("remark", 1, "a")),
        ("// expected-note@below {{a {b} }}", ("note", 3, "a {b} ")),
        ("// expected-error@above{{a}}", ("error", 1, "a")),
        ("// expected-error@unknown {{a}}", ("error", 0, "a")),
    ],
)
def test_expectations(comment, expected):
    (found,), problems = parse_expected(f"first\n{comment}\nlast")
    assert (found.severity, found.line, found.text) == expected and not problems


def test_below_and_above_skip_other_expectations():
    source = "a\n// expected-error@below {{1}}\n// expected-error@below {{2}}\n// expected-error@above {{3}}\nb"
    assert [e.line for e in parse_expected(source)[0]] == [5, 5, 1]


def test_pattern_needs_the_suffix():
    plain, pattern = (
        parse_expected(f"// expected-error{suffix} {{{{a {{{{[0-9]+}}}}}}}}")[0][0] for suffix in ("", "-re")
    )
    assert not plain.matches("error", 1, "a 17") and pattern.matches("error", 1, "say a 17 b")


def test_each_diagnostic_needs_its_own_expectation():
    from lumir.instrument.diagnostics import Diagnostic

    twice = [Diagnostic("error", "bad", line=1)] * 2
    assert check_expected("// expected-error {{bad}}", twice, "f") == ["f:1:1: error: unexpected error: bad"]
    assert not check_expected("// expected-error {{bad}}", twice, "f", only=True)


def script(tmp_path: Path, text: str) -> None:
    path = tmp_path / "case.mlir"
    path.write_text(text)
    for line in runner.read_script(text).runs:
        runner.run_line(line, path, tmp_path / "case.tmp")


def test_runner_passes_and_fails(tmp_path):
    script(tmp_path, "// RUN: lumir-opt %s | filecheck %s\n// CHECK: module {\nmodule {}")
    with pytest.raises(runner.ScriptError, match="failed with status 1: filecheck"):
        script(tmp_path, "// RUN: lumir-opt %s | filecheck %s\n// CHECK: func.func\nmodule {}")
    with pytest.raises(runner.ScriptError, match="failed with status 1: lumir-opt"):
        script(tmp_path, "// RUN: lumir-opt %s | cat\nbroken")
    with pytest.raises(runner.ScriptError, match="succeeded, which it should not have"):
        script(tmp_path, "// RUN: not lumir-opt %s\nmodule {}")


def test_runner_shell(tmp_path):
    script(
        tmp_path,
        "// RUN: lumir-opt %s > %t.a 2> %t.e && cat < %t.a \\\n"
        "// RUN:   | filecheck %s && not test -s %t.e && not false && test -e %S\n"
        "// RUN: not lumir-opt --nope-nope 2>&1 | filecheck %s --check-prefix=ERR\n"
        "// CHECK: module\n// ERR: unknown-flag\nmodule {}",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("module {}", "no RUN line"),
        ("// RUN: true \\\n", "goes on"),
        ("// RUN: true ; true", "do not know ';'"),
        ("// RUN: true |", "a command is missing"),
        ("// RUN: no-such-program-here", "is not installed"),
        ("// RUN: lumir-opt %s | filecheck %s\nmodule {}", "filecheck"),
    ],
)
def test_runner_refuses_tests_that_cannot_work(tmp_path, text, message):
    with pytest.raises(runner.ScriptError, match=message):
        script(tmp_path, text)


def test_runner_requirements():
    needs = runner.read_script("// REQUIRES: no-such-program, sh\n// RUN: true")
    assert needs.missing() == ["no-such-program"]


def test_runner_catches_what_cplusplus_writes(tmp_path):
    script(tmp_path, "// RUN: lumir-opt %s --print-op-stats 2>&1 | filecheck %s\n// CHECK: builtin.module\nmodule {}")


def test_runner_shields_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LUMIR_NOT_A_VARIABLE", "1")
    script(tmp_path, "// RUN: lumir-opt %s\nmodule {}")
