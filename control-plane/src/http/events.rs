//! Events as they happen, as server-sent events.
//!
//! Who may see an event is asked again for every batch: with the grants of that moment, not of when the stream began.

use super::caller::Caller;
use super::output::Answer;
use super::problem::{Kind, Problem};
use super::state::Api;
use crate::authn::Actor;
use crate::authz::View;
use crate::domain::{Deployment, Time};
use crate::store::{Change, Permit, Seen};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream};
use serde::Serialize;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// Streams at once: each costs a query when something happens.
const PLACES: usize = 1_000;
/// Streams of one account at once: nobody can take all the places.
const PLACES_EACH: usize = 20;

/// The streams that are open, by account.
static OPEN: LazyLock<Mutex<HashMap<Uuid, usize>>> = LazyLock::new(Mutex::default);

/// A stream's place, given back when it ends.
#[derive(Debug)]
pub(super) struct Place(Uuid);

impl Place {
    pub(super) fn take(account: Uuid) -> Result<Self, Problem> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |whose: &str| Problem::new(Kind::Unavailable, format!("too many event streams {whose} are open"));
        if open.values().sum::<usize>() >= PLACES {
            return Err(full("of all people"));
        }
        let own = open.entry(account).or_default();
        if *own >= PLACES_EACH {
            return Err(full("of yours"));
        }
        *own += 1;
        Ok(Self(account))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let left = open.get(&self.0).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            open.remove(&self.0);
        } else {
            open.insert(self.0, left);
        }
    }
}

/// One event.
#[derive(Serialize, ToSchema)]
pub struct EventOut {
    id: i64,
    at: Time,
    deployment: String,
    kind: String,
    message: String,
}

/// What a stream goes on with.
struct Follow {
    api: Api,
    actor: Arc<Actor>,
    deployment: Option<Uuid>,
    last: i64,
    changes: tokio::sync::broadcast::Receiver<Change>,
    _place: Place,
}

/// The events of everything that the caller may see, from now on or after `Last-Event-ID`.
#[utoipa::path(get, path = "/events", tag = "audit",
    responses((status = 200, content_type = "text/event-stream", body = EventOut)))]
pub async fn all(Caller(actor): Caller, State(api): State<Api>, headers: HeaderMap) -> Answer<impl IntoResponse> {
    follow(api, actor, None, &headers).await
}

/// The events of a deployment, from now on or after `Last-Event-ID`.
#[utoipa::path(get, path = "/deployments/{deployment}/events", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = EventOut)))]
pub async fn of_deployment(
    permit: Permit<View, Deployment>,
    Caller(actor): Caller,
    State(api): State<Api>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    follow(api, actor, Some(permit.id), &headers).await
}

async fn follow(
    api: Api,
    actor: Arc<Actor>,
    deployment: Option<Uuid>,
    headers: &HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
    let place = Place::take(actor.account_id)?;
    let changes = api.store.changes();
    let given = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.parse().ok());
    let last = match given {
        Some(id) => id,
        None => api.store.newest_event().await?,
    };
    let stopping = api.stopping.clone();
    let start = Follow {
        api,
        actor,
        deployment,
        last,
        changes,
        _place: place,
    };
    let batches = stream::unfold(start, |mut follow| async move {
        let events = follow.next().await?;
        Some((stream::iter(events.into_iter().map(Ok)), follow))
    });
    let events = futures::StreamExt::flatten(batches);
    let events = futures::StreamExt::take_until(events, async move { stopping.cancelled().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

impl Follow {
    /// The next events; none ends the stream.
    async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            self.actor = Arc::new(self.api.store.refreshed(&self.actor).await.ok()??);
            let seen = Seen::of(&self.actor, &self.api.table);
            let events = self
                .api
                .store
                .events_after(&seen, self.deployment, self.last)
                .await
                .ok()?;
            if let Some(newest) = events.last() {
                self.last = newest.id;
                return Some(events.into_iter().map(event).collect());
            }
            self.wait().await;
        }
    }

    /// Until something may have happened: told, or five seconds later, since another replica may have done it.
    async fn wait(&mut self) {
        let account = self.actor.account_id;
        let told = async {
            loop {
                match self.changes.recv().await {
                    Ok(Change::Event) => return,
                    Ok(Change::Account(id)) if id == account => return,
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        // Whether told or not, the caller looks.
        let _ = tokio::time::timeout(Duration::from_secs(5), told).await;
    }
}

fn event(event: crate::store::Event) -> Event {
    let out = EventOut {
        id: event.id,
        at: event.at,
        deployment: event.deployment,
        kind: event.kind,
        message: event.message,
    };
    let sse = Event::default().id(out.id.to_string()).event(&out.kind);
    sse.json_data(&out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_cannot_take_all_places() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let held: Vec<Place> = (0..PLACES_EACH).map(|_| Place::take(one).unwrap()).collect();
        assert!(Place::take(one).is_err());
        assert!(Place::take(other).is_ok());
        drop(held);
        assert!(Place::take(one).is_ok());
    }
}
