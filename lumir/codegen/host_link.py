"""Link objects into one flat, position-independent image: a static linker for what kernels need, and no more."""

import struct
from collections.abc import Mapping

from lumir.artifact.image import HostImage
from lumir.codegen.host_elf import (
    SHF_ALLOC,
    SHF_TLS,
    SHF_WRITE,
    SHN_ABS,
    SHN_UNDEF,
    SHT_NOBITS,
    SHT_PROGBITS,
    STB_LOCAL,
    ElfObject,
    Relocation,
    Section,
    parse_elf,
)
from lumir.codegen.host_executor import executor_object
from lumir.diagnostics import InternalError

R_64, R_PC32, R_PLT32, R_GOTPCREL, R_PC64, R_GOTPCRELX, R_REX_GOTPCRELX = 1, 2, 4, 9, 24, 41, 42
_VIA_GOT = frozenset({R_GOTPCREL, R_GOTPCRELX, R_REX_GOTPCRELX})
_MIN_ALIGNMENT = 64


def link_host(objects: Mapping[str, bytes], *, executor: bool = True) -> HostImage:
    """Link objects that `compile_host` made.

    Args:
        objects: ELF relocatables, by a name to speak of them; their functions must not share names.
        executor: add the launch loop and `memcpy`, `memmove`, `memset`, which every artifact needs.

    Returns:
        The image; its symbols are all global functions.

    Raises:
        InternalError: `undefined-symbol` (a call of a library function), `duplicate-symbol`, `writable-data`,
            `bad-object`, `bad-relocation`.
    """
    everything = {**objects, "lumir-executor": executor_object()} if executor else dict(objects)
    linker = _Linker([parse_elf(name, data) for name, data in sorted(everything.items())])
    linker.place()
    linker.define()
    linker.relocate()
    return HostImage(bytes(linker.code), linker.globals, linker.alignment, tuple(sorted(linker.relocations)))


class _Linker:
    def __init__(self, objects: list[ElfObject]):
        self.objects = objects
        self.code = bytearray()
        self.globals: dict[str, int] = {}
        self.relocations: list[int] = []
        self.alignment = _MIN_ALIGNMENT
        self._base: dict[tuple[int, int], int] = {}
        self._got: dict[int, int] = {}

    def place(self) -> None:
        """Lay the sections out, code first, each at its alignment."""
        loaded = [
            (section, key, obj)
            for key_object, obj in enumerate(self.objects)
            for key, section in (((key_object, i), section) for i, section in enumerate(obj.sections))
            if _is_loaded(section)
        ]
        for section, key, obj in sorted(loaded, key=lambda item: not item[0].name.startswith(".text")):
            _check_read_only(section, obj)
            alignment = max(section.alignment, _MIN_ALIGNMENT)
            self.alignment = max(self.alignment, alignment)
            self.code += bytes(-len(self.code) % alignment)
            self._base[key] = len(self.code)
            self.code += section.data

    def define(self) -> None:
        owners: dict[str, str] = {}
        for i, obj in enumerate(self.objects):
            for symbol in obj.symbols:
                base = self._base.get((i, symbol.section))
                if symbol.binding == STB_LOCAL or base is None:
                    continue
                if symbol.name in owners:
                    owner = owners[symbol.name]
                    message = f"{owner} and {obj.name} both define {symbol.name}"
                    raise InternalError(message, code="duplicate-symbol")
                owners[symbol.name] = obj.name
                self.globals[symbol.name] = base + symbol.value

    def relocate(self) -> None:
        self._check_undefined()
        for i, obj in enumerate(self.objects):
            for relocation in obj.relocations:
                base = self._base.get((i, relocation.section))
                if base is not None:
                    self._apply(relocation, base + relocation.offset, self._resolve(i, relocation), obj)

    def _check_undefined(self) -> None:
        missing = {
            symbol.name: obj.name
            for obj in self.objects
            for symbol in obj.symbols
            if symbol.section == SHN_UNDEF and symbol.name and symbol.name not in self.globals
        }
        if missing:
            raise InternalError(
                f"kernels call functions that are not there: {', '.join(sorted(missing))}",
                code="undefined-symbol",
                rule="host code calls no library; expand the operation before LLVM IR",
                values={name: f"called in {owner}" for name, owner in sorted(missing.items())},
            )

    def _resolve(self, object_index: int, relocation: Relocation) -> int:
        obj = self.objects[object_index]
        symbol = obj.symbols[relocation.symbol]
        if symbol.section == SHN_UNDEF:
            return self.globals[symbol.name]
        base = self._base.get((object_index, symbol.section))
        if symbol.section == SHN_ABS or base is None:
            raise InternalError(f"{obj.name} refers to {symbol.name!r}, which is not loaded", code="bad-relocation")
        return base + symbol.value

    def _apply(self, relocation: Relocation, at: int, target: int, obj: ElfObject) -> None:
        kind = relocation.type
        if kind == R_64:
            struct.pack_into("<q", self.code, at, target + relocation.addend)
            self.relocations.append(at)
        elif kind == R_PC64:
            struct.pack_into("<q", self.code, at, target + relocation.addend - at)
        elif kind in (R_PC32, R_PLT32):
            struct.pack_into("<i", self.code, at, target + relocation.addend - at)
        elif kind in _VIA_GOT:
            struct.pack_into("<i", self.code, at, self._got_slot(target) + relocation.addend - at)
        else:
            raise InternalError(f"{obj.name} has a relocation of type {kind}", code="bad-relocation")

    def _got_slot(self, target: int) -> int:
        """The offset of a word that holds the address of `target` once the image is loaded."""
        if target not in self._got:
            self.code += bytes(-len(self.code) % 8)
            self._got[target] = len(self.code)
            self.relocations.append(len(self.code))
            self.code += struct.pack("<q", target)
        return self._got[target]


def _is_loaded(section: Section) -> bool:
    kept = section.type in (SHT_PROGBITS, SHT_NOBITS) and section.flags & SHF_ALLOC
    return bool(kept) and section.size > 0 and section.name != ".eh_frame"


def _check_read_only(section: Section, obj: ElfObject) -> None:
    writable = section.flags & SHF_WRITE and not section.name.startswith(".data.rel.ro")
    if writable or section.flags & SHF_TLS or section.type == SHT_NOBITS:
        message = f"{obj.name} holds writable data in {section.name}; kernels may keep no state"
        raise InternalError(message, code="writable-data", values={"bytes": section.size})
