"""Take-over from policy to human and back: released → blending → engaged → hold-off → released."""

from __future__ import annotations

from rlt_ros.robots.intervention import TakeOver


class TakeOverMachine:
    """State machine of a take-over.

    Args:
        blend: s, rise time of the human's share from 0 to 1.
        hold_off: s, hold time of the arm after the human's release.
    """

    def __init__(self, blend: float, hold_off: float) -> None:
        self._blend, self._hold_off = round(blend * 1e9), round(hold_off * 1e9)
        self._since = 0
        self.phase = TakeOver.RELEASED
        """Current phase."""
        self.share = 0.0
        """Human's share of the command, 0 to 1."""

    def update(self, now: int, *, wants: bool, lost: bool = False) -> TakeOver:
        """Phase at steady time `now`, ns.

        Args:
            now: ns.
            wants: True if the human wants to command the arm.
            lost: True if the device timed out; the arm then holds until the device is back and released.
        """
        if lost:
            self._enter(TakeOver.HOLD_OFF, now)
        elif self.phase is TakeOver.RELEASED and wants:
            self._enter(TakeOver.BLENDING, now)
        elif self.phase.commands and not wants:
            self._enter(TakeOver.HOLD_OFF, now)
        elif self.phase is TakeOver.HOLD_OFF:
            if wants:
                # During a hold there is no command to blend with.
                self._enter(TakeOver.ENGAGED, now)
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
