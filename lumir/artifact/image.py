"""A flat, position-independent image of x86-64 machine code: what `kernels/host.bin` holds.

Layout: the magic, the header's length (uint32), the header (JSON: code size, alignment, symbols, relocations), zeros up
to a multiple of 64 bytes, then the code. A loader maps `code`, adds the mapping's address to the 8-byte words at
`relocations`, makes the pages read-only and executable, and calls `symbols`.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from lumir.artifact.fields import check_int, get_int, get_list, get_object, require

_MAGIC = b"LUMIRX64"
_CODE_ALIGNMENT = 64


@dataclass(frozen=True)
class HostImage:
    """Code and read-only data of all CPU kernels of one artifact.

    Args:
        code: the bytes to map.
        symbols: the offset in `code` of each function.
        alignment: the least alignment of the mapping; a page is always enough.
        relocations: offsets of 8-byte words that hold an offset in `code` and must become an address.
    """

    code: bytes
    symbols: Mapping[str, int]
    alignment: int = 64
    relocations: tuple[int, ...] = field(default=())

    def to_bytes(self) -> bytes:
        header = {
            "code_bytes": len(self.code),
            "alignment": self.alignment,
            "symbols": dict(self.symbols),
            "relocations": list(self.relocations),
        }
        text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        prefix = _MAGIC + struct.pack("<I", len(text)) + text
        return prefix + bytes(-len(prefix) % _CODE_ALIGNMENT) + self.code

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, where: str = "the host image") -> "HostImage":
        """Read an image.

        Raises:
            UserError: `bad-artifact`, when the bytes are not an image or an offset leaves it.
        """
        data = bytes(data)
        require(data[:8] == _MAGIC and len(data) >= 12, f"{where} is not a host image")
        start = 12 + struct.unpack_from("<I", data, 8)[0]
        require(start <= len(data), f"{where} is cut short")
        try:
            header = get_object(json.loads(data[12:start]), f"the header of {where}")
        except ValueError:
            header = get_object(None, f"the header of {where}")
        code = data[start + -start % _CODE_ALIGNMENT :]
        require(len(code) == get_int(header, "code_bytes", where), f"{where} is cut short", code_bytes=len(code))
        last = len(code) - 1
        symbols = get_object(header.get("symbols"), f"the symbols of {where}")
        relocations = get_list(header, "relocations", where)
        return cls(
            code=code,
            symbols={name: check_int(at, f"symbol {name!r} of {where}", high=last) for name, at in symbols.items()},
            alignment=get_int(header, "alignment", where, low=1, high=4096),
            relocations=tuple(check_int(at, f"a relocation of {where}", high=last - 7) for at in relocations),
        )
