"""From nothing to a report: pretrain, train, be killed, go on, evaluate. Small, but every part is the real one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rlt_ros.experiments import pretrain
from rlt_ros.experiments.conclusion import conclude
from rlt_ros.experiments.evaluation import evaluate
from rlt_ros.experiments.trainer import train
from rlt_ros.store.lineage import LineageError
from rlt_ros.store.parameters import ConfigError
from rlt_ros.store.stopwatch import Stopwatch
from rlt_ros.store.storage import StorageError

SMALL_VLA = {
    "pretrain": {"tasks": ["charger"], "demonstrations": 3, "held_out": 3, "workers": 1},
    "vla": {"width": 32, "layers": 1, "heads": 2, "stem_width": 4, "head_layers": 1},
    "vla_training": {"steps": 12, "batch": 8, "warmup": 2, "compute": "float32"},
    "token": {
        "z_dim": 16,
        "width": 32,
        "heads": 2,
        "layers": 1,
        "steps": 8,
        "batch": 8,
        "compute": "float32",
    },
}
SMALL_RUN = {
    "rlt": {
        "hidden": [32, 32],
        "batch_size": 16,
        "warmup_episodes": 2,
        "warmup_updates": 20,
        "min_rows": 32,
        "min_successes": 0,
        "min_failures": 0,
        "utd": 0.5,
        "replay_capacity": 2000,
    },
    "run": {
        "start": "critical",
        "checkpoint_every": 1,
        "metrics_every": 10,
        "video_episodes": 1,
        "rolling": 2,
    },
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    pretrain.run(folder, overrides=SMALL_VLA)
    return folder


def _train(weights: Path, out: Path, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "task": "charger",
        "seed": 0,
        "robot_minutes": 0.3,
        "eval_episodes": 2,
        "out": out,
        "vla": str(weights),
        "overrides": SMALL_RUN,
    }
    return train(**(arguments | changes))


@pytest.fixture(scope="module")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "finished"
    _train(weights, out)
    return out


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_a_summary_a_report_and_films(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert {"base", "rlt", "demo", "throughput_ratio", "speed_ratio", "robot_minutes", "takeover_dip"} <= set(
        summary
    )
    assert summary["robot_minutes"] >= 0.3
    assert summary["updates"] > 20
    report = (finished / "report.html").read_text()
    assert "data:video/mp4;base64," in report
    (entry,) = json.loads((finished / "videos" / "films.json").read_text())
    assert [one["policy"] for one in entry["outcomes"]] == ["frozen VLA", "RLT"]
    assert all(
        re.search(r"(success|failure|out of time), \d+\.\d s", one["outcome"]) for one in entry["outcomes"]
    )
    with av.open(str(finished / "videos" / entry["file"])) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    height, width, _ = pictures[0].shape
    left, right = pictures[0][56:, : width // 2], pictures[0][56:, width // 2 :]
    assert width > 2 * height and np.abs(left.astype(int) - right).mean() < 2.0  # the same start
    assert np.ptp(pictures[0][:56]) > 100  # a caption
    phases = {record["phase"] for record in _lines(finished / "episodes.jsonl")}
    assert phases == {"eval_base", "demo", "warmup", "online", "eval_rlt"}


def test_the_same_command_again_only_shows_the_summary(finished: Path, weights: Path) -> None:
    before = (finished / "episodes.jsonl").read_bytes()
    assert _train(weights, finished) == json.loads((finished / "summary.json").read_text())
    assert (finished / "episodes.jsonl").read_bytes() == before


def test_a_finished_run_can_be_evaluated_with_what_it_sees_taken_away(finished: Path) -> None:
    for images in ("true", "blank", "swapped"):
        result = evaluate(finished, episodes=2, policy="rlt", images=images)
        assert result["episodes"] == 2
        assert result["images"] == images


def test_more_minutes_prolong_a_run_and_evaluate_the_final_policy(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = _train(weights, out, robot_minutes=0.2)
    longer = _train(weights, out, robot_minutes=0.4)
    assert longer["robot_minutes"] >= 0.4 > first["robot_minutes"]
    assert longer["updates"] > first["updates"]
    assert longer["rlt"]["episodes"] == 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on_and_loses_no_committed_row(
    weights: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "run"
    script = (
        "import json,sys; from pathlib import Path; from rlt_ros.experiments.trainer import train; "
        "w,o,s=sys.argv[1:]; train(task='charger',seed=0,robot_minutes=5.0,eval_episodes=1,out=Path(o),"
        "vla=w,overrides=json.loads(s))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(weights), str(out), json.dumps(SMALL_RUN)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        # A shell ignores SIGINT for what it runs in the background, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    journal = out / "metrics.jsonl"
    while not (journal.exists() and journal.stat().st_size):  # learning has begun
        assert child.poll() is None, child.stderr.read() if child.stderr else ""
        try:
            child.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    child.send_signal(how)
    child.wait()
    committed = [r for r in _lines(out / "episodes.jsonl") if r["phase"] in ("warmup", "online")]
    summary = _train(
        weights, out, robot_minutes=sum(r["steps"] for r in committed) / 3000 + 0.1, eval_episodes=1
    )
    kept = [r for r in _lines(out / "episodes.jsonl") if r["phase"] in ("warmup", "online")]
    assert kept[: len(committed)] == committed
    assert len({r["episode"] for r in kept}) == len(kept)
    # The debt of every row was paid, before the kill or after.
    assert summary["updates"] >= 20


def test_a_folder_of_the_graph_is_concluded_like_one_of_a_single_process(
    finished: Path, tmp_path: Path
) -> None:
    """The nodes leave settings, episodes, measurements and the learner; the rest is made from these."""
    folder = tmp_path / "graph"
    folder.mkdir()
    for name in ("config.json", "metrics.jsonl", "learner.safetensors"):
        (folder / name).write_bytes((finished / name).read_bytes())
    records = [record for record in _lines(finished / "episodes.jsonl") if record["phase"] != "demo"]
    (folder / "episodes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    conclude(folder, robot_minutes=0.3, stopwatch=Stopwatch(folder))
    graph, single = (json.loads((run / "summary.json").read_text()) for run in (folder, finished))
    assert {**graph, "wall_seconds": 0} == {**single, "wall_seconds": 0}
    assert (folder / "report.html").exists()


def test_other_settings_in_the_same_folder_are_refused(finished: Path, weights: Path) -> None:
    with pytest.raises(ConfigError, match="seed"):
        _train(weights, finished, seed=1)


def test_unknown_settings_are_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="betta"):
        _train(weights, tmp_path, overrides={"rlt": {"betta": 1.0}})
    with pytest.raises(ConfigError, match="section 'rtl'"):
        _train(weights, tmp_path, overrides={"rtl": {}})


def test_a_damaged_checkpoint_is_an_error_and_not_a_fresh_start(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_bytes((finished / "config.json").read_bytes())
    content = (finished / "learner.safetensors").read_bytes()
    (copy / "learner.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageError, match=r"learner\.safetensors"):
        evaluate(copy, episodes=1, policy="rlt")


def test_a_run_is_not_continued_with_other_weights(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "weights"
    pretrain.run(other, seed=1, overrides=SMALL_VLA)
    config = json.loads((finished / "config.json").read_text())
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_text(json.dumps({**config, "vla": str(other)}))
    (copy / "learner.safetensors").write_bytes((finished / "learner.safetensors").read_bytes())
    with pytest.raises(LineageError, match="vla"):
        evaluate(copy, episodes=1, policy="rlt")
