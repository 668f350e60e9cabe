"""A small round of each campaign, so that none of them rots."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = {
    "kill9.py": ["--kills", "4", "--longest", "0.1"],
    "failing_calls.py": ["--captures", "1", "--errors", "EIO", "--calls", "rename", "statvfs"],
    "two_services.py": ["--pairs", "1"],
    "soak.py": ["--captures", "60"],
    "mixed.py": ["--hours", "0.002", "--model", "fast"],
    "journal_flips.py": ["--trials", "18"],
}


@pytest.mark.parametrize("campaign", ROUNDS)
def test_a_small_round(campaign: str, tmp_path: Path) -> None:
    path = Path(__file__).with_name(campaign)
    arguments = [*ROUNDS[campaign]]
    if campaign == "mixed.py":
        arguments += ["--folder", str(tmp_path / "mission")]
    done = subprocess.run(
        [sys.executable, path, *arguments], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
