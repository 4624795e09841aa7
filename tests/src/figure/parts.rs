//! Bench programs made of parts, each of which can be run alone: `make bench ONLY=keys`.

use super::Report;

/// A part: its name, what it measures in a line, and how.
pub type Part = (&'static str, &'static str, fn(&mut Report));

/// Runs the parts that are named after `--bench`, or all. Names that are none of ours are parts of another program.
/// `command` is what runs this program.
pub fn run(command: &str, parts: &[Part]) {
    // `cargo test --all-targets` starts bench programs, too.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let only: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    for (name, about, measure) in parts {
        if only.is_empty() || only.iter().any(|only| only == name) {
            println!("\n== {name}: {about}");
            let mut report = Report::new(name, about).shown_by(command);
            measure(&mut report);
            report.write();
        }
    }
}
