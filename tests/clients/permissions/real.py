"""The deeds themselves, with nothing in their way: who may does them, and nobody else does."""

import oracle
from line import API, Line
from stage import place


class Player:
    """One caller doing one thing after the other on one place."""

    def __init__(self, stage, differences, caller, where):
        self.stage, self.differences, self.caller, self.where = stage, differences, caller, where
        self.line = Line(stage.url, caller.proof)

    def do(self, needs, method, path, *done, **what):
        """Does it, and gives what came back when it was done."""
        expected = oracle.decide(needs, self.caller.who, self.where)
        answer = self.line.send(method, API + path, **what)
        got = oracle.ALLOWED if answer.status in done else answer.status
        told = got if got == expected else f"{answer.status} {answer.body[:200]}"
        where = f"s{sorted(self.where.service)} i{sorted(self.where.infrastructure)} {self.where.owner}"
        self.differences.compare(f"{method} {path}, really", f"{self.caller.who.name} {where}", expected, told)
        return answer if got == oracle.ALLOWED else None

    def keys(self, needs, base, key):
        """The life of a key; of one that is there when one cannot be made."""
        made = self.do(needs, "POST", f"{base}/keys", 201, json={"name": "own", "class": "recoverable"})
        key = made.json["id"] if made else key
        path = f"{base}/keys/{key}"
        if made:
            # Its creator reveals it.
            got = self.line.send("POST", f"{API}{path}/reveal")
            self.differences.compare(f"POST {path}/reveal", self.caller.who.name, 200, got.status)
            same = got.json.get("key") == made.json["key"]
            self.differences.compare(f"POST {path}/reveal gives it", self.caller.who.name, True, same)
        self.do(needs, "PATCH", path, 200, 202, json={"name": "renamed"})
        rotated = self.do(needs, "POST", f"{path}/rotate", 201, json={"overlap_seconds": 0})
        for each in [path] + ([f"{base}/keys/{rotated.json['id']}"] if rotated else []):
            self.do(needs, "POST", f"{each}/revoke", 200, 202)
        if not rotated:
            self.do(needs, "POST", f"{path}/activate", 200, 202)
        self.do(needs, "DELETE", path, 204)


def play(stage, differences, caller):
    """Everything that a caller might change, on every place that is different for it."""
    for service in stage.services_of(caller):
        with stage.alone(service.name):
            on_service(Player(stage, differences, caller, place(caller, service)), service)
    for infrastructure in stage.infrastructures:
        player = Player(stage, differences, caller, place(caller, None, infrastructure))
        with stage.alone(infrastructure.name):
            on_infrastructure(player, f"/infrastructures/{infrastructure.name}")
    for deployment in stage.deployments_of(caller):
        where = place(caller, deployment.service, deployment.infrastructure)
        # What is changed of a service reaches its deployments.
        with stage.alone(deployment.service.name):
            on_deployment(Player(stage, differences, caller, where), deployment)
    platform(Player(stage, differences, caller, oracle.Place()), caller.who.name)


def on_infrastructure(player, path):
    player.do(oracle.RUN, "PATCH", path, 200, json={"description": player.caller.who.name})
    player.do(oracle.RUN, "PUT", f"{path}/grants/empty", 200, json={"privileges": ["view"]})
    player.do(oracle.RUN, "DELETE", f"{path}/grants/empty", 204)
    player.do(oracle.RUN, "DELETE", path, 409)


def on_service(player, service):
    path = f"/services/{service.name}"
    mine = f"{path}/versions/of-{player.caller.who.name}"
    player.do(oracle.ADMIN, "PATCH", path, 200, json={"description": player.caller.who.name})
    player.do(oracle.WRITE, "PUT", mine, 201, body=player.stage.package,
              headers={"content-type": "application/octet-stream"})
    player.do(oracle.WRITE, "DELETE", mine, 204)
    player.do(oracle.ADMIN, "PUT", f"{path}/grants/empty", 200, json={"privileges": ["read"]})
    player.do(oracle.ADMIN, "DELETE", f"{path}/grants/empty", 204)
    player.do(oracle.ADMIN, "DELETE", path, 409)
    player.keys(oracle.ADMIN, path, service.key)


def on_deployment(player, deployment):
    path = f"/deployments/{deployment.name}"
    name = player.caller.who.name
    player.do(oracle.DEPLOY, "PATCH", path, 200, json={"note": name, "scale": {"replicas": 2}})
    player.do(oracle.DEPLOY, "POST", f"{path}/enable", 200)
    player.do(oracle.DEPLOY, "DELETE", path, 409)
    player.do(oracle.DEPLOY, "POST", f"{path}/rollback", 200, json={"to": 1})
    player.do(oracle.DEPLOY, "POST", f"{path}/disable", 200, json={"note": name})
    player.keys(oracle.DEPLOY, path, deployment.key)
    # A second one of the same two, which goes again.
    other = f"{deployment.name}-{name}"
    body = {"name": other, "service": deployment.service.name, "infrastructure": deployment.infrastructure.name}
    body |= {"version": "v1", "enabled": False}
    made = player.do(oracle.OPERATIONS["POST /api/v1/deployments"], "POST", "/deployments", 201, json=body)
    if made:
        player.do(oracle.DEPLOY, "DELETE", f"/deployments/{other}", 204)


def platform(player, name):
    own = f"of-{name}"
    if player.do(oracle.CREATE, "POST", "/services", 201, json={"name": own}):
        # Whoever makes one owns it.
        got = player.line.delete(f"/services/{own}").status
        player.differences.compare("DELETE one's own service", name, 204, got)
    for nouns, more in (("groups", {}), ("service-accounts", {}),
                        ("infrastructures", {"kind": "static", "stage": "dev"})):
        if player.do(oracle.PLATFORM, "POST", f"/{nouns}", 201, json={"name": own, **more}):
            player.do(oracle.PLATFORM, "DELETE", f"/{nouns}/{own}", 204)
    player.do(oracle.PLATFORM, "PATCH", "/users/nobody-special", 200, json={"display_name": own})
    if player.do(oracle.USER, "POST", "/tokens", 201, json={"name": own}):
        player.do(oracle.USER, "DELETE", f"/tokens/{own}", 204)
