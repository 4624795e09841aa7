//! Rows in columns, for people.
//!
//! What comes from the server never reaches a terminal unchecked: control characters are replaced here.

use serde_json::Value;

/// Rows under a heading.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no row.
    pub(super) fn new(columns: &[&str]) -> Self {
        Self {
            rows: vec![columns.iter().map(|column| (*column).to_owned()).collect()],
        }
    }

    /// A list of names and values, without a heading.
    pub(super) fn facts() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Adds a name and its value, if there is one.
    pub(super) fn fact(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.row([format!("{name}:"), value]);
        }
    }

    /// The lines, columns two blanks apart, nothing after the last cell.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
            })
            .collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// From how many to how many nodes a deployment has by what they have to do, where it is so.
pub(super) fn scaled(deployment: &Value) -> Option<String> {
    let bound = |name: &str| deployment.pointer(&format!("/autoscaling/{name}"))?.as_u64();
    Some(format!("{}-{}", bound("min")?, bound("max")?))
}

/// The text without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}

/// A cell from the server's JSON: a string as it is, a list with commas, nothing as nothing.
pub(super) fn cell(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Array(parts)) => parts.iter().map(|part| cell(part, "")).collect::<Vec<_>>().join(","),
        Some(other) => other.to_string(),
    }
}

/// A moment to the second: `2026-11-25T12:00:00.000Z` becomes `2026-11-25 12:00:00`.
pub(super) fn moment(value: &Value, pointer: &str) -> String {
    let text = cell(value, pointer);
    text.get(..19).map(|text| text.replace('T', " ")).unwrap_or(text)
}

/// A route: one version alone, or each with its share.
pub(super) fn route(value: &Value, pointer: &str) -> String {
    let parts = value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    match parts {
        [one] => cell(one, "/version"),
        many => {
            let share = |part: &Value| format!("{}={}", cell(part, "/version"), cell(part, "/weight"));
            many.iter().map(share).collect::<Vec<_>>().join(",")
        }
    }
}

/// A size in bytes, in the unit that suits it.
pub(super) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["iris".to_owned(), "running".to_owned()]);
        table.row(["größer-als".to_owned(), String::new()]);
        assert_eq!(
            table.lines(),
            ["NAME        STATE", "iris        running", "größer-als"]
        );
    }

    #[test]
    fn facts_leave_out_what_is_not_there() {
        let mut facts = Table::facts();
        facts.fact("name", "iris");
        facts.fact("description", "");
        facts.fact("owner", "dana\nroot");
        assert_eq!(facts.lines(), ["name:   iris", "owner:  dana\u{fffd}root"]);
    }

    #[test]
    fn cells() {
        let value = json!({"a": ["x", 2, null], "b": true, "at": "2026-11-25T12:00:00.123Z",
            "one": [{"version": "v1", "weight": 100}],
            "two": [{"version": "v1", "weight": 90}, {"version": "v2", "weight": 10}]});
        assert_eq!(cell(&value, "/a"), "x,2,");
        assert_eq!(cell(&value, "/b"), "yes");
        assert_eq!(cell(&value, "/c"), "");
        assert_eq!(moment(&value, "/at"), "2026-11-25 12:00:00");
        assert_eq!(moment(&value, "/c"), "");
        assert_eq!(route(&value, "/one"), "v1");
        assert_eq!(route(&value, "/two"), "v1=90,v2=10");
        assert_eq!(route(&value, "/none"), "");
    }
}
