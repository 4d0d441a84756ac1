"""Settings of every node: the dataclasses whose fields are its parameters, and which node has which of them.

Checks before a node starts need them too, so this loads neither the middleware nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlt_ros.control.config import ControlConfig
from rlt_ros.episodes.learning import WaitConfig
from rlt_ros.episodes.machine import EpisodeConfig
from rlt_ros.episodes.plan import EVALUATION_SEED, SEEDS_PER_RUN
from rlt_ros.offline.labels import OUTCOMES
from rlt_ros.offline.sampling import SamplingConfig
from rlt_ros.perception.synchroniser import SyncConfig
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.episode_assembler import distinct
from rlt_ros.rlt.parameters import ConfigError, check, parameter
from rlt_ros.rlt.run_folder import CHECKPOINT_FILE, METRICS_FILE, REPLAY_FILE
from rlt_ros.rlt.transition import Source
from rlt_ros.teleop.config import TeleopConfig
from rlt_ros.vla.config import InferenceConfig

AUTO, RECORDED, COMPUTED = "auto", "recorded", "computed"
ACTED_BY = {"human": Source.HUMAN, "vla": Source.VLA}
"""Name of who commanded → source of the rows."""


@dataclass(frozen=True)
class Setup:
    """What every node of a graph is told: for which robot and task, and with which frozen VLA."""

    robot: str = parameter(
        "agibot_g1_geniesim",
        help="Robot profile: a name from `config/robots/`, or the path of such a YAML file.",
    )
    task: str = parameter(
        "charger", help="Task: a name from `config/tasks/`, or the path of such a YAML file."
    )
    vla: str = parameter(
        "builtin",
        help="Frozen VLA and RL token: `builtin` for those that ship for the robot, a folder of weights, or "
        "KIND:LOCATION[@ADAPTER.yaml] with the kinds transformers, lerobot, openpi and go1.",
    )
    run_id: str = parameter(
        "",
        help="Id of the run: messages of this package carry it, and those of another run are dropped and counted. "
        "Empty takes the messages of every run; launchers make one.",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SimConfig:
    """How the simulated robot runs."""

    lock_step: bool = parameter(
        True, help="Wait at every control step for its command; false runs at `real_time_factor`."
    )
    real_time_factor: float = parameter(
        1.0, help="Simulated seconds for each real one, without lock-step.", low=0.01, high=100.0
    )
    start: str = parameter(
        "approach",
        help="Where episodes begin: `approach` lets the VLA bring the tool near, `critical` resets right before the "
        "precise part.",
        choices=("approach", "critical"),
        source="arXiv:2604.23073",
    )
    camera_every: int = parameter(
        2, help="Control steps between two pictures of all cameras.", unit="steps", low=1
    )
    spare_pictures: bool = parameter(
        True,
        help="In lock-step, take pictures only of the moments that a chunk is asked for, except where the moments "
        "between are stored: drawing is what costs most. False takes them always, and so does `boundary: overlap`.",
    )
    image_size: int = parameter(
        64, help="Side of the square pictures, as the built-in VLA takes them.", unit="pixels", low=8
    )
    operator: str = parameter(
        "none",
        help="`scripted`: a simulated human takes over in training where the actor has stopped getting on.",
        choices=("none", "scripted"),
    )
    command_timeout: float = parameter(
        2.0,
        help="Real time after which lock-step goes on without a command: the arm holds its last target, as a robot "
        "whose input died.",
        unit="s",
        low=0.01,
    )
    answer_timeout: float = parameter(
        1.0,
        help="Real time after which lock-step goes on although no node has answered an event.",
        unit="s",
        low=0.01,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PerceptionConfig:
    """What observations hold."""

    image_size: tuple[int, ...] = parameter(
        (),
        help="Height and width that pictures are resized to, those of the VLA; empty leaves them as they come.",
        unit="pixels",
        low=1,
    )
    realtime_priority: int = parameter(
        40,
        help="Real-time priority (SCHED_FIFO) where the system grants it, so that a busy computer does not age what is "
        "seen; 0 for none.",
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
    """Where the actor comes from, and how much of the machine is used."""

    policy: str = parameter(
        "",
        help="Checkpoint of a learner whose actor acts from the start, `OUT/learner.safetensors`; empty waits for the "
        "learner to publish one.",
    )
    threads: int = parameter(
        1, help="Threads of PyTorch.", low=1, source="the built-in VLA gains little from more"
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ExecutorConfig:
    """How the executor meets the graph."""

    discovery_time: float = parameter(
        1.0,
        help="Look this long for other publishers of the command topic before the first command.",
        unit="s",
        low=0.0,
    )
    takeover_time: float = parameter(
        15.0,
        help="If there is another one, wait this long for it to go: one that was killed stays visible for a while.",
        unit="s",
        low=0.0,
        source="the lease of a DDS participant is 10 s",
    )
    realtime_priority: int = parameter(
        50,
        help="Real-time priority (SCHED_FIFO) of the control loop where the system grants it, so that a busy computer "
        "does not make it late; 0 for none.",
        low=0,
        high=98,
        source="controller_manager of ros2_control",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class EpisodeNodeConfig:
    """Which run this is."""

    out: str = parameter("runs/graph", help="Folder of the run; what was done there is continued.")
    seed: int = parameter(
        0, help="Of the run: its training episode n has the seed 1 000 000 times this plus n.", low=0
    )
    plan: tuple[str, ...] = parameter(
        ("train:9min",),
        help="What to do, one after the other: KIND:EPISODES or KIND:MINUTESmin of robot time in the critical phase, 0 "
        "for without end. KIND is eval_base, train, warmup or eval_rlt.",
    )
    reset_tolerance: float = parameter(
        0.05,
        help="Greatest distance of a joint from the profile's `home` at which a reset counts as done; 0 for "
        "anywhere, as with the simulator.",
        unit="rad",
        low=0.0,
    )

    def __post_init__(self) -> None:
        check(self)
        if (self.seed + 1) * SEEDS_PER_RUN > EVALUATION_SEED:
            raise ConfigError(f"`seed` is {self.seed}; choose 0 to {EVALUATION_SEED // SEEDS_PER_RUN - 1}")


@dataclass(frozen=True)
class ReplayConfig:
    """Whose episodes are stored, and where."""

    out: str = parameter("runs/graph", help=f"Folder of the run; the replay is `{REPLAY_FILE}` in it.")
    robots: tuple[str, ...] = parameter(
        ("",), help="Namespaces of the robots whose episodes are stored; an empty one is the root."
    )
    patience: float = parameter(
        10.0,
        help="How long an episode that is over waits for the next of its last states and steps, before it is cut where "
        "they are missing.",
        unit="s",
        low=0.0,
        source="ours; the VLA's pass over the last frames takes below 1 s",
    )

    def __post_init__(self) -> None:
        check(self)
        if not distinct(self.robots):
            raise ConfigError(f"`robots` is {self.robots}; name each robot once, an empty name for the root")


@dataclass(frozen=True)
class BagConfig:
    """Which bags become rows, where, and how."""

    bags: tuple[str, ...] = parameter((), help="Bags of rosbag2: folders, or single files *.mcap and *.db3.")
    out: str = parameter("runs/graph", help=f"Folder of the run; the replay is `{REPLAY_FILE}` in it.")
    states: str = parameter(
        AUTO,
        help="`recorded`: the RL states in the bag. `computed`: by the VLA, from the observations in it. `auto`: "
        "recorded where they are this VLA's, else computed.",
        choices=(AUTO, RECORDED, COMPUTED),
    )
    namespace: str = parameter(
        AUTO,
        help="Namespaces of the robots in the bags, with commas between; `auto`: those whose stream of this package is "
        "there, else the root.",
    )
    labels: str = parameter(
        "",
        help="Of a bag without episodes of its own: YAML list of `start`, `end`, and perhaps `critical` and `outcome`, "
        "of each episode.",
    )
    outcome: str = parameter(
        "cut", help="How an episode without labels ended, the whole bag.", choices=tuple(OUTCOMES)
    )
    acted_by: str = parameter(
        "human", help="Whose the commands in a bag without episodes of its own are.", choices=tuple(ACTED_BY)
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.bags:
            raise ConfigError("`bags` is empty; name a bag at least")
        if self.labels and len(self.bags) > 1:
            raise ConfigError(
                f"`labels` is {self.labels}, for one bag; {len(self.bags)} are given: read them one by one"
            )
        if self.labels and self.outcome != "cut":
            raise ConfigError("`outcome` is for a bag without labels; write it into the entries of `labels`")


@dataclass(frozen=True)
class LearnerConfig:
    """Where the learner works, and how often it tells."""

    out: str = parameter(
        "runs/graph",
        help=f"Folder of the run: `{REPLAY_FILE}` is read, `{CHECKPOINT_FILE}` and `{METRICS_FILE}` are written.",
    )
    seed: int = parameter(0, help="Of initial weights, noise and sampling.", low=0)
    device: str = parameter(
        "auto",
        help="Where to compute: `auto` takes a GPU where there is one.",
        choices=("auto", "cpu", "cuda"),
    )
    threads: int = parameter(1, help="Threads of PyTorch.", low=1, source="measured: `rlt-ros bench learner`")
    niceness: int = parameter(
        10,
        help="How far learning steps back (nice) for the nodes that the arm waits for: on a busy computer late chunks "
        "cost more than a slow learner.",
        low=0,
        high=19,
        source="measured on two cores, `boundary: overlap`: chunks start from what was seen 0.11 s ago, not 0.18 s",
    )
    publish_every: int = parameter(
        500,
        help="Critic updates between two published actors while a debt is paid; one follows when it is paid.",
        unit="updates",
        low=1,
        source="ours; a few seconds on two cores",
    )
    metrics_every: int = parameter(
        200, help="Critic updates between two measurements of the learner.", unit="updates", low=1
    )
    rolling: int = parameter(
        20, help="Episodes of the success rate that a success-gated beta follows.", unit="episodes", low=1
    )
    checkpoint_period: float = parameter(
        10.0,
        help="Time between two checkpoints. What is lost by a crash is learned again from the replay.",
        unit="s",
        low=0.0,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class MonitorConfig:
    """What is shown, and how often."""

    rate: float = parameter(
        10.0, help="Frames and executed path a second, and pictures at most.", unit="Hz", low=0.1, high=50.0
    )
    trail: int = parameter(250, help="Executed steps that stay visible.", unit="steps", low=2, high=5000)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class RecordConfig:
    """What is recorded, and where."""

    out: str = parameter("runs/graph", help="Folder of the run; bags are `bag`, `bag_1`, … in it.")
    robots: tuple[str, ...] = parameter(("",), help="Namespaces of the robots.")
    pictures: bool = parameter(True, help="Record cameras and observations too, by far the most of the data.")

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
"""Node → prefix of the names and dataclass of each group of its parameters, as it declares them."""
