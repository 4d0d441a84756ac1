"""Task `charger`: the two round prongs of a plug into a power strip."""

from __future__ import annotations

import mujoco

from rlt_ros.sim import solids
from rlt_ros.sim.tasks.base import Task

# m, half the distance of the pins' centres (EN 50075: 19 mm apart, here at the tips).
_PITCH = 0.0095
# m.
_RADIUS = 0.0022
_METAL, _PLUG, _STRIP, _HOLE, _SWITCH = (
    (0.75, 0.72, 0.55, 1),
    (0.15, 0.15, 0.17, 1),
    (0.90, 0.90, 0.88, 1),
    (0.02, 0.02, 0.02, 1),
    (0.80, 0.10, 0.08, 1),
)


class Charger(Task):
    """Two 17-mm prongs, 19 mm apart, into holes with 1 mm play on each side."""

    name = "charger"
    instruction = "plug the charger into the power strip"
    reach = 0.017
    clearance = 0.0010
    mate_height = 0.025

    def add_tool(self, tool: mujoco.MjsBody) -> None:
        """Add the plug's body between the fingers and its two pins."""
        solids.box(
            tool, (-0.0135, -0.007, -0.012), (0.0135, 0.007, self.mate_height), _PLUG, solids.TOOL, "plug"
        )
        for x in (-_PITCH, _PITCH):
            bottom, top = self.mate_height - 0.004, self.mate_height + self.reach
            solids.pin(tool, x, 0.0, bottom, top, _RADIUS, _METAL, solids.TOOL)

    def add_fixture(self, fixture: mujoco.MjsBody) -> None:
        """Add a strip with one pair of holes, dark inside, and a red switch next to them."""
        half = _RADIUS + self.clearance
        holes = [(x, 0.0, half, half) for x in (-_PITCH, _PITCH)]
        solids.plate_with_holes(fixture, (0.050, 0.024), holes, 0.019, _STRIP, "fixture")
        # The dark of a deep hole, without contact: MuJoCo renders no shadow inside.
        for x, _, _, _ in holes:
            solids.box(fixture, (x - half, -half, -0.001), (x + half, half, 0.0002), _HOLE, 0)
        solids.box(fixture, (0.030, -0.008, 0.0), (0.042, 0.008, 0.003), _SWITCH, 0)
