"""Whole models through `lumir.compile`, held against onnxruntime."""

from collections.abc import Mapping
from pathlib import Path

import catalog
import handmade
import numpy as np
import onnxruntime
import pytest
from device import gpu_is_there

import lumir
from lumir.artifact.launches import Launch
from lumir.artifact.read import Artifact
from lumir.codegen.ptx import assemble, find_ptxas
from lumir.compile import Request, compile_to, write
from lumir.target import NVIDIA_ARCHS

CASES = [(path, dims) for path in catalog.MODELS for dims in catalog.default_dims(path)]
NAMES = [f"{path.stem}-{'-'.join(map(str, dims.values()))}" for path, dims in CASES]
TOLERANCE = {None: 1e-5, "fp16": 1e-2, "bf16": 6e-2}
"""Largest error relative to the largest magnitude of an output, by what float32 is computed in."""

every_case = pytest.mark.parametrize(("path", "dims"), CASES, ids=NAMES)
every_model = pytest.mark.parametrize("path", catalog.MODELS, ids=lambda path: path.stem)
needs_gpu = pytest.mark.skipif(not gpu_is_there(), reason="no NVIDIA GPU")


def reference(path: Path, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, feeds)), strict=True))


def check(executable: lumir.Executable, path: Path, dims: dict[str, int], seed: int, tolerance: float = 1e-5) -> None:
    """Run on drawn inputs and compare every output with onnxruntime's."""
    feeds = catalog.random_inputs(path, seed, dims)
    found, expected = executable.run(feeds), reference(path, feeds)
    assert list(found) == list(expected)
    for name, wanted in expected.items():
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        if wanted.dtype.kind != "f":
            np.testing.assert_array_equal(found[name], wanted)
            continue
        assert np.isfinite(found[name]).all()
        error = np.abs(found[name].astype(np.float64) - wanted).max(initial=0.0)
        scale = np.abs(wanted.astype(np.float64)).max(initial=0.0)
        assert error <= tolerance * scale, f"{name}: error {error:.3g} of magnitude {scale:.3g}"


@every_case
def test_equals_onnxruntime_on_the_cpu(path: Path, dims: dict[str, int]):
    executable = lumir.compile(path, dims=dims)
    for seed in (1, 2):
        check(executable, path, dims, seed)


@pytest.mark.parametrize("name", handmade.GOOD)
def test_hand_made_models_equal_onnxruntime(name: str, tmp_path: Path):
    path = handmade.GOOD[name](tmp_path)
    for dims in catalog.default_dims(path):
        check(lumir.compile(path, dims=dims), path, dims, 3)


@pytest.mark.parametrize("stem", ["bert_torchscript_opset14", "llama_decode", "vit"])
def test_one_artifact_runs_several_shapes(stem: str):
    path = catalog.FOLDER / f"{stem}.onnx"
    shapes = catalog.default_dims(path)
    executable = lumir.compile(path, profiles=shapes)
    for dims in (*shapes, *reversed(shapes)):
        check(executable, path, dims, 4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("stem", ["bert", "llama", "resnet"])
def test_half_precision_on_the_cpu(stem: str, precision: str):
    path = catalog.FOLDER / f"{stem}.onnx"
    dims = catalog.default_dims(path)[1]
    executable = lumir.compile(path, dims=dims, precision=precision)
    check(executable, path, dims, 5, TOLERANCE[precision])
    narrow = {"fp16": "float16", "bf16": "bfloat16"}[precision]
    assert narrow in {weight.dtype.name for weight in executable.artifact.weights.values()}


def test_save_and_load_give_the_same_numbers(tmp_path: Path):
    path, dims = catalog.FOLDER / "bert.onnx", {"batch": 2, "seq": 13}
    executable = lumir.compile(path, dims=dims)
    executable.save(tmp_path / "saved.lumir")
    feeds = catalog.random_inputs(path, 6, dims)
    first = executable.run(feeds)
    executable.close()
    loaded = lumir.load(tmp_path / "saved.lumir", threads=1)
    check(loaded, path, dims, 6)
    for name, value in loaded.run(feeds).items():
        np.testing.assert_array_equal(value, first[name])


def test_compile_is_callable_however_the_package_was_imported():
    import lumir.compile

    path = catalog.FOLDER / "resnet.onnx"
    for _ in range(2):
        check(lumir.compile(path, dims={"batch": 1}), path, {"batch": 1}, 7)  # pyright: ignore[reportCallIssue]


@every_model
def test_compiles_for_a_gpu_that_is_not_here(path: Path, tmp_path: Path):
    dims = catalog.default_dims(path)[1]
    write(compile_to(Request(path, "sm_90a", [dims])), tmp_path / "m.lumir")
    artifact = Artifact.open(tmp_path / "m.lumir")
    assert artifact.target == {"kind": "cuda", "arch": "sm_90a"}
    launched = {launch.kernel for launch in artifact.plans[0].launches if isinstance(launch, Launch)}
    assert launched == set(artifact.manifest.kernels)
    for entry in artifact.manifest.kernels.values():
        text = bytes(artifact.member(entry.file)).decode()
        assert ".target sm_90a" in text
        assert f".entry {entry.symbol}(" in text


@pytest.mark.slow
@pytest.mark.skipif(find_ptxas() is None, reason="ptxas is not installed")
@pytest.mark.parametrize("arch", NVIDIA_ARCHS)
@pytest.mark.parametrize(("stem", "precision"), [("bert", "fp16"), ("llama_decode", "bf16"), ("resnet", None)])
def test_ptxas_accepts_every_kernel(stem: str, precision: str | None, arch: str, tmp_path: Path):
    path = catalog.FOLDER / f"{stem}.onnx"
    write(compile_to(Request(path, arch, [catalog.default_dims(path)[1]], precision)), tmp_path / "m.lumir")
    artifact = Artifact.open(tmp_path / "m.lumir")
    for entry in artifact.manifest.kernels.values():
        assert assemble(bytes(artifact.member(entry.file)).decode(), arch).cubin


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", [None, "fp16"])
@every_case
def test_equals_onnxruntime_on_the_gpu(path: Path, dims: dict[str, int], precision: str | None):
    executable = lumir.compile(path, target="cuda", dims=dims, precision=precision)
    for seed in (1, 2):
        check(executable, path, dims, seed, TOLERANCE[precision])


@pytest.mark.gpu
@needs_gpu
def test_one_artifact_runs_several_shapes_on_the_gpu():
    path = catalog.FOLDER / "bert.onnx"
    shapes = catalog.default_dims(path)
    executable = lumir.compile(path, target="cuda", profiles=shapes)
    for dims in (*shapes, *reversed(shapes)):
        check(executable, path, dims, 8)
