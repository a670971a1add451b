"""Open a `.lumir` file: bounds-checked, memory-mapped, and without executing anything."""

import hashlib
import json
import mmap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lumir.artifact.archive import member_offset, replace_file
from lumir.artifact.check_plan import check_plan
from lumir.artifact.fields import get_object, malformed, require
from lumir.artifact.manifest import SCHEMA_VERSION, Manifest, Member
from lumir.artifact.plan import Plan
from lumir.artifact.weights import read_weights
from lumir.diagnostics import UserError

WEIGHTS = "weights.safetensors"
ALIGNMENT = 64
"""What kernels may assume of every weight, in bytes."""
VERIFIED_WEIGHT_BYTES = 256 << 20
"""Weights up to this size are held against their SHA-256 at each opening (some 0.1 s for 100 MB)."""


class Artifact:
    """An open artifact.

    Args:
        manifest: what the file says it holds.
        plans: the specialisations, in order of preference.
        weights: read-only arrays that lie in the mapped file.
    """

    def __init__(self, path: Path, data: memoryview, members: Mapping[str, memoryview], manifest: Manifest):
        self.path, self.manifest, self._data, self._members = path, manifest, data, dict(members)
        self._members[WEIGHTS] = _aligned(self.member(WEIGHTS))
        self.weights: dict[str, np.ndarray] = read_weights(self.member(WEIGHTS))
        self.plans = tuple(Plan.from_json(self._json(name), name) for name in manifest.plans)
        require(bool(self.plans), "the artifact holds no plan")
        sizes = {name: weight.nbytes for name, weight in self.weights.items()}
        for name, plan in zip(manifest.plans, self.plans):
            check_plan(plan, manifest.kernels, sizes, name)
        for name, entry in manifest.kernels.items():
            require(entry.file in members, f"the code of kernel {name!r} is missing", member=entry.file)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool | None = None) -> "Artifact":
        """Open an artifact.

        Args:
            verify: True holds every member against its SHA-256, False none. By default all but weights of more than
                256 MiB are; for those, sizes and offsets are checked.

        Raises:
            UserError: `no-file`, `not-artifact` (not a zip, or cut short), `newer-schema`, `missing-member`,
                `altered-member`, or `bad-artifact` when the contents break the format.
        """
        path = Path(path)
        data, members = _map_members(path)
        if "manifest.json" not in members:
            raise UserError(f"{path} is not a lumir artifact: it has no manifest", code="not-artifact")
        manifest = _read_manifest(path, members["manifest.json"])
        _check_members(path, manifest, members, verify)
        return cls(path, data, members, manifest)

    @property
    def target(self) -> Mapping[str, Any]:
        return self.manifest.target

    @property
    def schedules(self) -> Mapping[str, Any]:
        return self._json("schedules.json")

    def member(self, name: str) -> memoryview:
        """The bytes of a member, read-only and not copied."""
        if name not in self._members:
            raise UserError(f"{self.path} has no member {name}", code="missing-member")
        return self._members[name]

    @property
    def nbytes(self) -> int:
        return len(self._data)

    def save(self, path: str | Path) -> None:
        """Write the same bytes to `path`; also after the file this was opened from is gone."""
        try:
            with replace_file(Path(path)) as temporary:
                temporary.write_bytes(self._data)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}", code="unwritable") from error

    def _json(self, name: str) -> Any:
        try:
            return get_object(json.loads(bytes(self.member(name))), name)
        except ValueError as error:
            raise malformed(f"{name} is not JSON") from error


def _map_members(path: Path) -> tuple[memoryview, dict[str, memoryview]]:
    """The file's bytes, and those of each member by name."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            members = {info.filename: _slice(path, data, info) for info in archive.infolist()}
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}", code="no-file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}", code="no-file") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _not_artifact(path, "it is not a zip, or its end is missing") from error
    return data, members


def _slice(path: Path, data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    start = member_offset(data, info)
    if start is None or info.compress_type != zipfile.ZIP_STORED:
        raise _not_artifact(path, f"member {info.filename} is compressed or reaches past the end")
    return data[start : start + info.file_size]


def _aligned(data: memoryview) -> memoryview:
    """The bytes on a multiple of `ALIGNMENT`; a copy when another program has packed the zip anew, without pages."""
    address = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    if address % ALIGNMENT == 0:
        return data
    room = np.empty(len(data) + ALIGNMENT, np.uint8)
    start = -room.__array_interface__["data"][0] % ALIGNMENT
    room[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return room[start : start + len(data)].data.toreadonly()


def _not_artifact(path: Path, why: str) -> UserError:
    hint = "the file may have been cut short on its way here: copy it again, or compile the model again"
    if path.suffix == ".onnx":
        hint = f"compile it first: lumir-compile {path}"
    return UserError(f"{path} is not a lumir artifact: {why}", code="not-artifact", hint=hint)


def _read_manifest(path: Path, data: memoryview) -> Manifest:
    try:
        parsed = get_object(json.loads(bytes(data)), "the manifest")
    except ValueError as error:
        raise malformed("the manifest is not JSON") from error
    schema = parsed.get("schema")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise UserError(
            f"{path} was written by a newer lumir",
            code="newer-schema",
            values={
                "schema of the file": schema,
                "newest schema known here": SCHEMA_VERSION,
                "by": parsed.get("lumir"),
            },
            hint="update lumir, or compile the model again with this version",
        )
    return Manifest.from_json(parsed)


def _check_members(path: Path, manifest: Manifest, members: Mapping[str, memoryview], verify: bool | None) -> None:
    for name in (WEIGHTS, "schedules.json", *manifest.plans, *manifest.members):
        if name not in members or name not in manifest.members:
            raise UserError(
                f"{path} has no member {name}",
                code="missing-member",
                hint="the file is damaged; compile the model again",
            )
    for name, member in manifest.members.items():
        small = name != WEIGHTS or member.nbytes <= VERIFIED_WEIGHT_BYTES
        if not _is_intact(members[name], member, verify is True or (verify is None and small)):
            raise UserError(
                f"member {name} of {path} was altered",
                code="altered-member",
                values={"sha256 expected": member.sha256, "bytes expected": member.nbytes},
                hint="copy the file again, or compile the model again",
            )


def _is_intact(data: memoryview, member: Member, hashed: bool) -> bool:
    if len(data) != member.nbytes:
        return False
    return not hashed or hashlib.sha256(data).hexdigest() == member.sha256
