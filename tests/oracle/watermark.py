"""The watermark of a topic partition, or of a file, row by row.

A row at most an hour ahead of the watermark moves it. A row further ahead waits, one for each id,
with the largest time that came under the id.
When ten votes are together, the watermark goes to the lower median of the waiting times. A waiting
row is a vote, a row that is not ahead takes two votes away, and without votes the waiting rows are
forgotten. Waiting rows that come within an hour of the watermark move it like any other row.
"""

from __future__ import annotations

HOUR = 3_600_000


class Watermark:
    def __init__(self) -> None:
        self.time = 0
        self.waiting: dict[str, int] = {}
        self.votes = 0
        self.copies = 0
        self.forgotten: list[str] = []

    def tick(self, time: int) -> int:
        """The watermark after a tick."""
        if time > self.time:
            self.time = time
            self._follow()
        return self.time

    def row(self, time: int, identity: str) -> int:
        """The watermark after a row."""
        if time - self.time > HOUR:
            if identity in self.waiting:
                self.waiting[identity] = max(time, self.waiting[identity])
                self.copies += 1
                if self.copies > 400:
                    self._forget()
                return self.time
            self.waiting[identity] = time
            self.votes += 1
            if self.votes >= 10:
                self.tick(sorted(self.waiting.values())[(len(self.waiting) - 1) // 2])
                self.votes, self.copies = len(self.waiting), 0
            while len(self.waiting) > 40:
                oldest = next(iter(self.waiting))
                self.forgotten.append(oldest)
                del self.waiting[oldest]
            return self.time
        self.votes = self.votes - 2
        self.tick(time)
        if self.votes <= 0:
            self._forget()
        return self.time

    def _forget(self) -> None:
        self.forgotten += self.waiting
        self.waiting, self.votes, self.copies = {}, 0, 0

    def last(self) -> int:
        """Event time reached if nothing follows."""
        return max([self.time, *(self.waiting.values() if self.follows() else ())])

    def follows(self) -> bool:
        is_near = max(self.waiting.values(), default=0) - self.time <= 24 * HOUR
        return self.votes > 1 or self.time == 0 or is_near

    def _follow(self) -> None:
        while near := {i: t for i, t in self.waiting.items() if t - self.time <= HOUR}:
            self.time = max(self.time, *near.values())
            for identity in near:
                del self.waiting[identity]
            self.votes = max(0, self.votes - len(near))
        if not self.waiting:
            self.votes = self.copies = 0


def keys(rows: list[tuple[int, str]]) -> list[int]:
    """Largest event time so far at each row, given as time and id, without the rows that are
    forgotten in the end, and without copies of a waiting row.
    """
    watermark, counts, waiting_at = Watermark(), [True] * len(rows), dict[str, int]()
    for number, (time, identity) in enumerate(rows):
        was_waiting = identity in watermark.waiting
        known = len(watermark.forgotten)
        before = watermark.time
        watermark.row(time, identity)
        if time - before > HOUR:
            if was_waiting:
                counts[number] = False
            else:
                waiting_at[identity] = number
        for lost in watermark.forgotten[known:]:
            counts[waiting_at[lost]] = False
    if not watermark.follows():
        for lost in watermark.waiting:
            counts[waiting_at[lost]] = False
    largest, found = 0, []
    for (time, _), is_counted in zip(rows, counts, strict=True):
        largest = max(largest, time) if is_counted else largest
        found.append(largest)
    return found
