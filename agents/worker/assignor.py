"""Who gets which partitions: shares that differ by one at most, and as few partitions as possible
that change hands.

Faust's own assignor keeps spare places for standby copies, which there are none of here, and gives
four partitions to three workers as two, two and none; without spare places it takes partitions from
workers although nobody came or went.
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
    """Gives each member the same partitions of all its topics; called in the member that leads the
    group.
    """

    def assign(
        self,
        cluster: ClusterMetadata,
        member_metadata: Mapping[str, ConsumerProtocolMemberMetadata],
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assignments by member id."""
        told = {
            member: self._get_client_metadata(metadata)
            for member, metadata in member_metadata.items()
        }
        self._update_member_urls(told)
        topics = {topic for metadata in member_metadata.values() for topic in metadata.subscription}
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        held = {
            member: {tp.partition for tp in metadata.assignment.active_tps}
            for member, metadata in told.items()
        }
        shares = share_out(held, max(counts.values(), default=0))
        assignments = {}
        for member, metadata in member_metadata.items():
            active = {
                topic: [number for number in shares[member] if number < counts[topic]]
                for topic in metadata.subscription
            }
            assignments[member] = ClientAssignment(actives=active, standbys={})
        return dict(self._protocol_assignments(assignments, {}, {}, dict.fromkeys(topics, 0)))


def share_out(held: Mapping[str, Iterable[int]], partitions: int) -> dict[str, list[int]]:
    """Share partitions 0 to `partitions` - 1 out among members, at least one of them.

    Parameters
    ----------
    held
        What each member says that it had. Of several that say so of a partition, which happens if
        one was shut out meanwhile, one keeps it.

    Returns
    -------
    Sorted partitions of each member.

    Examples
    --------
    >>> share_out({"a": [0, 1], "b": [2, 3], "new": []}, 4)
    {'a': [0, 1], 'b': [2], 'new': [3]}
    """
    free = set(range(partitions))
    kept: dict[str, list[int]] = {}
    for member in sorted(held):
        kept[member] = sorted(free.intersection(held[member]))
        free.difference_update(kept[member])
    least, more = divmod(partitions, len(kept))
    # Who has most keeps the larger share, so that nothing moves that need not.
    by_size = sorted(kept, key=lambda member: (-len(kept[member]), member))
    sizes = {member: least + (place < more) for place, member in enumerate(by_size)}
    for member, size in sizes.items():
        free.update(kept[member][size:])
        del kept[member][size:]
    left = sorted(free)
    for member in by_size:
        wanted = sizes[member] - len(kept[member])
        kept[member] = sorted(kept[member] + left[:wanted])
        del left[:wanted]
    return {member: kept[member] for member in held}
