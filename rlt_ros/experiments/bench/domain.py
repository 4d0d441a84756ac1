"""A DDS domain of their own for benchmarks that start nodes: measuring must not move the robot of a graph that runs."""

from __future__ import annotations

import os
import random
import socket

_DOMAINS = range(1, 102)  # their ports are below those that Linux hands out to others
_LOOKED_AT = 4  # participants; the first ones in a domain take the first ports


def use_own_domain() -> int:
    """Point this process, and those that it starts, at a domain that nobody on this machine uses; returns its number.

    Raises:
        OSError: there is none.
    """
    for domain in random.SystemRandom().sample(_DOMAINS, len(_DOMAINS)):
        if not any(_is_taken(_port(domain, participant)) for participant in range(_LOOKED_AT)):
            os.environ["ROS_DOMAIN_ID"] = str(domain)
            os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
            return domain
    raise OSError("every ROS_DOMAIN_ID from 1 to 101 is in use on this machine; stop a graph")


def _port(domain: int, participant: int) -> int:
    """Where a participant is discovered: OMG DDSI-RTPS 2.5, section 9.6.2.3."""
    return 7400 + 250 * domain + 10 + 2 * participant


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
