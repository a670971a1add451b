"""The parts of an x86-64 ELF relocatable that a static linker needs (System V ABI, AMD64 supplement)."""

import struct
from dataclasses import dataclass

from lumir.diagnostics import InternalError

SHT_PROGBITS, SHT_RELA, SHT_NOBITS, SHT_SYMTAB = 1, 4, 8, 2
SHF_WRITE, SHF_ALLOC, SHF_TLS = 0x1, 0x2, 0x400
SHN_UNDEF, SHN_ABS = 0, 0xFFF1
STB_LOCAL = 0

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")


@dataclass(frozen=True)
class Section:
    name: str
    type: int
    flags: int
    data: bytes
    size: int
    alignment: int
    link: int
    info: int


@dataclass(frozen=True)
class Symbol:
    name: str
    binding: int
    section: int
    value: int


@dataclass(frozen=True)
class Relocation:
    """`type` applied at `offset` of section `section`, to `symbol + addend`."""

    section: int
    offset: int
    type: int
    symbol: int
    addend: int


@dataclass(frozen=True)
class ElfObject:
    name: str
    sections: list[Section]
    symbols: list[Symbol]
    relocations: list[Relocation]


def parse_elf(name: str, data: bytes) -> ElfObject:
    """Read a relocatable object.

    Raises:
        InternalError: `bad-object`, when it is not one for x86-64.
    """
    if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", data, 16) != (1, 62):
        raise InternalError(f"{name} is not an x86-64 relocatable object", code="bad-object")
    fields = _HEADER.unpack_from(data)
    table, count, names_index = fields[6], fields[12], fields[13]
    headers = [_SECTION.unpack_from(data, table + i * _SECTION.size) for i in range(count)]
    bodies = [b"" if h[1] == SHT_NOBITS else data[h[4] : h[4] + h[5]] for h in headers]
    sections = [
        Section(_string(bodies[names_index], h[0]), h[1], h[2], body, h[5], max(h[8], 1), h[6], h[7])
        for h, body in zip(headers, bodies)
    ]
    symbols = [symbol for section in sections if section.type == SHT_SYMTAB for symbol in _symbols(section, sections)]
    relocations = [item for section in sections if section.type == SHT_RELA for item in _relocations(section)]
    return ElfObject(name, sections, symbols, relocations)


def _symbols(section: Section, sections: list[Section]) -> list[Symbol]:
    strings = sections[section.link].data
    return [
        Symbol(_string(strings, name), info >> 4, index, value)
        for name, info, _other, index, value, _size in _SYMBOL.iter_unpack(section.data)
    ]


def _relocations(section: Section) -> list[Relocation]:
    return [
        Relocation(section.info, offset, info & 0xFFFFFFFF, info >> 32, addend)
        for offset, info, addend in _RELA.iter_unpack(section.data)
    ]


def _string(table: bytes, at: int) -> str:
    return table[at : table.index(b"\0", at)].decode()
