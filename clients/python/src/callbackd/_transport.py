from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import typing as t
import urllib.error
import urllib.parse
import urllib.request


class CallbackdError(Exception):
    """A call was answered with another status than 2xx."""

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        #: What the server says is wrong.
        self.reason = reason
        #: After how many seconds the call may be repeated, when the server says so.
        self.retry_after = retry_after


class ServerSentEvent(t.NamedTuple):
    """One message of a stream. One without data has the cursor to go on with as its id."""

    id: str
    event: str
    data: str


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves redirects as they are, so that no other server gets the headers."""

    def redirect_request(self, *_: t.Any) -> None:
        return None


def escape(text: str | int) -> str:
    """Returns text as a part of a path."""
    return urllib.parse.quote(str(text), safe="")


class Transport:
    """Makes the calls of Client. It may be used by several threads."""

    def __init__(
        self,
        base: str,
        *,
        account: str = "",
        api_key: str = "",
        api_secret: str = "",
        operator_token: str = "",
        timeout: float = 60,
    ) -> None:
        """base is such as http://127.0.0.1:8080. operator_token is for the calls of
        /v1/admin. timeout is how long the client waits for the server, in seconds."""
        self._base = base.rstrip("/")
        self._account, self._api_key, self._api_secret = account, api_key, api_secret
        self._operator_token = operator_token
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirects)

    def _json(self, *call: str, **more: t.Any) -> t.Any:
        return json.loads(self._text(*call, **more))

    def _text(self, *call: str, **more: t.Any) -> str:
        with self._send(*call, **more) as answer:
            return answer.read().decode("utf-8")

    def _stream(self, *call: str, **more: t.Any) -> t.Iterator[ServerSentEvent]:
        message = {"id": "", "event": "", "data": ""}
        with self._send(*call, **more) as answer:
            for raw in answer:
                line = raw.decode("utf-8").rstrip("\n")
                name, _, text = line.partition(":")
                if name in message:
                    message[name] += text.removeprefix(" ")
                if line == "":
                    if message["id"] or message["data"]:
                        yield ServerSentEvent(**message)
                    message = {"id": "", "event": "", "data": ""}

    def _send(
        self,
        method: str,
        path: str,
        authentication: str,
        *,
        query: dict[str, t.Any] | None = None,
        body: t.Any = None,
        idempotency_key: str | None = None,
    ) -> t.Any:
        given = {n: _text_of(v) for n, v in (query or {}).items() if v is not None}
        url = self._base + path + ("?" + urllib.parse.urlencode(given) if given else "")
        headers = self._headers(authentication)
        headers["Accept"] = "application/json, */*;q=0.9"
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8")
            headers["Content-Type"] = "application/json"
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as answer:
            with answer:
                raise _error(answer) from None

    def _headers(self, authentication: str) -> dict[str, str]:
        if authentication == "operator":
            return {"Authorization": "Bearer " + self._operator_token}
        if authentication == "access_token":
            return {"API-Access-Token": self._api_key}
        if authentication == "none":
            return {}
        at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        signed = f"{self._account}:{self._api_key}@{at}".encode()
        token = hmac.new(self._api_secret.encode(), signed, hashlib.sha256).hexdigest()
        return {"API-Key": self._api_key, "API-Timestamp": at, "API-Token": token}


def _text_of(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _error(answer: urllib.error.HTTPError) -> CallbackdError:
    reason = str(answer.reason)
    try:
        body = json.loads(answer.read())
        if isinstance(body, dict) and isinstance(body.get("message"), str):
            reason = body["message"] or reason
    except ValueError:
        pass  # not one of callbackd's answers
    after = answer.headers.get("Retry-After", "")
    return CallbackdError(answer.code, reason, float(after) if after.isdecimal() else None)
