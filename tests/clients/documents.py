"""Hold a real control plane and real nodes against their OpenAPI documents, with Schemathesis and all of its checks.

    documents.py DOCUMENT URL

The environment says who asks (CASTOFF_TOKEN of the control plane, CASTOFF_KEY of a node), how much (CASTOFF_EXAMPLES of each
operation) and from which seed (CASTOFF_SEED). schemathesis.toml beside this says where our conventions differ.
"""

import os
import pathlib
import sys

from schemathesis import hook
from schemathesis.cli import schemathesis

HERE = pathlib.Path(__file__).parent
# The name of the token that is used here, given by tests/src/actor.rs.
OWN = "acceptance"


@hook
def before_call(context, case, kwargs):
    """Spare the own token: what answers tell is tried as a parameter, and without it every 401 would count as right."""
    if case.operation.label == "DELETE /api/v1/tokens/{token}" and case.path_parameters.get("token") == OWN:
        case.path_parameters["token"] = f"not-{OWN}"


def main(document, url):
    seed = os.environ.get("CASTOFF_SEED", "20261128")
    print(f"CASTOFF_SEED={seed}", flush=True)
    schemathesis(
        ["--no-color", "--config-file", str(HERE / "schemathesis.toml"), "run", document, "--url", url]
        + ["--seed", seed, "--max-examples", os.environ.get("CASTOFF_EXAMPLES", "3"), "--output-sanitize", "true"]
    )


main(*sys.argv[1:])
