//! Creations that are repeated with the same `Idempotency-Key` are answered as the first time, and done once.
//!
//! A repeated answer leaves the secret out: it was shown once, and is not kept anywhere.

use super::caller::Caller;
use super::output::HoldsSecret;
use super::problem::{Kind, Problem};
use super::state::Api;
use crate::authn::Actor;
use crate::store::Remembered;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

const HEADER: &str = "idempotency-key";
/// The answer to a creation is JSON of a few hundred bytes.
const MOST: usize = 256 << 10;
/// Fields that hold a secret in the answer to a creation.
const SECRETS: [&str; 4] = ["key", "token", "password", "join"];

/// Keys whose first request is still being answered.
static UNDER_WAY: LazyLock<Mutex<HashSet<(uuid::Uuid, String)>>> = LazyLock::new(Mutex::default);

struct UnderWay((uuid::Uuid, String));

impl UnderWay {
    fn begin(actor: &Actor, key: &str) -> Option<Self> {
        let entry = (actor.account_id, key.to_owned());
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(entry.clone()).then_some(Self(entry))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

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
    let _under_way = UnderWay::begin(&actor, key).ok_or_else(|| {
        Problem::new(
            Kind::InUse,
            "a request with this Idempotency-Key is still being answered",
        )
    })?;
    if let Some(before) = api.store.remembered(&actor, key).await? {
        if before.request != fingerprint {
            return Err(Problem::new(
                Kind::Conflict,
                "this Idempotency-Key was used for another request",
            ));
        }
        return Ok(replay(&before));
    }
    let response = next
        .run(Request::from_parts(parts, Body::from(body.into_bytes())))
        .await;
    if response.status() != StatusCode::CREATED {
        return Ok(response);
    }
    keep(&api, &actor, key, &fingerprint, response).await
}

async fn keep(
    api: &Api,
    actor: &Arc<Actor>,
    key: &str,
    request: &[u8; 32],
    response: Response,
) -> Result<Response, Problem> {
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
    let remembered = Remembered {
        request: request.to_vec(),
        status: parts.status.as_u16(),
        headers: Value::Object(headers).to_string(),
        body: kept.to_string(),
    };
    api.store.remember(actor, key, remembered).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(before: &Remembered) -> Response {
    let status = StatusCode::from_u16(before.status).unwrap_or(StatusCode::OK);
    let mut response = (status, before.body.clone()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    let kept: Map<String, Value> = serde_json::from_str(&before.headers).unwrap_or_default();
    for (name, value) in kept {
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
            headers.insert(name, value);
        }
    }
    response
}
