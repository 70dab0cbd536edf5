"""Which column of a table holds which field of a prediction and of its ground truth, and why.

The caller decides (`--map FIELD=COLUMN`, `--features`, `--drop`), else the column's own name or one
of the common names of other systems, if the values fit. A column "features.age", "segment.plan",
"scores.yes" or "tags.team" is one key of that field; a column named like a configured segment
dimension is that dimension; any other column is a feature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from driftline.agents.recorded.tables.arrow_table import KEYED
from driftline.agents.recorded.tables.column_names import is_nameless, listed, unique_names
from driftline.agents.recorded.tables.field_fits import JUDGED, misfit
from driftline.agents.recorded.tables.table import Column, Kind, Table
from driftline.agents.recorded.tables.table_error import TableError
from driftline.agents.recorded.tables.written_values import ColumnFacts
from driftline.schemas.aliases import ALIASES
from driftline.schemas.times import parse_event_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

NUMBERS: Final = frozenset({"score", "scores", "threshold", "latency_ms", "weight"})
TRUTH_TIME: Final = "label_timestamp"
NEEDED: Final = ("model_name", "model_version", "timestamp")
NEEDED_OF_TRUTHS: Final = ("prediction_id", "label", "timestamp")
OUTPUTS: Final = ("prediction", "score", "scores")
PREDICTION_FIELDS: Final = frozenset(
    {
        *NEEDED,
        *OUTPUTS,
        "prediction_id",
        "threshold",
        "latency_ms",
        "status",
        "environment",
        "variant",
    }
)
TRUTH_FIELDS: Final = frozenset({"label", TRUTH_TIME, "revision", "retracted", "weight", "source"})
_ALIASES: Final = {**ALIASES[GROUND_TRUTH], **ALIASES[PREDICTIONS]}
_FIELDS: Final = (PREDICTION_FIELDS | TRUTH_FIELDS) - {"scores"}
_FIELDS_OF_TRUTHS: Final = (TRUTH_FIELDS - {TRUTH_TIME}) | {"prediction_id", "timestamp"}
KNOWN_NAMES: Final = frozenset({*_FIELDS, *_ALIASES})
"""Names of columns that become a field by themselves."""
# Of a label that the table lacks.
_OF_LABELS: Final = ("weight", "revision", "source")
_MOST_PAIRS: Final = 10_000


class Options(Struct, frozen=True):
    """What the caller says about the columns.

    Attributes
    ----------
    mapping
        Column by field; "=text" is that text in every row.
    features
        Columns that are features, whatever they are called.
    drop
        Columns to leave out.
    segments
        Configured dimensions.
    option
        How the caller passes `mapping`, for messages: "--map", or the name of an argument.
    """

    mapping: Mapping[str, str] = {}
    features: Sequence[str] = ()
    drop: Sequence[str] = ()
    segments: Sequence[str] = ()
    option: str = "--map"

    def map(self, field: str, column: str) -> str:
        """How to map a field to a column, on the command line or in Python."""
        if self.option.startswith("--"):
            # A shell would take blanks, "#" and the like for its own.
            plain = column.isidentifier() or column in ("COLUMN", "=VALUE")
            return (
                f"{self.option} {field}={column}" if plain else f"{self.option} '{field}={column}'"
            )
        return f"{self.option}={{{field!r}: {column!r}}}"

    def drop_column(self, column: str) -> str:
        """How to leave a column out, on the command line or in Python."""
        return f"--drop '{column}'" if self.option.startswith("--") else f"drop=[{column!r}]"


class ColumnUse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a column.

    Attributes
    ----------
    table
        Name of the table.
    column
        Name of the column.
    field
        Field, with its key where it has keys, such as "features.age"; None if it is left out.
    kind
        Kind of the values that the field gets.
    why
        Reason, for people.
    index
        Place of the column in the table, from 0.
    was_written
        Whether its values are texts that have to be converted to `kind`.
    has_comma
        Whether its commas are decimal commas.
    """

    table: str
    column: str
    field: str | None
    kind: Kind
    why: str
    index: int
    was_written: bool = False
    has_comma: bool = False

    @property
    def name(self) -> str:
        """The field without its key."""
        return "" if self.field is None else split_field(self.field)[0]

    @property
    def key(self) -> str | None:
        """The key within the field, None if it has none."""
        return None if self.field is None else split_field(self.field)[1]


class ColumnMapping(Struct, frozen=True):
    """Where each field comes from.

    Attributes
    ----------
    uses
        What became of each column, in the order of the table.
    constants
        Text by field, with its key, of the fields with one value in every row.
    """

    uses: tuple[ColumnUse, ...]
    constants: Mapping[str, str]

    @property
    def used(self) -> list[ColumnUse]:
        """The columns that hold a field."""
        return [use for use in self.uses if use.field is not None]

    def has(self, field: str) -> bool:
        """Whether a column or a constant gives this field."""
        return any(use.name == field for use in self.uses) or any(
            split_field(constant)[0] == field for constant in self.constants
        )


def map_predictions(table: Table, options: Options) -> ColumnMapping:
    """Map the columns of a table of predictions, with or without their labels.

    Reads the table once, to see the values.

    Raises
    ------
    LogError
        If an option names an unknown field or column, a required field has no column, a field has
        two, or the table cannot be read.
    """
    for field, column in options.mapping.items():
        if field not in _FIELDS and not _is_keyed(field):
            known = ", ".join([*sorted(_FIELDS), *(f"{name}.NAME" for name in KEYED)])
            raise TableError(
                f"{options.map(field, column)}: unknown field {field!r}; fields are {known}"
            )
    return _Planned(table, options, of_truths=False).mapping()


def map_truths(table: Table, options: Options) -> ColumnMapping:
    """Map the columns of a table with ground truth alone; columns of no field are left out.

    Raises
    ------
    LogError
        As `map_predictions`.
    """
    for field, column in options.mapping.items():
        if field not in _FIELDS_OF_TRUTHS:
            known = ", ".join(sorted(_FIELDS_OF_TRUTHS))
            raise TableError(
                f"{options.map(field, column)}: unknown field {field!r} of ground truth; "
                f"fields are {known}"
            )
    return _Planned(table, options, of_truths=True).mapping()


class _Place(Struct):
    """A column, and what is planned for it; `is_judged` if its values decide."""

    index: int
    name: str
    column: Column
    field: str | None
    why: str
    is_judged: bool = False


class _Planned:
    """The columns of a table with what their names say, before and after a look at the values."""

    def __init__(self, table: Table, options: Options, *, of_truths: bool) -> None:
        self._table = table
        self._options = options
        self._of_truths = of_truths
        self._constants = {
            field: column[1:] for field, column in options.mapping.items() if column[:1] == "="
        }
        named = {
            column: field
            for field, column in options.mapping.items()
            if field not in self._constants
        }
        headings = [column.name for column in table.columns]
        self._names, dropped = unique_names(
            headings,
            mentioned={*named, *options.features},
            dropped=options.drop,
            table=table.name,
        )
        for column in options.features:
            if column in named:
                raise TableError(
                    f"{table.name}: column {column!r} is named by --features and by "
                    f"{options.map(named[column], column)}; leave one of the two out"
                )
            named[column] = f"features.{column}"
        self._check_named(named)
        self._places = [
            self._dropped(index) if index in dropped else self._placed(index, named)
            for index in range(len(headings))
        ]
        self._prefer_own_names()
        self._check_unique()

    def mapping(self) -> ColumnMapping:
        """The mapping, after one look at the values."""
        facts = self._survey()
        for place in self._places:
            if place.is_judged:
                self._judge(place, facts[place.index])
        self._check_unique()
        self._check_needed()
        has_comma_elsewhere = any(each.has_commas for each in facts.values()) and not any(
            each.has_points for each in facts.values()
        )
        uses = tuple(
            self._use(place, facts.get(place.index), has_comma_elsewhere) for place in self._places
        )
        if not any(use.field is not None for use in uses):
            raise TableError(f"{self._table.name}: no column is used, so its rows have no values")
        return ColumnMapping(uses, self._constants)

    def _check_named(self, named: Mapping[str, str]) -> None:
        for column, field in named.items():
            if column not in self._names:
                twins = [name for name in self._names if name.startswith(f"{column}#")]
                if twins:
                    raise TableError(
                        f"{self._options.map(field, column)}: two columns are called {column!r}; "
                        f"say which one is meant: {listed(twins)}"
                    )
                raise TableError(
                    f"{self._options.map(field, column)}: {self._table.name} has no column "
                    f"{column!r}; it has {listed(self._names)}"
                )

    def _dropped(self, index: int) -> _Place:
        return _Place(index, self._names[index], self._table.columns[index], None, "--drop")

    def _placed(self, index: int, named: Mapping[str, str]) -> _Place:
        """What the name of a column says."""
        column, name = self._table.columns[index], self._names[index]
        place = _Place(index, name, column, None, "")
        if name in named:
            place.field = named[name]
            is_feature = name in self._options.features
            place.why = "--features" if is_feature else self._options.option
            if column.unusable:
                raise TableError(
                    f"{self._options.map(place.field, name)}: column {name!r} of "
                    f"{self._table.name} is {column.unusable}"
                )
        elif column.unusable:
            place.why = f"{column.unusable}"
        elif is_nameless(column.name):
            place.why = (
                f"it has no heading, as an index; to use it, {self._options.map('FIELD', name)}"
            )
        else:
            self._place_by_name(place)
        return place

    def _place_by_name(self, place: _Place) -> None:
        name = place.name
        fields = _FIELDS_OF_TRUTHS if self._of_truths else _FIELDS
        aliases = ALIASES[GROUND_TRUTH] if self._of_truths else _ALIASES
        own = name if name in fields else aliases.get(name)
        # If the mapping names another column for a field, the column of that name is a feature.
        if own is not None and own not in self._options.mapping:
            place.field = own
            place.why = "its name" if own == name else f"a name of {own}"
            place.is_judged = own in JUDGED
        elif self._of_truths:
            place.why = "no field of ground truth"
        elif _is_keyed(name) and name.partition(".")[2]:
            place.field, place.why = name, "its name"
        elif name in self._options.segments:
            place.field, place.why = f"segment.{name}", "a segment of the configuration"
        else:
            place.field, place.why = f"features.{name}", ""

    def _prefer_own_names(self) -> None:
        """Where one column has the name of a field and others have aliases of it, the others are
        features.
        """
        own = {place.name for place in self._places if place.field == place.name}
        for place in self._places:
            if place.field in own and place.why.startswith("a name of"):
                self._make_feature(
                    place, f"column {place.field!r} has the name of the field itself"
                )

    def _make_feature(self, place: _Place, why: str) -> None:
        place.is_judged = False
        place.why = why
        place.field = None if self._of_truths else f"features.{place.name}"

    def _judge(self, place: _Place, facts: ColumnFacts) -> None:
        """Make a column a feature whose values do not fit the field of its name."""
        field = place.field or ""
        why = misfit(field, facts)
        if field == "score" and not any(
            other.field is not None and split_field(other.field)[0] in ("prediction", "scores")
            for other in self._places
        ):
            return  # the only output: decoding says of each value what is wrong with it
        if field in _OF_LABELS and not self._has("label"):
            why = "the table has no labels"
        if field == "threshold" and why is None and not self._is_one_per_version(place):
            why = "a model version has several values of it"
        if why is not None:
            taken = self._options.map(field, place.name)
            self._make_feature(place, f"not the {field}: {why}; {taken} makes it one")

    def _is_one_per_version(self, place: _Place) -> bool:
        """Whether all rows of a model version have one value."""
        keys = [
            other.index
            for other in self._places
            if other.field in ("model_name", "model_version") and other.column.unusable is None
        ]
        pairs: set[tuple[object, ...]] = set()
        for *versions, values in self._table.batches([*keys, place.index]):
            rows = zip(*versions, values, strict=True)
            pairs |= {row for row in rows if row[-1] not in (None, "") and row[-1] == row[-1]}
            if len(pairs) > _MOST_PAIRS:
                return False
        return len({pair[:-1] for pair in pairs}) == len(pairs)

    def _survey(self) -> dict[int, ColumnFacts]:
        """Facts about the columns whose values decide, by index."""
        wanted = {
            place.index: place
            for place in self._places
            if place.field is not None and self._is_surveyed(place)
        }
        facts = {index: ColumnFacts() for index in wanted}
        if not wanted:
            return facts
        for batch in self._table.batches(list(wanted)):
            for (index, place), values in zip(wanted.items(), batch, strict=True):
                of_column, kind = facts[index], place.column.kind
                if kind == "number":
                    of_column.add_numbers(values)
                elif kind == "boolean":
                    texts = ["true" if value else "false" for value in values if value is not None]
                    of_column.add_texts(texts, ranges=place.is_judged)
                elif kind == "time":  # no number, whatever it is inside
                    of_column.add_texts(
                        [None if value is None else f"{value} ms" for value in values], ranges=True
                    )
                elif of_column.odd is None or place.is_judged:
                    of_column.add_texts(values, ranges=place.is_judged)
        return facts

    def _is_surveyed(self, place: _Place) -> bool:
        if place.is_judged:
            return True
        name = split_field(place.field or "")[0]
        return place.column.kind == "written" and (name == "features" or name in NUMBERS)

    def _use(
        self, place: _Place, facts: ColumnFacts | None, has_comma_elsewhere: bool
    ) -> ColumnUse:
        kind, why, has_comma = place.column.kind, place.why, False
        name = split_field(place.field)[0] if place.field is not None else ""
        if facts is not None and name in NUMBERS:
            has_comma = facts.has_commas or (has_comma_elsewhere and facts.unclear is not None)
            if kind != "number" and facts.is_number and (has_comma or facts.unclear is None):
                kind = "number"
        if name == "features" and kind == "written" and facts is not None:
            kind, reason, has_comma = _feature_kind(facts, has_comma_elsewhere)
            why = "; ".join(part for part in (why, reason) if part)
        if has_comma:
            why = "; ".join(part for part in (why, "decimal commas") if part)
        return ColumnUse(
            table=self._table.name,
            column=place.name,
            field=place.field,
            kind=kind,
            why=why,
            index=place.index,
            was_written=place.column.kind in ("written", "text"),
            has_comma=has_comma,
        )

    def _has(self, field: str) -> bool:
        return field in self._fields()

    def _fields(self) -> set[str]:
        fields = {split_field(place.field)[0] for place in self._places if place.field is not None}
        return fields | {split_field(field)[0] for field in self._constants}

    def _check_unique(self) -> None:
        columns: dict[str, str] = {}
        for place in self._places:
            if place.field is None:
                continue
            if place.field in columns:
                both = (
                    f"columns {columns[place.field]!r} and {place.name!r} both hold {place.field}"
                )
                raise TableError(
                    f"{self._table.name}: {both}; name one with "
                    f"{self._options.map(place.field, 'COLUMN')}, or leave one out with --drop"
                )
            columns[place.field] = place.name

    def _check_needed(self) -> None:
        fields, table = self._fields(), self._table.name
        for field in NEEDED_OF_TRUTHS if self._of_truths else NEEDED:
            if field not in fields:
                raise TableError(
                    f"{table}: no column for {field}; name it with "
                    f"{self._options.map(field, 'COLUMN')}, or give every row one value with "
                    f"{self._options.map(field, '=VALUE')} {self._listed()}"
                )
        if not self._of_truths and not fields.intersection(OUTPUTS):
            raise TableError(
                f"{table}: no column for prediction, score or scores.CLASS; "
                f"name one with {self._options.map('score', 'COLUMN')} {self._listed()}"
            )

    def _listed(self) -> str:
        """The columns for a message, with the reasons of those that have none that a name gives."""
        reasons = [
            f"; {place.name} is left out: {place.why}"
            for place in self._places
            if place.field is None and place.column.unusable
        ]
        read_as = f"; read as {self._table.read_as}" if self._table.read_as else ""
        time = next(filter(_is_time, self._names), None)
        no_header = (
            f"; {time!r} is a time: if the first line has values, put one with the names of the "
            "columns in front of it"
            if time is not None
            else ""
        )
        return f"(columns: {listed(self._names)}{read_as}{''.join(reasons)}{no_header})"


def _feature_kind(facts: ColumnFacts, has_comma_elsewhere: bool) -> tuple[Kind, str, bool]:
    """Kind of a feature whose values are written as text, the reason if it is one that a reader
    would not expect, and whether it has decimal commas.
    """
    if not facts.present:
        return "empty", "no value", False
    if facts.is_boolean:
        return "boolean", "", False
    if not facts.is_number:
        reason = facts.why_text()
        return "text", "" if reason.endswith("is no number") else reason, False
    unclear = facts.unclear
    if unclear is not None and not has_comma_elsewhere:
        return "text", f"{unclear!r} has a comma of decimals or of thousands", False
    return "number", "", facts.has_commas or unclear is not None


def left_out(uses: Collection[ColumnUse]) -> Iterator[ColumnUse]:
    """The columns that hold no field."""
    return (use for use in uses if use.field is None)


def _is_keyed(field: str) -> bool:
    name, dot, _ = field.partition(".")
    return name in KEYED and bool(dot)


def split_field(field: str) -> tuple[str, str | None]:
    """Field and key of "features.age"."""
    name, _, key = field.partition(".")
    return (name, key) if key else (field, None)


def _is_time(heading: str) -> bool:
    try:
        parse_event_time(heading)
    except ValueError:
        return False
    return True
