//! A report: the figures of one part, printed as they come, and written beside those of the other parts.
//!
//! Every part has a file of its own, `PART.json`; what people read, `figures.md` and `figures.svg`, is made of all the
//! parts in the folder, so that a part that is run alone takes its place among the others.

use super::{Figure, machine, plot};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The figures of one part.
#[derive(Debug)]
pub struct Report {
    part: String,
    command: String,
    about: String,
    machine: Value,
    notes: Vec<String>,
    figures: Vec<Figure>,
}

impl Report {
    /// An empty one. What shows a figure again is `make bench ONLY=part`.
    pub fn new(part: &str, about: &str) -> Self {
        Self {
            part: part.to_owned(),
            command: format!("make bench ONLY={part}"),
            about: about.to_owned(),
            machine: machine::machine(),
            notes: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// What shows it again is another command.
    #[must_use]
    pub fn shown_by(mut self, command: &str) -> Self {
        self.command = format!("{command} ONLY={}", self.part);
        self
    }

    /// Takes a figure and prints it.
    pub fn add(&mut self, mut figure: Figure) {
        if figure.command.is_empty() {
            figure.command.clone_from(&self.command);
        }
        let asked = match (figure.asked(), figure.wished()) {
            (asked, wished) if wished.is_empty() => asked,
            (asked, wished) => format!("{asked}, goal {wished}"),
        };
        println!(
            "{:<76} {:>10}  {:<17} {asked:<26} {}",
            figure.what,
            figure.shown(),
            figure.spread_shown(),
            figure.verdict().word()
        );
        self.figures.push(figure);
    }

    /// Takes a line on how something was measured, and prints it.
    pub fn note(&mut self, line: impl Into<String>) {
        let line = line.into();
        println!("{line}");
        self.notes.push(line);
    }

    /// Writes the part's own file, and what people read anew.
    #[track_caller]
    pub fn write(self) {
        let folder = folder();
        self.write_in(&folder);
        println!("written: {}/figures.md and figures.svg", folder.display());
    }

    #[track_caller]
    fn write_in(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("the folder of the figures");
        let whole = |name: &str, text: String| {
            let (path, new) = (folder.join(name), folder.join(format!(".{name}.new")));
            fs::write(&new, text).expect("figures can be written");
            fs::rename(new, path).expect("figures can be written");
        };
        let part = serde_json::to_string_pretty(&self.to_json()).expect("JSON");
        whole(&format!("{}.json", self.part), part);
        let parts = parts(folder);
        whole("figures.md", markdown(&parts));
        let figures = parts.iter().flat_map(|part| &part.figures);
        whole("figures.svg", plot::svg(&figures.collect::<Vec<_>>()));
    }

    fn to_json(&self) -> Value {
        json!({
            "part": self.part,
            "about": self.about,
            "machine": self.machine,
            "notes": self.notes,
            "figures": self.figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let figures = value["figures"].as_array()?.iter().map(Figure::from_json);
        let notes = value["notes"].as_array()?.iter();
        Some(Self {
            part: value["part"].as_str()?.to_owned(),
            // Of these the figures know themselves what shows them.
            command: String::new(),
            about: value["about"].as_str()?.to_owned(),
            machine: value["machine"].clone(),
            notes: notes.filter_map(|note| note.as_str().map(str::to_owned)).collect(),
            figures: figures.collect::<Option<_>>()?,
        })
    }
}

/// `CASTOFF_BENCH_DIR`, or `bench` in the folder that the program was built in: `target/release/deps/<bench>`.
fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("CASTOFF_BENCH_DIR") {
        return folder.into();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let target = program.ancestors().nth(3).expect("target/release/deps/<bench>");
    target.join("bench")
}

/// The parts in a folder, by name.
fn parts(folder: &Path) -> Vec<Report> {
    let entries = fs::read_dir(folder).expect("the folder of the figures");
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut parts: Vec<Report> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|file| Report::from_json(&serde_json::from_slice(&fs::read(file).ok()?).ok()?))
        .collect();
    parts.sort_by(|one, other| one.part.cmp(&other.part));
    parts
}

fn markdown(parts: &[Report]) -> String {
    let mut text = String::from("# Figures\n\n![each figure against what is asked of it](figures.svg)\n");
    for part in parts {
        text += &format!(
            "\n## {}: {}\n\n{}.\n\n",
            part.part,
            part.about,
            machine::line(&part.machine)
        );
        for note in &part.notes {
            text += &format!("- {note}\n");
        }
        text += "\n| what | figure | rounds | asked | goal | | shown by |\n|---|---:|---|---|---|---|---|\n";
        for figure in &part.figures {
            text += &format!(
                "| {} | {} | {} | {} | {} | {} | `{}` |\n",
                figure.what.replace('|', "\\|"),
                figure.shown(),
                figure.spread_shown(),
                figure.asked(),
                figure.wished(),
                figure.verdict().word(),
                figure.command,
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        for (part, value) in [("pages", 4.0), ("keys", 0.5), ("keys", 0.25)] {
            let mut report = Report::new(part, "a | b");
            report.add(Figure::of(format!("{part} | <x>"), "µs", value).at_most(1.0).goal(0.3));
            report.note("measured so");
            report.write_in(folder.path());
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let text = read("figures.md");
        let rows: Vec<&str> = text.lines().filter(|line| line.contains("make bench ONLY")).collect();
        assert_eq!(
            rows,
            [
                "| keys \\| <x> | 0.25 µs |  | ≤ 1 µs | 0.3 µs | reached | `make bench ONLY=keys` |",
                "| pages \\| <x> | 4 µs |  | ≤ 1 µs | 0.3 µs | MISSED | `make bench ONLY=pages` |",
            ]
        );
        assert!(read("figures.svg").contains("keys | &lt;x&gt;"));
        assert_eq!(
            serde_json::from_str::<Value>(&read("keys.json")).unwrap()["notes"][0],
            "measured so"
        );
    }
}
