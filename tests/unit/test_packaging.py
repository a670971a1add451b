"""The package as its users get it: a wheel, a source archive, a CMake install, and a bare checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("lumir", "dialects", "pipelines", "tools", "pyproject.toml", "README.md", "LICENSE")
TOOLS = ("lumir-opt", "lumir-compile", "lumir-run", "lumir-tune", "lumir-bench")
USE = """
import sys
from pathlib import Path
import lumir, lumir.dialects, lumir.pipelines
from lumir.tools.lumir_compile import main
assert Path(lumir.__file__).is_relative_to(sys.argv[1]), lumir.__file__
assert (Path(lumir.dialects.__file__).parent / "lumir.irdl.mlir").stat().st_size > 1000
main([sys.argv[2], "--verify", "-o", "model.lumir"])
"""


def python(*arguments: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Run this interpreter; its output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LUMIR_"))}
    if path:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def copy_of_the_sources(folder: Path) -> Path:
    """The files that packages are made from, with their symbolic links, away from what earlier builds left behind."""
    folder.mkdir()
    for name in SOURCES:
        source, ignore = ROOT / name, shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    return folder


def build(kind: str, source: Path, out: Path) -> Path:
    """Build a `wheel` or an `sdist` with the backend that pyproject.toml names."""
    out.mkdir(exist_ok=True)
    script = f"import sys; from setuptools.build_meta import build_{kind} as build; print(build(sys.argv[1]))"
    return out / python("-c", script, out, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return build("wheel", copy_of_the_sources(folder / "source"), folder / "dist")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    from handmade import build as make
    from handmade import linear, node, write

    weights = {item.name: item for item in linear().graph.initializer}
    fixed = make([node("MatMul", "x w", "h"), node("Tanh", "h", "y")], {"x": [3, 12]}, {"y": [3, 5]})
    fixed.graph.initializer.append(weights["w"])
    return write(tmp_path, "model", fixed)


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_module_once_and_nothing_else(wheel: Path):
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "lumir").rglob("*.py")}
    for folder in ("dialects", "pipelines", "tools"):
        expected |= {f"lumir/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*.py")}
    found = members(wheel)
    assert {name for name in found if name.endswith(".py")} == expected
    assert {name for name in found if not name.endswith(".py")} >= {"lumir/dialects/lumir.irdl.mlir"}
    assert all(name.startswith("lumir/") for name in found)


def test_the_wheel_names_its_license_and_its_tools(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = archive.read(f"{info}/METADATA").decode()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        license_ = archive.read(f"{info}/licenses/LICENSE").decode()
    assert "License-Expression: Apache-2.0 WITH LLVM-exception" in metadata
    assert "Apache License" in license_
    assert "LLVM Exceptions to the Apache 2.0 License" in license_
    assert all(f"{tool} = lumir.tools." in scripts for tool in TOOLS)
    for heavy in ("torch>", "torch=", "torch;", "transformers"):
        assert f"Requires-Dist: {heavy}" not in metadata


def test_the_installed_wheel_compiles_from_another_folder(wheel: Path, model: Path, tmp_path: Path):
    site = tmp_path / "site"
    python("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    output = python("-c", USE, site, model, cwd=elsewhere, path=site)
    assert "1 output agrees with onnxruntime" in output
    for tool in TOOLS:
        assert "0.1.0" in python(site / "bin" / tool, "--version", cwd=elsewhere, path=site)


def test_a_source_archive_gives_the_same_wheel(wheel: Path, tmp_path: Path):
    archive = build("sdist", copy_of_the_sources(tmp_path / "source"), tmp_path / "dist")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert members(build("wheel", unpacked, tmp_path / "again")) == members(wheel)


def test_a_checkout_runs_without_installation(model: Path, tmp_path: Path):
    source = copy_of_the_sources(tmp_path / "checkout")
    assert "agrees with onnxruntime" in python("-c", USE, source, model, cwd=tmp_path, path=source)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_installs_the_dialect_and_the_package(model: Path, tmp_path: Path):
    prefix, build_folder = tmp_path / "prefix", tmp_path / "build"
    for command in (
        ["cmake", "-S", ROOT, "-B", build_folder, f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DCMAKE_INSTALL_LIBDIR=lib"],
        ["cmake", "--install", build_folder],
    ):
        subprocess.run(command, check=True, capture_output=True)
    installed = prefix / "share" / "lumir" / "lumir.irdl.mlir"
    assert installed.read_bytes() == (ROOT / "dialects" / "lumir.irdl.mlir").read_bytes()
    site = prefix / "lib" / "lumir" / "python"
    assert "agrees with onnxruntime" in python("-c", USE, site, model, cwd=tmp_path, path=site)
    user = tmp_path / "user"
    user.mkdir()
    lines = ["cmake_minimum_required(VERSION 3.20)", "project(user LANGUAGES NONE)", "find_package(lumir 0.1 REQUIRED)"]
    (user / "CMakeLists.txt").write_text("\n".join([*lines, "message(STATUS found:${LUMIR_IRDL_FILE})"]))
    configure = ["cmake", "-S", user, "-B", user / "build", f"-DCMAKE_PREFIX_PATH={prefix}"]
    output = subprocess.run(configure, check=True, capture_output=True, text=True).stdout
    assert f"found:{installed}" in output


def test_the_folders_of_the_package_are_linked():
    for name in ("dialects", "pipelines", "tools"):
        assert (ROOT / "lumir" / name).resolve() == ROOT / name


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_between_pages_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == ["index.md"]
