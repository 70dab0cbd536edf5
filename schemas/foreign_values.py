"""Recognises values of other producers by their first bytes: Avro, compressed files, UTF-16, and
the prefix of the serializers that use a Schema Registry.

Whether JSON follows that prefix is left to `envelope.py`.
"""

from driftline.schemas.rejects import InvalidEvent

__all__ = ["PREFIX_BYTES", "find_foreign_format", "schema_id"]

PREFIX_BYTES = 5  # 0x00 and the schema id, 4 bytes, big-endian

_AVRO = {
    b"Obj\x01": "an Avro object container file",
    b"\xc3\x01": "an Avro record in single-object encoding",
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "LZ4 (a frame)",
    b"\xff\x06\x00\x00sNaPpY": "Snappy (framed)",
    b"\x82SNAPPY\x00": "Snappy (as snappy-java frames it)",
    b"\xfd7zXZ\x00": "xz",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
}
"""First bytes of each format. No JSON text begins with any of them."""


def find_foreign_format(value: bytes) -> InvalidEvent | None:
    r"""Why a value is of another format than JSON, as its first bytes tell; None if they do not.

    Examples
    --------
    >>> find_foreign_format(b"\x1f\x8b\x08\0").reason
    'compressed'
    """
    if not value:
        return InvalidEvent("empty", "the value is empty")
    if value[:1] in (b"{", b"["):
        return None
    for magic, name in _COMPRESSED.items():
        if value.startswith(magic):
            return InvalidEvent(
                "compressed",
                f"the value is compressed with {name}; only Kafka's own compression is read",
            )
    for magic, name in _AVRO.items():
        if value.startswith(magic):
            return InvalidEvent("avro", f"the value is {name}; only JSON is read")
    return None


def schema_id(value: bytes) -> int | None:
    r"""Id of the schema of a value with a Schema Registry prefix; None for any other value.

    Examples
    --------
    >>> schema_id(b"\0\0\0\0\x11{}"), schema_id("{}".encode("utf-16-be")), schema_id(b"{}")
    (17, None, None)
    """
    if value[:1] != b"\0" or len(value) < PREFIX_BYTES:
        return None
    # UTF-16 without a mark, big-endian, begins with a zero byte too.
    if value[1] and value[3] and not value[2] and not value[4]:
        return None
    return int.from_bytes(value[1:PREFIX_BYTES], "big")
