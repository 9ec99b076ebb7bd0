# Makes the calls that it reads from standard input, a JSON object a line, with the client for
# Python, and answers each with a line.
import inspect
import json
import os
import re
import sys
import typing

from callbackd import CallbackdError, Client, VerificationError, _api, verify

# Every type that the client names is there.
for value in list(vars(_api).values()):
    if typing.is_typeddict(value):
        typing.get_type_hints(value)
for _, method in inspect.getmembers(Client, inspect.isfunction):
    typing.get_type_hints(method)

who = dict(account=os.environ["ACCOUNT"], api_key=os.environ["KEY"])
clients = {
    "": Client(os.environ["SERVER"], **who, api_secret=os.environ["SECRET"], operator_token=os.environ["TOKEN"]),
    "stranger": Client(os.environ["SERVER"], **who, api_secret="x", operator_token="x"),
}


def answer(step):
    if "verify" in step:
        request = step["verify"]
        return verify(request["secrets"], request["headers"], request["body"].encode(), now=request["now"])
    name = re.sub("(?<=[a-z])(?=[A-Z])", "_", step["call"]).lower()
    more = dict(step.get("query", {}))
    if "idempotency_key" in step:
        more["idempotency_key"] = step["idempotency_key"]
    args = step.get("path", []) + ([step["body"]] if "body" in step else [])
    out = getattr(clients[step.get("as", "")], name)(*args, **more)
    if isinstance(out, str):
        return {"begin": out[:14]}
    if inspect.isgenerator(out):
        for message in out:
            if message.data:
                return {"id": message.id, "event": message.event}
    return out


for line in sys.stdin:
    try:
        out = {"status": 200, "answer": answer(json.loads(line))}
    except CallbackdError as e:
        out = {"status": e.status, "reason": e.reason}
    except VerificationError as e:
        out = {"status": 0, "reason": str(e)}
    print(json.dumps(out), flush=True)
