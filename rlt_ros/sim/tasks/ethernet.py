"""Task `ethernet`: a keyed plug into a recessed port."""

from __future__ import annotations

import mujoco

from rlt_ros.sim import solids
from rlt_ros.sim.tasks.base import Task

# Modular plug (IEC 60603-7 proportions), m: half width, half height, and the keying latch.
_HALF_X, _HALF_Y = 0.00585, 0.0033
_LATCH_X, _LATCH_Y = 0.0016, 0.0018
# m, radius of the plug's rounded edges.
_EDGE = 0.0012
# m, depth of the recess in front of the port.
_BEZEL = 0.004
_CLEAR, _BOOT, _PANEL, _INSIDE, _FRAME, _LED = (
    (0.75, 0.80, 0.85, 1),
    (0.10, 0.25, 0.60, 1),
    (0.35, 0.37, 0.40, 1),
    (0.02, 0.02, 0.02, 1),
    (0.60, 0.62, 0.64, 1),
    (0.10, 0.80, 0.20, 1),
)


class Ethernet(Task):
    """An 11.7 × 6.6 mm keyed plug into a port with 0.6 mm play on each side, 4 mm behind a bezel."""

    name = "ethernet"
    instruction = "insert the network cable into the ethernet port"
    reach = 0.016
    clearance = 0.0006
    mate_height = 0.022

    def add_tool(self, tool: mujoco.MjsBody) -> None:
        """Add a boot between the fingers and the plug: a core, four rounded edges and the latch."""
        low, high = self.mate_height - 0.006, self.mate_height + self.reach
        solids.box(
            tool,
            (-0.006, -0.006, -0.012),
            (0.006, 0.006, self.mate_height - 0.006),
            _BOOT,
            solids.TOOL,
            "plug",
        )
        inner_x, inner_y = _HALF_X - _EDGE, _HALF_Y - _EDGE
        solids.box(tool, (-inner_x, -_HALF_Y, low), (inner_x, _HALF_Y, high - _EDGE), _CLEAR, solids.TOOL)
        solids.box(tool, (-_HALF_X, -inner_y, low), (_HALF_X, inner_y, high - _EDGE), _CLEAR, solids.TOOL)
        for x in (-inner_x, inner_x):
            for y in (-inner_y, inner_y):
                solids.pin(tool, x, y, low, high, _EDGE, _CLEAR, solids.TOOL)
        latch_low, latch_high = _HALF_Y - 0.0005, _HALF_Y + _LATCH_Y
        solids.box(
            tool, (-_LATCH_X, latch_low, low), (_LATCH_X, latch_high, high - 0.002), _CLEAR, solids.TOOL
        )

    def add_fixture(self, fixture: mujoco.MjsBody) -> None:
        """Add a panel with a bezel around the port, the port with its key way, and a light."""
        play = self.clearance
        port = (0.0, 0.0, _HALF_X + play, _HALF_Y + play)
        # The fixture's y axis opposes the tool's, so the key way is below the port.
        key = (0.0, -(_HALF_Y + play + _LATCH_Y / 2), _LATCH_X + play, _LATCH_Y / 2)
        depth = self.reach + 0.002
        solids.plate_with_holes(fixture, (0.034, 0.026), [port, key], depth, _PANEL, "fixture")
        # The dark of a deep port, without contact.
        for x, y, half_x, half_y in (port, key):
            solids.box(
                fixture, (x - half_x, y - half_y, -0.001), (x + half_x, y + half_y, 0.0002), _INSIDE, 0
            )
        for sign in (-1, 1):
            x_low, x_high = sorted((sign * 0.0125, sign * 0.0155))
            solids.box(fixture, (x_low, -0.011, 0.0), (x_high, 0.012, _BEZEL), _FRAME, solids.WORLD)
        solids.box(fixture, (0.020, 0.004, 0.0), (0.024, 0.008, 0.001), _LED, 0)
