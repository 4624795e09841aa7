//! Figures: what a bench measured, what is asked of it, and how it is shown.
//!
//! Apart from the benches, so that every one of them is read alike and names the command that shows it again. The rule a
//! newcomer would break: a figure is the median of rounds that were interleaved with those of what it is compared to, as
//! a machine that others use is never twice the same; and nothing here fails a build, for figures are read, not passed.

mod machine;
mod parts;
mod plot;
mod report;
mod rounds;

pub use parts::{Part, run};
pub use report::Report;
pub use rounds::{interleaved, median, quantile, ratios};

use serde_json::{Value, json};

/// What is asked of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
    /// Nothing: it is shown to explain others.
    Nothing,
}

/// How a figure stands to what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It misses the bound.
    Missed,
    /// It keeps the bound, not the goal.
    Kept,
    /// It keeps the bound and the goal, or there is no goal.
    Reached,
    /// Nothing is asked.
    Shown,
}

/// One number that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured, in words that need no other line to be understood.
    pub what: String,
    /// Its unit: `µs`, `MB`, `/s`, `×`.
    pub unit: String,
    /// The number.
    pub value: f64,
    /// The lowest and the highest of the rounds, where there were any.
    pub spread: Option<(f64, f64)>,
    /// What is asked.
    pub bound: Bound,
    /// What is wished, in the same direction.
    pub goal: Option<f64>,
    /// What shows it again.
    pub command: String,
}

impl Figure {
    /// A number that was measured once, or over everything, such as a quantile.
    pub fn of(what: impl Into<String>, unit: &str, value: f64) -> Self {
        Self {
            what: what.into(),
            unit: unit.to_owned(),
            value,
            spread: None,
            bound: Bound::Nothing,
            goal: None,
            command: String::new(),
        }
    }

    /// The median of rounds, with the lowest and the highest of them.
    #[track_caller]
    pub fn median(what: impl Into<String>, unit: &str, rounds: &[f64]) -> Self {
        let spread = (quantile(rounds, 0.0), quantile(rounds, 1.0));
        Self {
            spread: Some(spread),
            ..Self::of(what, unit, median(rounds))
        }
    }

    /// It should be no more than this.
    #[must_use]
    pub fn at_most(mut self, bound: f64) -> Self {
        self.bound = Bound::AtMost(bound);
        self
    }

    /// It should be no less than this.
    #[must_use]
    pub fn at_least(mut self, bound: f64) -> Self {
        self.bound = Bound::AtLeast(bound);
        self
    }

    /// It is wished to be this good.
    #[must_use]
    pub fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    /// How many times as good as asked: 1 where it just keeps the bound.
    pub fn times_as_good(&self) -> Option<f64> {
        self.compared(self.value)
    }

    /// The same of the goal.
    pub fn goal_times_as_good(&self) -> Option<f64> {
        self.compared(self.goal?)
    }

    fn compared(&self, value: f64) -> Option<f64> {
        match self.bound {
            // Of what there should be nothing of, no part is as good.
            Bound::AtMost(0.0) => Some(if value == 0.0 { 1.0 } else { 0.0 }),
            Bound::AtMost(bound) => Some(bound / value),
            Bound::AtLeast(bound) => Some(value / bound),
            Bound::Nothing => None,
        }
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        match (self.times_as_good(), self.goal_times_as_good()) {
            (None, _) => Verdict::Shown,
            (Some(own), _) if own < 1.0 => Verdict::Missed,
            (Some(own), Some(goal)) if own < goal => Verdict::Kept,
            _ => Verdict::Reached,
        }
    }

    /// The number with its unit.
    pub fn shown(&self) -> String {
        with_unit(self.value, &self.unit)
    }

    /// The lowest and the highest of the rounds, or nothing.
    pub fn spread_shown(&self) -> String {
        let shown = |(low, high)| format!("{} … {}", number(low), number(high));
        self.spread.map_or_else(String::new, shown)
    }

    /// What is asked, in words.
    pub fn asked(&self) -> String {
        match self.bound {
            Bound::AtMost(bound) => format!("≤ {}", with_unit(bound, &self.unit)),
            Bound::AtLeast(bound) => format!("≥ {}", with_unit(bound, &self.unit)),
            Bound::Nothing => String::new(),
        }
    }

    /// What is wished, in words.
    pub fn wished(&self) -> String {
        self.goal.map_or_else(String::new, |goal| with_unit(goal, &self.unit))
    }

    fn to_json(&self) -> Value {
        let (at_most, at_least) = match self.bound {
            Bound::AtMost(bound) => (Some(bound), None),
            Bound::AtLeast(bound) => (None, Some(bound)),
            Bound::Nothing => (None, None),
        };
        json!({
            "what": self.what, "unit": self.unit, "value": self.value, "spread": self.spread,
            "at_most": at_most, "at_least": at_least, "goal": self.goal, "command": self.command,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let bound = match (value["at_most"].as_f64(), value["at_least"].as_f64()) {
            (Some(bound), _) => Bound::AtMost(bound),
            (_, Some(bound)) => Bound::AtLeast(bound),
            _ => Bound::Nothing,
        };
        Some(Self {
            what: text("what")?,
            unit: text("unit")?,
            value: value["value"].as_f64()?,
            spread: value["spread"][0].as_f64().zip(value["spread"][1].as_f64()),
            bound,
            goal: value["goal"].as_f64(),
            command: text("command")?,
        })
    }
}

impl Verdict {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missed => "MISSED",
            Self::Kept => "kept",
            Self::Reached => "reached",
            Self::Shown => "",
        }
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "" | "×" | "/s" => format!("{}{unit}", number(value)),
        _ => format!("{} {unit}", number(value)),
    }
}

/// A number with three digits that count, thousands set apart.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let digits = value.abs().log10().floor() as i32;
    let after = usize::try_from(2 - digits).unwrap_or(0);
    let text = format!("{value:.after$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text, ""), |(whole, fraction)| (whole, fraction));
    let mut apart = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left % 3 == 0 && !apart.ends_with('-') {
            apart.push(',');
        }
        apart.push(digit);
    }
    match fraction {
        "" => apart,
        fraction => format!("{apart}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_in_its_direction() {
        let of = |value| Figure::of("x", "ms", value);
        for (figure, verdict) in [
            (of(5.1).at_most(5.0).goal(1.0), Verdict::Missed),
            (of(5.0).at_most(5.0).goal(1.0), Verdict::Kept),
            (of(1.0).at_most(5.0).goal(1.0), Verdict::Reached),
            (of(4.9).at_most(5.0), Verdict::Reached),
            (of(0.0).at_most(0.0), Verdict::Reached),
            (of(1.0).at_most(0.0), Verdict::Missed),
            (of(3.9).at_least(4.0).goal(6.0), Verdict::Missed),
            (of(4.1).at_least(4.0).goal(6.0), Verdict::Kept),
            (of(6.1).at_least(4.0).goal(6.0), Verdict::Reached),
            (of(6.1), Verdict::Shown),
        ] {
            assert_eq!(figure.verdict(), verdict, "{figure:?}");
        }
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (0.123_456, "0.123"),
            (0.001_234, "0.00123"),
            (1.0, "1"),
            (1.5, "1.5"),
            (12.345, "12.3"),
            (123.45, "123"),
            (1_234.5, "1,234"),
            (-1_234_567.0, "-1,234,567"),
            (100.0, "100"),
            (10_000.0, "10,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_figure_comes_back_from_its_file() {
        let mut figure = Figure::median("a \"quoted\" thing", "×", &[3.0, 1.0, 2.0])
            .at_least(1.5)
            .goal(3.0);
        figure.command = "make bench ONLY=x".to_owned();
        assert_eq!((figure.value, figure.spread), (2.0, Some((1.0, 3.0))));
        assert_eq!(Figure::from_json(&figure.to_json()), Some(figure));
    }
}
