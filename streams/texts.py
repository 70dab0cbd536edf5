"""What a pane remembers of a text feature: counts of its values, thinned by a stable hash when there are too many.

Values are kept whose 64-bit hash starts with at least `level` zero bits, with the smallest level that leaves at most 1,000 of them; the
total counts all. Which values are kept depends on the multiset alone, so summaries merge in any order. A feature with a level above 0 has
so many values that it is an identifier rather than a category: it is reported as such and not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import xxhash

MAX_VALUES = 1000
MAX_LENGTH = 128
FORMAT = 1


@dataclass(frozen=True, slots=True)
class StringSummary:
    """Counts of texts.

    Parameters
    ----------
    level
        Leading zero bits that the hash of a kept value has at least; 0 means that every value is kept.
    values
        Count by text, at most 1,000 of them. A text longer than 128 characters stands as its start and its hash.
    total
        Number of texts, kept or not.

    Examples
    --------
    >>> summary = StringSummary.of(["red", "blue", "red"])
    >>> summary.values["red"], summary.total, summary.identifier
    (2, 3, False)
    >>> StringSummary.of([f"user-{i}" for i in range(5000)]).identifier
    True
    """

    level: int
    values: Mapping[str, int]
    total: int

    @classmethod
    def of(cls, texts: Iterable[str]) -> StringSummary:
        """The summary of `texts`, repeated or not."""
        counts: dict[str, int] = {}
        for text in texts:
            counts[text] = counts.get(text, 0) + 1
        return cls.of_counts(counts)

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> StringSummary:
        """The summary of texts that occur `counts[text]` times each; a count of 0 is left out."""
        if len(counts) <= MAX_VALUES and all(counts.values()) and max(map(len, counts), default=0) <= MAX_LENGTH:
            return cls(0, dict(counts), sum(counts.values()))
        bounded: dict[str, int] = {}
        for text, count in counts.items():
            if count:
                name = _bounded(text)
                bounded[name] = bounded.get(name, 0) + count
        return _thinned(0, bounded, sum(bounded.values()))

    @property
    def identifier(self) -> bool:
        """Whether there are too many values to keep: an identifier, not a category."""
        return self.level > 0

    def ranked(self) -> list[tuple[str, int]]:
        """Kept texts with their counts, the most frequent first, ties by text."""
        return sorted(self.values.items(), key=lambda item: (-item[1], item[0]))

    def encode(self) -> bytes:
        """MessagePack with a format version; equal summaries give equal bytes."""
        return _ENCODER.encode(_Wire(FORMAT, self.level, self.total, dict(sorted(self.values.items()))))

    @classmethod
    def decode(cls, data: bytes) -> StringSummary:
        """The inverse of `encode`. ValueError for an unknown format version."""
        wire = _DECODER.decode(data)
        if wire.format != FORMAT:
            raise ValueError(f"string summary: format {wire.format}, this release reads format {FORMAT}; rebuild it from the log")
        return cls(wire.level, wire.values, wire.total)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"level": self.level, "values": dict(sorted(self.values.items())), "total": self.total}

    @classmethod
    def from_dict(cls, plain: dict[str, object]) -> StringSummary:
        """The inverse of `to_dict`. msgspec.ValidationError, a ValueError, for other shapes."""
        return msgspec.convert(plain, cls)


def merge_texts(summaries: Sequence[StringSummary]) -> StringSummary:
    """The summary of all texts of all `summaries`; the empty one where there are none.

    Associative and commutative, with the empty summary as identity.

    Examples
    --------
    >>> merge_texts([StringSummary.of(["a", "b"]), StringSummary.of(["a"])]).values["a"]
    2
    """
    filled = [summary for summary in summaries if summary.total]
    if not filled:
        return EMPTY
    if len(filled) == 1:
        return filled[0]
    level = max(summary.level for summary in filled)
    values: dict[str, int] = {}
    for summary in filled:
        coarser = summary.level < level
        for text, count in summary.values.items():
            if coarser and _zero_bits(text) < level:
                continue
            values[text] = values.get(text, 0) + count
    return _thinned(level, values, sum(summary.total for summary in filled))


def _thinned(level: int, values: dict[str, int], total: int) -> StringSummary:
    if len(values) > MAX_VALUES:
        bits = {text: _zero_bits(text) for text in values}
        # Bits in descending order: the value at place MAX_VALUES is the first that must go, and all with as many zero bits go with it.
        level = sorted(bits.values(), reverse=True)[MAX_VALUES] + 1
        values = {text: count for text, count in values.items() if bits[text] >= level}
    return StringSummary(level, values, total)


def _zero_bits(text: str) -> int:
    """Leading zero bits of the text's 64-bit xxHash."""
    return 64 - xxhash.xxh64_intdigest(_octets(text)).bit_length()


def _bounded(text: str) -> str:
    """The text itself, or the start of a long one and its hash, so that state stays small whatever is sent."""
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 17]}~{xxhash.xxh64_hexdigest(_octets(text))}"


def _octets(text: str) -> bytes:
    # JSON can spell half a surrogate pair, which strict UTF-8 refuses.
    return text.encode("utf-8", "surrogatepass")


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    format: int
    level: int
    total: int
    values: dict[str, int]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Wire)
EMPTY = StringSummary(0, {}, 0)
