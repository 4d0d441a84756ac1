"""Task `screw`: the blade of a driver into the slot of a screw head."""

from __future__ import annotations

import mujoco

from rlt_ros.sim import solids
from rlt_ros.sim.tasks.base import Task

# m: half the blade's thickness, half the distance of its two edges, and depth of the slot.
_BLADE = 0.0008
_SPAN = 0.0022
_DEPTH = 0.0045
_STEEL, _HANDLE, _HEAD, _SLOT, _PLATE = (
    (0.70, 0.70, 0.72, 1),
    (0.85, 0.45, 0.05, 1),
    (0.78, 0.76, 0.70, 1),
    (0.03, 0.03, 0.03, 1),
    (0.22, 0.30, 0.26, 1),
)


class Screw(Task):
    """A 6 mm blade into a slot with 0.7 mm play on each side, 4 mm deep, in a 14-mm head."""

    name = "screw"
    instruction = "put the screwdriver into the head of the screw"
    reach = 0.004
    clearance = 0.0007
    mate_height = 0.040
    seat = 0.001
    lateral = 0.0016

    def add_tool(self, tool: mujoco.MjsBody) -> None:
        """Add a handle between the fingers, a shaft, and a blade with rounded edges."""
        tip = self.mate_height + self.reach
        solids.cylinder(tool, 0.0, 0.0, -0.020, 0.014, 0.006, _HANDLE, 0)
        solids.cylinder(tool, 0.0, 0.0, 0.014, tip - 0.006, 0.0022, _STEEL, 0)
        solids.box(tool, (-_SPAN, -_BLADE, tip - 0.008), (_SPAN, _BLADE, tip - _BLADE), _STEEL, solids.TOOL)
        for x in (-_SPAN, _SPAN):
            solids.pin(tool, x, 0.0, tip - 0.008, tip, _BLADE, _STEEL, solids.TOOL)

    def add_fixture(self, fixture: mujoco.MjsBody) -> None:
        """Add a plate and, 4.5 mm above it, a square head around the slot."""
        slot = (0.0, 0.0, _SPAN + _BLADE + self.clearance, _BLADE + self.clearance)
        solids.plate_with_holes(fixture, (0.007, 0.007), [slot], _DEPTH, _HEAD)
        solids.box(fixture, (-0.004, -0.002, -_DEPTH - 0.001), (0.004, 0.002, -_DEPTH), _SLOT, solids.WORLD)
        # The dark of the slot, without contact.
        _, _, half_x, half_y = slot
        solids.box(fixture, (-half_x, -half_y, -0.001), (half_x, half_y, 0.0002), _SLOT, 0)
        solids.box(
            fixture,
            (-0.040, -0.030, -0.016),
            (0.040, 0.030, -_DEPTH - 0.0005),
            _PLATE,
            solids.WORLD,
            "fixture",
        )
