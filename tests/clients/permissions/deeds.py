"""How each operation is asked for without leaving a trace, and what it answers when it is allowed.

Guards stand in the way of what would change something: a revision that never was (412), a body that lacks what it must
have (422), a name that is taken or a thing that is in use (409). They are met after the permit, so that meeting one says
"allowed". The rule a newcomer would break: no deed here answers 401, 403 or 404 when it is allowed, unless what hides
and what is missing cannot be confused (people are never hidden).
"""

import dataclasses

STALE = {"if-match": '"999999"'}
MERGE = {"content-type": "application/merge-patch+json", **STALE}
BYTES = {"content-type": "application/octet-stream"}
NO_TIME = "?wait=never"


@dataclasses.dataclass(frozen=True)
class Deed:
    """One request."""

    done: tuple
    query: str = ""
    json: object = None
    body: bytes = None
    headers: tuple = ()

    def send(self, line, operation, filled):
        method, path = operation.split(" ")
        for name, value in filled.items():
            path = path.replace(f"{{{name}}}", value)
        json = self.json(filled) if callable(self.json) else self.json
        return line.send(method, path + self.query, json=json, body=self.body, headers=dict(self.headers))


def stale(json=None, body=None):
    return Deed((412,), json=json, body=body, headers=tuple((MERGE if json is not None else STALE).items()))


READ = Deed((200,))
LACKING = Deed((422,), json={})
LATER = Deed((422,), query=NO_TIME)


def new_deployment(filled):
    return {"service": filled["service"], "infrastructure": filled["infrastructure"], "version": "v1", "enabled": False}


# What is not here is a GET.
GUARDED = {
    "POST /api/v1/services": LACKING,
    "PATCH /api/v1/services/{service}": stale({}),
    "DELETE /api/v1/services/{service}": stale(),
    "PUT /api/v1/services/{service}/grants/{group}": LACKING,
    # The group has a grant that means nothing; it is given back at once.
    "DELETE /api/v1/services/{service}/grants/{group}": Deed((204,)),
    "PUT /api/v1/services/{service}/versions/{version}": Deed((422,), body=b"no model", headers=tuple(BYTES.items())),
    "DELETE /api/v1/services/{service}/versions/{version}": Deed((409,)),
    "POST /api/v1/services/{service}/keys": LACKING,
    "PATCH /api/v1/services/{service}/keys/{key}": stale({}),
    "DELETE /api/v1/services/{service}/keys/{key}": Deed((409,)),
    "POST /api/v1/services/{service}/keys/{key}/activate": LATER,
    "POST /api/v1/services/{service}/keys/{key}/revoke": LATER,
    "POST /api/v1/services/{service}/keys/{key}/rotate": LATER,
    "POST /api/v1/services/{service}/keys/{key}/reveal": READ,
    "POST /api/v1/infrastructures": LACKING,
    "PATCH /api/v1/infrastructures/{infrastructure}": stale({}),
    "DELETE /api/v1/infrastructures/{infrastructure}": stale(),
    "POST /api/v1/infrastructures/{infrastructure}/check": READ,
    "POST /api/v1/infrastructures/{infrastructure}/upgrade": LACKING,
    "PUT /api/v1/infrastructures/{infrastructure}/grants/{group}": LACKING,
    "DELETE /api/v1/infrastructures/{infrastructure}/grants/{group}": Deed((204,)),
    "POST /api/v1/deployments": Deed((409,), json=new_deployment),
    "PATCH /api/v1/deployments/{deployment}": stale({}),
    "DELETE /api/v1/deployments/{deployment}": stale(),
    "POST /api/v1/deployments/{deployment}/enable": stale(),
    "POST /api/v1/deployments/{deployment}/disable": stale(),
    "POST /api/v1/deployments/{deployment}/rollback": stale({"to": 1}),
    "POST /api/v1/deployments/{deployment}/node-tokens": Deed((201,)),
    "POST /api/v1/deployments/{deployment}/node-tokens/rotate": Deed((200,)),
    "POST /api/v1/deployments/{deployment}/keys": LACKING,
    "PATCH /api/v1/deployments/{deployment}/keys/{key}": stale({}),
    "DELETE /api/v1/deployments/{deployment}/keys/{key}": Deed((409,)),
    "POST /api/v1/deployments/{deployment}/keys/{key}/activate": LATER,
    "POST /api/v1/deployments/{deployment}/keys/{key}/revoke": LATER,
    "POST /api/v1/deployments/{deployment}/keys/{key}/rotate": LATER,
    "POST /api/v1/deployments/{deployment}/keys/{key}/reveal": READ,
    "POST /api/v1/groups": LACKING,
    "PATCH /api/v1/groups/{group}": stale({}),
    "DELETE /api/v1/groups/{group}": stale(),
    # Said twice, both change nothing.
    "PUT /api/v1/groups/{group}/members/{user}": Deed((204,)),
    "DELETE /api/v1/groups/{group}/members/{user}": Deed((204,)),
    "POST /api/v1/users": LACKING,
    "PATCH /api/v1/users/{user}": stale({}),
    "DELETE /api/v1/users/{user}": stale(),
    "PUT /api/v1/users/{user}/password": LACKING,
    "POST /api/v1/service-accounts": LACKING,
    "PATCH /api/v1/service-accounts/{account}": stale({}),
    "DELETE /api/v1/service-accounts/{account}": stale(),
    "POST /api/v1/service-accounts/{account}/tokens": LACKING,
    "DELETE /api/v1/service-accounts/{account}/tokens/{token}": Deed((404,)),
    "POST /api/v1/session": LACKING,
    # Asked for once, at the end: it ends a session.
    "DELETE /api/v1/session": Deed((204,)),
    "GET /api/v1/can-i": Deed((200,), query="?action=create-service"),
    "POST /api/v1/tokens": LACKING,
    "DELETE /api/v1/tokens/{token}": Deed((404,)),
}

# What people and tokens a path may name: they are there, but for the token.
FILLED = {"group": "void", "user": "nobody-special", "account": "robot", "token": "no-such", "version": "v1", "n": "1"}


def guarded(operation):
    """How to ask for an operation."""
    if operation not in GUARDED and not operation.startswith("GET "):
        raise SystemExit(f"say in deeds.py how {operation} is asked for without a trace")
    return GUARDED.get(operation, READ)
