"""The tuning database: which schedule was measured to be the fastest for a dispatch on a target.

One JSON file for each architecture, for people to read and to review:

    {"<key>": {"dispatch": "contract mk,kn->mn 4096x4096 4096x4096 float16", "family": "wgmma", "version": 1,
               "schedule": {"m": 128, ...}, "microseconds": 184.2, "model_microseconds": 190.1, ...}}
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from lumir.artifact.archive import replace_file
from lumir.diagnostics import LumirWarning, UserError
from lumir.mlir import ir
from lumir.module import name_of
from lumir.schedule.family import Family
from lumir.target import Target

SHIPPED = Path(__file__).parent / "database"


@dataclass(frozen=True)
class Entry:
    """The fastest schedule that was found, and how it was found.

    Args:
        dispatch: the dispatch in a line, for people.
        family, version: whose schedule it is; an entry of another version of the family no longer counts.
        schedule: as the artifact's `schedules.json` has it.
        microseconds: of one launch.
        model_microseconds: of the schedule that the cost model alone would have chosen.
        choices: how many schedules were measured.
        error: against the reference in float64, relative, in the Euclidean norm.
        device, date: where and when.
    """

    dispatch: str
    family: str
    version: int
    schedule: Mapping[str, Any]
    microseconds: float
    model_microseconds: float = 0.0
    choices: int = 0
    error: float = 0.0
    device: str = ""
    date: str = ""

    @classmethod
    def from_json(cls, data: Any, where: str) -> Self:
        names = {f.name for f in fields(cls)}
        if not isinstance(data, dict) or not {"family", "version", "schedule"} <= set(data) <= names:
            raise UserError(
                f"{where} is not an entry of a tuning database",
                code="bad-database",
                values={"keys": sorted(data) if isinstance(data, dict) else type(data).__name__},
                hint="write it with lumir-tune",
            )
        kinds = {"family": str, "schedule": dict, "version": int}
        if wrong := [name for name, kind in kinds.items() if not isinstance(data[name], kind)]:
            raise UserError(
                f"the {' and the '.join(wrong)} of {where} is of a wrong type",
                code="bad-database",
                hint="write it with lumir-tune",
            )
        return cls(**{"dispatch": "", "microseconds": 0.0} | data)


def read_json(path: Path, malformed: str) -> Any:
    """What a JSON file says.

    Raises:
        UserError: `unreadable`; of the code `malformed` where it is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}", code="unreadable") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}", code=malformed) from error


@dataclass(frozen=True)
class Database:
    """Entries by `key_of` their dispatch, for one architecture."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The database in a file.

        Raises:
            UserError: `unreadable`, `bad-database`.
        """
        data = read_json(path, "bad-database")
        if not isinstance(data, dict):
            raise UserError(f"{path} is not a tuning database", code="bad-database", hint="write it with lumir-tune")
        return cls({key: Entry.from_json(value, f"{key} in {path}") for key, value in data.items()})

    def with_entries(self, entries: Mapping[str, Entry]) -> "Database":
        return replace(self, entries={**self.entries, **entries})

    def write(self, path: Path) -> None:
        """Write the file anew; the same entries give the same bytes."""
        data = {key: asdict(entry) for key, entry in sorted(self.entries.items())}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as temporary:
            temporary.write_text(json.dumps(data, indent=1) + "\n")


def databases(target: Target, user: Path | None = None) -> list[Database]:
    """The databases for a target: the user's before the one that ships.

    Args:
        user: a file, or a folder with a file `<arch>.json` for each architecture.

    Raises:
        UserError: `unreadable`, where the user's is not there; `bad-database`.
    """
    found = []
    if user is not None:
        path = user / f"{target.name}.json" if user.is_dir() else user
        if not user.is_dir() or path.exists():
            found.append(_read(path, path.stat().st_mtime_ns if path.exists() else 0))
    if target.kind == "nvidia" and (shipped := SHIPPED / f"{target.name}.json").exists():
        found.append(_read(shipped, 0))
    return found


@lru_cache(maxsize=8)
def _read(path: Path, _changed: int) -> Database:
    return Database.read(path)


def find(
    function: ir.OpView, family_of: Mapping[str, Family], candidates: Iterable[Database]
) -> tuple[Family, Mapping[str, Any]] | None:
    """The family and schedule of the first database that has the dispatch, made by the family as it is now."""
    key = None
    for database in candidates:
        key = key or key_of(function)
        entry = database.entries.get(key)
        family = family_of.get(entry.family) if entry else None
        if entry and not family:
            message = f"what was measured of {name_of(function)} is not used: there is no family {entry.family!r}"
            warnings.warn(message, LumirWarning, stacklevel=2)
        if entry and family and version_of(family) == entry.version:
            return family, entry.schedule
    return None


def version_of(family: Family) -> int:
    """Raised by one when schedules of the family that were measured before say nothing of its kernels any more."""
    return getattr(family, "version", 1)


def key_of(function: ir.OpView) -> str:
    """A hash of what a dispatch in linalg computes: of its text without name, locations and lumir's attributes."""
    copy = function.operation.clone()
    try:
        for name in list(copy.attributes):
            if name.startswith("lumir.") or name == "arg_attrs":
                del copy.attributes[name]
        copy.attributes["sym_name"] = ir.StringAttr.get("dispatch")
        text = copy.get_asm(enable_debug_info=False, assume_verified=True)
    finally:
        copy.erase()
    return hashlib.sha256(text.encode()).hexdigest()[:32]
