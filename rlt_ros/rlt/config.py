"""Every hyper-parameter of the online stage, with default, unit, range and where the default comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rlt_ros.rlt.parameters import ConfigError, check, parameter

_PAPER = "arXiv:2604.23073"
_OPEN = "not disclosed in the paper"


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Sizes that robot, token and networks must agree on.

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
        """Read back what :meth:`as_metadata` wrote."""
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
        2, help="A window starts at every so many executed steps.", unit="steps", low=1, source=_PAPER
    )
    gamma: float = parameter(
        0.99,
        help="Discount per control step; the only pressure for speed.",
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
        help="How far the actor may leave the range of the data, as a share of that range, at each side.",
        low=0.0,
        source="ours; room to move faster than the data without leaving what the critics know",
    )
    reference_dropout: float = parameter(
        0.5,
        help="Share of samples whose reference is hidden from the actor's input while training.",
        low=0.0,
        high=1.0,
        source=f"{_PAPER}, section on the actor",
    )
    human_reference: str = parameter(
        "replace",
        help="On steps that a human commanded: `replace` puts the human action in the place of the reference "
        "everywhere, `keep` leaves the VLA's chunk as the actor's input and clones the human action.",
        choices=("replace", "keep"),
        source=_PAPER,
    )

    learning_rate: float = parameter(
        3e-4,
        help="Adam step size of actor and critics, constant.",
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
    critic_updates: int = parameter(2, help="Critic steps for one actor step.", low=1, source=_PAPER)
    tau: float = parameter(
        0.005,
        help="How far the target networks move for each critic step.",
        low=0.0,
        high=1.0,
        source=f"{_OPEN}; TD3, arXiv:1802.09477",
    )
    grad_clip: float = parameter(
        10.0,
        help="Largest gradient norm, for each optimiser by itself.",
        low=0.0,
        source=f"{_OPEN}; public versions",
    )
    return_low: float = parameter(
        0.0,
        help="Smallest discounted return there can be; TD targets are kept above it.",
        source="ours; 0 at failure",
    )
    return_high: float = parameter(
        1.0,
        help="Greatest discounted return there can be; TD targets are kept below it, so that values cannot run away.",
        source="ours; the only reward is 1 at success",
    )
    target_actor: bool = parameter(
        False,
        help="Take the next action from a slowly moving copy of the actor instead of the actor itself.",
        source=f"{_PAPER} draws it from the current policy",
    )
    target_noise_clip: float = parameter(
        0.0,
        help="Largest deviation of the next action from the policy's mean; 0 leaves the Gaussian whole.",
        unit="policy units",
        low=0.0,
        source=f"{_PAPER} takes the expectation over the policy; TD3 clips",
    )
    actor_q: str = parameter(
        "mean",
        help="Which value the actor climbs: mean, min or first of the twin critics.",
        choices=("mean", "min", "first"),
        source=f"{_OPEN}; the mean has the least noise, the min stays in the target",
    )

    beta: float = parameter(
        0.008,
        help="Weight of the pull towards the reference, on the sum of squares over the chunk.",
        low=0.0,
        source=f"{_OPEN}; .004 to .02 learned in simulation",
    )
    beta_opening: float = parameter(
        50.0,
        help="Factor on beta when the actor takes over; it falls to 1 over `beta_ramp`. While the critics know the "
        "base policy's actions only, what they promise for others is not to be trusted.",
        low=1.0,
        source="ours; without it the success rate fell by 50 points after take-over in simulation",
    )
    beta_ramp: float = parameter(
        3000.0,
        help="Critic updates after which that factor has fallen by e.",
        unit="updates",
        low=1.0,
        source="ours; 24 s of robot time at `utd` 5",
    )
    beta_mode: str = parameter(
        "fixed",
        help="`fixed`; `disagreement`: per sample, stronger where the critics disagree more than usual; `success`: "
        "stronger while the policy succeeds less often than the base, weaker, which makes it faster, while it succeeds "
        "in more than 90 %; what a human helped with is no success.",
        choices=("fixed", "disagreement", "success"),
        source="the paper's is fixed; the others are ours",
    )
    beta_span: float = parameter(
        4.0,
        help="Largest factor by which an adaptive beta leaves `beta`, up or down.",
        low=1.0,
        source="ours",
    )

    warmup_episodes: int = parameter(
        20,
        help="Episodes that the base VLA drives before learning.",
        unit="episodes",
        low=0,
        source="our insertion study",
    )
    warmup_updates: int = parameter(
        2000,
        help="Critic steps on the base policy while the actor clones the reference, before it takes over.",
        unit="updates",
        low=0,
        source="our insertion study",
    )
    utd: float = parameter(
        5.0,
        help="Critic steps owed for each new row in the replay.",
        unit="updates/row",
        low=0.0,
        source=_PAPER,
    )
    max_updates_per_cycle: int = parameter(
        1000,
        help="Critic steps paid in one go; the rest of the debt waits.",
        unit="updates",
        low=1,
        source="ours",
    )
    min_rows: int = parameter(
        256,
        help="Rows that the replay must hold before learning begins.",
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
        help="Rows that the replay holds before it overwrites.",
        unit="rows",
        low=1,
        source="public versions",
    )
    z_storage: str = parameter(
        "float16",
        help="Type in which the replay keeps tokens.",
        choices=("float16", "bfloat16", "float32"),
        source="ours; half the bytes of float32, and three digits more than bfloat16's two",
    )
    compute: str = parameter(
        "auto",
        help="Type of the matrix products; weights are kept in float32. `auto` takes bfloat16 where the "
        "processor has it.",
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
