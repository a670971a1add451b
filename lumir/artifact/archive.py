"""A zip of uncompressed members, each starting on a page, with bytes that depend on the contents alone."""

import hashlib
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lumir.artifact.manifest import Member

PAGE = 4096
_ALIGNMENT_FIELD = 0xD935
"""The zip extra field that tools which align members in a zip use for the padding."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ZIP64_BYTES = 2**31 - 1


class ArchiveWriter:
    """Adds members to an open zip and keeps their sizes and SHA-256."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self.members: dict[str, Member] = {}

    def add(self, name: str, nbytes: int, chunks: Iterable[bytes | memoryview]) -> None:
        """Write `chunks`, `nbytes` in all, as member `name`; one chunk is held in memory at a time."""
        info = zipfile.ZipInfo(name, _EPOCH)
        info.create_system, info.external_attr, info.file_size, info.CRC = 3, 0o644 << 16, nbytes, 0
        large = nbytes > _ZIP64_BYTES
        start = self._archive.fp.tell() + len(info.FileHeader(zip64=large)) + 4  # pyright: ignore[reportOptionalMemberAccess]
        info.extra = struct.pack("<HH", _ALIGNMENT_FIELD, -start % PAGE) + bytes(-start % PAGE)
        digest = hashlib.sha256()
        with self._archive.open(info, "w", force_zip64=large) as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        info.extra = b""  # the central directory needs no padding
        self.members[name] = Member(info.file_size, digest.hexdigest())


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that becomes `path` when the block ends well, and is removed otherwise."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def write_archive(path: Path) -> Iterator[ArchiveWriter]:
    """Write a zip to `path`: an existing file is replaced when the block ends well, and left alone otherwise."""
    with replace_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        yield ArchiveWriter(archive)


def member_offset(data: memoryview, info: zipfile.ZipInfo) -> int | None:
    """Where a member's bytes start in the zip, or None when its local header is not there."""
    at = info.header_offset
    if at < 0 or at + 30 > len(data) or bytes(data[at : at + 4]) != b"PK\x03\x04":
        return None
    name_bytes, extra_bytes = struct.unpack_from("<HH", data, at + 26)
    start = at + 30 + name_bytes + extra_bytes
    return start if start + info.file_size <= len(data) else None
