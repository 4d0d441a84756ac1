"""`Intervention` messages to records and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlt_ros.middleware import arrays
from rlt_ros.middleware.messages import Intervention as InterventionMessage
from rlt_ros.nodes.conversions import to_header, to_ns
from rlt_ros.robots.intervention import Intervention, TakeOver


def read_intervention(message: Any) -> Intervention:
    """The intervention in a message.

    Raises:
        ValueError: a number is not finite or out of range, or the phase is unknown.
    """
    return Intervention(
        phase=TakeOver(message.phase),
        share=message.share,
        command=np.array(message.command, dtype=np.float64),
        device=message.device,
        stamp=to_ns(message.header.stamp),
    )


def write_intervention(human: Intervention) -> Any:
    """An intervention as a message."""
    return InterventionMessage(
        header=to_header(human.stamp),
        phase=int(human.phase),
        share=float(human.share),
        command=arrays.pack(human.command.astype(np.float32)),
        device=human.device,
    )
