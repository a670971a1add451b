"""Extensions: collected, checked, and a real package that is found when it is installed."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lumir import extensions
from lumir.diagnostics import UserError
from lumir.extensions import collect_extensions

PLUGIN = Path(__file__).parents[1] / "plugin"

PROGRAM = """
func.func @f(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %0 = "toy.square"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}
"""


class Dialect:
    DIALECT_NAMESPACE = "other"


def test_parts_of_all_extensions_are_put_together():
    found = collect_extensions(
        {
            "a": SimpleNamespace(passes={"a-pass": "a.b:C"}, dialects=[Dialect], lowerings={"a.op": len}),
            "b": SimpleNamespace(families=("family",), lowerings={"b.op": max}),
        }
    )
    assert found.names == ("a", "b")
    assert found.passes == {"a-pass": "a.b:C"}
    assert found.dialects == (Dialect,)
    assert found.lowerings == {"a.op": len, "b.op": max}
    assert found.families == ("family",)


@pytest.mark.parametrize(
    ("extension", "rule"),
    [
        (SimpleNamespace(), "at least one of passes, dialects, lowerings, families"),
        (SimpleNamespace(passes=["a"]), "`passes` is a dictionary"),
        (SimpleNamespace(lowerings=["a"]), "`lowerings` is a dictionary"),
        (SimpleNamespace(families={}), "`families` is a list or tuple"),
        (SimpleNamespace(dialects=3), "`dialects` is a list or tuple"),
        (SimpleNamespace(passes={"a-pass": "no colon"}), r"`passes\['a-pass'\]` is text like"),
        (SimpleNamespace(passes={"a-pass": Dialect}), r"`passes\['a-pass'\]` is text like"),
        (SimpleNamespace(dialects=[Dialect()]), "`dialects` holds classes"),
    ],
)
def test_wrong_form_is_told(extension, rule):
    with pytest.raises(UserError, match=rule) as error:
        collect_extensions({"mine": extension})
    assert error.value.code == "broken-extension"
    assert "extension 'mine'" in str(error.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SimpleNamespace(passes={"x-pass": "a:A"}), SimpleNamespace(passes={"x-pass": "b:B"})),
        (SimpleNamespace(lowerings={"x.op": len}), SimpleNamespace(lowerings={"x.op": max})),
        (SimpleNamespace(families=[1]), SimpleNamespace(passes={"lumir-check-dialects": "b:B"})),
    ],
)
def test_conflicts_are_told(first, second):
    with pytest.raises(UserError, match=r"extension 'b' adds .* exists already") as error:
        collect_extensions({"a": first, "b": second})
    assert error.value.code == "extension-conflict"


def test_extension_that_cannot_be_imported(monkeypatch):
    point = importlib.metadata.EntryPoint("gone", "lumir_not_there", extensions.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    extensions.load_extensions.cache_clear()
    with pytest.raises(UserError, match="extension 'gone' cannot be imported") as error:
        extensions.load_extensions()
    assert error.value.code == "broken-extension"
    assert "ModuleNotFoundError" in str(error.value)
    extensions.load_extensions.cache_clear()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The plugin, installed as any package is, into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(folder / "source")], check=True)
    return folder / "site"


def run_opt(site: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LUMIR_")} | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-c", "from lumir.tools.lumir_opt import main; main()", *arguments]
    return subprocess.run(command, input=PROGRAM, capture_output=True, text=True, env=environment, check=False)


def test_installed_extension_adds_dialect_and_pass(installed):
    plain = run_opt(installed)
    assert plain.returncode == 0 and '"toy.square"' in plain.stdout
    lowered = run_opt(installed, "--pass-pipeline=builtin.module(toy-lower-square,func.func(canonicalize))")
    assert lowered.returncode == 0, lowered.stderr
    assert "arith.mulf %arg0, %arg0 : tensor<2x3xf32>" in lowered.stdout
    assert "toy.square" not in lowered.stdout


def test_installed_pass_is_a_flag_and_fails_at_the_op(installed):
    failed = run_opt(installed, "--toy-lower-square=max-rank=1")
    assert failed.returncode == 1
    assert "<stdin>:3:8: error: 'toy.square' op has a rank above 1" in failed.stderr


def test_installed_extension_is_listed(installed):
    listed = run_opt(installed, "--list-passes", "--show-dialects")
    assert "Passes of extensions:\n  --toy-lower-square" in listed.stdout
    assert ", toy," in listed.stdout


def test_installed_lowering_is_found(installed):
    code = "from lumir.extensions import find_lowering as f; print(f('toy.square').__name__, f('toy.cube'))"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "lower_square None"


def test_without_the_package_the_dialect_is_unknown(tmp_path):
    failed = run_opt(tmp_path)
    assert failed.returncode == 1 and "unregistered dialect" in failed.stderr
