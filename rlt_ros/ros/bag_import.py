"""Import of bags into a replay: the rows that the live graph stored, or would have stored with the selected VLA.

Recorded states of this VLA are used unchanged; otherwise states are computed from observations and steps. For bags of
other software, steps and episodes are sampled first. Stored rows are safe at once, so an import can be stopped
anywhere; a second import of the same bag adds missing rows only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rlt_ros.acting.inference_config import InferenceConfig
from rlt_ros.bags.bag_files import Bag
from rlt_ros.bags.errors import BagError
from rlt_ros.bags.labels import Segment, read_labels, whole_recording
from rlt_ros.bags.numbers import Numbering, StoredRows
from rlt_ros.bags.sampling import Sampler, SamplingConfig
from rlt_ros.bags.stamps import Stamps, warnings
from rlt_ros.bags.states import StateComputer
from rlt_ros.episodes.tasks import load_task
from rlt_ros.learning.run_folder import REPLAY_FILE
from rlt_ros.perception.synchroniser import SyncConfig
from rlt_ros.replay.recorder import ReplayRecorder, RobotStream
from rlt_ros.replay.ring import ReplayError
from rlt_ros.rlt.config import RLTConfig
from rlt_ros.rlt.transition import RowOutcome, Window
from rlt_ros.robots.action_space import ActionSpace
from rlt_ros.robots.profile import load_profile
from rlt_ros.ros import bag_messages as messages
from rlt_ros.ros.bag_messages import ReadMode, RecordedCommands, RecordedSensors
from rlt_ros.ros.bag_readers import ComputedReader, Reader, RecordedReader, RecordSink, SampledReader
from rlt_ros.ros.conversions import read_lineage
from rlt_ros.ros.settings import ACTED_BY, AUTO, RECORDED, BagConfig, Setup
from rlt_ros.store.lineage import FROZEN_PARTS, Lineage, LineageError
from rlt_ros.vla.fit import require_fit
from rlt_ros.vla.frozen import FrozenVLA
from rlt_ros.vla.loading import load_frozen

_NS = 1e-9


@dataclass(frozen=True)
class ImportSettings:
    """Settings that rows depend on.

    Attributes:
        setup: robot, task and VLA.
        bags: bags and their read mode.
        rlt: chunk, stride and replay.
        sync: synchronisation of pictures and joint states.
        inference: maximum age of an observation.
        sampling: gaps in bags of other software.
    """

    setup: Setup
    bags: BagConfig
    rlt: RLTConfig = field(default_factory=RLTConfig)
    sync: SyncConfig = field(default_factory=SyncConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


@dataclass(frozen=True)
class _Plan:
    """Plan of a bag: read mode of each namespace, and segments if the bag has no episodes."""

    bag: Bag
    ways: Mapping[str, ReadMode]
    segments: list[Segment]


class BagImport:
    """Reads bags into the replay of a run. Close it in any case.

    Args:
        settings: all that rows depend on.
        committed: called after rows were committed.

    Raises:
        BagError: a bag cannot be read, or lacks what is needed.
        ConfigError: robot, task, VLA or labels do not fit.
        ReplayError: the replay that is there cannot be gone on with.
    """

    def __init__(self, settings: ImportSettings, *, committed: Callable[[], None] = lambda: None) -> None:
        self._settings, config = settings, settings.bags
        self._profile, self._task = load_profile(settings.setup.robot), load_task(settings.setup.task)
        self._out = Path(config.out).expanduser().absolute()
        self._frozen: FrozenVLA | None = None
        self.skipped: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self.last_skipped = ""
        self._outcomes: Counter[RowOutcome] = Counter()
        self._ways: list[dict[str, str]] = []
        self._stamps: dict[str, dict[str, Any]] = {}
        self._warnings: list[str] = []
        # Of the bag that is read.
        self._sensors: list[RecordedSensors] = []
        self._rows = self._moved = 0
        self._robots: dict[str, int] = {}
        # All of them before anything is written.
        self._plans = [self._plan(Bag(path, work=self._out)) for path in config.bags]
        self.store = ReplayRecorder(
            self._out / REPLAY_FILE,
            settings.rlt,
            joints=self._profile.dim,
            action_encoder=partial(ActionSpace, continuous=self._profile.continuous),
            reject=self._skip,
            committed=committed,
        )
        self._before = self.store.replay.total if self.store.replay else 0
        self._stored = StoredRows(lambda: self.store.replay)

    @property
    def seconds(self) -> float:
        """Duration of all bags, s."""
        return sum(plan.bag.seconds for plan in self._plans)

    def run(self) -> Iterator[float]:
        """Read all bags; yields the processed seconds of recording.

        Raises:
            LineageError: a bag's states were made by other parts than the replay's rows.
        """
        done = 0.0
        for plan in self._plans:
            for seconds in self._read(plan):
                yield done + seconds
            done += plan.bag.seconds
            yield done

    def close(self) -> None:
        """Close the replay; stored rows are safe."""
        self.store.close()

    def report(self) -> dict[str, Any]:
        """Result: rows, episodes and outcomes, read modes of the bags, skipped messages with reasons."""
        total = self.store.replay.total if self.store.replay else self._before
        return {
            "replay": str(self.store.path),
            "rows": self._rows,
            "new_rows": total - self._before,
            "rows_in_replay": total,
            "episodes": sum(self._outcomes.values()),
            "successes": self._outcomes[RowOutcome.SUCCESS],
            "failures": self._outcomes[RowOutcome.FAILURE],
            "renumbered_episodes": self._moved,
            "seconds_of_recording": self.seconds,
            "bags": self._ways,
            "stamps": self._stamps,
            "warnings": self._warnings,
            "skipped": {
                kind: {"count": n, "example": self._examples[kind]} for kind, n in self.skipped.items()
            },
            "damaged": [fault for plan in self._plans for fault in plan.bag.faults],
        }

    # -- one bag -----------------------------------------------------------------------------------------------------

    def _plan(self, bag: Bag) -> _Plan:
        ways = {namespace: self._way(bag, namespace) for namespace in self._namespaces(bag)}
        return _Plan(bag, ways, self._segments(bag))

    def _read(self, plan: _Plan) -> Iterator[float]:
        bag, identity, stamps = plan.bag, plan.bag.identity(), Stamps()
        streams, readers = list[RobotStream](), list[Reader]()
        for namespace in plan.ways:
            stream = self._join(namespace, identity)
            streams.append(stream)
            readers.append(self._reader(plan, namespace, stream, stamps))
        by_topic = {topic: reader for reader in readers for topic in reader.topics}
        checked = 0.0
        for recorded in bag.messages(set(by_topic)):
            try:
                by_topic[recorded.topic].take(recorded)
            except (LineageError, ReplayError):
                raise
            except ValueError as error:
                self._skip(f"unusable {recorded.type.split('/')[-1]}", f"{recorded.topic}: {error}")
            seconds = (recorded.time - bag.start) * _NS
            if abs(seconds - checked) >= 0.5:
                self.store.check_timeouts(seconds)
                checked = seconds
            yield min(max(seconds, 0.0), bag.seconds)
        for reader in readers:
            reader.finish()
        self._note(bag, stamps)
        for stream in streams:
            self._note_unfinished(stream)
            self.store.leave(stream)

    def _join(self, namespace: str, identity: str) -> RobotStream:
        numbering: Numbering | None = None

        def place(windows: list[Window]) -> list[Window]:
            nonlocal numbering
            replay = self.store.replay
            assert replay is not None
            numbering = numbering or Numbering(
                self._stored, replay.format.z_dtype, f"{namespace}\0{identity}"
            )
            moved = numbering.moved
            placed = numbering.place(windows)
            self._moved += numbering.moved - moved
            self._rows += len(placed)
            ends = [window.outcome for window in placed if window.outcome is not RowOutcome.NONE]
            self._outcomes[ends[-1] if ends else RowOutcome.NONE] += 1
            return placed

        return self.store.join(namespace, renumber=place)

    def _note_unfinished(self, stream: RobotStream) -> None:
        for number in stream.assembler.unfinished:
            self._skip("without end", f"episode {number} has no end in the bag, so its outcome is unknown")

    def _namespaces(self, bag: Bag) -> list[str]:
        if self._settings.bags.namespace != AUTO:
            return [name.strip().strip("/") for name in self._settings.bags.namespace.split(",")]
        return messages.namespaces(bag) or [""]

    def _segments(self, bag: Bag) -> list[Segment]:
        config = self._settings.bags
        if config.labels:
            return read_labels(config.labels, start=bag.start, end=bag.end)
        return [whole_recording(bag.start, bag.end, config.outcome)]

    def _way(self, bag: Bag, namespace: str) -> ReadMode:
        """Read mode of a namespace.

        Raises:
            BagError: in no way.
        """
        config = self._settings.bags
        if namespace not in messages.namespaces(bag):
            self._require(bag, ReadMode.SAMPLED, namespace)
            return ReadMode.SAMPLED
        if config.labels or config.outcome != "cut":
            raise BagError(f"bag {bag.path} has episodes of its own; leave `labels` and `outcome` out")
        if config.states != AUTO:
            way = ReadMode.RECORDED if config.states == RECORDED else ReadMode.COMPUTED
            self._require(bag, way, namespace)
            return way
        recorded = messages.missing_topics(
            bag, messages.required_topics(ReadMode.RECORDED, bag, self._profile, namespace)
        )
        why = "; ".join(recorded)
        if not recorded:
            made = self._made_by(bag, namespace)
            own = self._vla().lineage
            other = [part for part in FROZEN_PARTS if made and getattr(made, part) != getattr(own, part)]
            if not other:
                return ReadMode.RECORDED
            part = other[0]
            why = f"its states are of {part} `{getattr(made, part)}`, not `{getattr(own, part)}`"
        computed = messages.missing_topics(
            bag, messages.required_topics(ReadMode.COMPUTED, bag, self._profile, namespace)
        )
        if computed:
            raise BagError(
                f"bag {bag.path} cannot be used: for {ReadMode.RECORDED.value}, {why}; for {ReadMode.COMPUTED.value}, "
                f"{'; '.join(computed)}. Record with `record:=true` and `pictures` on, or choose the VLA that was "
                "recorded"
            )
        return ReadMode.COMPUTED

    def _require(self, bag: Bag, way: ReadMode, namespace: str) -> None:
        lacks = messages.missing_topics(bag, messages.required_topics(way, bag, self._profile, namespace))
        if lacks:
            raise BagError(
                f"bag {bag.path} does not have what {way.value} of `{self._profile.name}` needs: {'; '.join(lacks)}. "
                "`rlt-ros bag inspect` shows what is in it; topics are those of the robot's profile"
            )

    def _made_by(self, bag: Bag, namespace: str) -> Lineage | None:
        """Lineage of the first state of a bag; None without states."""
        topics = messages.own_topics(namespace, messages.STATE)
        message = next(messages.readable(bag, topics), None)
        return None if message is None else read_lineage(message.lineage)

    def _vla(self) -> FrozenVLA:
        """VLA, loaded on first use."""
        if self._frozen is None:
            setup = self._settings.setup
            frozen = load_frozen(setup.vla, self._task.name, setup.robot, self._profile.continuous)
            require_fit(
                frozen.vla,
                self._profile,
                chunk=self._settings.rlt.chunk,
                instruction=self._task.instruction,
                token=frozen.token,
            )
            self._frozen = frozen
        return self._frozen

    def _note(self, bag: Bag, stamps: Stamps) -> None:
        """Store findings about stamps and pictures of a bag for the report."""
        report = stamps.report()
        self._stamps[str(bag.path)] = report
        self._warnings += [f"{bag.path}: {text}" for text in warnings(report)]
        for sensors in self._sensors:
            self._warnings += [
                f"{bag.path}: {topic} is recorded in `{found}`, which the profile does not name; it was read so"
                for topic, found in sensors.encodings.items()
            ]
        self._sensors.clear()

    def _reader(self, plan: _Plan, namespace: str, stream: RobotStream, stamps: Stamps) -> Reader:
        bag, way = plan.bag, plan.ways[namespace]
        self._ways.append({"bag": str(bag.path), "namespace": namespace, "read_as": way.value})
        if way is ReadMode.RECORDED:
            return RecordedReader(self.store, stream, namespace, self._profile, self._settings.rlt.chunk)
        computer = StateComputer(
            self._vla(), self._settings.rlt, self._settings.inference, self._profile.control_hz, self._skip
        )
        sink = RecordSink(self.store, stream, computer)
        size = self._vla().spec.image_size
        simulated = any(topic.rpartition("/")[2] == "clock" for topic in bag.topics)
        sensors = RecordedSensors(
            self._profile, namespace, size, self._settings.sync, stamps, self._skip, jumps=not simulated
        )
        self._sensors.append(sensors)
        if way is ReadMode.COMPUTED:
            topics = messages.required_topics(way, bag, self._profile, namespace)
            return ComputedReader(sink, namespace, sensors, topics, self._vla())
        sampler = Sampler(
            round(1e9 / self._profile.control_hz),
            [[self._profile.joints.index(joint) for joint in part.joints] for part in self._profile.drivers],
            plan.segments,
            self._settings.sampling,
            max_observation_age=round(1e9 * self._settings.inference.max_observation_age),
            source=ACTED_BY[self._settings.bags.acted_by],
            task=self._task.name,
            instruction=self._task.instruction,
            on_reject=self._skip,
        )
        return SampledReader(sink, sensors, RecordedCommands(self._profile, namespace, stamps), sampler)

    def _skip(self, kind: str, reason: str) -> None:
        self.skipped[kind] += 1
        self.last_skipped = f"{kind}: {reason}"
        self._examples.setdefault(kind, reason)
