//! The plot: each figure as how many times as good as asked, on a line of doublings.

use super::{Figure, Verdict};

const ROW: f64 = 24.0;
const TOP: f64 = 56.0;
const LEFT: f64 = 540.0;
const WIDTH: f64 = 420.0;
const RIGHT: f64 = 210.0;
/// The scale goes from an eighth to 64 times as good; what lies beyond is drawn at its end.
const DOUBLINGS: (f64, f64) = (-3.0, 6.0);

/// Those of which something is asked, as a picture that needs nothing beside it.
pub(super) fn svg(figures: &[&Figure]) -> String {
    let asked: Vec<(&Figure, f64)> = figures
        .iter()
        .filter_map(|figure| Some((*figure, figure.times_as_good()?)))
        .collect();
    let (width, height) = (LEFT + WIDTH + RIGHT, TOP + ROW * asked.len() as f64 + 16.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\">times as good as asked (line: what is asked, mark: the goal)</text>\n"
    );
    for doubling in DOUBLINGS.0 as i32..=DOUBLINGS.1 as i32 {
        let times = 2f64.powi(doubling);
        let (at, colour) = (x(times), if doubling == 0 { "black" } else { "#ddd" });
        svg += &format!(
            "<line x1=\"{at}\" x2=\"{at}\" y1=\"{TOP}\" y2=\"{}\" stroke=\"{colour}\"/>\n\
             <text x=\"{at}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{times}</text>\n",
            height - 16.0,
            TOP - 8.0
        );
    }
    for (row, (figure, times)) in asked.into_iter().enumerate() {
        let top = TOP + ROW * row as f64;
        let (one, own) = (x(1.0), x(times));
        let colour = match figure.verdict() {
            Verdict::Missed => "#c62828",
            Verdict::Kept => "#9ccc65",
            Verdict::Reached | Verdict::Shown => "#2e7d32",
        };
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"/>\n",
            LEFT - 10.0,
            top + 16.0,
            escaped(&figure.what),
            own.min(one),
            top + 5.0,
            (own - one).abs().max(1.0),
            ROW - 10.0,
        );
        if let Some(goal) = figure.goal_times_as_good() {
            let at = x(goal);
            svg += &format!(
                "<line x1=\"{at}\" x2=\"{at}\" y1=\"{}\" y2=\"{}\" stroke=\"black\" stroke-width=\"2\"/>\n",
                top + 2.0,
                top + ROW - 2.0
            );
        }
        svg += &format!(
            "<text x=\"{}\" y=\"{}\">{} ({})</text>\n",
            LEFT + WIDTH + 10.0,
            top + 16.0,
            escaped(&figure.shown()),
            escaped(&figure.asked())
        );
    }
    svg + "</svg>\n"
}

fn x(times: f64) -> f64 {
    let (from, to) = DOUBLINGS;
    let place = (times.max(f64::MIN_POSITIVE).log2().clamp(from, to) - from) / (to - from);
    (LEFT + WIDTH * place).round()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_is_not_drawn_and_what_is_beyond_stays_inside() {
        let figures = [
            Figure::of("shown", "ms", 1.0),
            Figure::of("far too slow", "ms", 1e9).at_most(1.0),
            Figure::of("a & b", "×", 1e9).at_least(1.0).goal(2.0),
        ];
        let svg = svg(&figures.iter().collect::<Vec<_>>());
        assert!(!svg.contains("shown") && svg.contains("a &amp; b"));
        assert!((x(1e9), x(0.0)) == (LEFT + WIDTH, LEFT));
    }
}
