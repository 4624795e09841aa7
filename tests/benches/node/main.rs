//! The figures of a node: how fast it answers, how soon, and what it takes. `make bench` runs this program.
//!
//! Apart from the tests, because numbers are to be read, not passed. The rule a newcomer would break: only the optimized
//! programs are measured, over real sockets, and every answer is checked.

mod calls;
mod replacement;
mod revokes;

fn main() {
    acceptance::figure::run(&[
        (
            "calls",
            "iris on one local node, JSON, with a key, by callers that each wait for their answer",
            calls::measure,
        ),
        (
            "revokes",
            "from asking for a revoke to its receipt, on one node",
            revokes::measure,
        ),
        (
            "replacement",
            "kill -9 of the only node of a deployment",
            replacement::measure,
        ),
    ]);
}
