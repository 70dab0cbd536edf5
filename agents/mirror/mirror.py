"""The content of a mirror in Redis: written in guarded batches, read and replaced as a whole."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec
from msgspec import Struct

from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.guarded_write import CONFIRM, WRITE
from driftline.agents.mirror.keys import TYPES, Keys
from driftline.agents.mirror.server import Server
from driftline.agents.mirror.writes import Write
from driftline.schemas.settings import Config

if TYPE_CHECKING:
    from redis import Redis

FORMAT: Final = "1"
"""Layout of the keys; a mirror of another one is made anew."""
MOST_WRITES: Final = 100
"""Writes of one call of the script: Redis does nothing else meanwhile."""
_KEYS_AT_ONCE: Final = 1_000
_ATTEMPTS: Final = 10

_POSITION: Final = "position:"
_TOPIC_ID: Final = "topic_id:"


class Positions(NamedTuple):
    """How far topics have been mirrored.

    Attributes
    ----------
    offsets
        Next offset by topic, without prefix, and partition.
    topic_ids
        Id of each topic in which they count.
    """

    offsets: dict[tuple[str, int], int]
    topic_ids: dict[str, str]

    def is_ahead_of(self, other: Positions) -> bool:
        """Whether a partition of the same topic has been mirrored further than in `other`."""
        return any(
            self.topic_ids.get(topic) == other.topic_ids.get(topic)
            and offset > other.offsets.get((topic, partition), 0)
            for (topic, partition), offset in self.offsets.items()
        )


class Batch(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Everything that a partition changes from one offset (included) to another (excluded)."""

    topic: str
    partition: int
    topic_id: str
    from_: int
    to: int
    writes: Sequence[Write]
    format: str = FORMAT

    def parts(self) -> list[Batch]:
        """Batches of at most `MOST_WRITES` writes. One ends where the next write stands: what has
        the same offset may follow.
        """
        starts = range(0, max(1, len(self.writes)), MOST_WRITES)
        ends = [self.writes[start].offset for start in starts[1:]]
        froms = [self.from_, *ends]
        return [
            msgspec.structs.replace(
                self, from_=from_, to=to, writes=self.writes[start : start + MOST_WRITES]
            )
            for start, from_, to in zip(starts, froms, [*ends, self.to], strict=True)
        ]


class NotAccepted(Exception):
    """The mirror does not hold what comes before a batch, or is further than what should replace
    it: another worker writes to it, or it was emptied.
    """


class Content(NamedTuple):
    """The keys of a mirror.

    Attributes
    ----------
    hashes
        Fields by key.
    series
        Members and scores of each sorted set, by key.
    foreign
        By key of the mirror that holds another kind of value, or has no known kind, what it holds.
    """

    hashes: dict[str, dict[str, str]]
    series: dict[str, dict[str, int]]
    foreign: dict[str, str]


class Mirror:
    """A mirror in Redis.

    Parameters
    ----------
    server
        Where it is.
    keys
        Its keys.
    changes
        About how many changes its stream keeps.
    """

    def __init__(self, server: Server, keys: Keys, changes: int) -> None:
        self.server = server
        self.keys = keys
        self._changes = changes

    def now_ms(self) -> int:
        """The server's time, in ms since the epoch.

        Raises
        ------
        MirrorFault
            As all methods: if Redis does not do what it is asked.
        """
        seconds, micros = self._ask(lambda client: client.time())
        return int(seconds) * 1000 + int(micros) // 1000

    def positions(self) -> Positions | None:
        """How far it has come; None if there is no mirror, or one of another format."""
        return self._ask(lambda client: _positions(client, self.keys))

    def write(self, batches: Iterable[Batch]) -> int:
        """Write batches in their order, in one pipeline; returns how many writes were new.

        Raises
        ------
        NotAccepted
            If a batch was refused; those before it are written.
        """
        parts = [part for batch in batches for part in batch.parts()]
        if not parts:
            return 0
        encoded = [msgspec.json.encode(part) for part in parts]

        def question(client: Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for each in encoded:
                self._call(
                    pipe,
                    _SCRIPT_OF_WRITE,
                    [self.keys.mirror, self.keys.changes],
                    [each, self._changes],
                )
            return pipe.execute(raise_on_error=True)

        answers = self._with_scripts(question)
        if -1 in answers:
            raise NotAccepted("the mirror lacks what comes before a batch")
        return sum(answers)

    def confirm(self, positions: Positions) -> bool:
        """Note that the mirror holds all that the topics hold; False if it is not at these
        positions.
        """
        fields = [each for pair in _fields_of(positions).items() for each in pair]

        def question(client: Redis) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            self._call(pipe, _SCRIPT_OF_CONFIRM, [self.keys.mirror, self.keys.confirmed_at], fields)
            return pipe.execute()

        return self._with_scripts(question) == [1]

    def content(self) -> Content:
        """All keys below the prefix."""
        return self._ask(lambda client: _content(client, self.keys))

    def replace(
        self, documents: Documents, positions: Positions, *, is_behind: bool = False
    ) -> None:
        """Put this content in place of all there is, in one step: no reader sees a part of it.

        Parameters
        ----------
        is_behind
            Whether the positions may be before those of the mirror: its topics have lost records.

        Raises
        ------
        NotAccepted
            If the mirror has come further than these positions.
        """
        self._ask(lambda client: self._replace(client, documents, positions, is_behind))

    def _replace(
        self, client: Redis, documents: Documents, positions: Positions, is_behind: bool
    ) -> None:
        from redis.exceptions import WatchError

        keys = self.keys
        for _ in range(_ATTEMPTS):
            with client.pipeline(transaction=True) as pipe:
                # Whoever writes to the mirror changes this key.
                pipe.watch(keys.mirror)
                known = _positions(client, keys)
                if known is not None and not is_behind and known.is_ahead_of(positions):
                    raise NotAccepted("the mirror is further than what should replace it")
                there = [key for key in _keys(client, keys) if key != keys.changes]
                seconds, micros = client.time()
                now_ms = int(seconds) * 1000 + int(micros) // 1000
                is_stream = client.type(keys.changes) in ("stream", "none")
                pipe.multi()
                for at in range(0, len(there), _KEYS_AT_ONCE):
                    pipe.unlink(*there[at : at + _KEYS_AT_ONCE])
                if not is_stream:
                    pipe.unlink(keys.changes)
                expiries = documents.expiries(now_ms)
                for key, fields in documents.hashes(now_ms):
                    pipe.hset(key, mapping=cast(Any, fields))
                    if key in expiries:
                        pipe.pexpireat(key, expiries[key])
                for key, members in documents.series(now_ms).items():
                    pipe.zadd(key, members)
                    pipe.pexpireat(key, max(members.values()))
                head: Any = {**_fields_of(positions), "rebuilt_at_ms": str(now_ms)}
                pipe.hset(keys.mirror, mapping=head)
                pipe.set(keys.confirmed_at, now_ms)
                rebuilt: Any = {"kind": "mirror", "key": keys.mirror, "what": "rebuilt"}
                pipe.xadd(keys.changes, rebuilt, maxlen=self._changes, approximate=True)
                try:
                    pipe.execute()
                except WatchError:
                    continue
                return
        raise NotAccepted("the mirror was written to at every attempt to replace it")

    def _ask(self, question: Callable[[Redis], Any]) -> Any:
        return self.server.ask(question)

    def _call(
        self, pipe: Any, script: _Script, keys: Sequence[str], arguments: Sequence[Any]
    ) -> None:
        pipe.evalsha(script.sha, len(keys), *keys, *arguments)

    def _with_scripts(self, question: Callable[[Redis], list[Any]]) -> list[Any]:
        """The answers; loads the scripts where the server has forgotten them."""

        def attempt(client: Redis) -> list[Any]:
            from redis.exceptions import NoScriptError

            try:
                return question(client)
            except NoScriptError:
                for script in (_SCRIPT_OF_WRITE, _SCRIPT_OF_CONFIRM):
                    client.script_load(script.text)
                return question(client)

        answers: list[Any] = self._ask(attempt)
        return answers


def mirror_of(config: Config) -> Mirror:
    """The mirror that a configuration names.

    Raises
    ------
    ConfigError, MissingExtra
        As `Server`.
    """
    return Mirror(Server(config), Keys.of(config), config.redis.changes)


class _Script(NamedTuple):
    text: str
    sha: str


def _script(text: str) -> _Script:
    # The name that Redis gives to a script.
    return _Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _lua(names: Iterable[str]) -> str:
    return "{ " + ", ".join(f"'{name}'" for name in names) + " }"


_MODEL_FIELDS: Final = (
    "revision",
    "versions",
    "champion",
    "threshold",
    "configuration",
    "deployed_at",
)
_LABEL_FIELDS: Final = ("labels_revision", "labels", "positive_label")
_SCRIPT_OF_WRITE: Final = _script(
    WRITE.replace("MODEL_FIELDS", _lua(_MODEL_FIELDS)).replace("LABEL_FIELDS", _lua(_LABEL_FIELDS))
)
_SCRIPT_OF_CONFIRM: Final = _script(CONFIRM)


def _fields_of(positions: Positions) -> dict[str, str]:
    return {
        "format": FORMAT,
        **{f"{_TOPIC_ID}{topic}": id_ for topic, id_ in positions.topic_ids.items()},
        **{
            f"{_POSITION}{topic}/{partition}": str(offset)
            for (topic, partition), offset in positions.offsets.items()
        },
    }


def _positions(client: Redis, keys: Keys) -> Positions | None:
    if client.type(keys.mirror) != "hash":
        return None
    fields: Any = client.hgetall(keys.mirror)
    if fields.get("format") != FORMAT:
        return None
    offsets: dict[tuple[str, int], int] = {}
    topic_ids: dict[str, str] = {}
    for name, value in fields.items():
        if name.startswith(_TOPIC_ID):
            topic_ids[name.removeprefix(_TOPIC_ID)] = value
        elif name.startswith(_POSITION):
            topic, _, partition = name.removeprefix(_POSITION).rpartition("/")
            if not (partition.isdecimal() and value.isdecimal()):
                return None
            offsets[topic, int(partition)] = int(value)
    return Positions(offsets, topic_ids)


def _keys(client: Redis, keys: Keys) -> list[str]:
    """All keys below the prefix, each once; no letter of a prefix is special in a pattern."""
    return sorted(set(client.scan_iter(f"{keys.prefix}:*", count=_KEYS_AT_ONCE)))


def _content(client: Redis, keys: Keys) -> Content:
    there = _keys(client, keys)
    found = Content({}, {}, {})
    for at in range(0, len(there), _KEYS_AT_ONCE):
        names = there[at : at + _KEYS_AT_ONCE]
        pipe = client.pipeline(transaction=False)
        for key in names:
            pipe.type(key)
        kept = []
        for key, type_ in zip(names, pipe.execute(), strict=True):
            kind = keys.kind_of(key)
            if type_ == "none":
                continue  # expired meanwhile
            if kind is None or TYPES[kind] != type_:
                found.foreign[key] = type_
            elif type_ in ("hash", "zset") and kind != "mirror":
                kept.append((key, type_))
        pipe = client.pipeline(transaction=False)
        for key, type_ in kept:
            if type_ == "hash":
                pipe.hgetall(key)
            else:
                pipe.zrange(key, 0, -1, withscores=True)
        for (key, type_), value in zip(kept, pipe.execute(), strict=True):
            if value and type_ == "hash":
                found.hashes[key] = value
            elif value and all(math.isfinite(score) for _, score in value):
                found.series[key] = {member: int(score) for member, score in value}
            elif value:
                found.foreign[key] = "zset of other scores"
    return found
