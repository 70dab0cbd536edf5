"""JSON Schemas of the topics and of `driftline check --json`, and an AsyncAPI document, generated
from the types.

`python -m driftline.schemas.json_schema FOLDER` writes them; `docs/schemas` holds the current ones.
Descriptions come from the docstring of each type and its "Attributes" section, so that they are
written only once.
"""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct

from driftline.schemas.aliases import ALIASES
from driftline.schemas.input_check import InputCheck
from driftline.schemas.rejects import Reason
from driftline.schemas.times import EpochMs
from driftline.schemas.topics import DLQ_RETENTION_MS, TOPICS, Topic, dlq_name

__all__ = ["asyncapi", "documents", "json_schema", "write_all"]

FORMAT_VERSION = "1.0.0"
_KAFKA_BINDING = "0.5.0"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTES = re.compile(r"\n*Attributes\n-+\n")
# Conditions over several fields, which the types cannot express.
_CONDITIONS: dict[str, dict[str, Any]] = {
    "predictions": {
        "anyOf": [
            *(
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in ("prediction", "score", "scores")
            ),
            {"required": ["status"], "properties": {"status": {"const": "error"}}},
        ]
    },
    "ground-truth": {
        "anyOf": [
            {"required": ["label"], "properties": {"label": {"not": {"type": "null"}}}},
            {"required": ["retracted"], "properties": {"retracted": {"const": True}}},
        ]
    },
}


def json_schema(topic: Topic) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a topic's values, with the canonical names.

    Raises
    ------
    ValueError
        If the values of the topic are not JSON.
    """
    if topic.type is None:
        raise ValueError(f"topic {topic.name} is internal and has no published schema")
    document = _schema_document(topic.name, topic.type) | _CONDITIONS.get(topic.name, {})
    if aliases := ALIASES.get(topic.name):
        also: dict[str, list[str]] = {}
        for alias, name in aliases.items():
            also.setdefault(name, []).append(alias)
        document["$comment"] = (
            "Only canonical names are described. Also accepted on input: "
            + "; ".join(f"{', '.join(names)} -> {name}" for name, names in also.items())
            + "."
        )
    if "$defs" in document:
        document["$defs"] = document.pop("$defs")  # the last one
    return document


def _schema_document(name: str, type_: type[Struct]) -> dict[str, Any]:
    """The JSON Schema of a type, with the descriptions of its docstrings."""
    (reference,), components = msgspec.json.schema_components(
        (type_,), ref_template="#/$defs/{name}", schema_hook=_schema_of
    )
    root = components.pop(reference["$ref"].rpartition("/")[2])
    nested = {struct.__name__: struct for struct in _structs(type_)}
    for component, schema in components.items():
        _describe(schema, nested[component])
    _describe(root, type_)
    definitions = {"$defs": dict(sorted(components.items()))} if components else {}
    return {"$schema": _DIALECT, "$id": f"{name}.schema.json", **root, **definitions}


def _schema_of(type_: type) -> dict[str, Any]:
    """Schema of a type that msgspec does not know: times, which are text on a topic."""
    if type_ is EpochMs:
        return {"type": "string"}
    raise NotImplementedError(f"{type_.__name__} has no form on a topic")


def _structs(struct: type[Struct]) -> list[type[Struct]]:
    """The struct types that a struct's fields refer to, directly or indirectly."""
    structs: list[type[Struct]] = []

    def walk(info: msgspec.inspect.Type) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls is not struct:
                structs.append(info.cls)
            for field in info.fields:
                walk(field.type)
        elif isinstance(info, msgspec.inspect.UnionType):
            for member in info.types:
                walk(member)
        elif isinstance(info, msgspec.inspect.ListType):
            walk(info.item_type)
        elif isinstance(info, msgspec.inspect.DictType):
            walk(info.value_type)

    walk(msgspec.inspect.type_info(struct))
    return structs


def _describe(schema: dict[str, Any], struct: type[Struct]) -> None:
    """Add descriptions from the docstring to the type and to its properties."""
    text, *attributes = _ATTRIBUTES.split(inspect.getdoc(struct) or "", maxsplit=1)
    schema["description"] = " ".join(text.split())
    encoded = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    for names, lines in re.findall(
        r"^(\w[\w, ]*)\n((?:    .*\n?)+)", attributes[0] if attributes else "", re.MULTILINE
    ):
        description = " ".join(lines.split())
        for name in names.split(", "):
            schema["properties"][encoded[name]]["description"] = description


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document of all topics: channels with their Kafka settings, messages with
    their keys, senders and receivers.
    """
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for topic in TOPICS.values():
        if topic.type is None:
            continue
        message = topic.type.__name__
        messages[message] = _message(topic)
        channels[topic.name] = _channel(
            topic.name, message, topic.partitions, topic.cleanup, topic.retention_ms
        )
        verb = "receive" if topic.stage == "input" else "send"
        operations[_camel(verb, topic.name)] = _operation(verb, topic.name, message)
        if topic.stage == "input":
            name = dlq_name(topic.name)
            channels[name] = _channel(
                name, "Rejected", topic.partitions, "delete", DLQ_RETENTION_MS
            )
            operations[_camel("send", name)] = _operation("send", name, "Rejected")
    messages["Rejected"] = _REJECTED
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Driftline",
            "version": FORMAT_VERSION,
            "description": "Topics of Driftline, a stream processor for model monitoring. "
            "A configured prefix comes before every name, and the name of the program (kafka.app) "
            "before the rest of `ticks` and `window-partials`: `live.driftline-ticks`. "
            "CloudEvents are accepted in both modes.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


_DLQ_HEADERS = {
    "dlq_topic": "Topic of the record.",
    "dlq_partition": "Partition of the record.",
    "dlq_offset": "Offset of the record.",
    "dlq_reason": "Code of the reason.",
    "dlq_error": "The reason in a sentence.",
    "dlq_time": "Wall-clock time of the rejection; it differs between two replays of one log.",
    "dlq_app": "Name of the program that rejected it (kafka.app).",
}
_DLQ_MORE_HEADERS = {
    "dlq_size": "Bytes of the value, where it did not fit into the topic; the value is empty.",
    "dlq_sha256": "SHA-256 of that value in hexadecimal digits.",
    "dlq_key_size": "Bytes of the key, where it did not fit into the topic; the key is null.",
    "dlq_key_sha256": "SHA-256 of that key in hexadecimal digits.",
}
_REJECTED = {
    "summary": "A rejected record: its value and key as received.",
    "contentType": "application/octet-stream",
    "headers": {
        "type": "object",
        "required": list(_DLQ_HEADERS),
        "properties": {
            name: {"type": "string", "description": text}
            | ({"enum": list(get_args(Reason))} if name == "dlq_reason" else {})
            for name, text in (_DLQ_HEADERS | _DLQ_MORE_HEADERS).items()
        },
    },
}


def _message(topic: Topic) -> dict[str, Any]:
    return {
        "name": topic.type.__name__ if topic.type else "",
        "contentType": "application/json",
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{topic.name}.schema.json"},
        },
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"{topic.key}, parts percent-encoded"},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _channel(
    name: str, message: str, partitions: int, cleanup: str, retention_ms: int | None
) -> dict[str, Any]:
    settings = {
        "cleanup.policy": cleanup.split(","),
        "retention.ms": -1 if retention_ms is None else retention_ms,
    }
    return {
        "address": name,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "partitions": partitions,
                "topicConfiguration": settings,
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _operation(verb: str, channel: str, message: str) -> dict[str, Any]:
    reference = f"#/channels/{channel}"
    return {
        "action": verb,
        "channel": {"$ref": reference},
        "messages": [{"$ref": f"{reference}/messages/{message}"}],
    }


def _camel(verb: str, channel: str) -> str:
    return verb + "".join(part.capitalize() for part in re.split(r"[.-]", channel))


def documents() -> dict[str, str]:
    """All documents: file name -> text, identical in every run."""
    by_file = {
        f"{topic.name}.schema.json": json_schema(topic)
        for topic in TOPICS.values()
        if topic.type is not None
    }
    by_file["check.schema.json"] = _schema_document("check", InputCheck)
    by_file["asyncapi.json"] = asyncapi()
    return {
        name: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in by_file.items()
    }


def write_all(folder: Path) -> list[Path]:
    """Write all documents into a folder; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, text in documents().items():
        written.append(folder / name)
        written[-1].write_text(text, encoding="utf-8")
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m driftline.schemas.json_schema FOLDER")
    write_all(Path(sys.argv[1]))
