"""Settings of all nodes: dataclasses whose fields are parameters, and their assignment to nodes.

This module imports neither the middleware nor torch, because checks before the start of a node use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlt_ros.acting.config import ControlConfig
from rlt_ros.acting.inference_config import InferenceConfig
from rlt_ros.bags.labels import OUTCOMES
from rlt_ros.bags.sampling import SamplingConfig
from rlt_ros.episodes.learning import WaitConfig
from rlt_ros.episodes.machine import EpisodeConfig
from rlt_ros.episodes.plan import EVALUATION_SEED, SEEDS_PER_RUN
from rlt_ros.learning.run_folder import CHECKPOINT_FILE, METRICS_FILE, REPLAY_FILE
from rlt_ros.perception.synchroniser import SyncConfig
from rlt_ros.replay.episode_assembler import distinct
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.transition import Source
from rlt_ros.store.parameters import ConfigError, check, parameter
from rlt_ros.teleop.config import TeleopConfig

AUTO, RECORDED, COMPUTED = "auto", "recorded", "computed"
ACTED_BY = {"human": Source.HUMAN, "vla": Source.VLA}
"""Source of the commands by name → source of the rows."""


@dataclass(frozen=True)
class Setup:
    """Settings of every node of a graph: robot, task, frozen VLA and run."""

    robot: str = parameter(
        "agibot_g1_geniesim",
        help="Robot profile: a name from `config/robots/`, or the path of such a YAML file.",
    )
    task: str = parameter(
        "charger", help="Task: a name from `config/tasks/`, or the path of such a YAML file."
    )
    vla: str = parameter(
        "builtin",
        help="Frozen VLA and RL token: `builtin` for the shipped weights of the robot, a folder of weights, or "
        "KIND:LOCATION[@ADAPTER.yaml] with the kinds transformers, lerobot, openpi and go1.",
    )
    run_id: str = parameter(
        "",
        help="Id of the run, contained in messages of this package; messages of other runs are dropped and counted. "
        "Empty accepts messages of every run. Launchers create an id.",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SimConfig:
    """Settings of the simulated robot."""

    lock_step: bool = parameter(
        True, help="Wait for the command at every control step; false runs at `real_time_factor`."
    )
    real_time_factor: float = parameter(
        1.0, help="Simulated seconds per real second, without lock-step.", low=0.01, high=100.0
    )
    start: str = parameter(
        "approach",
        help="Start of episodes: `approach` lets the VLA bring the tool near, `critical` resets to the start of the "
        "critical phase.",
        choices=("approach", "critical"),
        source="arXiv:2604.23073",
    )
    camera_every: int = parameter(
        2, help="Control steps between two pictures of all cameras.", unit="steps", low=1
    )
    spare_pictures: bool = parameter(
        True,
        help="In lock-step, render pictures for chunk requests only, and for the steps between where they are stored; "
        "rendering is the largest cost. False and `boundary: overlap` always render.",
    )
    image_size: int = parameter(
        64, help="Side of the square pictures; the built-in VLA uses 64.", unit="pixels", low=8
    )
    operator: str = parameter(
        "none",
        help="`scripted`: in training, a simulated human takes over when the actor makes no progress.",
        choices=("none", "scripted"),
    )
    command_timeout: float = parameter(
        2.0,
        help="Real time after which lock-step continues without a command: the arm holds its last target, like a robot "
        "whose input failed.",
        unit="s",
        low=0.01,
    )
    answer_timeout: float = parameter(
        1.0,
        help="Real time after which lock-step continues without an answer to an event.",
        unit="s",
        low=0.01,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PerceptionConfig:
    """Settings of observations."""

    image_size: tuple[int, ...] = parameter(
        (),
        help="Height and width of resized pictures, those of the VLA; empty for the size of the camera.",
        unit="pixels",
        low=1,
    )
    realtime_priority: int = parameter(
        40,
        help="Real-time priority (SCHED_FIFO) if the system grants it, so that a busy computer does not delay "
        "observations; 0 for none.",
        low=0,
        high=98,
        source="ours; below teleoperation's",
    )

    def __post_init__(self) -> None:
        check(self)
        if len(self.image_size) not in (0, 2):
            raise ConfigError(f"`image_size` is {list(self.image_size)}; give height and width, or nothing")


@dataclass(frozen=True)
class PolicyConfig:
    """Source of the actor, and number of threads."""

    policy: str = parameter(
        "",
        help="Checkpoint of a learner, `OUT/learner.safetensors`, whose actor is used from the start; empty waits for "
        "a published actor.",
    )
    threads: int = parameter(
        1, help="Threads of PyTorch.", low=1, source="the built-in VLA gains little from more"
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ExecutorConfig:
    """Start-up and scheduling of the executor."""

    discovery_time: float = parameter(
        1.0,
        help="Time to discover other publishers of the command topic before the first command.",
        unit="s",
        low=0.0,
    )
    takeover_time: float = parameter(
        15.0,
        help="Time to wait until another publisher disappears; a killed one stays visible until its lease ends.",
        unit="s",
        low=0.0,
        source="the lease of a DDS participant is 10 s",
    )
    realtime_priority: int = parameter(
        50,
        help="Real-time priority (SCHED_FIFO) of the control loop if the system grants it, so that a busy computer "
        "does not delay it; 0 for none.",
        low=0,
        high=98,
        source="controller_manager of ros2_control",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class EpisodeNodeConfig:
    """Folder, seed and plan of the run."""

    out: str = parameter("runs/graph", help="Folder of the run; an existing run is resumed.")
    seed: int = parameter(
        0, help="Seed of the run: training episode n has the seed 1 000 000 × seed + n.", low=0
    )
    plan: tuple[str, ...] = parameter(
        ("train:9min",),
        help="Stages in sequence: KIND:EPISODES, or KIND:MINUTESmin of robot time in the critical phase; 0 for no end. "
        "KIND is eval_base, train, warmup or eval_rlt.",
    )
    reset_tolerance: float = parameter(
        0.05,
        help="Largest distance of a joint from `home` of the profile at which a reset is complete; 0 for any "
        "position, as in the simulator.",
        unit="rad",
        low=0.0,
    )
    needs_replay: bool = parameter(
        False,
        help="Episodes are stored: begin none before a replay is in the graph, and end the plan after it has "
        "stored all.",
    )

    def __post_init__(self) -> None:
        check(self)
        if (self.seed + 1) * SEEDS_PER_RUN > EVALUATION_SEED:
            raise ConfigError(f"`seed` is {self.seed}; choose 0 to {EVALUATION_SEED // SEEDS_PER_RUN - 1}")


@dataclass(frozen=True)
class ReplayConfig:
    """File and robots of the replay."""

    out: str = parameter("runs/graph", help=f"Folder of the run; the replay is `{REPLAY_FILE}` in it.")
    robots: tuple[str, ...] = parameter(("",), help="Namespaces of the robots; empty for the root.")
    patience: float = parameter(
        10.0,
        help="Time that an ended episode waits for each of its last states and steps, before it is cut at the first "
        "missing one.",
        unit="s",
        low=0.0,
        source="ours; the VLA's pass over the last frames takes below 1 s",
    )

    def __post_init__(self) -> None:
        check(self)
        if not distinct(self.robots):
            raise ConfigError(f"`robots` is {self.robots}; list each robot once, an empty name for the root")


@dataclass(frozen=True)
class BagConfig:
    """Bags, replay file and method of the import."""

    bags: tuple[str, ...] = parameter((), help="Bags of rosbag2: folders, or single files *.mcap and *.db3.")
    out: str = parameter("runs/graph", help=f"Folder of the run; the replay is `{REPLAY_FILE}` in it.")
    states: str = parameter(
        AUTO,
        help="`recorded`: RL states of the bag. `computed`: RL states computed by the VLA from the observations of the "
        "bag. `auto`: recorded if they are of this VLA, else computed.",
        choices=(AUTO, RECORDED, COMPUTED),
    )
    namespace: str = parameter(
        AUTO,
        help="Namespaces of the robots in the bags, separated by commas; `auto`: all with topics of this package, "
        "else the root.",
    )
    labels: str = parameter(
        "",
        help="Labels of a bag without episodes: YAML list with `start`, `end`, and optionally `critical` and "
        "`outcome` of each episode.",
    )
    outcome: str = parameter(
        "cut", help="Outcome of a bag without labels, which is one episode.", choices=tuple(OUTCOMES)
    )
    acted_by: str = parameter(
        "human", help="Source of the commands in a bag without episodes.", choices=tuple(ACTED_BY)
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.bags:
            raise ConfigError("`bags` is empty; give at least one bag")
        if self.labels and len(self.bags) > 1:
            raise ConfigError(
                f"`labels` is {self.labels} and belongs to one bag, but {len(self.bags)} are given; import them one "
                "by one"
            )
        if self.labels and self.outcome != "cut":
            raise ConfigError("`outcome` is for a bag without labels; write it into the entries of `labels`")


@dataclass(frozen=True)
class LearnerConfig:
    """Device, folder and periods of the learner."""

    out: str = parameter(
        "runs/graph",
        help=f"Folder of the run: `{REPLAY_FILE}` is read, `{CHECKPOINT_FILE}` and `{METRICS_FILE}` are written.",
    )
    seed: int = parameter(0, help="Seed of initial weights, noise and sampling.", low=0)
    device: str = parameter(
        "auto",
        help="Device: `auto` uses a GPU if there is one.",
        choices=("auto", "cpu", "cuda"),
    )
    threads: int = parameter(1, help="Threads of PyTorch.", low=1, source="measured: `rlt-ros bench learner`")
    niceness: int = parameter(
        10,
        help="Nice level of the learner, in favour of the nodes that the arm waits for: on a busy computer late chunks "
        "cost more than a slow learner.",
        low=0,
        high=19,
        source="measured on two cores, `boundary: overlap`: chunks start from observations 0.11 s old, not 0.18 s",
    )
    publish_every: int = parameter(
        500,
        help="Critic updates between two published actors while updates are owed; another one follows at the end.",
        unit="updates",
        low=1,
        source="ours; a few seconds on two cores",
    )
    metrics_every: int = parameter(
        200, help="Critic updates between two measurements of the learner.", unit="updates", low=1
    )
    rolling: int = parameter(
        20, help="Episodes of the rolling success rate for a success-gated beta.", unit="episodes", low=1
    )
    checkpoint_period: float = parameter(
        10.0,
        help="Time between two checkpoints. After a crash, updates since the last one are repeated from the replay.",
        unit="s",
        low=0.0,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class MonitorConfig:
    """Rate and length of the views."""

    rate: float = parameter(
        10.0,
        help="Rate of frames and executed path; upper limit for pictures.",
        unit="Hz",
        low=0.1,
        high=50.0,
    )
    trail: int = parameter(250, help="Visible executed steps.", unit="steps", low=2, high=5000)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class RecordConfig:
    """Folder and topics of the recorder."""

    out: str = parameter("runs/graph", help="Folder of the run; bags are `bag`, `bag_1`, … in it.")
    robots: tuple[str, ...] = parameter(("",), help="Namespaces of the robots.")
    pictures: bool = parameter(
        True, help="Record cameras and observations as well, by far the largest part of the data."
    )

    def __post_init__(self) -> None:
        check(self)


SETTINGS: Mapping[str, tuple[tuple[str, type], ...]] = {
    "perception_node": (("", Setup), ("", PerceptionConfig), ("", SyncConfig)),
    "inference_node": (("", Setup), ("", InferenceConfig), ("", PolicyConfig), ("rlt", RLTConfig)),
    "executor_node": (("", Setup), ("", ControlConfig), ("", ExecutorConfig)),
    "episode_node": (("", Setup), ("", EpisodeNodeConfig), ("", WaitConfig), ("", EpisodeConfig)),
    "teleop_node": (("", Setup), ("", TeleopConfig)),
    "replay_node": (("", Setup), ("", ReplayConfig), ("rlt", RLTConfig)),
    "bag_node": (
        ("", Setup),
        ("", BagConfig),
        ("rlt", RLTConfig),
        ("sync", SyncConfig),
        ("inference", InferenceConfig),
        ("sampling", SamplingConfig),
    ),
    "learner_node": (("", Setup), ("", LearnerConfig), ("rlt", RLTConfig)),
    "monitor_node": (("", Setup), ("monitor", MonitorConfig)),
    "record_node": (("", Setup), ("", RecordConfig)),
    "sim_node": (("", Setup), ("", SimConfig)),
}
"""Node → (prefix, dataclass) of each group of its parameters."""
