"""Refuse a wheel that would not work on the payload: wrong machine, newer system, missing files.

Needs pyelftools (auditwheel brings it) for the compiled module; `missing_files` needs nothing.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

# What every Linux of either machine has; everything else must be inside or a pip dependency.
SYSTEM_LIBRARIES = re.compile(r"(libc|libm|libdl|libpthread|librt|ld-linux[\w-]*)\.so\.\d+")
MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
NOTICES = (
    "libjpeg-turbo-LICENSE.md",
    "libjpeg-turbo-README.ijg",
    "pybind11-LICENSE",
    "libcxx-LICENSE.TXT",
)


def missing_files(names: Iterable[str], package: Path) -> list[str]:
    """What the package's folder holds and the wheel does not.

    Parameters
    ----------
    names : iterable of str
        The wheel's file list.
    package : Path
        ``python/imagine_deblur`` of the source tree.

    Returns
    -------
    list of str
        Paths as they would stand in the wheel, sorted; empty where nothing is missing.
    """
    held = set(names)
    wanted = {
        str(Path("imagine_deblur") / path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    }
    return sorted(wanted - held)


def module_faults(data: bytes, machine: str, glibc: tuple[int, int]) -> list[str]:
    """What is wrong with a compiled module: its machine, its libraries, its symbols.

    Parameters
    ----------
    data : bytes
        The shared object.
    machine : str
        ``x86_64`` or ``aarch64``.
    glibc : (int, int)
        The oldest C library it must load with.

    Returns
    -------
    list of str
        One line each; empty where all is well.
    """
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(io.BytesIO(data))
    faults = []
    if elf["e_machine"] != MACHINES[machine]:
        faults.append(f"it is for {elf['e_machine']}, not {MACHINES[machine]}")
    for tag in elf.get_section_by_name(".dynamic").iter_tags():
        if tag.entry.d_tag == "DT_NEEDED" and not SYSTEM_LIBRARIES.fullmatch(tag.needed):
            faults.append(f"it needs {tag.needed}, which is neither inside nor of the system")
    versions = elf.get_section_by_name(".gnu.version_r")
    for _, wanted in (pair for pair in versions.iter_versions()) if versions else ():
        for one in wanted:
            match = re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", one.name)
            if match and (int(match[1]), int(match[2])) > glibc:
                faults.append(f"it needs {one.name}")
    exported = [
        symbol.name
        for symbol in elf.get_section_by_name(".dynsym").iter_symbols()
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol.name.startswith(("jpeg_", "jinit_"))
    ]
    if exported:
        faults.append(f"it exports libjpeg's symbols ({exported[0]}, ...): another could bind them")
    return faults


def check(wheel: Path, machine: str, glibc: tuple[int, int], package: Path) -> list[str]:
    """All faults of a wheel, one line each."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        faults = [f"{name} is missing" for name in missing_files(names, package)]
        modules = [name for name in names if name.endswith(".so")]
        suffix = f"-{machine}-linux-gnu.so"
        if len(modules) != 1 or not modules[0].endswith(suffix):
            faults.append(f"expected one module named *{suffix}, found {modules}")
        for name in modules:
            faults += [
                f"{name}: {why}" for why in module_faults(archive.read(name), machine, glibc)
            ]
        notices = {name.rsplit("/", 1)[-1] for name in names if "/licenses/" in name}
        faults += [f"the notice {name} is missing" for name in NOTICES if name not in notices]
    return faults


def main() -> int:
    """Print the faults; 1 where there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--machine", choices=sorted(MACHINES), required=True)
    parser.add_argument("--glibc", default="2.28")
    options = parser.parse_args()
    major, minor = options.glibc.split(".")
    package = Path(__file__).parents[1] / "python" / "imagine_deblur"
    faults = check(options.wheel, options.machine, (int(major), int(minor)), package)
    for fault in faults:
        print(f"{options.wheel.name}: {fault}", file=sys.stderr)
    if not faults:
        print(f"{options.wheel.name}: {options.wheel.stat().st_size} bytes, nothing missing")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
