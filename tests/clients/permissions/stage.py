"""A stage on which every combination stands at once: for each set of privileges a service and an infrastructure.

Nobody plays twice: rights on a service do not touch another, so a caller walks over all of them. Nothing runs: the
infrastructures are static, so that switching on and off starts no process.
"""

import collections
import dataclasses
import itertools
import os
import pathlib
import threading

import oracle
from line import API, Line, bearer, log_in, token

PASSWORD = "a password of the stage"
MODEL = pathlib.Path(__file__).parents[2] / "models" / "iris-columns.onnx"
EXHAUSTIVE = os.environ.get("CASTOFF_EXHAUSTIVE") == "1"


def subsets(names):
    return [frozenset(some) for size in range(len(names) + 1) for some in itertools.combinations(names, size)]


def service_sets():
    """Up to implication; or every combination of bits."""
    if EXHAUSTIVE:
        return subsets(["read", "write", "deploy", "admin"])
    return [frozenset(some) for some in ([], ["read"], ["write"], ["deploy"], ["write", "deploy"], ["admin"])]


def infrastructure_sets():
    if EXHAUSTIVE:
        return subsets(["view", "deploy", "admin"])
    return [frozenset(some) for some in ([], ["view"], ["deploy"], ["admin"])]


@dataclasses.dataclass
class Service:
    name: str
    granted: frozenset
    owner: str
    key: str = ""
    visibility: str = "owner"


@dataclasses.dataclass
class Infrastructure:
    name: str
    granted: frozenset


@dataclasses.dataclass
class Deployment:
    name: str
    service: Service
    infrastructure: Infrastructure
    key: str = ""


@dataclasses.dataclass
class Caller:
    who: oracle.Who
    proof: dict
    kind: str


class Stage:
    """What is there."""

    def __init__(self, url, password):
        self.url = url
        self.root = Line(url, token(url, "admin", password))
        self.document = self.root.send("GET", "/openapi.json").of(200).json
        self.operations = oracle.operations(self.document)
        self.package = MODEL.read_bytes()
        self.callers = []
        self.held = collections.defaultdict(threading.Lock)
        self.holding = threading.Lock()
        self.people()
        self.places()

    def people(self):
        root = self.root
        for name, more in (("crew-a", {}), ("crew-b", {}), ("void", {}), ("empty", {}), ("makers", {"create_service": True}),
                           ("chiefs", {"admin": True})):
            root.post("/groups", {"name": name, **more}).of(201)
        root.post("/users", {"name": "nobody-special", "password": PASSWORD}).of(201)
        root.post("/service-accounts", {"name": "robot"}).of(201)
        for kind in ("user", "account", "session"):
            for admin, maker in itertools.product((False, True), repeat=2):
                # Another proof of the same kind of account: once is enough.
                if kind == "session" and (admin or not maker):
                    continue
                name = f"{kind}-{'a' if admin else 'x'}{'c' if maker else 'x'}"
                proof = self.account(kind, name)
                groups = ["crew-a", "crew-b"] + ["chiefs"] * admin + ["makers"] * maker
                for group in groups:
                    root.put(f"/groups/{group}/members/{name}", {}).of(204)
                self.callers.append(Caller(oracle.Who(name, admin, maker), proof, kind))

    def account(self, kind, name):
        if kind == "account":
            self.root.post("/service-accounts", {"name": name}).of(201)
            return bearer(self.root.post(f"/service-accounts/{name}/tokens", {"name": "t"}).of(201).json["token"])
        self.root.post("/users", {"name": name, "password": PASSWORD}).of(201)
        return log_in(self.url, name, PASSWORD) if kind == "session" else token(self.url, name, PASSWORD)

    def places(self):
        self.services, self.infrastructures, self.deployments = [], [], []
        for number, granted in enumerate(infrastructure_sets()):
            body = {"name": f"i{number}", "kind": "static", "stage": "dev"}
            self.root.post("/infrastructures", body).of(201)
            self.grant("infrastructures", body["name"], granted)
            self.infrastructures.append(Infrastructure(body["name"], granted))
        # A caller with a session differs from one with a token in the proof alone: it owns nothing more.
        owners = ["admin"] + [caller.who.name for caller in self.callers if caller.kind != "session"]
        for number, (owner, granted) in enumerate(itertools.product(owners, service_sets())):
            self.services.append(self.service(f"s{number}", granted, owner))
        for service, infrastructure in itertools.product(self.services, self.infrastructures):
            self.deployments.append(self.deploy(service, infrastructure))

    def grant(self, nouns, name, granted):
        """Each bit by another group than the one before: what counts is all of them together."""
        for number, group in enumerate(("crew-a", "crew-b")):
            some = sorted(granted)[number::2]
            if some:
                self.root.put(f"/{nouns}/{name}/grants/{group}", {"privileges": some}).of(200)
        self.root.put(f"/{nouns}/{name}/grants/void", {"privileges": ["read" if nouns == "services" else "view"]}).of(200)

    def alone(self, name):
        """One caller at a time changes a thing; callers walk at the same time."""
        with self.holding:
            return self.held[name]

    def restore(self, path, privilege):
        """Gives back a grant that was taken."""
        with self.alone("root"):
            self.root.put(path, {"privileges": [privilege]}).of(200)

    def service(self, name, granted, owner):
        root = self.root
        root.post("/services", {"name": name}).of(201)
        path = f"{API}/services/{name}/versions/v1"
        root.send("PUT", path, body=self.package, headers={"content-type": "application/octet-stream"}).of(201)
        self.grant("services", name, granted)
        key = root.post(f"/services/{name}/keys", {"name": "of root", "class": "recoverable"}).of(201).json["id"]
        if owner != "admin":
            root.patch(f"/services/{name}", {"owner": owner}).of(200)
        return Service(name, granted, owner, key)

    def deploy(self, service, infrastructure):
        body = {"service": service.name, "infrastructure": infrastructure.name, "version": "v1", "enabled": False}
        name = self.root.post("/deployments", body).of(201).json["name"]
        key = self.root.post(f"/deployments/{name}/keys", {"name": "of root", "class": "recoverable"}).of(201)
        return Deployment(name, service, infrastructure, key.json["id"])

    def services_of(self, caller):
        """Those that are different for a caller: nobody's of its own, and its own."""
        return [service for service in self.services if service.owner in ("admin", caller.who.name)]

    def deployments_of(self, caller):
        names = {service.name for service in self.services_of(caller)}
        return [deployment for deployment in self.deployments if deployment.service.name in names]

    def snapshot(self):
        """Everything that a deed could have changed, as the first admin reads it."""
        read = {}
        for nouns in ("services", "infrastructures", "deployments", "users", "groups", "service-accounts"):
            for item in self.root.list(f"/{nouns}"):
                # Of a deployment its revision is enough; keys raise the version of its config.
                read[nouns, item["name"]] = {field: item.get(field) for field in ("revision", "config", "owner")}
        return read


def place(caller, service=None, infrastructure=None, **more):
    """What the caller was granted there."""
    return oracle.Place(
        service.granted if service else frozenset(),
        infrastructure.granted if infrastructure else frozenset(),
        bool(service and service.owner == caller.who.name),
        key_visibility=service.visibility if service else "owner",
        **more,
    )
