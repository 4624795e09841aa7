//! Where a command's words go: results to standard output, remarks to standard error.
//!
//! Nothing else prints. With `-o json` standard output carries the API's JSON and nothing more.

use super::failure::Failure;
use super::table::{Table, printable};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::io::{self, Write};

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, for people.
    #[default]
    Table,
    /// What the API answered, for programs.
    Json,
}

/// Where a command's words go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    pub(super) fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether remarks and progress are unwanted.
    pub(super) fn quiet(self) -> bool {
        self.quiet
    }

    /// Whether a program reads the result.
    pub(super) fn json(self) -> bool {
        self.format == Format::Json
    }

    /// Shows one thing: its JSON, or the lines of a person's view.
    pub(super) fn show(self, value: &Value, view: impl FnOnce(&Value) -> Table) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.raw(value),
            Format::Table => self.table(&view(value)),
        }
    }

    /// Shows a list: the whole of it in the API's form, or one row for each.
    pub(super) fn list(
        self,
        items: &[Value],
        columns: &[&str],
        row: impl Fn(&Value) -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.json() {
            return self.raw(&json!({"items": items, "next": null}));
        }
        let mut table = Table::new(columns);
        for item in items {
            table.row(row(item));
        }
        self.table(&table)
    }

    /// Shows that something was done: the JSON that came back, or a sentence.
    pub(super) fn done(self, value: &Value, sentence: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json if value.is_null() => Ok(()),
            Format::Json => self.raw(value),
            Format::Table if self.quiet => Ok(()),
            Format::Table => self.line(sentence),
        }
    }

    /// Prints a table as it is.
    pub(super) fn table(self, table: &Table) -> Result<(), Failure> {
        self.text(&table.lines().join("\n"))
    }

    /// Prints JSON as it is.
    pub(super) fn raw(self, value: &Value) -> Result<(), Failure> {
        self.text(&serde_json::to_string_pretty(value).unwrap_or_default())
    }

    /// Prints one line.
    pub(super) fn line(self, line: &str) -> Result<(), Failure> {
        self.text(&printable(line))
    }

    /// Prints text of several lines, with a line end at its end.
    pub(super) fn text(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| match text.ends_with('\n') || text.is_empty() {
                true => out.flush(),
                false => out.write_all(b"\n").and_then(|()| out.flush()),
            });
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::Local(format!("standard output: {error}")),
        })
    }

    /// A remark beside the result.
    pub(super) fn note(self, text: &str) {
        if !self.quiet {
            complain(text);
        }
    }
}

/// A line on standard error. When nobody listens there is nobody to tell.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}
