"""The unit file starts the service for ever, with flags it knows, in a narrow sandbox."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from imagine_deblur.cli.main import build_parser
from imagine_deblur.cli.options import options_from

UNIT = Path(__file__).parents[2] / "deploy/imagine-deblur-watch.service"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze"
)


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text().replace("\\\n", " "))
    return parser


def test_nothing_ends_the_mission(unit: configparser.ConfigParser) -> None:
    """Five poison captures in ten minutes stopped the unit for good, as did a bad record."""
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    service = unit["Service"]
    assert service["Restart"] == "always"
    assert "RestartPreventExitStatus" not in service
    assert "SuccessExitStatus" not in service


def test_the_command_is_one_we_know(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    parsed = build_parser().parse_args(shlex.split(service["ExecStart"])[1:])
    options = options_from(parsed)
    assert options.ram_bytes < 300e6  # MemoryMax
    assert parsed.hang_after < float(service["WatchdogSec"])
    assert parsed.stop_within < float(service["TimeoutStopSec"])
    written = service["ReadWritePaths"].split()
    assert {str(parsed.outbox), str(parsed.state), str(parsed.quarantine)} <= {*written}
    assert service["Environment"].split()[0] == f"TMPDIR={written[-1]}"


def test_limits_and_sandbox(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert service["SystemCallFilter"].startswith("@system-service")
    for name in ("NoNewPrivileges", "PrivateTmp", "PrivateNetwork", "PrivateDevices"):
        assert service[name] == "yes"
    assert (service["MemoryMax"], service["TasksMax"]) == ("300M", "32")


@needs_systemd
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/imagine-deblur/bin/imagine-deblur", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Exposure from 0 to 100; under 20 is what systemd calls OK, a unit without a sandbox has 96.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-600:]
