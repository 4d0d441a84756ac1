"""Qualities of service, one name for each kind of topic. `docs/reference/nodes.md` lists who uses which.

Each is a default: ``qos_overrides.TOPIC.publisher.depth`` and the like replace it (see `Topics`).
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
"""Subscribe to a robot's sensors: best effort, since that connects to every driver."""
SENSOR_RELIABLE = _reliable(10)
"""Publish sensors, and subscribe where nothing may be missed: in lock-step with a simulator."""
CLOCK = _reliable(10)
"""Publish `/clock`."""
COMMAND = _reliable(1)
"""Commands to the robot: the newest counts."""

OBSERVATION = _reliable(50)
RL_STATE = _reliable(2000)
CHUNK_REQUEST = _reliable(10)
ACTION_CHUNK = _reliable(10)
EXECUTED_STEP = _reliable(2000)
INTERVENTION = _reliable(1)
EPISODE_EVENT = _reliable(50)
EPISODE_STATE = _latched(
    10
)  # deep enough that the end of an episode is not lost when the next begins at once
POLICY_UPDATE = _latched(1)
REPLAY_STATUS = _latched(1)
LEARNER_STATUS = _latched(1)
E_STOP = _latched(1)
RELIABLE = _reliable(10)
"""Subscribe to reliable publishers that do not latch, as `ros2 topic pub` does not. A message that was published before
the subscription knew its publisher is sent again, unlike to one of best effort."""
BEST_EFFORT = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE
)
"""Subscribe to every publisher, without its earlier messages."""

DIAGNOSTICS = _reliable(10)
DEVICE = _reliable(10)
"""Joysticks and SpaceMice as their ROS drivers publish them."""
VIEW = _reliable(10)
"""What only people look at: markers, figures, pictures."""
ROBOT_DESCRIPTION = _latched(1)
TF = _reliable(100)
TF_STATIC = _latched(1)


def sensor(*, reliable: bool) -> QoSProfile:
    """For a subscription to sensors; ``reliable`` where nothing may be missed and the publisher offers it."""
    return SENSOR_RELIABLE if reliable else SENSOR
