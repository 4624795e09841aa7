//! 10,000 callers who say nothing, on one port after the other: whoever does is answered all the same.
//!
//! Apart from the table, for it is no input of one caller. The rule a newcomer would break: whoever is right is asked while
//! the crowd still waits in the queue, and not when it has been hung up on.

use super::stage::Stage;
use acceptance::crowd::Crowd;
use acceptance::eventually;

/// The crowd of one port.
const MANY: usize = 10_000;
/// More than any port has places; how many more may wait is the kernel's to say.
const FULL: usize = 2_500;
/// Descriptors that come and go by themselves: of databases, files, a caller.
const FEW: usize = 24;

#[test]
fn ten_thousand_idle_connections_keep_nobody_out() {
    let stage = Stage::set();
    let before = stage.descriptors();
    let lines = stage.lines_begun();
    for (name, url) in stage.ports() {
        let crowd = Crowd::gather(&url, MANY);
        let connected = crowd.connected();
        println!("{name}: {connected} connected");
        assert!(connected > FULL, "{name}: {connected} connected");
        stage.everybody_is_answered();
        stage.still_the_same(name);
        drop(crowd);
        eventually("what the crowd took is given back", || {
            let now = stage.descriptors();
            let back = now.iter().zip(&before).all(|(now, before)| *now <= before + FEW);
            back.then_some(())
                .ok_or_else(|| format!("{name}: {now:?} descriptors, {before:?} before"))
        });
    }
    assert_eq!(stage.lines_begun(), lines, "the nodes stayed on their lines");
    stage.everybody_is_answered();
    stage.memory_is_bounded();
    stage.nothing_broke();
}
