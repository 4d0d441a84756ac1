"""Fit of VLA, robot and task: every misfit is reported with a remedy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_vla import INSTRUCTION, JOINTS, write_tiny_vla
from torch import Tensor

from rlt_ros.cli.main import main
from rlt_ros.robots.profile import RobotProfile, load_profile
from rlt_ros.vla import ObservationBatch, VLAOutput, VLASpec
from rlt_ros.vla.fit import FitResult, MisfitError, compare, require_fit, run_probe, spread_and_cosine
from rlt_ros.vla.frozen import FrozenVLA

ROBOT = "agibot_g1_geniesim"


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> FrozenVLA:
    return write_tiny_vla(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def robot() -> RobotProfile:
    return load_profile(ROBOT)


class Altered:
    """A VLA with some of its answers replaced."""

    def __init__(
        self, frozen: FrozenVLA, *, spec: Mapping[str, object] | None = None, **answers: object
    ) -> None:
        self._vla, self._answers = frozen.vla, answers
        self.spec: VLASpec = dataclasses.replace(frozen.spec, **(spec or {}))  # type: ignore[arg-type]
        self.fingerprint = frozen.vla.fingerprint

    @property
    def action_scale(self) -> Tensor:
        scale = self._answers.get("scale", self._vla.action_scale)
        assert isinstance(scale, Tensor)
        return scale

    def act(self, observations: ObservationBatch, *, generator: torch.Generator) -> VLAOutput:
        seen = self._vla.act(observations, generator=generator)
        return dataclasses.replace(seen, **{k: v for k, v in self._answers.items() if k != "scale"})  # type: ignore[arg-type]

    def embed(self, observations: ObservationBatch) -> tuple[Tensor, Tensor]:
        return self._vla.embed(observations)


def _wrong(results: list[FitResult]) -> dict[str, str]:
    return {result.subject: result.remedy for result in results if not result.fits}


def test_a_vla_and_its_robot_fit(frozen: FrozenVLA, robot: RobotProfile) -> None:
    results = compare(frozen.vla, robot, chunk=10)
    results += run_probe(frozen.vla, robot, INSTRUCTION, frozen.token)
    assert _wrong(results) == {}
    assert {"cameras", "joints", "horizon", "embeddings", "RL token", "reference"} <= {
        f.subject for f in results
    }
    require_fit(frozen.vla, robot, chunk=10, instruction=INSTRUCTION, token=frozen.token)


@pytest.mark.parametrize(
    ("spec", "subject", "remedy"),
    [
        ({"cameras": ("head", "belly")}, "cameras", "no camera belly"),
        ({"action_dim": 6}, "joints", "with the same joints"),
        ({"proprio_dim": 7}, "proprioception", "with the same joints"),
        ({"horizon": 9}, "horizon", "lower `rlt.chunk`"),
    ],
)
def test_shapes_that_differ_are_told(
    frozen: FrozenVLA, robot: RobotProfile, spec: dict[str, object], subject: str, remedy: str
) -> None:
    wrong = _wrong(compare(Altered(frozen, spec=spec), robot, chunk=10))
    assert list(wrong) == [subject]
    assert remedy in wrong[subject]


@pytest.mark.parametrize("unit", [1.5, 1e-7])
def test_an_action_scale_in_another_unit_is_told(frozen: FrozenVLA, robot: RobotProfile, unit: float) -> None:
    scale = frozen.vla.action_scale.clone()
    scale[2] = unit
    wrong = _wrong(compare(Altered(frozen, scale=scale), robot, chunk=10))
    assert robot.joints[2] in wrong["action statistics"]


def test_embeddings_that_do_not_see_are_told(frozen: FrozenVLA, robot: RobotProfile) -> None:
    spec = frozen.spec
    row = torch.randn(1, spec.tokens, spec.embed_dim, generator=torch.Generator().manual_seed(0))
    wrong = _wrong(run_probe(Altered(frozen, embeddings=row.repeat(4, 1, 1)), robot, INSTRUCTION))
    assert "the same for all camera images" in wrong["embeddings"]
    broken = torch.full_like(row, torch.nan).repeat(4, 1, 1)
    wrong = _wrong(run_probe(Altered(frozen, embeddings=broken), robot, INSTRUCTION))
    assert "weights and precision" in wrong["embeddings"]


def test_embeddings_with_a_large_common_part_still_see(frozen: FrozenVLA, robot: RobotProfile) -> None:
    """Cosines of 0.97 to 0.99 are reported for pi0.5, whose tokens carry information all the same."""
    spec = frozen.spec
    random = torch.Generator().manual_seed(0)
    common = torch.randn(1, spec.tokens, spec.embed_dim, generator=random)
    rows = common + 0.1 * torch.randn(4, spec.tokens, spec.embed_dim, generator=random)
    _, cosine = spread_and_cosine(rows.flatten(1))
    assert 0.97 < cosine < 0.995
    assert _wrong(run_probe(Altered(frozen, embeddings=rows), robot, INSTRUCTION)) == {}


def test_a_dead_token_is_told(frozen: FrozenVLA, robot: RobotProfile) -> None:
    wrong = _wrong(
        run_probe(frozen.vla, robot, INSTRUCTION, lambda embeddings, _: torch.ones(len(embeddings), 8))
    )
    assert "the same for all camera images" in wrong["RL token"]


def test_actions_far_from_the_arm_are_told(frozen: FrozenVLA, robot: RobotProfile) -> None:
    chunk = torch.full((4, frozen.spec.horizon, JOINTS), 90.0)
    assert "its units" in _wrong(run_probe(Altered(frozen, chunk=chunk), robot, INSTRUCTION))["reference"]
    assert (
        "weights" in _wrong(run_probe(Altered(frozen, chunk=chunk * np.nan), robot, INSTRUCTION))["reference"]
    )


def test_embeddings_of_another_shape_than_promised_are_told(frozen: FrozenVLA, robot: RobotProfile) -> None:
    wrong = _wrong(run_probe(Altered(frozen, embeddings=torch.randn(4, 3, 5)), robot, INSTRUCTION))
    assert "`spec`" in wrong["embeddings"]


def test_an_instruction_that_it_cannot_read_is_told(frozen: FrozenVLA, robot: RobotProfile) -> None:
    assert "no known word" in _wrong(run_probe(frozen.vla, robot, "xyzzy"))["a pass"]


def test_the_error_is_the_table_of_what_does_not_fit(frozen: FrozenVLA, robot: RobotProfile) -> None:
    odd = Altered(frozen, spec={"cameras": ("belly",), "horizon": 3})
    with pytest.raises(MisfitError, match="belly") as caught:
        require_fit(odd, robot, chunk=10)
    assert str(caught.value).count("\n") == 2
    assert "lower `rlt.chunk`" in str(caught.value)


def test_the_command_prints_the_table_and_its_status_says_whether_it_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_vla(tmp_path / "weights")
    assert main(["vla", "check", str(tmp_path / "weights"), "--robot", ROBOT, "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["fits"]
    assert main(["vla", "check", str(tmp_path / "weights"), "--chunk", "50", "--json"]) == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["subject"] for row in result["findings"] if not row["fits"]] == ["horizon"]
    assert main(["vla", "check", str(tmp_path / "weights"), "--chunk", "50"]) == 1
    assert "horizon: lower `rlt.chunk`" in capsys.readouterr().out
