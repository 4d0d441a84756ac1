"""Hyper-parameters of the online stage, each with default, unit, range and the source of its default."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rlt_ros.store.parameters import ConfigError, check, parameter

_PAPER = "arXiv:2604.23073"
_OPEN = "not disclosed in the paper"


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Sizes shared by robot, token and networks.

    Attributes:
        z_dim: Z, width of the RL token.
        proprio_dim: P, joint positions and velocities.
        chunk: C, control steps in one action chunk.
        action_dim: A, commanded joints.
    """

    z_dim: int = parameter(dataclasses.MISSING, help="Width of the RL token.", low=1)
    proprio_dim: int = parameter(dataclasses.MISSING, help="Joint positions and velocities.", low=1)
    chunk: int = parameter(
        dataclasses.MISSING, help="Control steps in one action chunk.", unit="steps", low=1
    )
    action_dim: int = parameter(dataclasses.MISSING, help="Commanded joints.", low=1)

    def __post_init__(self) -> None:
        check(self)

    def as_metadata(self) -> dict[str, str]:
        """The four sizes as ``shapes.<name>`` entries for a file's metadata."""
        return {f"shapes.{name}": str(size) for name, size in dataclasses.asdict(self).items()}

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> Shapes:
        """Inverse of :meth:`as_metadata`."""
        try:
            return Shapes(
                **{field.name: int(metadata[f"shapes.{field.name}"]) for field in dataclasses.fields(Shapes)}
            )
        except (KeyError, ValueError) as error:
            raise ConfigError(f"the metadata holds no usable shapes ({error})") from None


@dataclasses.dataclass(frozen=True)
class RLTConfig:
    """Stage 2: windows, replay, chunk actor-critic and its pace.

    ``beta`` multiplies the *sum* of squared differences over the valid steps and all action dimensions, in
    policy units. A mean over a chunk of 10 steps and 7 joints would need a value 70 times as large.
    """

    chunk: int = parameter(
        10, help="Control steps that one actor output spans.", unit="steps", low=1, source=_PAPER
    )
    stride: int = parameter(
        2, help="Executed steps between the starts of two windows.", unit="steps", low=1, source=_PAPER
    )
    gamma: float = parameter(
        0.99,
        help="Discount per control step, the only incentive for speed.",
        low=0.0,
        high=1.0,
        source=f"{_OPEN}; .99 learned where .998 did not, in our insertion study",
    )

    hidden: tuple[int, ...] = parameter(
        (256, 256),
        help="Widths of the hidden layers of actor and critics.",
        low=1,
        source=f"{_PAPER}, appendix",
    )
    sigma: float = parameter(
        0.1,
        help="Standard deviation of the policy.",
        unit="policy units",
        low=0.0,
        source=f"{_OPEN} beyond 'small and fixed'; .05 to .15 learned in our insertion study",
    )
    bound_margin: float = parameter(
        0.5,
        help="Margin of the actor's output beyond the range of the data, at each side, as a share of that range.",
        low=0.0,
        source="ours; room to move faster than the data within the region that the critics know",
    )
    reference_dropout: float = parameter(
        0.5,
        help="Share of training samples whose reference is hidden from the actor.",
        low=0.0,
        high=1.0,
        source=f"{_PAPER}, section on the actor",
    )
    human_reference: str = parameter(
        "replace",
        help="Reference on steps that a human commanded: `replace` uses the human action as input and as target of "
        "cloning, `keep` leaves the VLA's chunk as the actor's input and clones the human action.",
        choices=("replace", "keep"),
        source=_PAPER,
    )

    learning_rate: float = parameter(
        3e-4,
        help="Constant Adam learning rate of actor and critics.",
        low=0.0,
        source=f"{_OPEN}; common to public versions",
    )
    batch_size: int = parameter(
        128,
        help="Rows of one gradient step.",
        unit="rows",
        low=1,
        source=f"{_OPEN}; 256 is common in public versions, 128 halves the time of an update",
    )
    critic_updates: int = parameter(2, help="Critic steps per actor step.", low=1, source=_PAPER)
    tau: float = parameter(
        0.005,
        help="Step of the target networks towards the critics per critic step.",
        low=0.0,
        high=1.0,
        source=f"{_OPEN}; TD3, arXiv:1802.09477",
    )
    grad_clip: float = parameter(
        10.0,
        help="Largest gradient norm of each optimiser.",
        low=0.0,
        source=f"{_OPEN}; public versions",
    )
    return_low: float = parameter(
        0.0,
        help="Smallest possible discounted return, the lower bound of TD targets.",
        source="ours; 0 at failure",
    )
    return_high: float = parameter(
        1.0,
        help="Greatest possible discounted return, the upper bound of TD targets, which keeps values from diverging.",
        source="ours; the only reward is 1 at success",
    )
    target_actor: bool = parameter(
        False,
        help="Next actions in TD targets come from a slowly moving copy of the actor instead of the actor.",
        source=f"{_PAPER} draws it from the current policy",
    )
    target_noise_clip: float = parameter(
        0.0,
        help="Largest deviation of the next action from the policy's mean; 0 disables clipping.",
        unit="policy units",
        low=0.0,
        source=f"{_PAPER} takes the expectation over the policy; TD3 clips",
    )
    actor_q: str = parameter(
        "mean",
        help="Value that the actor maximises: mean, min or first of the twin critics.",
        choices=("mean", "min", "first"),
        source=f"{_OPEN}; the mean has the least noise, the min stays in the target",
    )

    beta: float = parameter(
        0.008,
        help="Weight of the penalty on the distance from the reference, a sum of squares over the chunk.",
        low=0.0,
        source=f"{_OPEN}; .004 to .02 learned in simulation",
    )
    beta_opening: float = parameter(
        50.0,
        help="Factor on beta when the actor takes over; it decays to 1 over `beta_ramp`, because critics trained on "
        "the base policy's actions alone overestimate others.",
        low=1.0,
        source="ours; without it the success rate fell by 50 points after take-over in simulation",
    )
    beta_ramp: float = parameter(
        3000.0,
        help="Critic updates in which `beta_opening` decays by a factor of e.",
        unit="updates",
        low=1.0,
        source="ours; 24 s of robot time at `utd` 5",
    )
    beta_mode: str = parameter(
        "fixed",
        help="Adaptation of beta. `fixed`: none; `disagreement`: per sample, stronger where the critics disagree more "
        "than on average; `success`: stronger while the policy succeeds less often than the base policy, weaker, and "
        "thereby faster, above a success rate of 90 %; episodes with human help count as failures.",
        choices=("fixed", "disagreement", "success"),
        source="the paper's is fixed; the others are ours",
    )
    beta_span: float = parameter(
        4.0,
        help="Largest factor between an adaptive beta and `beta`, up or down.",
        low=1.0,
        source="ours",
    )

    warmup_episodes: int = parameter(
        20,
        help="Episodes of the base VLA before learning begins.",
        unit="episodes",
        low=0,
        source="our insertion study",
    )
    warmup_updates: int = parameter(
        2000,
        help="Critic steps on the base policy, with the actor cloning the reference, before the actor takes over.",
        unit="updates",
        low=0,
        source="our insertion study",
    )
    utd: float = parameter(
        5.0,
        help="Critic steps per new replay row.",
        unit="updates/row",
        low=0.0,
        source=_PAPER,
    )
    max_updates_per_cycle: int = parameter(
        1000,
        help="Largest number of critic steps made without a pause.",
        unit="updates",
        low=1,
        source="ours",
    )
    min_rows: int = parameter(
        256,
        help="Replay rows before learning begins.",
        unit="rows",
        low=1,
        source="ours; one batch",
    )
    min_successes: int = parameter(
        1,
        help="Successful episodes before learning begins.",
        unit="episodes",
        low=0,
        source="ours; a reward to learn from",
    )
    min_failures: int = parameter(
        1,
        help="Failed episodes before learning begins.",
        unit="episodes",
        low=0,
        source="ours; a contrast to learn from",
    )

    replay_capacity: int = parameter(
        200_000,
        help="Rows in the replay; further ones overwrite the oldest.",
        unit="rows",
        low=1,
        source="public versions",
    )
    z_storage: str = parameter(
        "float16",
        help="Type of the tokens in the replay.",
        choices=("float16", "bfloat16", "float32"),
        source="ours; half the bytes of float32, and three digits more than bfloat16's two",
    )
    compute: str = parameter(
        "auto",
        help="Type of the matrix products; weights stay float32. `auto` uses bfloat16 on processors that have it.",
        choices=("auto", "float32", "bfloat16"),
        source="measured here: `rlt-ros bench learner`",
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.hidden:
            raise ConfigError("`hidden` is empty; give at least one layer width, for instance [256, 256]")
        if self.return_low >= self.return_high:
            raise ConfigError(
                f"`return_low` is {self.return_low}; it must be below `return_high`, {self.return_high}"
            )
        if self.stride > self.chunk:
            raise ConfigError(
                f"`stride` is {self.stride}; it must be at most `chunk`, {self.chunk}, to leave no gaps"
            )
