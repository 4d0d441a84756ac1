"""Ranges of all learning inputs: a value beyond them is a fault of its source, not a measurement.

One absurd value stops learning for good. A proprioception of 5e31 overflows the networks' float32 sums, the loss
becomes NaN, and with it every weight. States, chunks, actions and rewards out of range are therefore rejected at
their entry (VLA, server, window), and sampling excludes stored rows that hold such a value.
"""

from __future__ import annotations

from typing import Any

LARGEST = 1e4
"""Greatest absolute value of a token, of proprioception (rad, rad/s, m, m/s), of a chunk or action (policy units, or
the unit of a foreign model) and of a reward. A joint that turns without end gets there after 1,600 turns; at the
smallest action scale, 1 mrad, an arm that crosses its whole range of 2π rad moves 6,300 policy units; degrees end at
360 per turn. Squares of it, summed over 10^4 units, stay below 1e13, far from float32's 3e38; float16, in which
tokens are stored, ends at 65,504."""

LARGEST_EMBEDDING = 1e6
"""The same of a VLA's embeddings, which the token's encoder normalises: residual streams of large transformers have
single elements of some 10,000 (Sun et al. 2024, "Massive Activations in Large Language Models")."""

# NumPy is imported where values are compared: the command line and the launch files read these ranges without it.


def out_of_range(values: Any, largest: float = LARGEST) -> str:
    """Describe the first value that is not finite or beyond ``±largest``; empty where there is none."""
    import numpy as np

    array = np.asarray(values)
    # Negated, so that NaN counts: it compares as False.
    wrong = ~(np.abs(array) <= largest)
    count = int(np.count_nonzero(wrong))
    if not count:
        return ""
    first = array[wrong].flat[0]
    kind = f"beyond ±{largest:g}" if np.isfinite(array[wrong]).all() else "that are NaN or infinite"
    return f"{count} values {kind} (the first is {float(first):g})"
