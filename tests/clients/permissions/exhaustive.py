"""Every combination of rights on every operation of openapi.json, against the oracle.

    exhaustive.py URL PASSWORD      of a fresh control plane and its first admin

Prints a table of differences, and how many requests were answered; fails when there is one.
"""

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor

import oracle
import real
from deeds import FILLED, guarded
from line import COUNTED, Line, bearer, log_in
from stage import PASSWORD, Stage, place


class Differences:
    """What was not as it should be."""

    def __init__(self):
        self.rows, self.decided = [], 0

    def compare(self, what, who, expected, got):
        self.decided += 1
        if expected != got:
            self.rows.append((what, who, expected, got))

    def end(self):
        for what, who, expected, got in self.rows[:60]:
            print(f"| {what} | {who} | {expected} | {got} |")
        if len(self.rows) > 60:
            print(f"| … {len(self.rows) - 60} more |")
        print(f"{self.decided} decisions, {COUNTED['requests']} requests, {len(self.rows)} differences")
        sys.exit(bool(self.rows))


def said(answer, deed):
    """The answer in the oracle's words. A body that is not ours is none of them."""
    kind = str(answer.json.get("type", "")) if isinstance(answer.json, dict) else ""
    if answer.status in deed.done and not kind.endswith(("/unauthenticated", "/forbidden")):
        # Where "unknown" is an answer, 422 is never "allowed" as well.
        return oracle.ALLOWED
    ours = {401: "/unauthenticated", 403: "/forbidden", 404: "/not-found"}
    if answer.status in ours and not kind.endswith(ours[answer.status]):
        return f"{answer.status} {answer.body[:80]}"
    return answer.status


def ask(stage, differences, caller, line, operation, where, filled, context):
    deed = guarded(operation)
    needs = oracle.OPERATIONS[operation]
    expected = oracle.decide(needs, caller.who, where)
    takes = operation.startswith("DELETE") and operation.endswith("/grants/{group}")
    with stage.alone(filled.get("service") or filled.get("infrastructure")) if takes else contextlib.nullcontext():
        answer = deed.send(line, operation, {**FILLED, **filled})
        if takes and answer.status == 204:
            nouns, privilege = ("services", "read") if "service" in filled else ("infrastructures", "view")
            name = filled.get("service") or filled["infrastructure"]
            stage.restore(f"/{nouns}/{name}/grants/void", privilege)
    who = f"{caller.who.name} {context}"
    differences.compare(operation, who, expected, said(answer, deed))
    if expected == oracle.FORBIDDEN and answer.status == 403 and not needs.reveal and not needs.platform:
        names = {half: filled[half] for half in ("service", "infrastructure") if half in filled}
        lacks = [f"{privilege} on {half} {names[half]}" for half, privilege in oracle.missing(needs, caller.who, where)]
        differences.compare(f"{operation}: missing", who, lacks, answer.json.get("missing"))


def operations_on(stage, thing):
    """The operations whose path names a thing of this kind."""
    return [operation for operation in stage.operations if f"{{{thing}}}" in operation]


def in_context(where):
    return f"s{sorted(where.service)} i{sorted(where.infrastructure)}{' owner' if where.owner else ''}"


def walk(stage, differences, caller):
    """One caller, everywhere."""
    line = Line(stage.url, caller.proof)
    about = ("service", "infrastructure", "deployment")
    for operation in stage.operations:
        if operation == "DELETE /api/v1/session" or any(f"{{{thing}}}" in operation for thing in about):
            continue
        if operation != "POST /api/v1/deployments":
            ask(stage, differences, caller, line, operation, oracle.Place(user=FILLED["user"]), {}, "")
    for service in stage.services_of(caller):
        where = place(caller, service)
        for operation in operations_on(stage, "service"):
            filled = {"service": service.name, "key": service.key}
            ask(stage, differences, caller, line, operation, where, filled, in_context(where))
    for infrastructure in stage.infrastructures:
        where = place(caller, None, infrastructure)
        for operation in operations_on(stage, "infrastructure"):
            filled = {"infrastructure": infrastructure.name}
            ask(stage, differences, caller, line, operation, where, filled, in_context(where))
    for deployment in stage.deployments_of(caller):
        where = place(caller, deployment.service, deployment.infrastructure)
        filled = {
            "deployment": deployment.name,
            "key": deployment.key,
            "service": deployment.service.name,
            "infrastructure": deployment.infrastructure.name,
        }
        for operation in [*operations_on(stage, "deployment"), "POST /api/v1/deployments"]:
            ask(stage, differences, caller, line, operation, where, filled, in_context(where))
        can_i(differences, caller, line, where, filled)
    lists(stage, differences, caller, line)


def can_i(differences, caller, line, where, filled):
    """The explanation says what the deeds say."""
    both = f"service={filled['service']}&infrastructure={filled['infrastructure']}"
    for action, needs in oracle.ACTIONS.items():
        answer = line.get(f"/can-i?action={action}&{both}")
        expected = oracle.decide(needs, caller.who, where)
        got = {True: oracle.ALLOWED, False: 403}.get(answer.json.get("allowed"), answer.status)
        expected = oracle.UNKNOWN if expected == oracle.HIDDEN else expected
        differences.compare(f"can-i {action}", f"{caller.who.name} {in_context(where)}", expected, got)


def lists(stage, differences, caller, line):
    """What is shown is what may be seen, with one's privileges on it."""
    who = caller.who
    shown = {item["name"]: set(item["my_privileges"]) - {"owner"} for item in line.list("/services")}
    rights = {s.name: oracle.on_service(who, s.granted, s.owner == who.name) for s in stage.services}
    differences.compare("list of services", who.name, {n: r for n, r in rights.items() if r}, shown)
    shown = {item["name"]: set(item["my_privileges"]) for item in line.list("/infrastructures")}
    views = {i.name: oracle.on_infrastructure(who, i.granted) for i in stage.infrastructures}
    differences.compare("list of infrastructures", who.name, {n: r for n, r in views.items() if r}, shown)
    seen = {d.name for d in stage.deployments if rights[d.service.name] and views[d.infrastructure.name]}
    differences.compare("list of deployments", who.name, seen, {item["name"] for item in line.list("/deployments")})
    groups = {item["name"] for item in line.list("/groups")}
    differences.compare("list of groups", who.name, {"crew-a", "crew-b", "void", "makers", "chiefs"} - groups, set())
    audited(stage, differences, caller, line, rights, views)


def audited(stage, differences, caller, line, rights, views):
    """Rows of the audit about a thing are there when the thing may be seen, and only then, one's own as well."""
    if caller.who.admin:
        return
    may = {("service", name): bool(r) for name, r in rights.items()}
    may |= {("infrastructure", name): bool(r) for name, r in views.items()}
    for d in stage.deployments:
        may["deployment", d.name] = bool(rights[d.service.name] and views[d.infrastructure.name])
    rows = line.list("/audit")
    about = {(row["object_kind"], row["object"]) for row in rows} & set(may)
    differences.compare("audit", caller.who.name, {thing for thing in about if not may.get(thing)}, set())
    named = {(kind, name) for kind, name in may if may[kind, name]}
    differences.compare("audit has", caller.who.name, named - about, set())


def revealing(stage, differences):
    """With `key_visibility = readers`, whoever may list a key reveals it; but never the platform admin for being one."""
    for service in stage.services:
        stage.root.patch(f"/services/{service.name}", {"key_visibility": "readers"}).of(200)
        service.visibility = "readers"
    for caller in stage.callers:
        line = Line(stage.url, caller.proof)
        for service in stage.services_of(caller):
            where = place(caller, service)
            filled = {"service": service.name, "key": service.key}
            operation = "POST /api/v1/services/{service}/keys/{key}/reveal"
            ask(stage, differences, caller, line, operation, where, filled, f"readers {in_context(where)}")
        for d in stage.deployments_of(caller):
            where = place(caller, d.service, d.infrastructure)
            operation = "POST /api/v1/deployments/{deployment}/keys/{key}/reveal"
            filled = {"deployment": d.name, "key": d.key}
            ask(stage, differences, caller, line, operation, where, filled, f"readers {in_context(where)}")


def unknown_callers(stage):
    """Those who are nobody: without a proof, with one that is none, and who was somebody until just now."""
    proofs = {"without a proof": {}, "forged": bearer("castoff_" + "A" * 43), "a session that is none":
              {"cookie": "castoff_session=" + "A" * 43, "origin": stage.url}}
    for kind in ("user", "account", "session"):
        proofs[f"disabled {kind}"] = proof = stage.account(kind, f"gone-{kind}")
        for group in ("crew-a", "crew-b", "chiefs"):
            stage.root.put(f"/groups/{group}/members/gone-{kind}", {}).of(204)
        Line(stage.url, proof).get("/users").of(200)
        nouns = "service-accounts" if kind == "account" else "users"
        stage.root.patch(f"/{nouns}/gone-{kind}", {"disabled": True}).of(200)
    proofs["a deleted token"] = proof = stage.account("account", "gone-token")
    stage.root.delete("/service-accounts/gone-token/tokens/t").of(204)
    return proofs


def strangers(stage, differences):
    """Nobody gets 401 everywhere, in the same words whether or not it is there."""
    deployment = stage.deployments[-1]
    filled = {**FILLED, "service": deployment.service.name, "infrastructure": deployment.infrastructure.name}
    filled |= {"deployment": deployment.name, "key": deployment.key}
    for name, proof in unknown_callers(stage).items():
        line = Line(stage.url, proof)
        for operation in stage.operations:
            answer = guarded(operation).send(line, operation, filled)
            expected = oracle.decide(oracle.OPERATIONS[operation], oracle.Who(known=False))
            differences.compare(operation, name, expected, said(answer, guarded(operation)))


def sessions(stage, differences):
    """A cookie changes nothing without the origin of our own pages, and is worth nothing after it ended."""
    proof = log_in(stage.url, "session-xc", PASSWORD)
    for origin in (None, "http://elsewhere.example"):
        line = Line(stage.url, {"cookie": proof["cookie"], **({"origin": origin} if origin else {})})
        for operation in stage.operations:
            if operation.startswith("GET") or operation == "POST /api/v1/session":
                continue
            filled = {**FILLED, "service": "s0", "infrastructure": "i0", "deployment": "s0-on-i0", "key": "x"}
            answer = guarded(operation).send(line, operation, filled)
            differences.compare(operation, f"a cookie from {origin}", 403, answer.status)
    for caller in stage.callers:
        line = Line(stage.url, caller.proof)
        differences.compare("DELETE /api/v1/session", caller.who.name, 204, line.delete("/session").status)
        left = 401 if caller.kind == "session" else 200
        differences.compare("GET /api/v1/whoami after it", caller.who.name, left, line.get("/whoami").status)


def main():
    url, password = sys.argv[1:]
    stage = Stage(url, password)
    differences = Differences()
    before = stage.snapshot()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda caller: walk(stage, differences, caller), stage.callers))
    after = stage.snapshot()
    # What met a guard, and what was refused, changed nothing at all.
    differences.compare("what changed", "all of them", {}, {k: v for k, v in after.items() if before.get(k) != v})
    strangers(stage, differences)
    print(f"{len(stage.callers)} callers, {len(stage.services)} services, {len(stage.infrastructures)} infrastructures, "
          f"{len(stage.deployments)} deployments, {len(stage.operations)} operations; {COUNTED['requests']} requests until here")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda caller: real.play(stage, differences, caller), stage.callers))
    revealing(stage, differences)
    sessions(stage, differences)
    differences.end()


if __name__ == "__main__":
    main()
