"""Adapter of an external VLA: mapping of its cameras, state and actions to a robot, from one YAML file.

A checkpoint knows shapes and, at best, names of its own. The adapter adds the cameras' correspondence, the joints'
positions and units in its vectors, and the statistics of its training data.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlt_ros.store.parameters import ConfigError, build, check, parameter, read_yaml
from rlt_ros.vla.access import read_access_token

_LOG = logging.getLogger(__name__)

MIN_WIDTH = 1e-6
"""Least `std` or `q99` - `q01` of a used element, the model's unit: a microradian; no encoder is as fine."""
NARROW_WIDTH = 1e-3
"""Width that causes a warning below it: encoder noise of 1e-4 rad would be a tenth of the element's range."""


@dataclasses.dataclass(frozen=True)
class VectorConfig:
    """Mapping of a model vector, state or action, to the robot's joints."""

    size: int = parameter(
        0, help="Elements of the vector in the training data; 0 for as many as the joints need.", low=0
    )
    elements: tuple[int, ...] = parameter(
        (), help="Element of each joint, in the order of the robot profile; empty for the first ones.", low=0
    )
    unit: tuple[float, ...] = parameter(
        (1.0,),
        help="One unit of the model in the robot's unit: one number for all joints or one per joint; 0.0174533 for "
        "degrees, negative for the opposite direction.",
        unit="rad or m",
    )
    offset: tuple[float, ...] = parameter(
        (0.0,),
        help="Position of the model's zero: one number for all joints or one per joint.",
        unit="rad or m",
    )
    fill: Mapping[str, float] | None = parameter(
        None,
        help="Element → value, in the model's unit, of elements that are no joint of the policy; 0 for all others.",
    )
    mean: tuple[float, ...] = parameter(
        (), help="Mean of each element over the training data, the model's unit; with `std`."
    )
    std: tuple[float, ...] = parameter((), help="Standard deviation of each element; with `mean`.", low=0.0)
    q01: tuple[float, ...] = parameter(
        (), help="First percentile of each element, -1 in the model's normalisation; with `q99`."
    )
    q99: tuple[float, ...] = parameter(
        (), help="99th percentile, 1 in the model's normalisation; with `q01`."
    )

    def __post_init__(self) -> None:
        check(self)
        if len(set(self.elements)) != len(self.elements):
            raise ConfigError(f"`elements` is {list(self.elements)}; give each joint its own element")
        if 0.0 in self.unit:
            raise ConfigError("`unit` is 0; give the size of one unit of the model")
        for element in self.fill or ():
            if not element.isdigit():
                raise ConfigError(f"`fill` has the key `{element}`; its keys are numbers of elements")
        pairs = {("mean", "std"): (self.mean, self.std), ("q01", "q99"): (self.q01, self.q99)}
        for names, (one, other) in pairs.items():
            if len(one) != len(other):
                raise ConfigError(
                    f"`{names[0]}` has {len(one)} values and `{names[1]}` {len(other)}; give both for each element"
                )
        if self.mean and self.q01:
            raise ConfigError("`mean` and `q01` are both given; a model was trained with one of the two")
        if any(low > high for low, high in zip(self.q01, self.q99, strict=True)):
            raise ConfigError("`q99` must be above `q01` in every element")

    def width(self, element: int) -> tuple[float, str]:
        """Spread of an element in the training data, the model's unit, and its description; infinite if unknown."""
        if self.std:
            return self.std[element], f"`std` {self.std[element]:g}"
        if self.q01:
            low, high = self.q01[element], self.q99[element]
            return high - low, f"`q01` {low:g} and `q99` {high:g}"
        return math.inf, "no statistics"


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """Time-outs and sizes of requests to a server."""

    timeout: float = parameter(2.0, help="Time-out of an answer.", unit="s", low=0.01)
    connect_timeout: float = parameter(
        5.0, help="Time-out of a connection, without model loading.", unit="s", low=0.01
    )
    retry: float = parameter(
        1.0, help="Pause after a failed connection before the next attempt.", unit="s", low=0.0
    )
    max_age: float = parameter(
        1.0,
        help="Largest age of an answer since its request; older ones are dropped.",
        unit="s",
        low=0.01,
    )
    probe: str = parameter(
        "do the task",
        help="Instruction of the first request, which sends black images to read the server's shapes.",
    )
    max_bytes: int = parameter(
        64 * 2**20, help="Largest accepted message of the server.", unit="bytes", low=1024
    )
    token_file: str = parameter(
        "",
        help="File of mode 600 with the server's access token (`rlt-ros serve --token-file`), relative to the adapter; "
        "empty for a server without one.",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    """Mapping of an external VLA to a robot."""

    joints: int = parameter(dataclasses.MISSING, help="Joints A that the policy moves.", low=1)
    cameras: Mapping[str, str] = parameter(
        dataclasses.MISSING,
        help="The robot's camera → the model's camera, in the model's order.",
    )
    image_size: tuple[int, ...] = parameter(
        dataclasses.MISSING,
        help="Height and width of the model's input images; `perception_node`'s `image_size` is the same. The back end "
        "fits them to the model and keeps their proportions.",
        unit="pixels",
        low=1,
    )
    action_scale: tuple[float, ...] = parameter(
        dataclasses.MISSING,
        help="One policy unit of each joint: standard deviation of its motion in a chunk (C steps) of the "
        "demonstrations. `rlt-ros vla check --data` measures it.",
        unit="rad or m",
        low=1e-9,
    )
    relative: bool = parameter(False, help="Actions are relative to the joint positions of the observation.")
    horizon: int = parameter(0, help="Used steps H of the model's chunk; 0 for all.", low=0)
    device: str = parameter(
        "auto", help="`cpu`, `cuda` or `cuda:N`; `auto` selects a GPU if one is available."
    )
    dtype: str = parameter(
        "float32", help="Precision of the computation.", choices=("float32", "bfloat16", "float16")
    )
    tokens: str = parameter(
        "tokens", help="Folder of the RL tokens, `token_TASK.safetensors`, relative to the adapter."
    )
    state: VectorConfig = dataclasses.field(default_factory=VectorConfig)
    actions: VectorConfig = dataclasses.field(default_factory=VectorConfig)
    server: ServerConfig = dataclasses.field(default_factory=ServerConfig)
    folder: str = parameter("", help="Folder of the adapter file; set on loading.")

    def __post_init__(self) -> None:
        check(self)
        if not self.cameras or len(set(self.cameras.values())) != len(self.cameras):
            raise ConfigError(
                f"`cameras` is {dict(self.cameras)}; name at least one, each camera of the model once"
            )
        if len(self.image_size) != 2:
            raise ConfigError(f"`image_size` is {list(self.image_size)}; give height and width")
        if len(self.action_scale) != self.joints:
            raise ConfigError(
                f"`action_scale` has {len(self.action_scale)} values; it must have {self.joints}, one per joint"
            )
        for name in ("state", "actions"):
            self._check_vector(name, getattr(self, name))

    def _check_vector(self, name: str, vector: VectorConfig) -> None:
        if vector.elements and len(vector.elements) != self.joints:
            raise ConfigError(
                f"`{name}.elements` has {len(vector.elements)} values; it must have {self.joints}, one per joint"
            )
        for field in ("unit", "offset"):
            values: Sequence[float] = getattr(vector, field)
            if len(values) not in (1, self.joints):
                raise ConfigError(
                    f"`{name}.{field}` has {len(values)} values; give one for all joints, or {self.joints}"
                )
        needed = self.size(vector)
        for field in ("mean", "std", "q01", "q99"):
            values = getattr(vector, field)
            if values and len(values) < needed:
                raise ConfigError(
                    f"`{name}.{field}` has {len(values)} values; it must have {needed}, one per element"
                )
        self._check_widths(name, vector)

    def _check_widths(self, name: str, vector: VectorConfig) -> None:
        """Refuse used elements that did not move in the training data, and warn of those that hardly moved."""
        for element in sorted({*self.elements(vector), *map(int, vector.fill or ())}):
            width, statistics = vector.width(element)
            if width < MIN_WIDTH:
                raise ConfigError(
                    f"`{name}`: element {element} has {statistics}: it did not move in the training data, and an "
                    "action or state divided by it is noise; correct the statistics, or leave the element out"
                )
            if width < NARROW_WIDTH:
                _LOG.warning(
                    "`%s`: element %d has %s; it hardly moved in the training data, and small errors become large",
                    name, element, statistics,
                )  # fmt: skip

    def size(self, vector: VectorConfig) -> int:
        """Elements of a vector: `size`, or as many as the joints and `fill` need."""
        used = [*self.elements(vector), *map(int, vector.fill or ())]
        if vector.size and max(used) >= vector.size:
            raise ConfigError(f"element {max(used)} is used, and `size` is {vector.size}; raise it")
        return vector.size or max(used) + 1

    def elements(self, vector: VectorConfig) -> tuple[int, ...]:
        """Element of each joint."""
        return vector.elements or tuple(range(self.joints))

    @property
    def access_token(self) -> str:
        """Secret of the server; empty for none. Raises ConfigError if its file cannot be read."""
        name = self.server.token_file
        return read_access_token(Path(self.folder) / Path(name).expanduser()) if name else ""

    @property
    def tokens_folder(self) -> Path:
        """Folder of the RL tokens of this VLA."""
        return Path(self.folder) / self.tokens


def load_adapter(path: Path) -> AdapterConfig:
    """Read an adapter file.

    Raises:
        ConfigError: the file cannot be read, or a value is invalid; the message names file, key and valid values.
    """
    mapping = read_yaml(path)
    if "folder" in mapping:
        raise ConfigError(f"{path}: `folder` is set on loading; remove it")
    for name in ("state", "actions"):
        if isinstance(mapping.get(name), dict):
            mapping[name] = {key: _as_list(key, value) for key, value in mapping[name].items()}
    return build(AdapterConfig, {**mapping, "folder": str(path.resolve().parent)}, origin=str(path))


def _as_list(key: str, value: object) -> object:
    """List of one for a number that applies to all joints."""
    scalar = isinstance(value, int | float) and not isinstance(value, bool)
    return [value] if scalar and key in ("unit", "offset") else value
