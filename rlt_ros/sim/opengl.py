"""Selection of a working OpenGL backend before MuJoCo is imported.

MuJoCo reads its backend from ``MUJOCO_GL`` once, on import, and a wrong choice fails late and obscurely.
`ensure_opengl` tries the off-screen backends in a child process, on an image of 2×2 pixels, and stores the first
working one in ``MUJOCO_GL``. Child processes inherit the variable, and a user's setting takes precedence.

``python -m rlt_ros.sim.opengl`` prints the backend, or the packages to install, and exits with 1.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from rlt_ros.store.interruption import exit_silently_on_interrupt

BACKENDS = ("egl", "osmesa")
"""In the order of preference: EGL uses a GPU if available, OSMesa is software without EGL."""

INSTALL_COMMAND = "sudo apt-get install -y libegl1 libgl1 libgl1-mesa-dri libosmesa6"

# Creating a context is not enough: a broken driver often creates one and then draws nothing.
_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='plane' size='9 9 1'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 2, 2)
renderer.update_scene(data)
assert renderer.render().any(), "the picture stayed black"
"""


class OpenGLMissing(RuntimeError):
    """No off-screen OpenGL backend works; the message contains the remedy as one command."""


def ensure_opengl() -> str:
    """Set ``MUJOCO_GL`` to a working backend and return it. Call before the first ``import mujoco``.

    Raises:
        OpenGLMissing: neither EGL nor OSMesa works, or MuJoCo is not installed.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if chosen:
        return chosen
    if importlib.util.find_spec("mujoco") is None:
        raise OpenGLMissing("MuJoCo is not installed. Install it with: pip install 'rlt_ros[sim]'")
    failures = {}
    for backend in BACKENDS:
        failure = probe(backend)
        if failure is None:
            os.environ["MUJOCO_GL"] = backend
            return backend
        failures[backend] = failure
    raise OpenGLMissing(_explain(failures))


def probe(backend: str) -> str | None:
    """Draw an image with ``backend`` in a child process; None on success, else the error."""
    # In a child: MuJoCo's backend is final for a process, and a broken driver may crash it.
    result = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env={**os.environ, "MUJOCO_GL": backend},
        capture_output=True,
        text=True,
        check=False,
        # Ctrl-C must only reach this process, which would take the child's end for a broken driver.
        start_new_session=True,
    )
    if result.returncode == 0:
        return None
    lines = result.stderr.strip().splitlines()
    return lines[-1].strip() if lines else f"ended with status {result.returncode}"


def _explain(failures: dict[str, str]) -> str:
    tried = "; ".join(f"{backend}: {failure}" for backend, failure in failures.items())
    return (
        "MuJoCo cannot draw without a screen on this machine. "
        f"Install the missing packages with: {INSTALL_COMMAND}  (tried {tried})"
    )


def main() -> int:
    """Print the working backend (0), or the command that installs one (1); a set ``MUJOCO_GL`` is tried alone."""
    exit_silently_on_interrupt()
    chosen = os.environ.get("MUJOCO_GL")
    if chosen:
        failure = probe(chosen)
        if failure is None:
            print(f"OpenGL: {chosen} (from MUJOCO_GL)")
            return 0
        print(f"error: {_explain({f'MUJOCO_GL={chosen}': failure})}", file=sys.stderr)
        return 1
    try:
        print(f"OpenGL: {ensure_opengl()}")
    except OpenGLMissing as missing:
        print(f"error: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
