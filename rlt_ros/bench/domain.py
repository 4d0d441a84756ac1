"""Free DDS domain for a benchmark or test that starts nodes: it must not move the robot of a running graph."""

from __future__ import annotations

import os
import random
import socket
import sys

# Ports of domains up to 101 are below those that Linux assigns to other programs.
_DOMAINS = range(1, 102)
# The first participants in a domain take the first ports.
_PROBED_PARTICIPANTS = 4

_reserved: list[socket.socket] = []


def use_own_domain() -> int:
    """Move this process and its children to a domain that is free on this machine; return its number.

    Raises:
        OSError: every domain is in use.
    """
    domain = reserve_domain()
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return domain


def reserve_domain() -> int:
    """Number of a free domain, reserved against other callers on this machine until this process ends.

    Raises:
        OSError: every domain is in use.
    """
    for domain in random.SystemRandom().sample(_DOMAINS, len(_DOMAINS)):
        in_use = any(_is_taken(_port(domain, participant)) for participant in range(_PROBED_PARTICIPANTS))
        if not in_use and _reserve(domain):
            return domain
    raise OSError("every ROS_DOMAIN_ID from 1 to 101 is in use on this machine; stop a graph")


def _port(domain: int, participant: int) -> int:
    """Discovery port of a participant: OMG DDSI-RTPS 2.5, section 9.6.2.3."""
    return 7400 + 250 * domain + 10 + 2 * participant


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _reserve(domain: int) -> bool:
    """Reserve a domain between its choice and its first participant.

    An abstract socket (Linux) leaves no file behind and ends with the process.
    """
    if not sys.platform.startswith("linux"):
        return True
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mark.bind(f"\0rlt_ros/domain/{domain}")
    except OSError:
        mark.close()
        return False
    _reserved.append(mark)
    return True
