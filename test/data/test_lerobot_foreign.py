"""LeRobot sets as others publish them: right values, or a refusal that says what and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlt_ros.cli.main import main
from rlt_ros.data.convert import to_lerobot
from rlt_ros.data.episode import Episode
from rlt_ros.data.errors import DataError, EpisodeError
from rlt_ros.data.lerobot import row_times
from rlt_ros.data.lerobot_names import JointPairs, element_names
from rlt_ros.data.source import open_source
from rlt_ros.data.video import encode_video

FPS, ROWS, SIZE = 10, 8, (16, 32)
JOINTS = ["j0", "j1", "j2"]


def grey(picture: int) -> int:
    return 20 + 10 * picture


def motion(width: int = 3, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """State and the absolute command that it follows, in rad."""
    time = np.arange(rows + 1)[:, None] / FPS
    path = (0.5 + 0.4 * np.sin(time * (1 + np.arange(width)) * 2)).astype(np.float32)
    return path[:-1].copy(), path[1:].copy()


class Foreign:
    """A v2.1 data set of one episode, in which everything can be said otherwise."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state, self.action = motion()
        self.stamps = np.arange(ROWS) / FPS
        self.names: dict[str, Any] = {"observation.state": JOINTS, "action": JOINTS}
        self.info: dict[str, Any] = {}
        self.features: dict[str, Any] = {}
        self.columns: dict[str, Any] = {}
        self.pictures, self.video_fps = ROWS, FPS
        self.tasks: list[str] = ["plug in"]

    def write(self) -> Path:
        vectors = {"observation.state": self.state, "action": self.action}
        table: dict[str, Any] = {
            key: pa.array(values.tolist(), pa.list_(pa.float32())) for key, values in vectors.items()
        }
        rows = len(self.state)
        table |= {"timestamp": pa.array(self.stamps), "task_index": pa.array([0] * rows)}
        table |= {key: pa.array(values) for key, values in self.columns.items()}
        features: dict[str, Any] = {
            key: {"dtype": "float32", "shape": [values.shape[1]], "names": self.names[key]}
            for key, values in vectors.items()
        }
        features |= {key: {"dtype": "int64", "shape": [1], "names": None} for key in ("task_index",)}
        features["observation.images.front"] = {"dtype": "video", "shape": [*SIZE, 3]}
        info = {"codebase_version": "v2.1", "fps": FPS, "features": features | self.features, **self.info}
        (self.home / "meta").mkdir(parents=True)
        (self.home / "meta/info.json").write_text(json.dumps(info))
        entry = {"episode_index": 0, "tasks": self.tasks, "length": rows}
        (self.home / "meta/episodes.jsonl").write_text(json.dumps(entry))
        (self.home / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "by its index"}')
        path = self.home / "data/chunk-000/episode_000000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(table), path)
        video = self.home / "videos/chunk-000/observation.images.front/episode_000000.mp4"
        video.parent.mkdir(parents=True)
        frames = [np.full((*SIZE, 3), grey(index), np.uint8) for index in range(self.pictures)]
        encode_video(video, frames, fps=self.video_fps, codec="h264")
        return self.home

    def read(self, **options: Any) -> tuple[Episode, list[float], dict[str, int]]:
        """The episode, the grey values of its pictures, and what was noted."""
        source = open_source([self.home if (self.home / "meta").exists() else self.write()], **options)
        pictures: list[float] = []
        found = []
        for episode in source.episodes():
            found.append(episode)
            pictures += [float(one["front"].mean()) for one in episode.frames(range(episode.rows))]
        assert len(found) == 1, source.skips.summary()
        return found[0], pictures, dict(source.notes.counts)

    def refused(self, **options: Any) -> str:
        source = open_source([self.write()], **options)
        assert list(source.episodes()) == []
        (line,) = source.skips.examples
        return line


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    return Foreign(tmp_path / "set")


def near(pictures: Sequence[int]) -> Any:
    return pytest.approx([grey(index) for index in pictures], abs=3)


def test_a_trimmed_table_has_the_pictures_of_its_stamps(foreign: Foreign) -> None:
    foreign.stamps, foreign.pictures = 0.5 + np.arange(ROWS) / FPS, ROWS + 5
    episode, pictures, notes = foreign.read()
    assert pictures == near(range(5, ROWS + 5)) and notes == {}
    assert episode.stamps[0] == 500_000_000


def test_the_trimmed_table_is_converted_with_the_same_pictures(foreign: Foreign, tmp_path: Path) -> None:
    foreign.stamps, foreign.pictures = 0.5 + np.arange(ROWS) / FPS, ROWS + 5
    source = open_source([foreign.write()])
    to_lerobot(source, tmp_path / "out", names=source.names, codec="h264")
    (episode,) = open_source([tmp_path / "out"]).episodes()
    assert [float(one["front"].mean()) for one in episode.frames(range(ROWS))] == near(range(5, ROWS + 5))


def test_holes_keep_pictures_and_speeds_right_and_are_reported(foreign: Foreign) -> None:
    kept = [0, 1, 2, 5, 6, 9, 10]
    whole, command = motion(rows=12)
    foreign.state, foreign.action = whole[kept], command[kept]
    foreign.stamps, foreign.pictures = np.array(kept) / FPS, 12
    episode, pictures, notes = foreign.read()
    assert pictures == near(kept)
    (note,) = notes
    assert note.startswith("has holes in its table")
    assert np.allclose(episode.velocity[3], np.gradient(whole[kept], foreign.stamps, axis=0)[3], atol=1e-5)


@pytest.mark.parametrize("rate", [5, 20, 25])
def test_of_a_video_of_another_rate_the_nearest_picture_is_taken(foreign: Foreign, rate: int) -> None:
    foreign.video_fps = rate
    foreign.pictures = ROWS * rate // FPS + 1
    _, pictures, notes = foreign.read()
    nearest = [
        min(range(foreign.pictures), key=lambda k: (abs(FPS * k - rate * row), k)) for row in range(ROWS)
    ]
    assert pictures == near(nearest)
    assert bool(notes) == (rate != 20)


@pytest.mark.parametrize(
    "stamps",
    [
        np.arange(ROWS) / 20,
        np.arange(ROWS) / 10.5,
        np.zeros(ROWS),
        np.arange(ROWS)[::-1] / FPS,
        np.array([0, 0.1, 0.2, 0.25, 0.4, 0.5, 0.6, 0.7]),
    ],
)
def test_stamps_that_do_not_fit_are_refused_with_row_value_and_remedy(
    foreign: Foreign, stamps: np.ndarray
) -> None:
    foreign.stamps = stamps
    line = foreign.refused()
    assert "has stamps that do not fit fps 10 (timestamp is" in line and "correct `fps`" in line


def test_rates_that_are_no_whole_numbers_fit_their_own_stamps(foreign: Foreign) -> None:
    foreign.info, foreign.stamps = {"fps": 29.97}, np.arange(ROWS) * 1001 / 30000
    foreign.video_fps = 30
    episode, pictures, _ = foreign.read()
    assert episode.hz == 29.97 and pictures == near(range(ROWS))


@given(
    fps=st.sampled_from([5, 10, 29.97, 30, 50]),
    first=st.integers(0, 100_000),
    steps=st.lists(st.integers(1, 4), max_size=30),
    single=st.booleans(),
)
def test_stamps_on_the_grid_fit_in_any_precision(
    fps: float, first: int, steps: list[int], single: bool
) -> None:
    exact = np.cumsum([first, *steps]) / fps
    times, notes = row_times(exact.astype(np.float32) if single else exact, fps)
    assert np.allclose(times, exact, atol=1e-9 if not single else 1e-3 / fps + 1e-4 * exact.max() / 100)
    assert bool(notes) == any(step > 1 for step in steps)


@given(index=st.integers(1, 9), shift=st.floats(0.02, 0.98))
def test_a_stamp_off_the_grid_is_refused(index: int, shift: float) -> None:
    stamps = np.arange(10) / FPS
    stamps[index] += shift / FPS * 0.999
    with pytest.raises(EpisodeError, match="do not fit fps 10"):
        row_times(stamps, FPS)


def test_elements_are_paired_by_name_in_any_order(foreign: Foreign) -> None:
    foreign.names = {"observation.state": ["j2.pos", "j0.pos", "j1.pos"], "action": JOINTS}
    plain = foreign.state
    foreign.state = plain[:, [2, 0, 1]]
    episode, _, notes = foreign.read()
    assert episode.joints == tuple(JOINTS) and np.array_equal(episode.position, plain) and not notes


@settings(max_examples=30)
@given(order=st.permutations(range(5)), suffix=st.sampled_from(["", ".pos"]), nested=st.booleans())
def test_every_order_of_names_gives_the_same_joints(order: list[int], suffix: str, nested: bool) -> None:
    names: Any = [f"j{index}{suffix}" for index in order]
    found = element_names({"axes": names} if nested else [names], 5, "here")
    assert found == names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([JOINTS], JOINTS),
        ({"motors": JOINTS}, JOINTS),
        ({"left": ["a"], "right": {"arm": ["b", "c"]}}, ["a", "b", "c"]),
        ({"left": ["a"], "right": ["a", "b"]}, ["left_a", "right_a", "right_b"]),
        ({"b": 1, "a": 0, "c": 2}, ["a", "b", "c"]),
        (["state"], None),
        (None, None),
        ([], None),
    ],
)
def test_names_are_found_in_any_nesting(names: Any, expected: list[str] | None) -> None:
    assert element_names(names, 3, "here") == expected


@pytest.mark.parametrize("names", [["a", "b"], ["a", "a", "b"], {"x": ["a"] * 3}])
def test_names_that_do_not_fit_are_refused(names: Any) -> None:
    with pytest.raises(DataError, match=r"here: `names` has .*; correct it in meta/info.json"):
        element_names(names, 3, "here")


@pytest.mark.parametrize(
    ("state", "action", "message"),
    [
        (
            JOINTS,
            ["arm.x", "arm.y", "arm.z"],
            r"has no arm.x, arm.y, arm.z, which the action commands; .*--action-key",
        ),
        (JOINTS, ["j0", "j1", "wrist"], "has no wrist, which the action commands"),
        (JOINTS, {"delta_x": 0, "delta_y": 1, "gripper": 2}, "changes of a pose"),
        (["x", "y", "z"], ["dx", "dy", "dz"], "changes of a pose"),
        (JOINTS, None, "the action has 3 elements without names.*--joint-names"),
        (None, JOINTS, "the state has 3 elements without names.*--joint-names"),
        (["j0.vel", "j1.vel", "j2.vel"], JOINTS, "has no j0, j1, j2"),
        (["j0", "j0.pos", "j1"], ["j0", "j1", "j1.pos"], "twice|has no"),
    ],
)
def test_names_that_share_nothing_are_never_paired_by_position(
    foreign: Foreign, state: Any, action: Any, message: str
) -> None:
    foreign.names = {"observation.state": state, "action": action}
    with pytest.raises(DataError, match=message):
        open_source([foreign.write()])


def test_without_any_names_positions_count_and_that_is_reported(foreign: Foreign) -> None:
    foreign.names = {"observation.state": None, "action": ["action"]}
    episode, _, notes = foreign.read()
    assert episode.joints == ("joint_0", "joint_1", "joint_2")
    assert list(notes) == ["has no names; state and action are paired by position"]


def test_a_vector_without_names_takes_those_that_the_user_gives(foreign: Foreign) -> None:
    foreign.names = {"observation.state": ["j2", "j0", "j1"], "action": None}
    plain = foreign.state
    foreign.state = plain[:, [2, 0, 1]]
    episode, _, notes = foreign.read(joints=JOINTS)
    assert np.array_equal(episode.position, plain) and notes == {}


@pytest.mark.parametrize(
    "change", [lambda s, a: np.diff(s, axis=0, append=s[-1:]), lambda s, a: 0.98 * (a - s)]
)
def test_actions_that_are_changes_are_refused(
    foreign: Foreign, change: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> None:
    foreign.state = foreign.state + np.float32(0.3)
    foreign.action = change(foreign.state, foreign.action + np.float32(0.3)).astype(np.float32)
    assert (
        "has actions that are changes of the state, not targets (j0, j1, j2; name a feature"
        in foreign.refused()
    )


def pairs() -> JointPairs:
    return JointPairs(JOINTS, JOINTS, (3, 3), (), "here")


@pytest.mark.parametrize("unit", [0.02, 1.0, 30.0])
def test_changes_in_any_unit_are_refused(unit: float) -> None:
    state, _ = motion(rows=60)
    change = np.diff(state, axis=0, append=state[-1:]) * np.float32(unit)
    with pytest.raises(EpisodeError, match="changes of the state"):
        pairs().check_targets(state + np.float32(1.0), change)


@settings(max_examples=50, deadline=None)
@given(
    lag=st.integers(0, 6),
    offset=st.floats(-0.3, 0.3),
    noise=st.floats(0, 0.02),
    center=st.floats(-2, 2),
    speed=st.floats(0.1, 3),
    seed=st.integers(0, 1000),
)
def test_targets_that_an_arm_follows_late_and_badly_are_never_refused(
    lag: int, offset: float, noise: float, center: float, speed: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    time = np.arange(66)[:, None] / 30
    path = center + 0.4 * np.sin(speed * time * (1 + np.arange(3)) + random.uniform(0, 6, 3))
    state = path[:60].astype(np.float32)
    command = (path[lag : lag + 60] + offset + noise * random.normal(size=(60, 3))).astype(np.float32)
    pairs().check_targets(state, command)


def test_an_arm_that_stands_still_commands_no_changes(foreign: Foreign) -> None:
    foreign.state = np.full((ROWS, 3), 0.5, np.float32)
    foreign.action = np.zeros((ROWS, 3), np.float32)
    assert np.array_equal(foreign.read()[0].command, foreign.action)


@pytest.mark.parametrize(
    ("names", "scale", "note"),
    [
        (JOINTS, 90.0, "has values beyond two turns (degrees?) where rad are expected"),
        (["x", "y", "roll"], 1.0, "has poses where joint positions in rad are expected"),
        (["arm.x", "arm.qw", "gripper"], 1.0, "has poses where joint positions in rad are expected"),
        (["shoulder_pan", "wrist_roll", "gripper"], 1.0, None),
        (["left_shoulder.roll", "left_shoulder.pitch", "gripper"], 1.0, None),
    ],
)
def test_units_are_warned_about(foreign: Foreign, names: list[str], scale: float, note: str | None) -> None:
    foreign.names = dict.fromkeys(foreign.names, names)
    foreign.state, foreign.action = foreign.state * np.float32(scale), foreign.action * np.float32(scale)
    assert list(foreign.read()[2]) == ([note] if note else [])


def test_grippers_of_the_convention_s_names_are_brought_to_it(foreign: Foreign) -> None:
    foreign.names = {key: ["j0", "left_gripper", "right_gripper"] for key in foreign.names}
    closing = np.linspace(0, 1, ROWS, dtype=np.float32)[:, None].repeat(2, axis=1)
    foreign.state = np.hstack([foreign.state[:, :1], 35 + 85 * closing])
    foreign.action = np.hstack([foreign.action[:, :1], closing])
    episode, _, notes = foreign.read()
    assert np.allclose(episode.position[:, 1:], closing, atol=1e-6) and notes == {}
    assert np.allclose(episode.command[:, 1:], closing)
    assert np.abs(episode.velocity[:, 1:]).max() < 2


def test_a_gripper_of_another_name_is_warned_about(foreign: Foreign) -> None:
    foreign.names = {key: ["j0", "j1", "gripper"] for key in foreign.names}
    foreign.state[:, 2] *= 100
    assert list(foreign.read()[2]) == ["has a gripper whose state and action differ in unit"]


@pytest.mark.parametrize(
    "feature",
    [
        {"info": {"is_depth_map": True}},
        {"info": {"video.is_depth_map": True}},
        {"video_info": {"video.is_depth_map": True}},
        {"is_depth_map": True},
        {"info": {"video.pix_fmt": "gray12le"}},
    ],
)
def test_depth_is_known_by_its_marker(foreign: Foreign, feature: Mapping[str, Any]) -> None:
    foreign.features = {"observation.images.range": {"dtype": "video", "shape": [*SIZE, 3], **feature}}
    episode, _, notes = foreign.read()
    assert list(episode.cameras) == ["front"]
    assert notes == {"has depth pictures, which are left out": 1}


def png(picture: np.ndarray, form: str) -> bytes:
    context: Any = av.CodecContext.create("png", "w")
    context.height, context.width, context.pix_fmt, context.time_base = (
        *picture.shape[:2],
        form,
        Fraction(1, FPS),
    )
    frame = av.VideoFrame.from_ndarray(picture, format=form)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def test_pictures_of_16_bits_in_a_table_are_depth_and_of_8_bits_are_not(foreign: Foreign) -> None:
    values = {
        "observation.images.far": png(np.full(SIZE, 1500, np.uint16), "gray16be"),
        "observation.images.side": png(np.full((*SIZE, 3), 7, np.uint8), "rgb24"),
    }
    foreign.features = {key: {"dtype": "image", "shape": [*SIZE, 3]} for key in values}
    foreign.columns = {key: [{"bytes": data, "path": None}] * ROWS for key, data in values.items()}
    episode, _, notes = foreign.read()
    assert set(episode.cameras) == {"front", "side"}
    assert notes == {"has depth pictures, which are left out": 1}


def test_states_and_actions_under_other_keys_are_named_by_options(
    foreign: Foreign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = foreign.write()
    info = json.loads((home / "meta/info.json").read_text())
    path = home / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path)
    info["features"]["actions"] = info["features"].pop("action")
    state = info["features"].pop("observation.state")
    for key, part, names in (("arm", slice(0, 2), JOINTS[:2]), ("hand", slice(2, 3), None)):
        info["features"][f"state.{key}"] = {**state, "shape": [len(range(3)[part])], "names": names}
        values = [row[part] if key == "arm" else row[2] for row in table["observation.state"].to_pylist()]
        table = table.append_column(f"state.{key}", pa.array(values))
    info["features"]["state.hand"]["names"] = ["j2"]
    table = table.rename_columns({"action": "actions"}).drop_columns(["observation.state"])
    (home / "meta/info.json").write_text(json.dumps(info))
    pq.write_table(table, path)
    assert main(["data", "inspect", str(home)]) == 2
    said = capsys.readouterr().err
    assert (
        "describes no observation.state; of numbers it has actions (3), state.arm (2), state.hand (1)" in said
    )
    assert "--state-key KEY" in said
    keys = ["--state-key", "state.arm,state.hand", "--action-key", "actions"]
    assert main(["data", "inspect", str(home), *keys, "--json"]) == 0
    episode, _, _ = foreign.read(state=("state.arm", "state.hand"), action=("actions",))
    assert np.array_equal(episode.position, foreign.state)
    assert np.array_equal(episode.command, foreign.action)


def test_a_task_that_only_the_rows_name_is_found(foreign: Foreign) -> None:
    foreign.tasks = []
    assert foreign.read()[0].instruction == "by its index"


def test_rows_beyond_the_pictures_of_an_episode_do_not_show_the_next_one(
    copied: Callable[[str], Path],
) -> None:
    path = copied("lerobot_v3") / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    for key in list(rows[0]):
        if key.endswith("to_timestamp"):
            rows[0][key] -= 2 / 30
    pq.write_table(pa.Table.from_pylist(rows), path)
    source = open_source([path.parents[3]])
    assert [episode.name for episode in source.episodes()] == ["episode_000001", "episode_000002"]
    assert list(source.skips.counts) == ["has a video that is shorter than its joint states"]


@pytest.mark.parametrize("group", [1, 5, 12, 36])
def test_every_row_group_is_decoded_once(
    copied: Callable[[str], Path], group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copied("lerobot_v3")
    before = [(one.position, one.command) for one in open_source([home]).episodes()]
    path = home / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=group)
    decoded: list[int] = []

    class Counting(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
        def read_row_group(self, index: int, **options: Any) -> Any:
            decoded.append(index)
            return super().read_row_group(index, **options)

    monkeypatch.setattr(pq, "ParquetFile", Counting)
    source = open_source([home])
    source.gripper_scales()
    decoded.clear()
    after = [(one.position, one.command) for one in source.episodes()]
    assert all(
        np.array_equal(one, other)
        for a, b in zip(before, after, strict=True)
        for one, other in zip(a, b, strict=True)
    )
    # A group that two episodes share is kept; the survey of the grippers left the last one open.
    assert len(decoded) <= -(-36 // group) and len(set(decoded)) == len(decoded)


def test_every_refused_episode_is_listed_with_its_reason(
    copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = copied("lerobot_v2")
    for index in (0, 2):
        path = home / f"data/chunk-000/episode_{index:06d}.parquet"
        table = pq.read_table(path)
        place = table.schema.get_field_index("timestamp")
        pq.write_table(table.set_column(place, "timestamp", pa.array(np.arange(12) / 25)), path)
    out = tmp_path / "out"
    assert main(["data", "convert", str(home), "--out", str(out), "--codec", "h264"]) == 0
    said = capsys.readouterr().out
    for index in (0, 2):
        assert (
            f"left out: episode_{index:06d}: has stamps that do not fit fps 30 (timestamp is 0 s in row 0"
            in said
        )
    kept = json.loads((out / "meta/rlt_ros.json").read_text())
    assert len(kept["skipped"]["examples"]) == 2
