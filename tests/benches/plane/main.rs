//! The figures of the control plane: how soon a revoked key is gone, what the push costs, how fast it lists and reads.
//! `make bench` runs this program.
//!
//! Apart from the tests, because numbers are to be read, not passed. The rule a newcomer would break: the control plane
//! and the nodes are the optimized programs, over real sockets; what plays a thousand nodes verifies and acknowledges as
//! a node does; and every answer is checked.

mod authorizing;
mod fleet;
mod lists;
mod nodes;
mod pods;
mod reads;
mod simulated;
mod takeover;
mod thousand;
mod usage;

use acceptance::figure::Part;

/// What `make bench-cluster` measures.
const ON_A_CLUSTER: [Part; 2] = [
    (
        "pods",
        "from asking for a revoke until the last of 10 pods refuses the key, 100 keys in the set",
        pods::measure,
    ),
    (
        "thousand",
        "1,000 deployments in a cluster of a real API server without nodes",
        thousand::measure,
    ),
];

fn main() {
    if std::env::var_os("CASTOFF_CLUSTER_KUBECONFIG").is_some() {
        return acceptance::figure::run("make bench-cluster", &ON_A_CLUSTER);
    }
    acceptance::figure::run(
        "make bench",
        &[
            (
                "refused",
                "from asking for a revoke until the last of 10 node processes refuses the key, 100 keys in the set",
                nodes::measure,
            ),
            (
                "fleet",
                "a revoke on its way to 1,000 simulated nodes over TLS, and what it and they cost the control plane",
                fleet::measure,
            ),
            (
                "lists",
                "a page of 50 of 10,000 services with 200,000 grants, for a user in 50 groups, over HTTP",
                lists::measure,
            ),
            (
                "authorizing",
                "from a token to the permit to see a deployment, for a user in 50 groups",
                authorizing::measure,
            ),
            (
                "reads",
                "a deployment read over HTTP by 32 callers that keep their connections",
                reads::measure,
            ),
            (
                "takeover",
                "a control plane dies, hangs or leaves, with 10 nodes and another control plane on the same PostgreSQL",
                takeover::measure,
            ),
        ],
    );
}
