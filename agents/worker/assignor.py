"""Assigns partitions to workers: shares differ by at most one, and as few partitions as possible
move.

Faust's own assignor reserves room for standby copies, which do not exist here, and gives four
partitions to three workers as two, two and none; without that room it moves partitions although no
worker joined or left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from faust.assignor import PartitionAssignor
from faust.assignor.client_assignment import ClientAssignment


class EvenAssignor(PartitionAssignor):
    """Gives each member the same partitions of all its topics; runs in the leader of the group."""

    def assign(
        self,
        cluster: ClusterMetadata,
        member_metadata: Mapping[str, ConsumerProtocolMemberMetadata],
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assignments by member id."""
        client_metadata = {
            member: self._get_client_metadata(metadata)
            for member, metadata in member_metadata.items()
        }
        self._update_member_urls(client_metadata)
        topics = {topic for metadata in member_metadata.values() for topic in metadata.subscription}
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        # Members of another program have another subscription. They refuse to start, but until then
        # they must not get partitions that only this program can read.
        owned: dict[frozenset[str], dict[str, set[int]]] = {}
        for member, client in client_metadata.items():
            subscription = frozenset(member_metadata[member].subscription)
            owned.setdefault(subscription, {})[member] = {
                tp.partition for tp in client.assignment.active_tps
            }
        shares: dict[str, list[int]] = {}
        for subscription, of_members in owned.items():
            shares |= share_out(
                of_members, max((counts[topic] for topic in subscription), default=0)
            )
        assignments = {}
        for member, metadata in member_metadata.items():
            active = {
                topic: [number for number in shares[member] if number < counts[topic]]
                for topic in metadata.subscription
            }
            assignments[member] = ClientAssignment(actives=active, standbys={})
        return dict(self._protocol_assignments(assignments, {}, {}, dict.fromkeys(topics, 0)))


def share_out(owned: Mapping[str, Iterable[int]], partitions: int) -> dict[str, list[int]]:
    """Share partitions 0 to `partitions` - 1 out among members.

    Parameters
    ----------
    owned
        Partitions that each member reports as its own so far; at least one member. If several
        report the same one (one of them was shut out of the group meanwhile), only one keeps it.
    partitions
        Number of partitions.

    Returns
    -------
    dict
        Sorted partitions of each member.

    Examples
    --------
    >>> share_out({"a": [0, 1], "b": [2, 3], "new": []}, 4)
    {'a': [0, 1], 'b': [2], 'new': [3]}
    """
    free = set(range(partitions))
    kept: dict[str, list[int]] = {}
    for member in sorted(owned):
        kept[member] = sorted(free.intersection(owned[member]))
        free.difference_update(kept[member])
    smaller_size, larger_shares = divmod(partitions, len(kept))
    # Members with most partitions get the larger shares, so that no partition moves needlessly.
    by_size = sorted(kept, key=lambda member: (-len(kept[member]), member))
    sizes = {member: smaller_size + (rank < larger_shares) for rank, member in enumerate(by_size)}
    for member, size in sizes.items():
        free.update(kept[member][size:])
        del kept[member][size:]
    remaining = sorted(free)
    for member in by_size:
        missing = sizes[member] - len(kept[member])
        kept[member] = sorted(kept[member] + remaining[:missing])
        del remaining[:missing]
    return {member: kept[member] for member in owned}
