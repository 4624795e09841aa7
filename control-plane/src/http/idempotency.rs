//! Creations that are repeated with the same `Idempotency-Key` are answered as the first time, and done once.
//!
//! A repeated answer leaves the secret out: it was shown once, and is not kept anywhere. A repetition goes the whole way to
//! where it would make something, so that whoever may not make it any more is told so, and nothing else.

use super::caller::Caller;
use super::output::HoldsSecret;
use super::problem::{Kind, Problem};
use super::state::Api;
use crate::authn::Actor;
use crate::store::{Once, Remembered, Reply, once};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::Semaphore;

const HEADER: &str = "idempotency-key";
/// The answer to a creation is JSON of a few hundred bytes.
const MOST: usize = 256 << 10;
/// Fields that hold a secret in the answer to a creation.
const SECRETS: [&str; 4] = ["key", "token", "password", "join"];

/// So many go on when whoever asked hangs up, so that they hear what became of it when they ask again; beyond that, what
/// waits for nodes ends with its connection, as without a key.
static LEFT_ALONE: Semaphore = Semaphore::const_new(256);

/// Looks at POSTs that name a key; lets everything else through.
pub async fn layer(State(api): State<Api>, request: Request, next: Next) -> Response {
    let key = request.headers().get(HEADER).cloned();
    match key {
        Some(key) if request.method() == Method::POST && request.uri().path() != "/api/v1/session" => {
            answer(api, request, next, &key)
                .await
                .unwrap_or_else(IntoResponse::into_response)
        }
        _ => next.run(request).await,
    }
}

async fn answer(api: Api, request: Request, next: Next, key: &HeaderValue) -> Result<Response, Problem> {
    let key = key.to_str().ok().filter(|key| (1..=200).contains(&key.len()));
    let key =
        key.ok_or_else(|| Problem::new(Kind::Malformed, "Idempotency-Key must have 1 to 200 ASCII characters"))?;
    let (mut parts, body) = request.into_parts();
    let Caller(actor) = Caller::from_request_parts(&mut parts, &api).await?;
    let body = api.bodies.read(body).await?;
    let fingerprint = castoff_wire::sha256(&[
        parts.method.as_str().as_bytes(),
        b" ",
        parts.uri.to_string().as_bytes(),
        b"\n",
        &body,
    ]);
    let what = Once {
        account_id: actor.account_id,
        key: key.to_owned(),
        request: fingerprint.to_vec(),
    };
    let request = Request::from_parts(parts, Body::from(body.into_bytes()));
    let work = one_answer(api, actor, what, request, next);
    match LEFT_ALONE.try_acquire() {
        Err(_) => work.await,
        Ok(place) => {
            let alone = tokio::spawn(async move {
                let _place = place;
                work.await
            });
            alone.await.map_err(|error| Problem::internal(&error))?
        }
    }
}

async fn one_answer(
    api: Api,
    actor: Arc<Actor>,
    what: Once,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (response, repeated) = once(what.clone(), next.run(request)).await;
    if repeated {
        return match api.store.remembered(&actor, &what.key).await? {
            Some(before) => replay(&before, &what),
            None => Ok(response),
        };
    }
    if response.status() == StatusCode::CREATED {
        return keep(&api, &actor, &what.key, response).await;
    }
    Ok(response)
}

async fn keep(api: &Api, actor: &Actor, key: &str, response: Response) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MOST).await.map_err(|error| Problem::internal(&error))?;
    let mut kept: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let (Some(_), Value::Object(fields)) = (parts.extensions.get::<HoldsSecret>(), &mut kept) {
        fields.retain(|name, _| !SECRETS.contains(&name.as_str()));
    }
    let headers: Map<String, Value> = [header::LOCATION, header::ETAG]
        .iter()
        .filter_map(|name| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.into())))
        .collect();
    let reply = Reply {
        status: parts.status.as_u16(),
        headers: Value::Object(headers).to_string(),
        body: kept.to_string(),
    };
    // It is done, and whoever asked must hear so: only who asks again hears less.
    if let Err(error) = api.store.remember(actor, key, reply).await {
        tracing::error!(%error, "an answer is not kept for a repeated request");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(before: &Remembered, what: &Once) -> Result<Response, Problem> {
    if before.request != what.request {
        let other = "this Idempotency-Key was used for another request";
        return Err(Problem::new(Kind::Conflict, other));
    }
    let reply = before.reply.as_ref().ok_or_else(|| {
        Problem::new(
            Kind::InUse,
            "this was done, and its answer is not known: it is still being made, or the control plane ended before it was; \
             look for what was made",
        )
    })?;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = (status, reply.body.clone()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    let kept: Map<String, Value> = serde_json::from_str(&reply.headers).unwrap_or_default();
    for (name, value) in kept {
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}
