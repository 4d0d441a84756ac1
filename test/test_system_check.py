"""The check of the system comes before any download, and names one command that installs everything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from rlt_ros.sim.opengl import INSTALL_COMMAND

ROOT = Path(__file__).resolve().parents[1]
CHECK = ROOT / "tools" / "check_system.sh"
COMMAND = "sudo apt-get update && sudo apt-get install -y"


def packages() -> set[str]:
    """Packages that the check proposes."""
    (line,) = [line for line in CHECK.read_text().splitlines() if line.startswith("PACKAGES=")]
    return set(line.split('"')[1].split())


def test_the_readme_names_the_same_packages() -> None:
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(COMMAND)]
    assert set(line.removeprefix(COMMAND).split()) == packages()
    assert set(INSTALL_COMMAND.partition(" -y ")[2].split()) <= packages()


def test_a_bare_system_gets_one_command_and_no_download(tmp_path: Path) -> None:
    # Programs of the shell alone: no Python, git, make or ldconfig.
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in ("bash", "dirname", "basename", "paste", "sed", "grep", "env"):
        (tools / program).symlink_to(f"/usr/bin/{program}" if program != "bash" else "/bin/bash")
    hidden = tmp_path / "check_system.sh"
    hidden.write_text(CHECK.read_text().replace('PATH="$PATH:/sbin:/usr/sbin" ', ""))
    result = subprocess.run(
        ["/bin/bash", str(hidden)], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    for thing in ("git", "make", "python3", "libgomp1", "libgl1", "libegl1"):
        assert thing in result.stderr.splitlines()[0]
    assert f"{COMMAND} " in result.stderr


def test_this_system_passes() -> None:
    result = subprocess.run(["bash", str(CHECK)], env=dict(os.environ), capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")


def test_installation_begins_with_the_check() -> None:
    text = (ROOT / "tools" / "install.sh").read_text()
    assert text.index("source tools/check_system.sh") < text.index("-m pip")
