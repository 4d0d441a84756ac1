"""Conversion between messages of the graph and the records of `rlt_ros.replay.stream`.

Readers validate: a malformed message (record, length of an array, enumeration) is a ValueError with the reason, which
the node drops and counts. Stamps are nanoseconds. Writing and reading a record gives an equal record.
"""

from __future__ import annotations

import array
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlt_ros.middleware import arrays
from rlt_ros.middleware.messages import ActionChunk as ActionChunkMessage
from rlt_ros.middleware.messages import ChunkRequest as ChunkRequestMessage
from rlt_ros.middleware.messages import Duration, Header, Image, PolicyUpdate, Time
from rlt_ros.middleware.messages import EpisodeState as EpisodeStateMessage
from rlt_ros.middleware.messages import ExecutedStep as ExecutedStepMessage
from rlt_ros.middleware.messages import Intervention as InterventionMessage
from rlt_ros.middleware.messages import Lineage as LineageMessage
from rlt_ros.middleware.messages import Observation as ObservationMessage
from rlt_ros.middleware.messages import RLState as RLStateMessage
from rlt_ros.perception import Observation
from rlt_ros.perception.pictures import PictureError, decode
from rlt_ros.replay.stream import (
    ActionChunk,
    ChunkRequest,
    EpisodeOutcome,
    EpisodeState,
    Phase,
    StateRecord,
    StepRecord,
)
from rlt_ros.rlt.config import Shapes
from rlt_ros.rlt.transition import RLState, Source
from rlt_ros.robots.intervention import Intervention, TakeOver
from rlt_ros.store.lineage import Lineage

_SECOND = 1_000_000_000


def to_ns(time: Any) -> int:
    """Nanoseconds of a ``builtin_interfaces`` Time or Duration."""
    return int(time.sec) * _SECOND + int(time.nanosec)


def to_time(ns: int) -> Any:
    """``builtin_interfaces/msg/Time`` of nanoseconds."""
    return Time(sec=ns // _SECOND, nanosec=ns % _SECOND)


def to_duration(ns: int) -> Any:
    """``builtin_interfaces/msg/Duration`` of nanoseconds."""
    return Duration(sec=ns // _SECOND, nanosec=ns % _SECOND)


def to_header(ns: int, frame_id: str = "") -> Any:
    """``std_msgs/msg/Header`` with a stamp of nanoseconds."""
    return Header(stamp=to_time(ns), frame_id=frame_id)


def read_lineage(message: Any) -> Lineage:
    """Lineage of a message."""
    return Lineage(vla=message.vla, token=message.token, stats=message.stats, actor=message.actor)


def write_lineage(lineage: Lineage) -> Any:
    """Message of a lineage."""
    return LineageMessage(vla=lineage.vla, token=lineage.token, stats=lineage.stats, actor=lineage.actor)


def state_shapes(message: Any, chunk: int) -> Shapes:
    """Shapes of the arrays of an RL state, for chunks of ``chunk`` control steps."""
    return Shapes(len(message.z), len(message.proprio), chunk, len(message.anchor))


def read_state(message: Any, shapes: Shapes) -> StateRecord:
    """RL state of a message, for a policy of ``shapes``."""
    chunk = (shapes.chunk, shapes.action_dim)
    return StateRecord(
        stamp=to_ns(message.header.stamp),
        episode=message.episode,
        lineage=read_lineage(message.lineage),
        state=RLState(
            step=message.step,
            z=arrays.unpack(message.z, (shapes.z_dim,), name="z"),
            proprio=arrays.unpack(message.proprio, (shapes.proprio_dim,), name="proprio"),
            reference=arrays.unpack(message.reference, chunk, name="reference"),
            anchor=arrays.unpack(message.anchor, (shapes.action_dim,), name="anchor"),
        ),
        scale=arrays.unpack(message.scale, (shapes.action_dim,), name="scale"),
    )


def write_state(record: StateRecord) -> Any:
    """Message of an RL state."""
    state = record.state
    return RLStateMessage(
        header=to_header(record.stamp),
        episode=record.episode,
        step=state.step,
        lineage=write_lineage(record.lineage),
        z=_floats(state.z),
        proprio=_floats(state.proprio),
        reference=_floats(state.reference),
        anchor=_floats(state.anchor),
        scale=_floats(record.scale),
    )


def read_step(message: Any, action_dim: int) -> StepRecord:
    """Executed step of a message, for an arm of ``action_dim`` joints."""
    return StepRecord(
        stamp=to_ns(message.header.stamp),
        episode=message.episode,
        step=message.step,
        source=Source(message.source),
        command=arrays.unpack(message.command, (action_dim,), name="command"),
        measured=arrays.unpack(message.measured, (action_dim,), name="measured"),
        chunk=message.chunk,
        row=message.row,
        observation=to_ns(message.observation),
        version=message.version,
        lineage=read_lineage(message.lineage),
        limits=message.limits,
        reward=message.reward,
    )


def write_step(record: StepRecord) -> Any:
    """Message of an executed step."""
    return ExecutedStepMessage(
        header=to_header(record.stamp),
        episode=record.episode,
        step=record.step,
        source=int(record.source),
        chunk=record.chunk,
        row=record.row,
        observation=to_time(record.observation),
        version=record.version,
        lineage=write_lineage(record.lineage),
        command=_floats(record.command),
        measured=_floats(record.measured),
        limits=record.limits,
        reward=float(record.reward),
    )


def read_chunk(message: Any, chunk: int, action_dim: int) -> ActionChunk:
    """Action chunk of a message: ``chunk`` control steps for an arm of ``action_dim`` joints."""
    return ActionChunk(
        stamp=to_ns(message.header.stamp),
        episode=message.episode,
        chunk=message.chunk,
        step=message.step,
        source=Source(message.source),
        anchor=arrays.unpack(message.anchor, (action_dim,), name="anchor"),
        scale=arrays.unpack(message.scale, (action_dim,), name="scale"),
        reference=arrays.unpack(message.reference, (chunk, action_dim), name="reference"),
        action=arrays.unpack(message.action, (chunk, action_dim), name="action"),
        version=message.version,
        lineage=read_lineage(message.lineage),
        latency=to_ns(message.latency),
    )


def write_chunk(record: ActionChunk) -> Any:
    """Message of an action chunk."""
    return ActionChunkMessage(
        header=to_header(record.stamp),
        episode=record.episode,
        chunk=record.chunk,
        step=record.step,
        version=record.version,
        lineage=write_lineage(record.lineage),
        source=int(record.source),
        anchor=_floats(record.anchor),
        scale=_floats(record.scale),
        reference=_floats(record.reference),
        action=_floats(record.action),
        latency=to_duration(record.latency),
    )


def read_episode(message: Any) -> EpisodeState:
    """Episode state of a message."""
    return EpisodeState(
        episode=message.episode,
        phase=Phase(message.phase),
        outcome=EpisodeOutcome(message.outcome),
        discarded=message.discarded,
        eval=message.eval,
        task=message.task,
        instruction=message.instruction,
        seed=message.seed,
        reward=message.reward,
        steps=message.steps,
        stamp=to_ns(message.header.stamp),
    )


def write_episode(state: EpisodeState) -> Any:
    """Message of an episode state."""
    return EpisodeStateMessage(
        header=to_header(state.stamp),
        episode=state.episode,
        phase=int(state.phase),
        outcome=int(state.outcome),
        discarded=state.discarded,
        eval=state.eval,
        task=state.task,
        instruction=state.instruction,
        seed=state.seed,
        reward=float(state.reward),
        steps=state.steps,
    )


def read_request(message: Any) -> ChunkRequest:
    """Chunk request of a message.

    Raises:
        ValueError: the phase is unknown, or an expected position is not finite.
    """
    expected = np.array(message.expected, dtype=np.float64)
    if not np.isfinite(expected).all():
        raise ValueError(f"the expected position is {expected}; it must be finite")
    return ChunkRequest(
        to_ns(message.header.stamp),
        message.episode,
        message.step,
        Phase(message.phase),
        message.boundary == ChunkRequestMessage.BOUNDARY_OVERLAP,
        expected if expected.size else None,
    )


def write_request(request: ChunkRequest) -> Any:
    """Message of a chunk request."""
    message = ChunkRequestMessage
    return message(
        header=to_header(request.stamp),
        episode=request.episode,
        step=request.step,
        phase=int(request.phase),
        boundary=message.BOUNDARY_OVERLAP if request.overlap else message.BOUNDARY_BLOCK,
        expected=[] if request.expected is None else request.expected.tolist(),
    )


def read_intervention(message: Any) -> Intervention:
    """Intervention of a message; its command, (A,) rad, is empty unless the human commands.

    Raises:
        ValueError: the phase is unknown, a number is not finite, or a share is not in 0 to 1.
    """
    return Intervention(
        phase=TakeOver(message.phase),
        share=message.share,
        command=np.array(message.command, dtype=np.float64),
        device=message.device,
        stamp=to_ns(message.header.stamp),
        gripper=message.gripper if message.moves_gripper else None,
    )


def write_intervention(human: Intervention) -> Any:
    """Message of an intervention."""
    return InterventionMessage(
        header=to_header(human.stamp),
        phase=int(human.phase),
        share=float(human.share),
        command=_floats(human.command),
        moves_gripper=human.gripper is not None,
        gripper=float(human.gripper or 0.0),
        device=human.device,
    )


def read_picture(image: Any, encoding: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """RGB (h, w, 3) of a `sensor_msgs/Image` in one encoding; rows may be padded.

    Raises:
        PictureError: another encoding, or sizes that contradict the data.
    """
    if image.encoding != encoding:
        raise PictureError(f"encoding is `{image.encoding}`; expected {encoding}")
    return decode(image.data, height=image.height, width=image.width, step=image.step, encoding=encoding)


def read_observation(message: Any, action_dim: int) -> Observation:
    """Observation of a message, of an arm of ``action_dim`` joints."""
    if len(message.cameras) != len(message.images):
        raise ValueError(f"`images` holds {len(message.images)} pictures of {len(message.cameras)} cameras")
    images = {
        name: _picture(image, name) for name, image in zip(message.cameras, message.images, strict=True)
    }
    return Observation(
        stamp=to_ns(message.header.stamp),
        images=images,
        position=arrays.unpack(message.position, (action_dim,), name="position"),
        velocity=arrays.unpack(message.velocity, (action_dim,), name="velocity"),
    )


def write_observation(
    observation: Observation, *, episode: int, joints: Sequence[str], frame_id: str = ""
) -> Any:
    """Message of an observation; ``joints`` are the names of its positions."""
    header = to_header(observation.stamp, frame_id)
    return ObservationMessage(
        header=header,
        episode=episode,
        cameras=list(observation.images),
        images=[
            Image(
                header=header,
                height=picture.shape[0],
                width=picture.shape[1],
                encoding="rgb8",
                step=3 * picture.shape[1],
                data=arrays.pack(picture),
            )
            for picture in observation.images.values()
        ],
        joints=list(joints),
        position=arrays.pack(observation.position),
        velocity=arrays.pack(observation.velocity),
    )


def write_policy(data: bytes, *, stamp: int, version: int, lineage: Lineage) -> Any:
    """Message of an exported actor, with its checksum."""
    return PolicyUpdate(
        header=to_header(stamp),
        version=version,
        lineage=write_lineage(lineage),
        checksum=hashlib.sha256(data).hexdigest(),
        data=array.array("B", data),
    )


def read_policy(message: Any) -> bytes:
    """Exported actor of a message, after verification of its checksum."""
    data = bytes(message.data)
    found = hashlib.sha256(data).hexdigest()
    if found != message.checksum:
        raise ValueError(
            f"policy update {message.version} has checksum {found}, expected `{message.checksum}`"
        )
    return data


def named(values: Mapping[str, float]) -> dict[str, Any]:
    """Fields ``metrics`` and ``values`` of a ``LearnerStatus``."""
    return {"metrics": list(values), "values": array.array("f", values.values())}


def _floats(values: Any) -> array.array[Any]:
    return arrays.pack(np.asarray(values, dtype=np.float32))


def _picture(image: Any, camera: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(h, w, 3) of an rgb8 image of an observation."""
    try:
        return read_picture(image, "rgb8")
    except PictureError as error:
        raise ValueError(f"picture of camera `{camera}`: {error}") from error
