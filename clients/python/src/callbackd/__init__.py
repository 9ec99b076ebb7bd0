"""Calls callbackd's HTTP API (Client), and verifies the requests that receivers get (verify)."""

from ._api import *  # noqa: F403
from ._api import Client
from ._transport import CallbackdError, ServerSentEvent
from ._verify import VerificationError, verify

__all__ = ["CallbackdError", "Client", "ServerSentEvent", "VerificationError", "verify"]
