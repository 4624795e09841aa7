//! Letting a call in: the judge's verdict, counted and logged.
//!
//! Apart from `caller`, which decides and touches nothing. The rule a newcomer would break: a URL that may hold a key is
//! refused before anything else is said about it, and neither it nor a header is ever logged.

use super::call::Call;
use super::caller::{self, Caller, Refusal};
use super::failure::{Failure, Reason};
use super::place::Place;
use crate::serving::{Key, Serving};
use crate::state::Node;
use axum::extract::Query;
use http::request::Parts;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lets the call in, or says why not.
pub(super) fn admit(node: &Node, place: &Place, head: &Parts, arrived: Instant) -> Result<Call, Failure> {
    let in_force = node.in_force();
    let Some(serving) = &in_force.serving else {
        return Err(Failure::new(Reason::Unavailable, "not ready: nothing is served yet"));
    };
    let now_ms = node.clock().now_ms();
    let query = match head.uri.query() {
        None => Vec::new(),
        Some(_) => {
            Query::<Vec<(String, String)>>::try_from_uri(&head.uri)
                .map_err(|_| Failure::new(Reason::Request, "the query string cannot be read"))?
                .0
        }
    };
    let endpoint = place.endpoint().or_else(|| match place {
        Place::Simple { .. } => serving.only_endpoint(),
        _ => None,
    });
    let presented = caller::presented(&head.headers, &serving.access.key_header);
    let verdict = caller::judge(&in_force, serving, presented, endpoint, now_ms);
    // Only who was let in may learn, from this answer, whether a column of that name exists.
    let is_column = |name: &str| verdict.is_ok() && has_column(serving, endpoint, name);
    if caller::is_key_in_url(head.uri.path(), &query, is_column) {
        refused(node, "in-url", None);
        return Err(Failure::new(
            Reason::Request,
            "an API key does not belong in a URL; send it in a header",
        ));
    }
    match verdict {
        Ok(Caller::Anonymous) => node.count_anonymous(),
        Ok(Caller::Holder(key)) => {
            within_limits(node, &key, now_ms, arrived)?;
            key.usage.record(now_ms);
            tracing::debug!(key.id = %key.id, endpoint, "a call was let in");
        }
        Err(refusal) => {
            refused(node, refusal.name(), Some(refusal));
            return Err(refusal.failure());
        }
    }
    let cut_off_ms = now_ms.saturating_sub(node.last_contact_ms());
    if serving
        .limits
        .max_staleness
        .is_some_and(|most| i128::from(cut_off_ms) > most.as_millis() as i128)
    {
        return Err(Failure::new(
            Reason::Unavailable,
            "cut off from the control plane for too long",
        ));
    }
    Ok(Call {
        serving: Arc::clone(serving),
        deadline: arrived + serving.limits.deadline,
    })
}

fn has_column(serving: &Serving, endpoint: Option<&str>, name: &str) -> bool {
    endpoint.is_some_and(|endpoint| {
        serving.endpoints(endpoint).any(|(_, endpoint)| {
            let inputs = endpoint.model.inputs().iter().map(|input| input.name.as_str());
            endpoint
                .columns
                .iter()
                .map(String::as_str)
                .chain(inputs)
                .any(|column| column == name)
        })
    })
}

/// Whether a key that opens may be used once more.
fn within_limits(node: &Node, key: &Key, now_ms: i64, arrived: Instant) -> Result<(), Failure> {
    if key.used_up_until_ms > now_ms {
        let wait = key.used_up_until_ms.saturating_sub(now_ms).unsigned_abs();
        limited(key, "quota-used-up", false);
        return Err(Failure::limited("has used up its quota", Duration::from_millis(wait)));
    }
    if let Some(limiter) = &key.limiter
        && let Err(over) = limiter.take(node.since_start(arrived), node.nodes())
    {
        limited(key, "rate-limited", over.is_first);
        return Err(Failure::limited("is over its rate limit", over.wait));
    }
    Ok(())
}

/// Who is told to come back may come a thousand times a second: that is in the log once until they are let in again.
fn limited(key: &Key, reason: &'static str, is_first: bool) {
    metrics::counter!("castoff_node_refused_total", "reason" => reason).increment(1);
    match is_first {
        true => tracing::info!(key.id = %key.id, reason, "a key was refused"),
        false => tracing::debug!(key.id = %key.id, reason, "a key was refused"),
    }
}

fn refused(node: &Node, reason: &'static str, refusal: Option<Refusal>) {
    node.count_refused();
    metrics::counter!("castoff_node_refused_total", "reason" => reason).increment(1);
    match refusal.and_then(Refusal::key_id) {
        Some(id) => tracing::info!(key.id = %id, reason, "a key was refused"),
        None => tracing::debug!(reason, "a call was refused"),
    }
}
