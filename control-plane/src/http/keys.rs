//! API keys of services and of deployments.

use super::input::{IfMatch, Json, JsonOrNothing, PageQuery, Query, WaitQuery, nullable};
use super::output::{Answer, Created, Etagged, List, Secretive};
use super::permit::Last;
use super::problem::Problem;
use super::receipts::{Receipt, collect, status};
use super::state::Api;
use crate::authz::{Administer, Deploy, ListKeys, View};
use crate::domain::{
    ApiKey, Deployment, EndpointName, Invalid, KeyClass, KeyState, KeyText, Quota, RateLimit, SaidQuota, SaidRateLimit,
    Service, Time, Title,
};
use crate::store::{Changed, KeyChange, KeyRing, NewKey, Permit, WritableRing};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

/// A key, masked.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyOut {
    id: Uuid,
    name: Title,
    class: KeyClass,
    /// Its first eight and last four characters.
    masked: String,
    /// Imported with fewer than 16 characters.
    weak: bool,
    state: KeyState,
    not_before: Option<Time>,
    expires_at: Option<Time>,
    /// The endpoints that it opens; empty: all.
    endpoints: Vec<String>,
    /// How often it may be used; null: as often as anybody likes.
    rate_limit: Option<RateLimit>,
    /// How much it may be used in a day or month; null: as much as anybody likes.
    quota: Option<Quota>,
    /// Calls in the day or month of its quota, as the nodes reported.
    quota_used: Option<u64>,
    /// Its quota is used up: nodes refuse it until then.
    used_up_until: Option<Time>,
    created_by: String,
    created_at: Time,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
    /// As the nodes reported, a few seconds late.
    calls: u64,
    revision: i64,
    /// The key itself, once, in the answer to its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// How far the change has come, per deployment that the caller may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<Vec<Receipt>>,
}

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKey)]
pub struct NewKeyIn {
    name: Title,
    /// `reveal-once` when absent.
    class: Option<KeyClass>,
    /// Taken over from elsewhere; one is made when absent.
    #[schema(format = Password, min_length = 8, max_length = 256, pattern = "^[!-~]*$")]
    key: Option<String>,
    /// Takes a `key` of fewer than 16 characters all the same.
    #[serde(default)]
    weak: bool,
    not_before: Option<Time>,
    expires_at: Option<Time>,
    /// The endpoints that it opens; empty: all.
    #[serde(default)]
    #[schema(max_items = 64, value_type = Vec<EndpointName>)]
    endpoints: Vec<String>,
    /// How often it may be used: at each deployment that it opens so often, whatever the number of nodes. As often as
    /// anybody likes when absent.
    rate_limit: Option<SaidRateLimit>,
    /// How much it may be used in a day or month of UTC, at all deployments together that it opens. Calls are counted as
    /// nodes report them, so it is refused some seconds after it was used up. As much as anybody likes when absent.
    quota: Option<SaidQuota>,
}

/// What is to be changed of a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyChange)]
pub struct KeyChangeIn {
    name: Option<Title>,
    /// Null takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Time>)]
    not_before: Option<Option<Time>>,
    /// Null takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Time>)]
    expires_at: Option<Option<Time>>,
    #[schema(max_items = 64, value_type = Option<Vec<EndpointName>>)]
    endpoints: Option<Vec<String>>,
    /// Replaced as a whole, and what has been used of it is forgotten. Null takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<SaidRateLimit>)]
    rate_limit: Option<Option<SaidRateLimit>>,
    /// Replaced as a whole; what was used in the same day or month counts. Null takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<SaidQuota>)]
    quota: Option<Option<SaidQuota>>,
}

/// How a key is replaced.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the old key opens beside the new one; an hour when absent, at most 30 days.
    #[schema(minimum = 0, maximum = 2_592_000)]
    overlap_seconds: Option<i64>,
    /// The old one's when absent.
    name: Option<Title>,
}

/// A key, revealed.
#[derive(Serialize, ToSchema)]
pub struct Revealed {
    key: String,
}

fn render(key: ApiKey, now: Time) -> KeyOut {
    KeyOut {
        state: key.state(now),
        id: key.id,
        name: key.name,
        class: key.class,
        masked: key.masked,
        weak: key.weak,
        not_before: key.not_before,
        expires_at: key.expires_at,
        endpoints: key.endpoints,
        rate_limit: key.rate_limit,
        quota: key.quota,
        quota_used: key.quota.map(|quota| quota.used(key.quota_use, now)),
        used_up_until: key.used_up_until.filter(|until| *until > now),
        created_by: key.created_by,
        created_at: key.created_at,
        revoked_at: key.revoked_at,
        last_used_at: key.last_used_at,
        calls: key.calls,
        revision: key.revision,
        key: None,
        receipts: None,
    }
}

fn endpoints(names: Vec<String>) -> Result<Vec<String>, Invalid> {
    if names.len() > 64 {
        return Err(Invalid::new("/endpoints", "must name at most 64"));
    }
    for (place, name) in names.iter().enumerate() {
        EndpointName::parse(name).map_err(|invalid| invalid.under(&format!("/endpoints/{place}")))?;
    }
    Ok(names)
}

fn rate_limit(said: Option<SaidRateLimit>) -> Result<Option<RateLimit>, Invalid> {
    let limit = said.map(RateLimit::try_from).transpose();
    limit.map_err(|invalid| invalid.under("/rate_limit"))
}

fn quota(said: Option<SaidQuota>) -> Result<Option<Quota>, Invalid> {
    let quota = said.map(Quota::try_from).transpose();
    quota.map_err(|invalid| invalid.under("/quota"))
}

fn id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::not_found())
}

async fn list(api: &Api, ring: &KeyRing<'_>, page: &PageQuery) -> Answer<List<KeyOut>> {
    let now = api.store.clock().now();
    let page = api
        .store
        .keys(ring, &page.request()?)
        .await?
        .map(|key| render(key, now));
    Ok(List {
        items: page.items,
        next: page.next,
    })
}

async fn show(api: &Api, ring: &KeyRing<'_>, key: &str) -> Answer<Etagged<KeyOut>> {
    let key = api.store.key(ring, id(key)?).await?;
    Ok(Etagged(key.revision, render(key, api.store.clock().now())))
}

/// 200 when all nodes have the change, 202 when some do not: those that the caller may see.
async fn changed(
    api: &Api,
    ring: &WritableRing<'_>,
    changed: Changed,
    wait: Option<Duration>,
) -> Answer<(StatusCode, Etagged<KeyOut>)> {
    let receipts = collect(api, ring.actor(), &changed.raised, wait).await?;
    let status = status(&receipts);
    let mut key = render(changed.key, api.store.clock().now());
    key.receipts = Some(receipts);
    Ok((status, Etagged(key.revision, key)))
}

async fn made(
    api: &Api,
    ring: &WritableRing<'_>,
    place: &str,
    (text, made): (KeyText, Changed),
    wait: Option<Duration>,
) -> Answer<Response> {
    let (_, Etagged(revision, mut key)) = changed(api, ring, made, wait).await?;
    key.key = Some(text.expose().to_owned());
    let place = format!("{place}/keys/{}", key.id);
    Ok(Secretive(Created(place, Etagged(revision, key))).into_response())
}

async fn create(
    api: &Api,
    ring: &WritableRing<'_>,
    place: &str,
    input: NewKeyIn,
    wait: &WaitQuery,
) -> Answer<Response> {
    let wait = wait.duration()?;
    let new = NewKey {
        name: input.name,
        class: input.class.unwrap_or(KeyClass::RevealOnce),
        imported: input.key.map(|text| KeyText::import(text, input.weak)).transpose()?,
        endpoints: endpoints(input.endpoints)?,
        not_before: input.not_before,
        expires_at: input.expires_at,
        rate_limit: rate_limit(input.rate_limit)?,
        quota: quota(input.quota)?,
    };
    made(api, ring, place, api.store.create_key(ring, new).await?, wait).await
}

async fn patch(
    api: &Api,
    ring: &WritableRing<'_>,
    key: &str,
    if_match: IfMatch,
    input: KeyChangeIn,
    wait: &WaitQuery,
) -> Answer<(StatusCode, Etagged<KeyOut>)> {
    let wait = wait.duration()?;
    let change = KeyChange {
        name: input.name,
        endpoints: input.endpoints.map(endpoints).transpose()?,
        not_before: input.not_before,
        expires_at: input.expires_at,
        rate_limit: input.rate_limit.map(rate_limit).transpose()?,
        quota: input.quota.map(quota).transpose()?,
    };
    let done = api
        .store
        .change_key(ring, id(key)?, if_match.revision()?, change)
        .await?;
    changed(api, ring, done, wait).await
}

async fn rotate(
    api: &Api,
    ring: &WritableRing<'_>,
    place: &str,
    key: &str,
    input: Rotation,
    wait: &WaitQuery,
) -> Answer<Response> {
    let (wait, seconds) = (wait.duration()?, input.overlap_seconds.unwrap_or(3_600));
    if !(0..=30 * 86_400).contains(&seconds) {
        return Err(Invalid::new("/overlap_seconds", "must be 0 to 2592000").into());
    }
    let done = api
        .store
        .rotate_key(ring, id(key)?, seconds * 1_000, input.name)
        .await?;
    made(api, ring, place, done, wait).await
}

/// Shows a key once more. What stays readable on the way must not be kept.
async fn reveal(api: &Api, ring: &KeyRing<'_>, key: &str) -> Answer<Response> {
    let text = api.store.reveal_key(ring, id(key)?).await?;
    Ok(Secretive(axum::Json(Revealed {
        key: text.expose().to_owned(),
    }))
    .into_response())
}

/// The same eight handlers for a place where keys live; the permits differ, and so does the path.
macro_rules! handlers {
    ($module:ident, $what:literal, $base:literal, $param:literal, $noun:ty,
     read: $read:ty, $ring:ident, write: $write:ty, $writable:ident) => {
        #[doc = concat!("Keys of a ", $what, ".")]
        pub mod $module {
            use super::*;

            fn place(permit: &$noun) -> String {
                format!(concat!("/", $base, "/{}"), permit.name)
            }

            #[doc = concat!("The keys of a ", $what, ", masked.")]
            #[utoipa::path(get, path = concat!("/", $base, "/{", $param, "}/keys"), tag = "keys",
                params(($param = String, Path), PageQuery), responses((status = 200, body = List<KeyOut>)))]
            pub async fn list(permit: Permit<$read, $noun>, State(api): State<Api>, Query(page): Query<PageQuery>) -> Answer<List<KeyOut>> {
                let ring = api.store.$ring(&permit).await?;
                super::list(&api, &ring, &page).await
            }

            #[doc = concat!("A key of a ", $what, ", masked.")]
            #[utoipa::path(get, path = concat!("/", $base, "/{", $param, "}/keys/{key}"), tag = "keys",
                params(($param = String, Path), ("key" = Uuid, Path)), responses((status = 200, body = KeyOut)))]
            pub async fn show(permit: Permit<$read, $noun>, State(api): State<Api>, Last(key): Last) -> Answer<Etagged<KeyOut>> {
                let ring = api.store.$ring(&permit).await?;
                super::show(&api, &ring, &key).await
            }

            #[doc = concat!("Make a key of a ", $what, ". Its text is in this answer only.")]
            #[utoipa::path(post, path = concat!("/", $base, "/{", $param, "}/keys"), tag = "keys",
                params(($param = String, Path), WaitQuery), request_body = NewKeyIn, responses((status = 201, body = KeyOut)))]
            pub async fn create(permit: Permit<$write, $noun>, State(api): State<Api>, Query(wait): Query<WaitQuery>, Json(input): Json<NewKeyIn>) -> Answer<Response> {
                let ring = api.store.$writable(&permit).await?;
                super::create(&api, &ring, &place(&permit), input, &wait).await
            }

            #[doc = concat!("Change the name, bounds, scope or limits of a key of a ", $what, ".")]
            #[utoipa::path(patch, path = concat!("/", $base, "/{", $param, "}/keys/{key}"), tag = "keys",
                params(($param = String, Path), ("key" = Uuid, Path), WaitQuery, IfMatch), request_body = KeyChangeIn,
                responses((status = 200, body = KeyOut), (status = 202, body = KeyOut, description = "Some nodes do not have it yet")))]
            pub async fn change(permit: Permit<$write, $noun>, State(api): State<Api>, Last(key): Last, Query(wait): Query<WaitQuery>, if_match: IfMatch, Json(input): Json<KeyChangeIn>) -> Answer<impl IntoResponse> {
                let ring = api.store.$writable(&permit).await?;
                super::patch(&api, &ring, &key, if_match, input, &wait).await
            }

            #[doc = concat!("Reveal a recoverable key of a ", $what, ": to who made it, or to readers where the service says so.")]
            #[utoipa::path(post, path = concat!("/", $base, "/{", $param, "}/keys/{key}/reveal"), tag = "keys",
                params(($param = String, Path), ("key" = Uuid, Path)), responses((status = 200, body = Revealed)))]
            pub async fn reveal(permit: Permit<$read, $noun>, State(api): State<Api>, Last(key): Last) -> Answer<Response> {
                let ring = api.store.$ring(&permit).await?;
                super::reveal(&api, &ring, &key).await
            }

            #[doc = concat!("Revoke a key of a ", $what, ". Never stale: `If-Match` is ignored.")]
            #[utoipa::path(post, path = concat!("/", $base, "/{", $param, "}/keys/{key}/revoke"), tag = "keys",
                params(($param = String, Path), ("key" = Uuid, Path), WaitQuery),
                responses((status = 200, body = KeyOut, description = "Every node refuses it, of the deployments that you may see"), (status = 202, body = KeyOut, description = "Some nodes do not have it yet")))]
            pub async fn revoke(permit: Permit<$write, $noun>, State(api): State<Api>, Last(key): Last, Query(wait): Query<WaitQuery>) -> Answer<impl IntoResponse> {
                let ring = api.store.$writable(&permit).await?;
                let wait = wait.duration()?;
                super::changed(&api, &ring, api.store.revoke_key(&ring, super::id(&key)?).await?, wait).await
            }

            #[doc = concat!("Let a revoked key of a ", $what, " open again: the same text works.")]
            #[utoipa::path(post, path = concat!("/", $base, "/{", $param, "}/keys/{key}/activate"), tag = "keys",
                params(($param = String, Path), ("key" = Uuid, Path), WaitQuery, IfMatch),
                responses((status = 200, body = KeyOut), (status = 202, body = KeyOut, description = "Some nodes do not have it yet")))]
            pub async fn activate(permit: Permit<$write, $noun>, State(api): State<Api>, Last(key): Last, Query(wait): Query<WaitQuery>, if_match: IfMatch) -> Answer<impl IntoResponse> {
                let ring = api.store.$writable(&permit).await?;
                let wait = wait.duration()?;
                let done = api.store.activate_key(&ring, super::id(&key)?, if_match.revision()?).await?;
                super::changed(&api, &ring, done, wait).await
            }

            #[doc = concat!("Replace a key of a ", $what, ": the old one opens for a while beside its successor.")]
            #[utoipa::path(post, path = concat!("/", $base, "/{", $param, "}/keys/{key}/rotate"), tag = "keys",
                params(($param = String, Path), ("key" = Uuid, Path), WaitQuery), request_body = Option<Rotation>,
                responses((status = 201, body = KeyOut)))]
            pub async fn rotate(permit: Permit<$write, $noun>, State(api): State<Api>, Last(key): Last, Query(wait): Query<WaitQuery>, JsonOrNothing(input): JsonOrNothing<Rotation>) -> Answer<Response> {
                let ring = api.store.$writable(&permit).await?;
                super::rotate(&api, &ring, &place(&permit), &key, input, &wait).await
            }

            #[doc = concat!("Delete a revoked key of a ", $what, ".")]
            #[utoipa::path(delete, path = concat!("/", $base, "/{", $param, "}/keys/{key}"), tag = "keys",
                params(($param = String, Path), ("key" = Uuid, Path)), responses((status = 204)))]
            pub async fn remove(permit: Permit<$write, $noun>, State(api): State<Api>, Last(key): Last) -> Answer<StatusCode> {
                let ring = api.store.$writable(&permit).await?;
                api.store.delete_key(&ring, super::id(&key)?).await?;
                Ok(StatusCode::NO_CONTENT)
            }
        }
    };
}

handlers!(of_service, "service", "services", "service", Service,
    read: ListKeys, service_keys, write: Administer, service_keys_to_change);
handlers!(of_deployment, "deployment", "deployments", "deployment", Deployment,
    read: View, deployment_keys, write: Deploy, deployment_keys_to_change);
