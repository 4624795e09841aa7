//! The programs in Python under `tests/clients`, which know of the product only what it answers.

use std::path::{Path, PathBuf};
use std::process::Command;

/// `tests/clients`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Runs one with these arguments and variables, and prints what it says. `what` is for the failure.
#[track_caller]
pub fn run<const A: usize, const V: usize>(what: &str, program: &str, args: [&str; A], variables: [(&str, &str); V]) {
    let run = Command::new(folder().join("run"))
        .args(["--program", program])
        .args(args)
        .envs(variables)
        .output()
        .expect("the programs are there");
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    println!("{out}");
    assert!(run.status.success(), "{what}:\n{out}{err}");
}
