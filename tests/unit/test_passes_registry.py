"""Which passes exist, and that naming one imports no other."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from lumir.diagnostics import UserError
from lumir.mlir import ir
from lumir.passes import find_pass, pass_names, register_pass
from lumir.passes.options import options_of
from lumir.passes.pipeline import Upstream
from lumir.passes.registry import find_pipeline, load
from lumir.passes.table import PASSES, PIPELINES
from lumir.passes.upstream import pass_manager
from lumir.passes.upstream_names import UPSTREAM_PASSES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_of_the_table_is_one(name):
    cls = find_pass(name)
    assert cls is not None and cls.name == name  # pyright: ignore[reportAttributeAccessIssue]
    assert register_pass(cls) is cls
    assert PASSES[name] == f"{cls.__module__}:{cls.__qualname__}"


@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_of_the_table_is_one(name):
    function = find_pipeline(name)
    assert function is not None and function.__doc__
    options_of(function)


def test_every_pass_in_the_sources_is_in_the_table():
    missing = []
    for path in [*ROOT.glob("lumir/**/*.py"), *ROOT.glob("pipelines/*.py")]:
        for name in re.findall(r'^    name: ClassVar\[str\] = "(lumir-[\w-]+)"', path.read_text(), re.MULTILINE):
            if name not in PASSES:
                missing.append(f'"{name}" of {path.relative_to(ROOT)}')
    assert not missing, "add to lumir/passes/table.py"


def test_every_upstream_name_is_registered():
    unknown = []
    context = ir.Context()
    for name in UPSTREAM_PASSES:
        try:
            pass_manager(("builtin.module",), Upstream(name), context, verify=True)
        except UserError as error:
            if error.code == "unknown-pass":
                unknown.append(name)
    assert not unknown and len(UPSTREAM_PASSES) > 250


def test_listing_and_parsing_import_no_pass_and_no_mlir():
    code = (
        "import sys; from lumir.passes import pass_names, parse_pipeline; pass_names();"
        "parse_pipeline('builtin.module(canonicalize,func.func(cse))');"
        "print(any(m.startswith(('torch_mlir', 'mlir', 'lumir.pipelines', 'lumir.graph')) for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("module", ["options", "option_values", "extensions", "instrument", "passes", "pipelines"])
def test_modules_can_be_imported_in_any_order(module):
    subprocess.run([sys.executable, "-c", f"import lumir.{module}"], check=True)


def test_names_tell_where_passes_live():
    assert pass_names()["lumir-check-dialects"] == "lumir.pipelines.boundary:CheckDialects"


def _run(self, module): ...


@pytest.mark.parametrize(
    ("members", "frozen", "rule"),
    [
        ({"name": "test-x", "run": _run, "__doc__": "x"}, False, "frozen dataclass"),
        ({"name": "Test_X", "run": _run, "__doc__": "x"}, True, "kebab-case"),
        ({"run": _run, "__doc__": "x"}, True, "kebab-case"),
        ({"name": "test-x", "__doc__": "x"}, True, "must have `run"),
        ({"name": "test-x", "run": _run}, True, "docstring"),
        (
            {"name": "test-x", "run": _run, "__doc__": "x", "__annotations__": {"bad": list}, "bad": ()},
            True,
            "option `bad` must have a type with a text form",
        ),
    ],
)
def test_classes_that_are_not_passes(members, frozen, rule):
    cls = type("Example", (), members)
    with pytest.raises(UserError, match="Example is not a pass") as error:
        register_pass(dataclass(frozen=frozen)(cls))
    assert error.value.code == "bad-pass"
    assert rule in str(error.value)


def test_two_passes_of_one_name():
    @dataclass(frozen=True)
    class Impostor:
        """Takes a name that is taken."""

        name: ClassVar[str] = "lumir-check-dialects"

        def run(self, module) -> None: ...

    with pytest.raises(UserError, match="two passes are named 'lumir-check-dialects'") as error:
        register_pass(Impostor)
    assert error.value.code == "bad-pass"


@pytest.mark.parametrize("target", ["lumir.not_there:X", "lumir.passes:NotThere"])
def test_target_that_cannot_be_imported(target):
    with pytest.raises(UserError, match=f"cannot import '{target}'") as error:
        load(target)
    assert error.value.code == "bad-registration"
