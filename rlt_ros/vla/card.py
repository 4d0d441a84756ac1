"""The card of a foreign VLA: how its cameras, state and actions belong to a robot, from one YAML file.

A checkpoint knows shapes and, at best, names of its own. Which of its cameras is which of the robot's, where the joints
stand in its vectors, in which unit, and what its training data looked like, somebody has to say once.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlt_ros.rlt.parameters import ConfigError, build, check, parameter, read_yaml
from rlt_ros.vla.access import read_access_token

_LOG = logging.getLogger(__name__)

_LEAST_WIDTH = 1e-6
"""Least `std` or `q99` - `q01` of a used element, the model's unit: a microradian; no encoder is as fine."""
_NARROW = 1e-3
"""Below it a warning: encoder noise of 1e-4 rad would be a tenth of the element's whole range."""


@dataclasses.dataclass(frozen=True)
class VectorCard:
    """A vector of the model, state or action, as the robot's joints see it."""

    size: int = parameter(
        0, help="Elements of the vector in the training data; 0 for as many as the joints need.", low=0
    )
    elements: tuple[int, ...] = parameter(
        (), help="Element of each joint, in the order of the robot profile; empty for the first ones.", low=0
    )
    unit: tuple[float, ...] = parameter(
        (1.0,),
        help="One unit of the model in the robot's: one number for all joints or one for each; 0.0174533 where the "
        "model counts in degrees, negative where it turns the other way.",
        unit="rad or m",
    )
    offset: tuple[float, ...] = parameter(
        (0.0,), help="Where the model's zero is: one number for all joints or one for each.", unit="rad or m"
    )
    fill: Mapping[str, float] | None = parameter(
        None,
        help="Element → value, in the model's unit, of elements that are no joint of the policy; 0 where none is said.",
    )
    mean: tuple[float, ...] = parameter(
        (), help="Mean of each element over the training data, the model's unit; with `std`."
    )
    std: tuple[float, ...] = parameter((), help="Standard deviation of each element; with `mean`.", low=0.0)
    q01: tuple[float, ...] = parameter(
        (), help="First percentile of each element, which the model sees as -1; with `q99`."
    )
    q99: tuple[float, ...] = parameter((), help="99th percentile, which the model sees as 1; with `q01`.")

    def __post_init__(self) -> None:
        check(self)
        if len(set(self.elements)) != len(self.elements):
            raise ConfigError(f"`elements` is {list(self.elements)}; each joint has an element of its own")
        if 0.0 in self.unit:
            raise ConfigError("`unit` is 0; it is how much one unit of the model is")
        for element in self.fill or ():
            if not element.isdigit():
                raise ConfigError(f"`fill` has the key `{element}`; its keys are numbers of elements")
        pairs = {("mean", "std"): (self.mean, self.std), ("q01", "q99"): (self.q01, self.q99)}
        for names, (one, other) in pairs.items():
            if len(one) != len(other):
                raise ConfigError(
                    f"`{names[0]}` has {len(one)} values and `{names[1]}` {len(other)}; they go together"
                )
        if self.mean and self.q01:
            raise ConfigError("`mean` and `q01` are both given; a model was trained with one of the two")
        if any(low > high for low, high in zip(self.q01, self.q99, strict=True)):
            raise ConfigError("`q99` must be above `q01` in every element")

    def width(self, element: int) -> tuple[float, str]:
        """Spread of an element in the training data, in the model's unit, and in words; infinite without statistics."""
        if self.std:
            return self.std[element], f"`std` {self.std[element]:g}"
        if self.q01:
            low, high = self.q01[element], self.q99[element]
            return high - low, f"`q01` {low:g} and `q99` {high:g}"
        return math.inf, "no statistics"


@dataclasses.dataclass(frozen=True)
class ServerCard:
    """How long a server is waited for. Only for VLAs that are asked over a network."""

    timeout: float = parameter(2.0, help="How long an answer is waited for.", unit="s", low=0.01)
    connect_timeout: float = parameter(
        5.0, help="How long a connection is waited for, model loading not counted.", unit="s", low=0.01
    )
    retry: float = parameter(
        1.0, help="Pause after a failed connection before the next attempt.", unit="s", low=0.0
    )
    max_age: float = parameter(
        1.0,
        help="Greatest age of an answer, from the moment it was asked for; an older one is not used.",
        unit="s",
        low=0.01,
    )
    probe: str = parameter(
        "do the task",
        help="Instruction of the first question, which shows black pictures and asks for the server's shapes.",
    )
    max_bytes: int = parameter(
        64 * 2**20, help="Largest message that is taken from the server.", unit="bytes", low=1024
    )

    token_file: str = parameter(
        "",
        help="File with the access token that the server asks for (`rlt-ros serve --token-file`), mode 600, relative "
        "to the card; empty for a server that asks for none.",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True)
class VLACard:
    """How a foreign VLA belongs to a robot."""

    joints: int = parameter(dataclasses.MISSING, help="Joints A that the policy moves.", low=1)
    cameras: Mapping[str, str] = parameter(
        dataclasses.MISSING,
        help="The robot's camera → the model's name of it, in the model's own order.",
    )
    image_size: tuple[int, ...] = parameter(
        dataclasses.MISSING,
        help="Height and width of the pictures that it is given; `perception_node`'s `image_size` is the same. The "
        "back end fits them to the model, keeping their proportions.",
        unit="pixels",
        low=1,
    )
    action_scale: tuple[float, ...] = parameter(
        dataclasses.MISSING,
        help="One policy unit of each joint: how far it typically moves in a chunk (C steps) of the demonstrations, as "
        "a standard deviation. `rlt-ros vla check --data` measures it.",
        unit="rad or m",
        low=1e-9,
    )
    relative: bool = parameter(
        False, help="Whether the model's actions are relative to the joint positions that it was shown."
    )
    horizon: int = parameter(0, help="Steps H of its chunk that are used; 0 for all.", low=0)
    device: str = parameter("auto", help="`cpu`, `cuda` or `cuda:N`; `auto` takes a GPU where one is.")
    dtype: str = parameter(
        "float32", help="Precision it computes in.", choices=("float32", "bfloat16", "float16")
    )
    tokens: str = parameter(
        "tokens", help="Folder of its RL tokens, `token_TASK.safetensors`, relative to the card."
    )
    state: VectorCard = dataclasses.field(default_factory=VectorCard)
    actions: VectorCard = dataclasses.field(default_factory=VectorCard)
    server: ServerCard = dataclasses.field(default_factory=ServerCard)
    folder: str = parameter("", help="Folder of the card; set when it is read.")

    def __post_init__(self) -> None:
        check(self)
        if not self.cameras or len(set(self.cameras.values())) != len(self.cameras):
            raise ConfigError(
                f"`cameras` is {dict(self.cameras)}; name at least one, each of the model's once"
            )
        if len(self.image_size) != 2:
            raise ConfigError(f"`image_size` is {list(self.image_size)}; give height and width")
        if len(self.action_scale) != self.joints:
            raise ConfigError(
                f"`action_scale` has {len(self.action_scale)} values; it must have {self.joints}, one a joint"
            )
        for name in ("state", "actions"):
            self._check_vector(name, getattr(self, name))

    def _check_vector(self, name: str, vector: VectorCard) -> None:
        if vector.elements and len(vector.elements) != self.joints:
            raise ConfigError(
                f"`{name}.elements` has {len(vector.elements)} values; it must have {self.joints}, one a joint"
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
                    f"`{name}.{field}` has {len(values)} values; it must have {needed}, one an element"
                )
        self._check_widths(name, vector)

    def _check_widths(self, name: str, vector: VectorCard) -> None:
        """Refuse and warn of used elements that hardly moved in the training data."""
        for element in sorted({*self.elements(vector), *map(int, vector.fill or ())}):
            width, what = vector.width(element)
            if width < _LEAST_WIDTH:
                raise ConfigError(
                    f"`{name}`: element {element} has {what}: it did not move in the training data, and an action or "
                    "state divided by it is noise; correct the statistics, or leave the element out"
                )
            if width < _NARROW:
                _LOG.warning(
                    "`%s`: element %d has %s; it hardly moved in the training data, and small errors become large",
                    name, element, what,
                )  # fmt: skip

    def size(self, vector: VectorCard) -> int:
        """Elements of a vector: as said, or as many as the joints and fillings need."""
        used = [*self.elements(vector), *map(int, vector.fill or ())]
        if vector.size and max(used) >= vector.size:
            raise ConfigError(f"element {max(used)} is used, and `size` is {vector.size}; raise it")
        return vector.size or max(used) + 1

    def elements(self, vector: VectorCard) -> tuple[int, ...]:
        """Element of each joint."""
        return vector.elements or tuple(range(self.joints))

    @property
    def access_token(self) -> str:
        """Secret that the server asks for; empty where the card names none. Raises ConfigError if it cannot be read."""
        name = self.server.token_file
        return read_access_token(Path(self.folder) / Path(name).expanduser()) if name else ""

    @property
    def tokens_folder(self) -> Path:
        """Where the RL tokens of this VLA are."""
        return Path(self.folder) / self.tokens


def load_card(path: Path) -> VLACard:
    """Read a card.

    Raises:
        ConfigError: it cannot be read, or what it says cannot be; the message names file, key and what is allowed.
    """
    mapping = read_yaml(path)
    if "folder" in mapping:
        raise ConfigError(f"{path}: `folder` is where the file is; leave it out")
    for name in ("state", "actions"):
        if isinstance(mapping.get(name), dict):
            mapping[name] = {key: _listed(key, value) for key, value in mapping[name].items()}
    return build(VLACard, {**mapping, "folder": str(path.resolve().parent)}, origin=str(path))


def _listed(key: str, value: object) -> object:
    """One number for all joints as a list of one."""
    scalar = isinstance(value, int | float) and not isinstance(value, bool)
    return [value] if scalar and key in ("unit", "offset") else value
