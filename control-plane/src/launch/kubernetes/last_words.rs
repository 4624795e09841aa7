//! What a program said last, as far as people read it: pure.

use serde_json::Value;

/// The last lines of a log, of those that are JSON the message: as many as people read.
pub(super) fn last_words(log: &str) -> String {
    const LINES: usize = 5;
    const CHARACTERS: usize = 500;
    let lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
    let last: Vec<String> = lines.rev().take(LINES).map(said).collect();
    let words: Vec<String> = last.into_iter().rev().collect();
    let words = words.join(" / ");
    let surplus = words.chars().count().saturating_sub(CHARACTERS);
    words.chars().skip(surplus).collect()
}

fn said(line: &str) -> String {
    let entry: Option<Value> = serde_json::from_str(line).ok();
    let words = entry.as_ref().and_then(|entry| {
        let message = entry.get("message")?.as_str()?;
        let more = ["error", "reason"].iter().find_map(|name| entry.get(name)?.as_str());
        Some(more.map_or_else(|| message.to_owned(), |more| format!("{message}: {more}")))
    });
    words.unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_those_that_people_read() {
        assert_eq!(last_words("one\n\ntwo \n"), "one / two");
        let json = r#"{"timestamp":"t","message":"it ends","error":"no room"}"#;
        assert_eq!(last_words(&format!("before\n{json}")), "before / it ends: no room");
        assert_eq!(last_words("1\n2\n3\n4\n5\n6"), "2 / 3 / 4 / 5 / 6");
        assert_eq!(last_words(&"é".repeat(700)).chars().count(), 500);
        assert_eq!(last_words(""), "");
    }
}
