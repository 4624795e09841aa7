//! What nodes log, as they log it: as server-sent events.
//!
//! Apart from the logs so far, which are an answer that ends. The rule a newcomer would break: who may see them is asked
//! again each time, so that a stream ends with the right to it.

use super::caller::Caller;
use super::events::Place;
use super::input::Query;
use super::logs::{LogQuery, of_nodes};
use super::output::Answer;
use super::permit::admit;
use super::state::Api;
use crate::authn::Actor;
use crate::authz::View;
use crate::domain::Deployment;
use crate::store::Permit;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream;
use serde::Serialize;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use utoipa::ToSchema;
use uuid::Uuid;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Of a line that is sent at a time. Clusters keep what a pod writes in pieces of this size: of a line that never ends, each
/// look begins with a whole one, and those that were sent before are known again.
const PIECE: usize = 16 << 10;

/// A line that a node has logged.
#[derive(Serialize, ToSchema)]
pub struct LogLine {
    node: Uuid,
    /// Of a line of more than 16 KiB a piece.
    line: String,
}

/// What a stream goes on with.
struct Follow {
    api: Api,
    actor: Arc<Actor>,
    deployment: String,
    query: LogQuery,
    /// Digests of the lines that were seen last: of 200 pods they would be megabytes.
    known: HashMap<Uuid, Vec<u64>>,
    digests: RandomState,
    _place: Place,
}

/// The last lines that a deployment's nodes logged, and those that they log from then on, of new nodes too. Ends with the right
/// to see them.
#[utoipa::path(get, path = "/deployments/{deployment}/logs/events", tag = "deployments", params(("deployment" = String, Path), LogQuery),
    responses((status = 200, content_type = "text/event-stream", body = LogLine)))]
pub async fn follow(
    permit: Permit<View, Deployment>,
    Caller(actor): Caller,
    State(api): State<Api>,
    Query(query): Query<LogQuery>,
) -> Answer<impl IntoResponse> {
    query.tail()?;
    let place = Place::take(actor.account_id)?;
    let stopping = api.stopping.clone();
    let start = Follow {
        deployment: permit.name.to_string(),
        known: HashMap::new(),
        digests: RandomState::new(),
        api,
        actor,
        query,
        _place: place,
    };
    let batches = stream::unfold(start, |mut follow| async move {
        let lines = follow.next().await?;
        Some((
            stream::iter(lines.into_iter().map(|line| Ok::<_, Infallible>(event(&line)))),
            follow,
        ))
    });
    let events = futures::StreamExt::flatten(batches);
    let events = futures::StreamExt::take_until(events, async move { stopping.cancelled().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

impl Follow {
    /// The next lines; none ends the stream.
    async fn next(&mut self) -> Option<Vec<LogLine>> {
        let mut is_first = self.known.is_empty();
        loop {
            if !is_first {
                sleep(LOOK).await;
            }
            is_first = false;
            self.actor = Arc::new(self.api.store.refreshed(&self.actor).await.ok()??);
            let unchecked = self.api.store.deployment(&self.actor, &self.deployment).await.ok()?;
            let permit: Permit<View, Deployment> = admit(&self.api, unchecked, &self.actor).await.ok()?;
            let logs = of_nodes(&self.api, &permit, &self.query).await.ok()?;
            self.known.retain(|node, _| logs.iter().any(|(there, _)| there == node));
            let mut lines = Vec::new();
            for (node, text) in logs {
                let pieces = pieces(&text);
                let now: Vec<u64> = pieces.iter().map(|piece| self.digests.hash_one(piece)).collect();
                let before = self.known.get(&node).map(Vec::as_slice).unwrap_or_default();
                let new = pieces.into_iter().skip(known_of(before, &now));
                lines.extend(new.map(|line| LogLine {
                    node,
                    line: line.to_owned(),
                }));
                self.known.insert(node, now);
            }
            if !lines.is_empty() {
                return Some(lines);
            }
        }
    }
}

fn event(line: &LogLine) -> Event {
    Event::default().event("line").json_data(line).unwrap_or_default()
}

/// The lines of a log, long ones in pieces. The end of one that goes on waits until its piece is whole.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    for line in text.split_inclusive('\n') {
        let ended = line.strip_suffix('\n');
        let mut rest = ended.map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
        while rest.len() > PIECE {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
            pieces.push(piece);
            rest = after;
        }
        if ended.is_some() || rest.len() == PIECE {
            pieces.push(rest);
        }
    }
    pieces
}

/// How many of the lines of `now` were in `before`: the window has moved on by as few lines as possible.
fn known_of(before: &[u64], now: &[u64]) -> usize {
    (0..=before.len())
        .filter_map(|gone| before.get(gone..))
        .find(|kept| now.starts_with(kept))
        .map_or(0, <[u64]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_come_in_pieces() {
        let long = |pieces: usize, rest: usize| "x".repeat(pieces * PIECE + rest);
        let lengths = |text: &str| pieces(text).iter().map(|piece| piece.len()).collect::<Vec<_>>();
        assert_eq!(pieces("a\r\n\nb\n"), ["a", "", "b"]);
        assert_eq!(pieces(""), [""; 0]);
        for (text, expected) in [
            // Where it goes on nobody knows yet.
            ("a\nb".to_owned(), vec![1]),
            (long(1, 0), vec![PIECE]),
            (long(2, 5), vec![PIECE, PIECE]),
            (long(2, 5) + "\nb\n", vec![PIECE, PIECE, 5, 1]),
            (long(2, 0) + "\n", vec![PIECE, PIECE]),
            // No character is cut in two.
            ("ä".repeat(PIECE) + "\n", vec![PIECE, PIECE]),
            (format!("a{}\n", "ä".repeat(PIECE / 2)), vec![PIECE - 1, 2]),
        ] {
            assert_eq!(lengths(&text), expected);
        }
    }

    #[test]
    fn new_lines_are_those_after_the_known() {
        for (before, now, known) in [
            (&[][..], &[1, 2][..], 0),
            (&[1, 2], &[1, 2], 2),
            (&[1, 2], &[1, 2, 3], 2),
            (&[1, 2, 3], &[2, 3, 4, 5], 2),
            (&[1, 2, 3], &[7, 8, 9], 0),
            (&[1, 1, 1], &[1, 1, 1], 3),
            (&[1, 2], &[], 0),
        ] {
            assert_eq!(known_of(before, now), known, "{before:?} | {now:?}");
        }
    }
}
