//! The figures of a node: how fast it answers, how soon, and what it takes. `make bench` runs this program.
//!
//! Apart from the tests, because numbers are to be read, not passed. The rule a newcomer would break: only the optimized
//! programs are measured, over real sockets, and every answer is checked.

mod cnn;
mod iris;
mod keys;
mod overload;
mod process;
mod replacement;
mod revokes;
mod rivals;

fn main() {
    acceptance::figure::run(
        "make bench",
        &[
            ("keys", "the check of a key on a node", keys::measure),
            (
                "iris",
                "iris by JSON over HTTP with a key, against FastAPI",
                iris::measure,
            ),
            (
                "cnn",
                "a CNN, against a loop around ONNX Runtime without a server",
                cnn::measure,
            ),
            (
                "overload",
                "three times as many calls as a node can answer",
                overload::measure,
            ),
            ("memory", "what a node with a small model takes", process::memory),
            (
                "start",
                "from exec to the first answer of a node that comes back",
                process::start,
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
        ],
    );
}
