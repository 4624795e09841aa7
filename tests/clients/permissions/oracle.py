"""Who may do what: §3 of the design as a table, for every operation of openapi.json.

Written apart from the product, and never from its policies: two readings of the same text, which must agree. The rule a
newcomer would break: when the two differ, read the design before you change either.
"""

import dataclasses

# A privilege and what it brings along.
SERVICE = {
    "read": {"read"},
    "write": {"read", "write"},
    "deploy": {"read", "deploy"},
    "admin": {"read", "write", "deploy", "admin"},
}
INFRASTRUCTURE = {"view": {"view"}, "deploy": {"view", "deploy"}, "admin": {"view", "deploy", "admin"}}


@dataclasses.dataclass(frozen=True)
class Needs:
    """What one must have. What the path names is hidden from who may not see it."""

    service: str = ""
    infrastructure: str = ""
    platform: str = ""
    # Named in the body: who may not see it is told "unknown".
    in_body: bool = False
    # Everybody who is logged in; `anybody`: also who is not.
    any_user: bool = False
    anybody: bool = False
    # To reveal: the key's creator, or whoever may list it where the service says so. Not the platform admin.
    reveal: bool = False
    # Of a user: oneself, or a platform admin.
    oneself: bool = False


READ, WRITE, ADMIN = Needs(service="read"), Needs(service="write"), Needs(service="admin")
VIEW, RUN = Needs(infrastructure="view"), Needs(infrastructure="admin")
SEE, DEPLOY = Needs("read", "view"), Needs("deploy", "deploy")
PLATFORM, CREATE = Needs(platform="admin"), Needs(platform="create-service")
USER = Needs(any_user=True)

S, I, D = "/api/v1/services", "/api/v1/infrastructures", "/api/v1/deployments"
G, U, A = "/api/v1/groups", "/api/v1/users", "/api/v1/service-accounts"

OPERATIONS = {
    # a service, its versions, its keys
    f"GET {S}": USER,
    f"POST {S}": CREATE,
    f"GET {S}/{{service}}": READ,
    f"PATCH {S}/{{service}}": ADMIN,
    f"DELETE {S}/{{service}}": ADMIN,
    f"GET {S}/{{service}}/grants": ADMIN,
    f"PUT {S}/{{service}}/grants/{{group}}": ADMIN,
    f"DELETE {S}/{{service}}/grants/{{group}}": ADMIN,
    f"GET {S}/{{service}}/versions": READ,
    f"GET {S}/{{service}}/versions/{{version}}": READ,
    f"PUT {S}/{{service}}/versions/{{version}}": WRITE,
    f"DELETE {S}/{{service}}/versions/{{version}}": WRITE,
    f"GET {S}/{{service}}/versions/{{version}}/package": WRITE,
    f"GET {S}/{{service}}/keys": READ,
    f"GET {S}/{{service}}/keys/{{key}}": READ,
    f"POST {S}/{{service}}/keys": ADMIN,
    f"PATCH {S}/{{service}}/keys/{{key}}": ADMIN,
    f"DELETE {S}/{{service}}/keys/{{key}}": ADMIN,
    f"POST {S}/{{service}}/keys/{{key}}/activate": ADMIN,
    f"POST {S}/{{service}}/keys/{{key}}/revoke": ADMIN,
    f"POST {S}/{{service}}/keys/{{key}}/rotate": ADMIN,
    f"POST {S}/{{service}}/keys/{{key}}/reveal": Needs("read", reveal=True),
    # an infrastructure
    f"GET {I}": USER,
    f"POST {I}": PLATFORM,
    f"GET {I}/{{infrastructure}}": VIEW,
    f"PATCH {I}/{{infrastructure}}": RUN,
    f"DELETE {I}/{{infrastructure}}": RUN,
    f"POST {I}/{{infrastructure}}/check": RUN,
    f"POST {I}/{{infrastructure}}/upgrade": RUN,
    f"GET {I}/{{infrastructure}}/grants": RUN,
    f"PUT {I}/{{infrastructure}}/grants/{{group}}": RUN,
    f"DELETE {I}/{{infrastructure}}/grants/{{group}}": RUN,
    # a deployment: both
    f"GET {D}": USER,
    f"POST {D}": Needs("deploy", "deploy", in_body=True),
    f"GET {D}/{{deployment}}": SEE,
    f"GET {D}/{{deployment}}/status": SEE,
    f"GET {D}/{{deployment}}/nodes": SEE,
    f"GET {D}/{{deployment}}/logs": SEE,
    f"GET {D}/{{deployment}}/events": SEE,
    f"GET {D}/{{deployment}}/logs/events": SEE,
    f"GET {D}/{{deployment}}/sample": SEE,
    f"GET {D}/{{deployment}}/revisions": SEE,
    f"GET {D}/{{deployment}}/revisions/{{n}}": SEE,
    f"GET {D}/{{deployment}}/keys": SEE,
    f"GET {D}/{{deployment}}/keys/{{key}}": SEE,
    f"PATCH {D}/{{deployment}}": DEPLOY,
    f"DELETE {D}/{{deployment}}": DEPLOY,
    f"POST {D}/{{deployment}}/enable": DEPLOY,
    f"POST {D}/{{deployment}}/disable": DEPLOY,
    f"POST {D}/{{deployment}}/rollback": DEPLOY,
    f"POST {D}/{{deployment}}/node-tokens": DEPLOY,
    f"POST {D}/{{deployment}}/node-tokens/rotate": DEPLOY,
    f"POST {D}/{{deployment}}/keys": DEPLOY,
    f"PATCH {D}/{{deployment}}/keys/{{key}}": DEPLOY,
    f"DELETE {D}/{{deployment}}/keys/{{key}}": DEPLOY,
    f"POST {D}/{{deployment}}/keys/{{key}}/activate": DEPLOY,
    f"POST {D}/{{deployment}}/keys/{{key}}/revoke": DEPLOY,
    f"POST {D}/{{deployment}}/keys/{{key}}/rotate": DEPLOY,
    f"POST {D}/{{deployment}}/keys/{{key}}/reveal": Needs("read", "view", reveal=True),
    # people
    f"GET {G}": USER,
    f"POST {G}": PLATFORM,
    f"GET {G}/{{group}}": PLATFORM,
    f"PATCH {G}/{{group}}": PLATFORM,
    f"DELETE {G}/{{group}}": PLATFORM,
    f"GET {G}/{{group}}/members": PLATFORM,
    f"PUT {G}/{{group}}/members/{{user}}": PLATFORM,
    f"DELETE {G}/{{group}}/members/{{user}}": PLATFORM,
    f"GET {U}": PLATFORM,
    f"POST {U}": PLATFORM,
    f"GET {U}/{{user}}": PLATFORM,
    f"PATCH {U}/{{user}}": PLATFORM,
    f"DELETE {U}/{{user}}": PLATFORM,
    f"PUT {U}/{{user}}/password": Needs(platform="admin", oneself=True),
    f"GET {A}": PLATFORM,
    f"POST {A}": PLATFORM,
    f"GET {A}/{{account}}": PLATFORM,
    f"PATCH {A}/{{account}}": PLATFORM,
    f"DELETE {A}/{{account}}": PLATFORM,
    f"GET {A}/{{account}}/tokens": PLATFORM,
    f"POST {A}/{{account}}/tokens": PLATFORM,
    f"DELETE {A}/{{account}}/tokens/{{token}}": PLATFORM,
    # oneself
    "POST /api/v1/session": Needs(anybody=True),
    "DELETE /api/v1/session": USER,
    "GET /api/v1/whoami": USER,
    "GET /api/v1/can-i": USER,
    "GET /api/v1/tokens": USER,
    "POST /api/v1/tokens": USER,
    "DELETE /api/v1/tokens/{token}": USER,
    # what one may see of what happened
    "GET /api/v1/audit": USER,
    "GET /api/v1/events": USER,
}

# The deeds of can-i.
ACTIONS = {
    "see-service": READ,
    "list-service-keys": READ,
    "write-versions": WRITE,
    "administer-service": ADMIN,
    "see-infrastructure": VIEW,
    "administer-infrastructure": RUN,
    "see-deployment": SEE,
    "change-deployment": DEPLOY,
    "create-service": CREATE,
    "administer-platform": PLATFORM,
}

ALLOWED, UNAUTHENTICATED, FORBIDDEN, HIDDEN, UNKNOWN = "allowed", 401, 403, 404, 422


@dataclasses.dataclass(frozen=True)
class Who:
    """A caller."""

    name: str = ""
    admin: bool = False
    create_service: bool = False
    known: bool = True


@dataclasses.dataclass(frozen=True)
class Place:
    """What a caller was granted on what an operation is about, by whichever groups; and what else decides."""

    service: frozenset = frozenset()
    infrastructure: frozenset = frozenset()
    owner: bool = False
    key_creator: bool = False
    key_visibility: str = "owner"
    user: str = ""


def on_service(who, granted, owner=False):
    """All privileges that somebody has on a service."""
    if who.admin or owner:
        return set(SERVICE["admin"])
    return set().union(*(SERVICE[privilege] for privilege in granted))


def on_infrastructure(who, granted):
    """All privileges that somebody has on an infrastructure."""
    if who.admin:
        return set(INFRASTRUCTURE["admin"])
    return set().union(*(INFRASTRUCTURE[privilege] for privilege in granted))


def sees(needs, who, place):
    """Whether somebody may see what an operation names."""
    seen = not needs.service or "read" in on_service(who, place.service, place.owner)
    return seen and (not needs.infrastructure or "view" in on_infrastructure(who, place.infrastructure))


def missing(needs, who, place):
    """The privileges that are not there, as pairs of a half and a privilege."""
    lacks = []
    if needs.service and needs.service not in on_service(who, place.service, place.owner):
        lacks.append(("service", needs.service))
    if needs.infrastructure and needs.infrastructure not in on_infrastructure(who, place.infrastructure):
        lacks.append(("infrastructure", needs.infrastructure))
    return lacks


def decide(needs, who, place=Place()):
    """What somebody is told: allowed, or a status."""
    if needs.anybody:
        return ALLOWED
    if not who.known:
        return UNAUTHENTICATED
    if needs.any_user or (needs.oneself and place.user == who.name):
        return ALLOWED
    if needs.platform:
        has = who.admin or (needs.platform == "create-service" and who.create_service)
        return ALLOWED if has else FORBIDDEN
    if not sees(needs, who, place):
        return UNKNOWN if needs.in_body else HIDDEN
    if needs.reveal:
        return ALLOWED if place.key_creator or place.key_visibility == "readers" else FORBIDDEN
    return FORBIDDEN if missing(needs, who, place) else ALLOWED


def operations(document):
    """Those of openapi.json. What this table does not know, or what is no longer there, is an error."""
    methods = ("get", "put", "post", "patch", "delete", "head", "options", "trace")
    found = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item if method in methods}
    unknown, gone = sorted(found - set(OPERATIONS)), sorted(set(OPERATIONS) - found)
    if unknown or gone:
        raise SystemExit(f"the oracle says nothing about {unknown}; of what it knows {gone} is not there")
    return sorted(found)
