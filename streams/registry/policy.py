"""Policy for recommendations that are applied without a person.

Off unless `[models.X.policy] auto_apply = true`, and then only for a gain that is large and certain
enough. There is no policy yet for who may send commands, or which of them need an approval.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from driftline.schemas.results import Recommendation, RegistryCommand
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import format_time
from driftline.streams.registry.command_params import SYSTEM
from driftline.streams.toml_tables import convert_table


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes that need no person.

    Parameters
    ----------
    auto_apply
        Whether recommended thresholds are set.
    min_gain
        Smallest relative gain for that, as estimated by the recommendation; the lower limit of its
        interval has to be above 0 as well.
    """

    auto_apply: bool = False
    min_gain: Annotated[float, msgspec.Meta(ge=0.0)] = 0.05


def build_policy(config: ModelConfig, where: str | None = None) -> Policy:
    """The policy of a model.

    Raises
    ------
    ValueError
        If the table has an unknown key or a wrong value; the message begins with its path, for
        which `where` replaces the path in `config`.
    """
    return convert_table(config.policy, Policy, where or config.policy_path)


def command_of(recommendation: Recommendation, policy: Policy) -> RegistryCommand | None:
    """The command that applies a recommendation; None where a person has to decide."""
    if (
        not policy.auto_apply
        or recommendation.status != "open"
        or recommendation.action != "set_threshold"
    ):
        return None
    gain = recommendation.evidence.get("relative_gain")
    certain = recommendation.expected.ci is not None and recommendation.expected.ci[0] > 0
    if gain is None or gain < policy.min_gain or not certain:
        return None
    return RegistryCommand(
        command_id=f"recommendation/{recommendation.recommendation_id}",
        command="set_threshold",
        model_name=recommendation.model_name,
        model_version=recommendation.model_version,
        timestamp=format_time(recommendation.at_ms),
        params=dict(recommendation.params),
        requested_by=SYSTEM,
        reason="applied by itself, as the policy allows from a gain of "
        f"{policy.min_gain:.0%}: {recommendation.reason}",
    )
