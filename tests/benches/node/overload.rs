//! A node that is offered three times as many calls as it can answer: how many it still answers.
//!
//! A call that finds all places taken is sent away with a 429. The rule a newcomer would break: what counts is the right
//! answers; sending away is work, too, and must not be done with the time of those who are inside.

use crate::cnn::{Stage, deploy, load};
use acceptance::figure::{interleaved, ratios};
use acceptance::load::Offered;
use acceptance::{Figure, Report, json};
use std::cell::Cell;
use std::time::Duration;

const ROUND: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 9;
/// Callers that keep every session busy.
const CALLERS: usize = 8;
/// Calls that may wait. Few, so that they are soon inside, and a round is of refusals nearly from its begin.
const QUEUE: usize = 32;
/// Connections for calls that are being sent away.
const MORE: usize = 32;

/// With one session, as deployments have it by default, and with as many as this machine has cores.
pub fn measure(report: &mut Report) {
    let Stage { depth, cast, .. } = Stage::set();
    for sessions in [1, std::thread::available_parallelism().map_or(1, usize::from)] {
        let deployed = deploy(&cast, json!({"sessions": sessions, "queue": QUEUE}));
        let load = load(&deployed);
        let connections = sessions + QUEUE + MORE;
        // As the machine is now: what others take of it changes from round to round.
        let peak = || load.run(CALLERS, ROUND).rate();
        let last = Cell::new(peak());
        let thrice = || Duration::from_secs_f64(1.0 / (3.0 * last.get()));
        let (mut clocked, mut eager) = (Vec::new(), Vec::new());
        let offer = |interval, kept: &mut Vec<Offered>| {
            let offered = load.offer(interval, connections, ROUND);
            let rate = offered.good.rate();
            kept.push(offered);
            rate
        };
        let [peak, at_thrice, at_once]: [Vec<f64>; 3] = interleaved(ROUNDS, |side| match side {
            0 => {
                last.set(peak());
                last.get()
            }
            1 => offer(thrice(), &mut clocked),
            _ => offer(Duration::ZERO, &mut eager),
        });
        let what = |of: &str| format!("overloaded CNN of {depth} convolutions, {sessions} sessions, {of}");
        report.add(Figure::median(what("8 callers: right answers (peak)"), "/s", &peak));
        let good = "right answers / peak";
        for (name, offered, rates, is_asked) in [
            ("3× offered", &clocked, &at_thrice, true),
            ("each asks again at once", &eager, &at_once, false),
        ] {
            let of_each = |measure: fn(&Offered) -> f64| offered.iter().map(measure).collect::<Vec<f64>>();
            let asked = of_each(|offered| offered.asked as f64 / ROUND.as_secs_f64());
            let late = of_each(|offered| offered.good.within(0.99) / 1e3);
            let calls = what(&format!("{name}: calls / peak"));
            report.add(Figure::median(calls, "×", &ratios(&asked, &peak)));
            let ratio = Figure::median(what(&format!("{name}: {good}")), "×", &ratios(rates, &peak));
            report.add(if is_asked { ratio.at_least(0.9) } else { ratio });
            report.add(Figure::median(what(&format!("{name}: p99 of the right")), "ms", &late));
        }
        deployed.delete();
    }
}
