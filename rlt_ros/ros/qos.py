"""Quality of service of each kind of topic. `docs/reference/nodes.md` lists its use.

Each is a default that ``qos_overrides.TOPIC.publisher.depth`` and similar parameters override (see `Topics`).
"""

from __future__ import annotations

from rlt_ros.middleware import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
    )


def _latched(depth: int) -> QoSProfile:
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )


SENSOR = qos_profile_sensor_data
"""Subscriptions to sensors: best effort, which matches every driver."""
SENSOR_RELIABLE = _reliable(10)
"""Publishers of sensors, and subscriptions without loss: in lock-step with a simulator."""
CLOCK = _reliable(10)
"""Publisher of `/clock`."""
COMMAND = _reliable(1)
"""Commands to the robot: only the newest is needed."""

OBSERVATION = _reliable(50)
RL_STATE = _reliable(2000)
CHUNK_REQUEST = _reliable(10)
ACTION_CHUNK = _reliable(10)
EXECUTED_STEP = _reliable(2000)
INTERVENTION = _reliable(1)
EPISODE_EVENT = _reliable(50)
EPISODE_STATE = _latched(10)
"""Deep enough to keep the end of an episode when the next one starts at once."""
POLICY_UPDATE = _latched(1)
REPLAY_STATUS = _latched(1)
LEARNER_STATUS = _latched(1)
E_STOP = _latched(1)
RELIABLE = _reliable(10)
"""Subscriptions to reliable publishers that do not latch, such as `ros2 topic pub`. Unlike with best effort, a
message that was published before the match is sent again."""
BEST_EFFORT = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE
)
"""Subscriptions that match every publisher, without earlier messages."""

DIAGNOSTICS = _reliable(10)
DEVICE = _reliable(10)
"""Joysticks and SpaceMice."""
VIEW = _reliable(10)
"""Views for people: markers, figures, pictures."""
ROBOT_DESCRIPTION = _latched(1)
TF = _reliable(100)
TF_STATIC = _latched(1)


def sensor(*, reliable: bool) -> QoSProfile:
    """Quality of a subscription to sensors; ``reliable`` if no message may be lost and the publisher offers it."""
    return SENSOR_RELIABLE if reliable else SENSOR
