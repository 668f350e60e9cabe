"""A CycloneDX 1.6 bill of materials beside each wheel, and SHA256SUMS over all of them.

Read from the wheel itself (files, hashes, METADATA) and from what was compiled into its module.
Two runs over the same wheel write the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import uuid
import zipfile
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Component = dict[str, Any]
SELF = "imagine-deblur"


def sha256(data: bytes) -> list[dict[str, str]]:
    """The hash as CycloneDX writes it."""
    return [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}]


def library(name: str, release: str, licence: str, note: str) -> Component:
    """A library compiled into the module."""
    return {
        "type": "library",
        "bom-ref": f"compiled:{name}",
        "name": name,
        "version": release,
        "scope": "required",
        "licenses": [{"expression": licence}],
        "description": note,
    }


def compiled_in(jpeg: Path) -> list[Component]:
    """What the module holds of others' code.

    Parameters
    ----------
    jpeg : Path
        The unpacked source package of libjpeg-turbo.
    """
    changelog = (jpeg / "debian" / "changelog").read_text(encoding="utf-8")
    match = re.match(r"\S+ \((?:\d+:)?([^)]+)\)", changelog)
    if match is None:
        raise ValueError(f"{jpeg}/debian/changelog does not begin with a version")
    turbo = library(
        "libjpeg-turbo",
        match[1],
        "IJG AND BSD-3-Clause AND Zlib",
        "static; upstream's release with the distribution's security patches",
    )
    for tarball in sorted((jpeg.parent / "source").glob("libjpeg-turbo_*.orig.tar.*z")):
        turbo["hashes"] = sha256(tarball.read_bytes())
    return [
        turbo,
        library("pybind11", _tool("pybind11"), "BSD-3-Clause", "header only"),
        library(
            "libc++ and compiler-rt",
            f"of ziglang {_tool('ziglang')}",
            "Apache-2.0 WITH LLVM-exception",
            "static",
        ),
    ]


def _tool(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def data_files(wheel: zipfile.ZipFile) -> list[Component]:
    """Networks and tables inside the wheel, each with its hash."""
    found = []
    for name in sorted(wheel.namelist()):
        if name.endswith((".onnx", ".npz")):
            found.append(
                {
                    "type": "machine-learning-model" if name.endswith(".onnx") else "data",
                    "bom-ref": f"file:{name}",
                    "name": name,
                    "hashes": sha256(wheel.read(name)),
                }
            )
    return found


def requirements(metadata: str) -> list[Component]:
    """The pip dependencies that METADATA names; those of extras are optional."""
    found = []
    for line in Parser().parsestr(metadata).get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition(";")
        match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(.*?)\s*$", requirement)
        if match is None:
            raise ValueError(f"METADATA: cannot read Requires-Dist: {line}")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        found.append(
            {
                "type": "library",
                "bom-ref": f"pip:{match[1]}{f'[{extra[1]}]' if extra else ''}",
                "name": match[1],
                "purl": f"pkg:pypi/{match[1].lower()}",
                "scope": "optional" if extra else "required",
                "properties": [{"name": "pip:specifier", "value": match[2]}]
                + ([{"name": "pip:extra", "value": extra[1]}] if extra else []),
            }
        )
    return found


def bill(path: Path, jpeg: Path) -> dict[str, Any]:
    """The bill of one wheel.

    Parameters
    ----------
    path : Path
        The wheel.
    jpeg : Path
        The unpacked source package of libjpeg-turbo.
    """
    with zipfile.ZipFile(path) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = wheel.read(name).decode()
        components = [*compiled_in(jpeg), *data_files(wheel), *requirements(metadata)]
    release = Parser().parsestr(metadata)["Version"]
    content = path.read_bytes()
    serial = uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(content).hexdigest())
    required = [c["bom-ref"] for c in components if c.get("scope") != "optional"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": SELF,
                "name": SELF,
                "version": release,
                "purl": f"pkg:pypi/{SELF}@{release}?file_name={path.name}",
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": sha256(content),
            }
        },
        "components": components,
        "dependencies": [{"ref": SELF, "dependsOn": required}],
    }


def write(wheels: list[Path], jpeg: Path) -> None:
    """``WHEEL.cdx.json`` beside each wheel and SHA256SUMS over the folder's wheels and bills."""
    for wheel in wheels:
        text = json.dumps(bill(wheel, jpeg), indent=2) + "\n"
        wheel.with_name(wheel.name + ".cdx.json").write_text(text, encoding="utf-8")
    for folder in sorted({wheel.parent for wheel in wheels}):
        files = sorted([*folder.glob("*.whl"), *folder.glob("*.cdx.json")])
        lines = (
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files
        )
        (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write them and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jpeg", type=Path, required=True, help="libjpeg-turbo's source package")
    parser.add_argument("wheels", type=Path, nargs="+")
    options = parser.parse_args()
    write(options.wheels, options.jpeg)
    print(f"bills of materials and SHA256SUMS in {options.wheels[0].parent}")


if __name__ == "__main__":
    main()
