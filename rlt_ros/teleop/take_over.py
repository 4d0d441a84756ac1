"""How the arm passes from the policy to the human and back: released → blending → engaged → hold-off → released."""

from __future__ import annotations

from rlt_ros.robots.intervention import TakeOver


class TakeOverMachine:
    """Follows what the human wants.

    Args:
        blend: s in which the human's share rises from 0 to 1.
        hold_off: s for which the arm holds after the human let go.
    """

    def __init__(self, blend: float, hold_off: float) -> None:
        self._blend, self._hold_off = round(blend * 1e9), round(hold_off * 1e9)
        self._since = 0
        self.phase = TakeOver.RELEASED
        """Who has the arm."""
        self.share = 0.0
        """Of the human in the command, 0 to 1."""

    def update(self, now: int, *, wants: bool, lost: bool = False) -> TakeOver:
        """Who has the arm at steady time `now`, ns.

        Args:
            now: time.
            wants: the human wants it.
            lost: the device is silent or gone; then nobody acts, and the arm holds until it is back and let go of.
        """
        if lost:
            self._enter(TakeOver.HOLD_OFF, now)
        elif self.phase is TakeOver.RELEASED and wants:
            self._enter(TakeOver.BLENDING, now)
        elif self.phase.commands and not wants:
            self._enter(TakeOver.HOLD_OFF, now)
        elif self.phase is TakeOver.HOLD_OFF:
            if wants:
                self._enter(TakeOver.ENGAGED, now)  # nothing acts that there would be to blend with
            elif now - self._since >= self._hold_off:
                self._enter(TakeOver.RELEASED, now)
        if self.phase is TakeOver.BLENDING:
            self.share = 1.0 if self._blend == 0 else min(1.0, (now - self._since) / self._blend)
            if self.share == 1.0:
                self._enter(TakeOver.ENGAGED, now)
        return self.phase

    def _enter(self, phase: TakeOver, now: int) -> None:
        self.phase, self._since = phase, now
        self.share = 1.0 if phase is TakeOver.ENGAGED else 0.0
