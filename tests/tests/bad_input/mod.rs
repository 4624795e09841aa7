//! Bad input, against real processes: every wrong thing gets its error with its place, and nothing changes.
//!
//! What is sent stands in `table` and the files below it. After each row everything that the API shows is what it was, the
//! processes are the same, and nothing was logged that must not be. The rule a newcomer would break: a new way to be wrong
//! is a row, not a test.

mod bodies;
mod crowd;
mod keys;
mod names;
mod packages;
mod stage;
mod states;
mod table;
mod tensors;
mod unsent;
mod wire;

use stage::Stage;
use std::collections::BTreeSet;

/// Rows after which it is looked whether anything has changed.
const BATCH: usize = 10;

#[test]
fn every_wrong_thing_gets_its_error_and_nothing_changes() {
    let rows = table::all();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "each row has a name of its own");
    assert!(rows.len() >= 120, "{}", rows.len());

    let stage = Stage::set();
    let mut before = stage.everything();
    let mut wrong = Vec::new();
    for batch in rows.chunks(BATCH) {
        for (row, (status, text)) in batch.iter().zip(stage.send_all(batch)) {
            if status != row.status || !text.contains(row.says) {
                let (name, expected, says) = (&row.name, row.status, row.says);
                let text: String = text.chars().take(600).collect();
                wrong.push(format!("{name}: {status}, expected {expected} with {says:?}: {text}"));
            }
            stage.still_the_same(&row.name);
        }
        let after = stage.everything();
        if after != before {
            let names: Vec<&str> = batch.iter().map(|row| row.name.as_str()).collect();
            wrong.push(format!(
                "one of {names:?} changed {}",
                stage::difference(&before, &after)
            ));
            before = after;
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    stage.memory_is_bounded();
    stage.nothing_broke();
    stage.still_answers();
}
