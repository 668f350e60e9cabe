"""What goes into wheels: metadata that agrees with itself, data files, and the tools that check."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import imagine_deblur
from imagine_deblur import _core

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "imagine_deblur"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "packaging" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def installed() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution("imagine-deblur")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("imported from the source tree, not installed")


def test_the_version_stands_in_one_place(project: dict[str, Any]) -> None:
    version = imagine_deblur.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert "version" in project["dynamic"]
    assert _core.build_info()["version"] == version  # by way of CMake
    for name in ("pyproject.toml", "CMakeLists.txt", "packaging/check_sdist.sh"):
        assert version not in (ROOT / name).read_text("utf-8"), name


def test_the_changelog_dates_the_version() -> None:
    log = (ROOT / "CHANGELOG.md").read_text("utf-8")
    heading = rf"^## {re.escape(imagine_deblur.__version__)} - \d{{4}}-\d\d-\d\d$"
    assert re.search(heading, log, re.M)


def test_the_conda_recipe_agrees_with_the_metadata(project: dict[str, Any]) -> None:
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text("utf-8"))
    assert recipe["context"]["version"] == imagine_deblur.__version__
    needs = recipe["requirements"]
    assert set(project["dependencies"]) <= {need.replace(" ", "") for need in needs["run"]}
    host = " ".join(needs["host"])
    text = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for need in text["build-system"]["requires"]:
        assert re.split(r"[<>=]", need)[0] in host
    assert recipe["about"]["license"] == project["license"]


def test_the_default_install_needs_numpy_alone(project: dict[str, Any]) -> None:
    names = {re.split(r"[<>=!~ ]", need)[0] for need in project["dependencies"]}
    assert names == {"numpy"}


def test_the_installed_metadata(
    installed: importlib.metadata.Distribution, project: dict[str, Any]
) -> None:
    assert installed.version == imagine_deblur.__version__
    plain = [need for need in installed.requires or [] if "extra" not in need]
    assert {re.split(r"[<>=!~ ;]", need)[0] for need in plain} == {"numpy"}
    commands = installed.entry_points.select(group="console_scripts", name="imagine-deblur")
    assert {command.value for command in commands} == {"imagine_deblur.cli:main"}
    assert all(callable(command.load()) for command in commands)


def test_python_versions_are_those_of_the_wheels(project: dict[str, Any]) -> None:
    assert project["requires-python"] == ">=3.11"
    declared = {c for c in project["classifiers"] if c.startswith("Programming Language :: Python")}
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)} <= declared


def test_data_files_come_with_the_installed_package() -> None:
    package = Path(imagine_deblur.__file__).parent
    tables = sorted(path.name for path in package.rglob("*.npz"))
    assert {"brisque.npz", "niqe_eo.npz", "weights.npz"} <= set(tables)
    for path in package.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as table:
            assert all(table[name].size for name in table.files)
    models = {path.stem for path in (package / "models").glob("*.onnx")}
    assert "fast" in models
    assert (package / "py.typed").is_file()


def test_every_file_named_as_data_is_one_the_package_holds() -> None:
    for source in PACKAGE.rglob("*.py"):
        for name in re.findall(r"[\"'](\w+\.npz)[\"']", source.read_text(encoding="utf-8")):
            if "train" not in source.parts:
                assert list(PACKAGE.rglob(name)), f"{source.name} reads {name}"


METADATA = """Metadata-Version: 2.4
Name: imagine-deblur
Version: 9.8.7
Requires-Dist: numpy>=2.0
Requires-Dist: onnxruntime>=1.20; extra == "onnxruntime"
Requires-Dist: openvino>=2025.2; extra == "openvino"

text
"""


def fake_wheel(folder: Path, leave_out: str = "") -> Path:
    """A wheel of the tree's own files without a compiled module."""
    path = folder / "imagine_deblur-9.8.7-cp311-cp311-manylinux_2_28_aarch64.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in sorted(PACKAGE.rglob("*")):
            skip = "__pycache__" in file.parts or file.suffix == ".so" or file.name == leave_out
            if file.is_file() and not skip:
                wheel.write(file, Path("imagine_deblur") / file.relative_to(PACKAGE))
        wheel.writestr("imagine_deblur-9.8.7.dist-info/METADATA", METADATA)
    return path


@pytest.mark.parametrize("name", ["fast.onnx", "niqe_eo.npz", "_core.pyi", "py.typed"])
def test_a_file_left_out_of_a_wheel_is_named(tmp_path: Path, name: str) -> None:
    missing = tool("check_wheel").missing_files
    with zipfile.ZipFile(fake_wheel(tmp_path)) as wheel:
        assert missing(wheel.namelist(), PACKAGE) == []
    with zipfile.ZipFile(fake_wheel(tmp_path, name)) as wheel:
        assert [Path(path).name for path in missing(wheel.namelist(), PACKAGE)] == [name]


def test_a_wheel_without_module_and_notices_is_refused(tmp_path: Path) -> None:
    faults = tool("check_wheel").check(fake_wheel(tmp_path), "aarch64", (2, 28), PACKAGE)
    assert any("-aarch64-linux-gnu.so" in fault for fault in faults)
    assert sum("notice" in fault for fault in faults) == 4


def test_a_module_of_another_machine_or_a_newer_system_is_refused() -> None:
    pytest.importorskip("elftools", reason="pyelftools comes with the wheel tools")
    with open(sys.executable, "rb") as file:
        program = file.read()
    check = tool("check_wheel")
    here = platform.machine()
    other = "x86_64" if here == "aarch64" else "aarch64"
    assert any("EM_" in fault for fault in check.module_faults(program, other, (2, 99)))
    assert any("GLIBC_" in fault for fault in check.module_faults(program, here, (2, 1)))


@pytest.fixture
def jpeg_source(tmp_path: Path) -> Path:
    folder = tmp_path / "libjpeg-turbo"
    (folder / "debian").mkdir(parents=True)
    (folder / "debian" / "changelog").write_text("libjpeg-turbo (1:2.1.5-2) x; urgency=low\n")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "libjpeg-turbo_2.1.5.orig.tar.gz").write_bytes(b"tarball")
    return folder


def test_the_bill_of_materials(tmp_path: Path, jpeg_source: Path) -> None:
    wheel = fake_wheel(tmp_path)
    tool("sbom").write([wheel], jpeg_source)
    text = wheel.with_name(wheel.name + ".cdx.json").read_text(encoding="utf-8")
    bill = json.loads(text)
    own = bill["metadata"]["component"]
    assert (bill["bomFormat"], bill["specVersion"], own["version"]) == ("CycloneDX", "1.6", "9.8.7")
    assert own["hashes"][0]["content"] == hashlib.sha256(wheel.read_bytes()).hexdigest()

    found = {component["bom-ref"]: component for component in bill["components"]}
    assert len(found) == len(bill["components"])
    turbo = found["compiled:libjpeg-turbo"]
    assert turbo["version"] == "2.1.5-2"
    assert turbo["hashes"][0]["content"] == hashlib.sha256(b"tarball").hexdigest()
    model = found["file:imagine_deblur/models/fast.onnx"]
    shipped = (PACKAGE / "models" / "fast.onnx").read_bytes()
    assert model["hashes"][0]["content"] == hashlib.sha256(shipped).hexdigest()
    assert found["pip:numpy"]["scope"] == "required"
    assert found["pip:openvino[openvino]"]["scope"] == "optional"
    needs = bill["dependencies"][0]["dependsOn"]
    assert "pip:numpy" in needs
    assert "pip:onnxruntime[onnxruntime]" not in needs
    assert "pip:openvino[openvino]" not in needs

    sums = (tmp_path / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    assert [line.split("  ")[1] for line in sums] == sorted([wheel.name, wheel.name + ".cdx.json"])
    for line in sums:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_the_bill_is_the_same_every_time(tmp_path: Path, jpeg_source: Path) -> None:
    sbom = tool("sbom")
    wheel = fake_wheel(tmp_path)
    assert sbom.bill(wheel, jpeg_source) == sbom.bill(wheel, jpeg_source)


def test_frames_that_differ_by_two_steps_do_not_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agreement = tool("agreement")
    picture = agreement.scene()
    assert picture.shape == (agreement.ROWS, agreement.COLUMNS, 3)
    assert picture.std() > 10
    for name, step in (("a", 0), ("b", 1), ("c", 2)):
        changed = picture.copy()
        changed[3, 5] = changed[3, 5] // 2 + step
        np.savez(tmp_path / f"{name}.npz", machine=np.array(name), frame=changed)
    assert agreement.compare(tmp_path / "a.npz", tmp_path / "b.npz") == 0
    assert agreement.compare(tmp_path / "a.npz", tmp_path / "c.npz") == 1
    assert "largest 2" in capsys.readouterr().out
