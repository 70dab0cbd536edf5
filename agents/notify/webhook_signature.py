"""Signature of a webhook, as Standard Webhooks describes it, so that receivers find a library.

A receiver with the secret computes `signature` of the headers `webhook-id` and `webhook-timestamp`
and the body as it came, compares it with `webhook-signature` in constant time, and takes nothing
that is older than a few minutes. The timestamp is that of the attempt; the body is the same in
each.

References
----------
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"


def signing_key(secret: str) -> bytes:
    """The key of a secret: what stands in base64 after "whsec_", or else its bytes in UTF-8.

    Raises
    ------
    ValueError
        If what follows "whsec_" is not base64.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f'has the prefix "{PREFIX}" but is not base64 after it') from None


def signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: HMAC-SHA256 over id, timestamp (seconds) and body.

    Examples
    --------
    The example of the specification:

    >>> key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> body = b'{"test": 2432232314}'
    >>> signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
