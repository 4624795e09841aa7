"""What one may not see answers as what is not there, byte for byte: every operation of openapi.json that names something.

    hidden.py URL PASSWORD      of a fresh control plane and its first admin

Each request is sent twice: about a thing that is there and hidden, and about one that is not there. Status, reason, headers
in their order and body must be the same once the names in them are (`Date` aside). Said of headers, bodies, queries and
methods one by one; `CASTOFF_EXHAUSTIVE=1` takes each with each.
"""

import os
import re
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import samples
from line import API, COUNTED, Line, bearer, log_in, token
from oracle import ALLOWED, FORBIDDEN, HIDDEN, OPERATIONS, UNAUTHENTICATED, Who, decide, operations
from stage import MODEL, PASSWORD

EXHAUSTIVE = os.environ.get("CASTOFF_EXHAUSTIVE") == "1"
# There, and hidden from everybody but the first admin; and of the same length, not there.
THERE = {"service": "dark-iris", "infrastructure": "dark-site", "deployment": "dark-iris-on-dark-site", "version": "v1",
         "group": "dark-crew", "user": "dark-user", "account": "dark-robot", "token": "dark-token", "n": "1"}
ABSENT = {"service": "lost-rose", "infrastructure": "lost-spot", "deployment": "lost-rose-on-lost-spot", "version": "x9",
          "group": "lost-band", "user": "lost-soul", "account": "lost-droid", "token": "lost-piece", "n": "9"}
OWN = {"service": "own-iris", "deployment": "own-iris-on-own-site", "infrastructure": "own-site"}


class Stage:
    """Things that are hidden, and callers who have every right on other things."""

    def __init__(self, url, password):
        self.url = url
        self.root = root = Line(url, token(url, "admin", password))
        self.document = root.send("GET", "/openapi.json").of(200).json
        root.post("/groups", {"name": THERE["group"]}).of(201)
        root.post("/groups", {"name": "crew", "create_service": True}).of(201)
        root.post("/users", {"name": THERE["user"], "password": PASSWORD}).of(201)
        root.post("/service-accounts", {"name": THERE["account"]}).of(201)
        root.post(f"/service-accounts/{THERE['account']}/tokens", {"name": THERE["token"]}).of(201)
        self.keys = {"there": self.place("dark-iris", "dark-site"), "own": self.place("own-iris", "own-site")}
        for nouns, name in (("services", "own-iris"), ("infrastructures", "own-site")):
            root.put(f"/{nouns}/{name}/grants/crew", {"privileges": ["admin"]}).of(200)
        # Who sees one half of the hidden deployment sees that half, and nothing of the deployment.
        root.post("/groups", {"name": "half-service"}).of(201)
        root.post("/groups", {"name": "half-site"}).of(201)
        root.put("/services/dark-iris/grants/half-service", {"privileges": ["admin"]}).of(200)
        root.put("/infrastructures/dark-site/grants/half-site", {"privileges": ["admin"]}).of(200)
        self.callers = self.people()

    def place(self, service, infrastructure):
        """A service on an infrastructure with a version, keys and a token for nodes; gives the ids of the keys."""
        root = self.root
        root.post("/services", {"name": service}).of(201)
        path = f"{API}/services/{service}/versions/v1"
        root.send("PUT", path, body=MODEL.read_bytes(), headers={"content-type": "application/octet-stream"}).of(201)
        root.post("/infrastructures", {"name": infrastructure, "kind": "static", "stage": "dev"}).of(201)
        body = {"service": service, "infrastructure": infrastructure, "version": "v1", "enabled": False}
        name = root.post("/deployments", body).of(201).json["name"]
        root.post(f"/deployments/{name}/node-tokens", {}).of(201)
        key = {"name": "k", "class": "recoverable"}
        return {noun: root.post(f"/{noun}s/{thing}/keys", key).of(201).json["id"]
                for noun, thing in (("service", service), ("deployment", name))}

    def people(self):
        """By name: the proof, and of which things the caller may see no part."""
        root, callers = self.root, {}
        everything = {"service", "infrastructure", "deployment"}
        people = [("user", "", everything), ("user", "crew", everything), ("session", "crew", everything),
                  ("account", "crew", everything), ("user", "half-service", {"infrastructure", "deployment"}),
                  ("user", "half-site", {"service", "deployment"})]
        for kind, group, hidden in people:
            name = f"{kind}-{group or 'alone'}"
            if kind == "account":
                root.post("/service-accounts", {"name": name}).of(201)
                made = root.post(f"/service-accounts/{name}/tokens", {"name": "t"}).of(201)
                proof = bearer(made.json["token"])
            else:
                root.post("/users", {"name": name, "password": PASSWORD}).of(201)
                take = log_in if kind == "session" else token
                proof = take(self.url, name, PASSWORD)
            if group:
                root.put(f"/groups/{group}/members/{name}", {}).of(204)
            callers[name] = (proof, hidden)
        callers["nobody"] = ({}, everything)
        callers["forged"] = (bearer("castoff_" + "A" * 43), everything)
        callers["a cookie from elsewhere"] = ({**callers["session-crew"][0], "origin": "http://elsewhere.example"}, everything)
        return callers


def pairs(stage, parts, hidden):
    """What a path is filled with: what is there and hidden, and what is not there. By which part is the one hidden.

    People, and what belongs to oneself, are hidden from all callers here: none is a platform admin.
    """
    outer = parts[0]
    noun = "service" if outer == "service" else "deployment"

    def fill(values, key):
        return {part: key if part == "key" else values[part] for part in parts}

    absent = fill(ABSENT, str(uuid.UUID(int=7)))
    if outer not in ("service", "infrastructure", "deployment") or outer in hidden:
        there = fill(THERE, stage.keys["there"][noun])
        yield there, absent
        # What is inside is not there either.
        if len(parts) > 1:
            yield {**absent, outer: there[outer]}, absent
    if len(parts) > 1 and outer in OWN:
        # Inside what is one's own, by what is inside the hidden one.
        own = {outer: OWN[outer]}
        if "key" in parts:
            for key in stage.keys["there"].values():
                yield {**absent, **own, "key": key}, {**absent, **own}
            if noun == "deployment":
                # A key of the service is none of its deployment.
                yield {**absent, **own, "key": stage.keys["own"]["service"]}, {**absent, **own}


def bodies(stage, operation):
    """Bodies, right and wrong, each with its type."""
    json = "application/json"
    for right in samples.of(stage.document, operation):
        yield right, json
    yield None, None
    for wrong in (b"{", b"[]", b"null", b'{"unknown": 1}', b'{"name": {}, "privileges": 7, "to": "x"}', b'{"name": "\xff"}'):
        yield wrong, json
    yield b"{}", "text/plain"
    yield b" " * (300 << 10), json
    yield MODEL.read_bytes(), "application/octet-stream"


HEADERS = [{"if-match": text} for text in ('"1"', '"2"', '"999999"', "*", "W/\"1\"", "garbage")] + [
    {"if-none-match": '"1"'}, {"if-none-match": "*"}, {"range": "bytes=0-10"}, {"accept": "text/html"}, {"accept": "image/png"},
    {"last-event-id": "0"}, {"content-type": "garbage"}, {"x-http-method-override": "DELETE"}, {"expect": "garbage"},
    {"idempotency-key": ""}, {"idempotency-key": "k" * 201}, {"idempotency-key": "one for all"},
    {"access-control-request-method": "DELETE", "origin": "http://elsewhere.example"}]
SPELLINGS = [lambda name: f"%{ord(name[0]):02x}{name[1:]}", str.upper, lambda name: name + "%00", lambda name: name + "%20"]
METHODS = {"HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE", "TRACE", "PROPFIND"}
ENDINGS = ["/", "/nothing", "/../x", ";x"]
# So many callers together send everything.
SHARES = 4
QUERIES = ["?wait=1s", "?wait=never", "?limit=0", "?limit=1&cursor=garbage", "?unknown=1", "?tail=1&node=x", "?%00", "?limit=1&limit=2"]


def shapes(stage, operation, turn):
    """Requests: headers, body with its type, and query: the plain one, and this caller's share of what differs from it."""
    all_bodies = [] if operation.startswith("GET") else list(bodies(stage, operation))
    plain = all_bodies[0] if all_bodies else (None, None)
    others = [({}, body, "") for body in all_bodies[1:]]
    others += [(headers, plain, "") for headers in HEADERS] + [({}, plain, query) for query in QUERIES]
    return [({}, plain, "")] + share(others, turn)


def share(all_of_them, turn):
    """This caller's share; with the next turn comes the next one."""
    return all_of_them if EXHAUSTIVE else all_of_them[turn % SHARES::SHARES]


def spelled(path, filled, how):
    """The path, its names as they are or with their first letters escaped."""
    for name, value in filled.items():
        path = path.replace(f"{{{name}}}", how(value))
    return path


def seen(answer, filled):
    """The answer with the names taken out."""
    def nameless(text):
        for part, value in sorted(filled.items(), key=lambda item: -len(item[1])):
            # A number or a version's name is short enough to be part of something else: only as a whole word.
            text = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", f"<{part}>", text)
        return text
    headers = [(name.lower(), nameless(value)) for name, value in answer.headers if name.lower() != "date"]
    return answer.status, headers, nameless(answer.body.decode(errors="surrogateescape"))


def expected(operation, who):
    """What the plain request is told about what is hidden, by the oracle: both answers alike may be wrong alike."""
    if who in ("nobody", "forged"):
        return UNAUTHENTICATED
    if who == "a cookie from elsewhere" and not operation.startswith("GET "):
        return FORBIDDEN
    told = decide(OPERATIONS[operation], Who(who))
    # One's own, such as a token: under this name one has none.
    return HIDDEN if told == ALLOWED else told


def compare(stage, differences, who, line, method, path, filled, shape, spelling=str, must=None):
    headers, (body, kind), query = shape
    answers = []
    for names in filled:
        head = {**({"content-type": kind} if kind else {}), **headers}
        target = spelled(path, names, spelling) + query
        answers.append(seen(line.send(method, target, body=body, headers=head), names))
    hidden, absent = answers
    status = hidden[0]
    # An owner is told 404 inside of what is its own, everybody else as well, and whoever is nobody 401.
    if hidden != absent or status < 400 or status >= 500 or (must and status != must):
        differences.append((f"{method} {path}{query} {filled[0]}", who, headers, kind, str(hidden)[:400], str(absent)[:400]))


def walk(stage, who):
    """One caller on every operation with a name in its path."""
    proof, hidden = stage.callers[who]
    line, differences = Line(stage.url, proof), []
    methods, turn = {}, list(stage.callers).index(who)
    for operation in operations(stage.document):
        method, path = operation.split(" ")
        parts = re.findall(r"{(\w+)}", path)
        if not parts:
            continue
        methods.setdefault(path, set()).add(method)
        for filled in pairs(stage, parts, hidden):
            turn += 1
            is_hidden = filled[0][parts[0]] != OWN.get(parts[0])
            for number, shape in enumerate(shapes(stage, operation, turn)):
                must = expected(operation, who) if is_hidden and number == 0 else None
                compare(stage, differences, who, line, method, path, filled, shape, must=must)
            for spelling in share(SPELLINGS, turn):
                compare(stage, differences, who, line, method, path, filled, ({}, (None, None), ""), spelling)
    # What is no method of a path, and what is no path.
    for path, there in methods.items():
        parts = re.findall(r"{(\w+)}", path)
        for filled in pairs(stage, parts, hidden):
            turn += 1
            odd = [(method, path) for method in sorted(METHODS - there)] + [("GET", path + more) for more in ENDINGS]
            for method, target in share(odd, turn):
                compare(stage, differences, who, line, method, target, filled, ({}, (None, None), ""))
    return differences


def named_elsewhere(stage, who):
    """Names in queries and bodies: "unknown" in the same words."""
    proof, hidden = stage.callers[who]
    line, differences = Line(stage.url, proof), []
    asked = [("GET", f"/audit?{key}={{{part}}}", None) for key, part in (("object", "service"), ("object", "deployment"))]
    for action in samples.ACTIONS:
        asked.append(("GET", f"/can-i?action={action}&service={{service}}&infrastructure={{infrastructure}}", None))
    for body in ({"service": "{service}", "infrastructure": "own-site"}, {"service": "own-iris", "infrastructure": "{infrastructure}"},
                 {"service": "{service}", "infrastructure": "{infrastructure}"}):
        for more in ({"version": "v1"}, {"version": "x9"}, {"version": "v1", "access": "public"}, {}, {"name": "mine", "version": "v1"}):
            asked.append(("POST", "/deployments", {**body, **more}))
    for method, path, body in asked:
        text = samples.text(body) if body else ""
        if any(f"{{{part}}}" in path + text for part in {"service", "infrastructure"} - hidden):
            continue
        answers = []
        for names in (THERE, ABSENT):
            filled = spelled(text, names, str).encode() if body else None
            answer = line.send(method, API + spelled(path, names, str), body=filled, headers={"content-type": "application/json"})
            answers.append(seen(answer, names))
        # These are answered, not refused: with an empty list, or with what is not about the name at all.
        if answers[0] != answers[1]:
            differences.append((f"{method} {path} {text}", who, "", "", str(answers[0])[:400], str(answers[1])[:400]))
    return differences


def logging_in(stage):
    """A wrong password of somebody, of nobody, and of a program answers in the same words."""
    line, differences = Line(stage.url), []
    answers = {name: seen(line.post("/session", {"name": name, "password": "a wrong one"}), {"user": name})
               for name in (THERE["user"], ABSENT["user"], THERE["account"], "Not A Name")}
    first = answers[THERE["user"]]
    for name, answer in answers.items():
        if answer != first or answer[0] != 401:
            differences.append(("POST /session", name, "", "", str(answer), str(first)))
    return differences


def timing(stage):
    """A note, not a promise: the medians of reading what is hidden and what is not there, taken in turn."""
    line = Line(stage.url, stage.callers["user-crew"][0])
    for noun in ("service", "deployment"):
        times = ([], [])
        for _ in range(200):
            for name, taken in zip((THERE[noun], ABSENT[noun]), times):
                begin = time.perf_counter()
                line.get(f"/{noun}s/{name}")
                taken.append(time.perf_counter() - begin)
        hidden, absent = (1e6 * sorted(taken)[100] for taken in times)
        print(f"reading a {noun}: hidden {hidden:.0f} µs, not there {absent:.0f} µs (medians of 200)")


def main():
    url, password = sys.argv[1:]
    stage = Stage(url, password)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda who: walk(stage, who), stage.callers), *pool.map(lambda who: named_elsewhere(stage, who), stage.callers)]
    found.append(logging_in(stage))
    differences = [difference for some in found for difference in some]
    # Nobody did anything: what is hidden is as it was.
    root = stage.root
    for noun in ("service", "infrastructure", "deployment"):
        if root.get(f"/{noun}s/{THERE[noun]}").of(200).json["revision"] != 1:
            differences.append((f"{noun} {THERE[noun]}", "", "", "", "was changed", ""))
    timing(stage)
    for row in differences[:40]:
        print("| " + " | ".join(map(str, row)) + " |")
    print(f"{COUNTED['requests']} requests, {len(differences)} differences")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
