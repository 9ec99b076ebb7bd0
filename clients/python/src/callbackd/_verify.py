from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
import typing as t


class VerificationError(Exception):
    """A request is not one that callbackd sent with the secret. The text says why."""


def verify(
    secrets: str | t.Iterable[str],
    headers: t.Mapping[str, str],
    body: bytes,
    *,
    tolerance: float = 300,
    now: float | None = None,
) -> None:
    """Checks a request by Standard Webhooks, and raises a VerificationError when it is not right.

    body is the one that was received, before it is read as JSON. A request may have several
    signatures, and there may be several secrets while one is changed: one of each that fit
    together is enough. tolerance is how far webhook-timestamp may be from now, in seconds.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    id, stamp, signatures = (lower.get("webhook-" + name, "") for name in ("id", "timestamp", "signature"))
    if not (id and stamp and signatures):
        raise VerificationError("the request lacks webhook-id, webhook-timestamp or webhook-signature")
    if not re.fullmatch("[0-9]{1,15}", stamp):
        raise VerificationError("webhook-timestamp is not a number of seconds")
    age = abs((time.time() if now is None else now) - int(stamp))
    if not age <= tolerance:
        raise VerificationError(f"webhook-timestamp is {age:.0f} s away from now, more than {tolerance:g} s")
    signed = f"{id}.{stamp}.".encode("utf-8", "replace") + body
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
        right = b"v1," + base64.b64encode(digest)
        for given in signatures.split(" "):
            if hmac.compare_digest(given.encode("utf-8", "replace"), right):
                return
    raise VerificationError("no signature in webhook-signature is right: the secret is another one, or the body was changed")


def _key(secret: str) -> bytes:
    try:
        if not secret.startswith("whsec_"):
            raise ValueError
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error):
        raise VerificationError("a signing secret is whsec_ and standard base64") from None
    if not 24 <= len(key) <= 64:
        raise VerificationError(f"a signing secret holds 24 to 64 bytes; this one holds {len(key)}")
    return key
