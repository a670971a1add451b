"""Writing and reading artifacts: bytes, alignment, atomicity, and each error."""

import json
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from runtime_helpers import HOST_FILE, KERNELS, host_modules, mlp_plan, write_mlp

from lumir.artifact.archive import PAGE
from lumir.artifact.manifest import Manifest
from lumir.artifact.plan import Plan
from lumir.artifact.read import WEIGHTS, Artifact
from lumir.artifact.weights import WeightSource
from lumir.artifact.write import write_artifact
from lumir.diagnostics import InternalError, UserError

TARGETS = {"cpu": {"kind": "cpu", "features": []}, "cuda": {"kind": "cuda", "arch": "sm_90a"}}


def write(path: Path, weights=(), kind: str = "cpu", plans=None) -> None:
    plans = plans or [Plan((), (), ())]
    write_artifact(path, target=TARGETS[kind], kernels={}, modules={}, plans=plans, weights=weights)


def rewrite(path: Path, changes: dict[str, bytes | None]) -> None:
    """Replace (or, with None, drop) members of a zip as an editor of zip files would."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()} | changes
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            if data is not None:
                new.writestr(name, data)


def random_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    dtypes = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    dtypes += ["float16", "float32", "float64", "complex64", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
    weights = {}
    for dtype in dtypes:
        shape = tuple(rng.integers(0, 9, rng.integers(0, 4)))
        type_ = np.dtype(getattr(ml_dtypes, dtype, dtype))
        data = rng.integers(0, 256, int(np.prod(shape)) * type_.itemsize, np.uint8)
        weights[f"w.{dtype}"] = (data % 2 if dtype == "bool" else data).view(type_).reshape(shape)
    return weights


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("seed", range(3))
def test_weights_come_back_with_their_bits_and_aligned(tmp_path, kind, seed):
    weights = random_weights(np.random.default_rng(seed))
    write(tmp_path / "m.lumir", weights.items(), kind)
    artifact = Artifact.open(tmp_path / "m.lumir")
    start = np.frombuffer(artifact.member(WEIGHTS), np.uint8).ctypes.data
    assert artifact.weights.keys() == weights.keys()
    for name, expected in weights.items():
        found = artifact.weights[name]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()
        assert not found.flags.writeable
        if found.size:
            assert (found.ctypes.data - start) % {"cpu": 64, "cuda": 256}[kind] == 0
            assert kind == "cuda" or found.ctypes.data % 64 == 0


def test_4bit_weights_are_packed_low_nibble_first(tmp_path):
    write(tmp_path / "m.lumir", [("q", np.array([1, -2, 7, -8, 3], np.int8).astype(ml_dtypes.int4))])
    assert Artifact.open(tmp_path / "m.lumir").weights["q"].tolist() == [0xE1, 0x87, 0x03]


def test_weights_member_is_valid_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    expected = np.arange(6, dtype=np.float32).reshape(2, 3)
    write(tmp_path / "m.lumir", [("a", np.ones(3, np.int8)), ("b", expected)])
    loaded = safetensors.load(zipfile.ZipFile(tmp_path / "m.lumir").read(WEIGHTS))
    assert (loaded["b"] == expected).all()


def test_same_arguments_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_mlp(tmp_path / f"{name}.lumir")
    assert (tmp_path / "a.lumir").read_bytes() == (tmp_path / "b.lumir").read_bytes()
    write_mlp(tmp_path / "c.lumir", seed=1)
    assert (tmp_path / "a.lumir").read_bytes() != (tmp_path / "c.lumir").read_bytes()


def test_members_are_stored_on_pages_and_the_zip_is_sound(tmp_path):
    write_mlp(tmp_path / "m.lumir")
    data = (tmp_path / "m.lumir").read_bytes()
    with zipfile.ZipFile(tmp_path / "m.lumir") as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            at = info.header_offset + 30 + data[info.header_offset + 26] + 256 * data[info.header_offset + 27]
            at += int.from_bytes(data[info.header_offset + 28 : info.header_offset + 30], "little")
            assert at % PAGE == 0, info.filename


def test_weights_are_loaded_one_at_a_time(tmp_path):
    alive: list[int] = []

    class Tracked(np.ndarray):
        def __del__(self):
            alive.remove(id(self))

    def load(value: int) -> np.ndarray:
        array = np.full(1000, value, np.float32).view(Tracked)
        alive.append(id(array))
        peak.append(len(alive))
        return array

    peak: list[int] = []
    sources = [WeightSource(f"w{i}", "float32", (1000,), lambda i=i: load(i)) for i in range(5)]
    write(tmp_path / "m.lumir", sources)
    assert [int(weight[0]) for weight in Artifact.open(tmp_path / "m.lumir").weights.values()] == [0, 1, 2, 3, 4]
    assert max(peak) <= 2


def test_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "m.lumir"
    path.write_bytes(b"old")
    bad = WeightSource("w", "float32", (4,), lambda: np.zeros(5, np.float32))
    with pytest.raises(InternalError, match=r"weight 'w' is not what was declared"):
        write(path, [("a", np.zeros(100)), bad])
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["m.lumir"]
    write(path)
    assert Artifact.open(path).weights == {}


def test_unwritable_folder(tmp_path):
    with pytest.raises(UserError, match="cannot be written") as caught:
        write(tmp_path / "missing" / "m.lumir")
    assert caught.value.code == "unwritable"


def test_plans_manifest_and_schedules_come_back(tmp_path):
    plans = [mlp_plan(4, 7, n, {"batch": 4, "n": n}) for n in (16, 33)]
    weights = {"w": np.zeros((7, 33), np.float32), "bias": np.zeros((4, 33), np.float32)}
    write_artifact(
        tmp_path / "m.lumir",
        target=TARGETS["cpu"],
        kernels=KERNELS,
        modules=host_modules(),
        plans=plans,
        weights=weights.items(),
        schedules={"k": {"tile": [8, 32]}},
    )
    artifact = Artifact.open(tmp_path / "m.lumir")
    assert artifact.plans == tuple(plans)
    assert artifact.manifest.kernels == KERNELS
    assert artifact.schedules == {"k": {"tile": [8, 32]}}
    assert artifact.manifest.outputs[0].shape == (4, "n")
    assert artifact.manifest.inputs[0].shape == (4, 7)
    assert Manifest.from_json(json.loads(json.dumps(artifact.manifest.to_json()))) == artifact.manifest


def test_save_writes_the_same_bytes_after_the_file_is_gone(tmp_path):
    write_mlp(tmp_path / "a.lumir")
    artifact, data = Artifact.open(tmp_path / "a.lumir"), (tmp_path / "a.lumir").read_bytes()
    (tmp_path / "a.lumir").unlink()
    artifact.save(tmp_path / "b.lumir")
    assert (tmp_path / "b.lumir").read_bytes() == data


def code_of_opening(path: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        Artifact.open(path, **options)
    assert str(path) in caught.value.message or caught.value.code == "bad-artifact"
    return caught.value.code


def test_missing_empty_and_foreign_files(tmp_path):
    assert code_of_opening(tmp_path / "nothing.lumir") == "no-file"
    for name, data in (("empty", b""), ("text", b"hello" * 1000)):
        (tmp_path / name).write_bytes(data)
        assert code_of_opening(tmp_path / name) == "not-artifact"
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    assert code_of_opening(tmp_path / "other.zip") == "not-artifact"


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_truncated_file(tmp_path, kept):
    write_mlp(tmp_path / "m.lumir")
    data = (tmp_path / "m.lumir").read_bytes()
    (tmp_path / "m.lumir").write_bytes(data[: int(len(data) * kept)])
    assert code_of_opening(tmp_path / "m.lumir") == "not-artifact"


def test_each_altered_member_is_named(tmp_path):
    for name in (HOST_FILE, "plan-0.json", "schedules.json", WEIGHTS):
        write_mlp(tmp_path / "m.lumir")
        data = bytearray((tmp_path / "m.lumir").read_bytes())
        at = data.index(zipfile.ZipFile(tmp_path / "m.lumir").read(name))
        data[at + 40 if name != "schedules.json" else at + 2] ^= 0x10
        (tmp_path / "m.lumir").write_bytes(data)
        with pytest.raises(UserError, match=f"member {name} of .* was altered") as caught:
            Artifact.open(tmp_path / "m.lumir")
        assert caught.value.code == "altered-member"


def test_verify_false_skips_checksums(tmp_path):
    weights = write_mlp(tmp_path / "m.lumir")
    data = bytearray((tmp_path / "m.lumir").read_bytes())
    at = data.index(weights["w"].tobytes())
    data[at] ^= 1
    (tmp_path / "m.lumir").write_bytes(data)
    assert code_of_opening(tmp_path / "m.lumir") == "altered-member"
    assert code_of_opening(tmp_path / "m.lumir", verify=True) == "altered-member"
    assert (Artifact.open(tmp_path / "m.lumir", verify=False).weights["w"] != weights["w"]).sum() == 1


@pytest.mark.parametrize("name", [HOST_FILE, "plan-0.json", "schedules.json", WEIGHTS])
def test_missing_member(tmp_path, name):
    write_mlp(tmp_path / "m.lumir")
    rewrite(tmp_path / "m.lumir", {name: None})
    with pytest.raises(UserError, match=f"has no member {name}") as caught:
        Artifact.open(tmp_path / "m.lumir")
    assert caught.value.code == "missing-member"


def change_manifest(path: Path, **changes) -> None:
    manifest = json.loads(zipfile.ZipFile(path).read("manifest.json"))
    rewrite(path, {"manifest.json": json.dumps(manifest | changes).encode()})


def test_newer_schema_is_told_before_anything_else(tmp_path):
    write_mlp(tmp_path / "m.lumir")
    change_manifest(tmp_path / "m.lumir", schema=99, kernels=["another form"])
    with pytest.raises(UserError, match="written by a newer lumir") as caught:
        Artifact.open(tmp_path / "m.lumir")
    assert caught.value.code == "newer-schema"
    assert "99" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"target": {"kind": "abacus"}},
        {"target": None},
        {"kernels": {"k": {}}},
        {"kernels": {"k": {"file": "gone", "symbol": "k"}, **{n: e.to_json() for n, e in KERNELS.items()}}},
        {"plans": "plan-0.json"},
        {"plans": []},
        {"schema": "one"},
        {"members": {}},
        {"inputs": [{"name": "x", "dtype": "float33", "shape": [1]}]},
    ],
)
def test_malformed_manifest(tmp_path, changes):
    write_mlp(tmp_path / "m.lumir")
    change_manifest(tmp_path / "m.lumir", **changes)
    assert code_of_opening(tmp_path / "m.lumir") in ("bad-artifact", "missing-member")


def safetensors_bytes(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(64)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 16,
        (5).to_bytes(8, "little") + b"hello",
        safetensors_bytes([]),
        safetensors_bytes({"w": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}),
        safetensors_bytes({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}),
        safetensors_bytes({"w": {"dtype": "F32", "shape": [32], "data_offsets": [0, 128]}}),
        safetensors_bytes({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
        safetensors_bytes({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}),
        safetensors_bytes({"w": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}),
    ],
)
def test_malformed_weights(tmp_path, data):
    write(tmp_path / "m.lumir")
    rewrite(tmp_path / "m.lumir", {WEIGHTS: data})
    manifest = json.loads(zipfile.ZipFile(tmp_path / "m.lumir").read("manifest.json"))
    manifest["members"][WEIGHTS]["nbytes"] = len(data)
    rewrite(tmp_path / "m.lumir", {"manifest.json": json.dumps(manifest).encode()})
    assert code_of_opening(tmp_path / "m.lumir", verify=False) == "bad-artifact"


def test_random_damage_is_never_anything_but_a_user_error(tmp_path):
    write_mlp(tmp_path / "m.lumir")
    good, rng = (tmp_path / "m.lumir").read_bytes(), np.random.default_rng(7)
    for _ in range(150):
        data = bytearray(good)
        for at in rng.integers(0, len(data), 20):
            data[at] = rng.integers(0, 256)
        (tmp_path / "m.lumir").write_bytes(data)
        for verify in (None, False):
            try:
                Artifact.open(tmp_path / "m.lumir", verify=verify)
            except UserError:
                continue
