//! What happens to deployments, line by line as it happens.
//!
//! Apart from the logs, which are the nodes' own words: events are the control plane's, and come by server-sent events.

use super::Desk;
use super::failure::Failure;
use super::table::{cell, moment};
use clap::Args;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

/// Between two attempts to listen again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// An event is one line of a few hundred bytes.
const MOST_UNREAD: usize = 1 << 20;

/// What happens.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  castoff events
  castoff events iris-on-dev --past

Goes on until Ctrl-C. With -o json each event is a line of JSON.")]
pub struct Events {
    /// Of this deployment only
    deployment: Option<String>,
    /// Begin with what has happened so far
    #[arg(long)]
    past: bool,
}

impl Events {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let path = match &self.deployment {
            Some(deployment) => vec!["deployments", deployment.as_str(), "events"],
            None => vec!["events"],
        };
        let mut last = self.past.then(|| "0".to_owned());
        let mut heard = false;
        loop {
            let ended = match desk.server.listen(&path, &[], last.as_deref()).await {
                Ok(mut response) => {
                    if !heard {
                        desk.out.note("listening; Ctrl-C ends it");
                        heard = true;
                    }
                    let mut unread = Unread::default();
                    while let Ok(Some(bytes)) = response.chunk().await {
                        for event in unread.take(&bytes)? {
                            last = Some(cell(&event, "/id"));
                            desk.out.line(&line(&event, desk.out.json()))?;
                        }
                    }
                    "the server has hung up".to_owned()
                }
                // A server that was there comes back; one that never was is not waited for.
                Err(Failure::Unreachable(why)) if heard => why,
                Err(failure) => return Err(failure),
            };
            desk.out.note(&format!("{ended}: listening again"));
            sleep(PAUSE).await;
        }
    }
}

fn line(event: &Value, json: bool) -> String {
    if json {
        return event.to_string();
    }
    let parts = [
        moment(event, "/at"),
        cell(event, "/deployment"),
        cell(event, "/kind"),
        cell(event, "/message"),
    ];
    parts.join("  ")
}

/// What has come of a stream and is no whole line yet.
#[derive(Default)]
pub(super) struct Unread(Vec<u8>);

impl Unread {
    /// The events that these bytes complete. Each has its data in one line, since the server writes JSON.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Value>, Failure> {
        self.0.extend_from_slice(bytes);
        let whole = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.0.drain(..whole).collect();
        if self.0.len() > MOST_UNREAD {
            return Err(Failure::Unreachable("an event of the server has no end".to_owned()));
        }
        let data = |line: &[u8]| serde_json::from_slice(line.strip_prefix(b"data:")?).ok();
        Ok(lines.split(|byte| *byte == b'\n').filter_map(data).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_come_in_pieces() {
        let mut unread = Unread::default();
        assert!(unread.take(b": keep-alive\n\nid: 7\nevent: cre").unwrap().is_empty());
        let events = unread.take(b"ated\ndata: {\"id\":7}\n\ndata: {\"id\":8}").unwrap();
        assert_eq!(events, [json!({"id": 7})]);
        assert_eq!(unread.take(b"\n\n").unwrap(), [json!({"id": 8})]);
        assert!(unread.take(&vec![b'x'; MOST_UNREAD + 1]).is_err());
    }

    #[test]
    fn an_event_is_a_line() {
        let event = json!({"id": 1, "at": "2026-11-25T12:00:00.000Z", "deployment": "iris-on-dev", "kind": "created",
            "message": "created by dana"});
        assert_eq!(
            line(&event, false),
            "2026-11-25 12:00:00  iris-on-dev  created  created by dana"
        );
        assert!(line(&event, true).starts_with('{'));
    }
}
