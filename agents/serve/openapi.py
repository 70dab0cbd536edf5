"""The OpenAPI document says of each route which parameters it has: they follow from its query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
from litestar.openapi.spec import OpenAPIFormat, OpenAPIType, Operation, Parameter, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from msgspec.inspect import (
    BoolType,
    IntType,
    LiteralType,
    NoneType,
    StrType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from driftline.agents.serve.field_texts import field_texts
from driftline.agents.serve.route import Route
from driftline.schemas.times import EpochMs

if TYPE_CHECKING:
    from litestar._openapi.schema_generation import SchemaCreator


class EpochMsSchema(OpenAPISchemaPlugin):
    """A time is RFC 3339 text in JSON."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Whether a field is a time."""
        return field_definition.annotation is EpochMs

    def to_openapi_schema(
        self, field_definition: FieldDefinition, schema_creator: SchemaCreator
    ) -> Schema:
        """The schema of a time."""
        return Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME)


def operation_of(route: Route) -> type[Operation]:
    """The operation of a route, with its parameters."""
    parameters = parameters_of(route)

    @dataclass
    class RouteOperation(Operation):
        def __post_init__(self) -> None:
            self.parameters = parameters

    return RouteOperation


def parameters_of(route: Route) -> list[Any]:
    """The parameters of a route, in the order of its query."""
    hints = get_type_hints(route.query, include_extras=True)
    texts = field_texts(route.query)
    return [
        Parameter(
            name=field.name,
            param_in="query",
            required=field.required,
            description=texts.get(field.name),
            schema=_schema(type_info(hints[field.name]), field.default),
        )
        for field in msgspec.structs.fields(route.query)
    ]


def _schema(info: Type, default: Any = None) -> Schema:
    if isinstance(info, UnionType):
        (info,) = (part for part in info.types if not isinstance(part, NoneType))
    value = default if isinstance(default, str | int | bool) else None
    if isinstance(info, LiteralType):
        return Schema(type=OpenAPIType.STRING, enum=list(info.values), default=value)
    if isinstance(info, IntType):
        return Schema(type=OpenAPIType.INTEGER, minimum=info.ge, maximum=info.le, default=value)
    if isinstance(info, BoolType):
        return Schema(type=OpenAPIType.BOOLEAN, default=value)
    if isinstance(info, VarTupleType):
        return Schema(type=OpenAPIType.ARRAY, items=_schema(info.item_type))
    length = info.min_length if isinstance(info, StrType) else None
    return Schema(type=OpenAPIType.STRING, min_length=length, default=value)
