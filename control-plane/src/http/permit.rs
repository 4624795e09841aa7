//! A handler's first argument: the permit for what the path names.

use super::caller::Caller;
use super::problem::Problem;
use super::state::Api;
use crate::authn::Actor;
use crate::authz::Need;
use crate::domain::{Deployment, Infrastructure, Service};
use crate::store::{Error, Permit, Platform, Refusal, Store, Unchecked, Visible};
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use std::future::Future;
use std::sync::Arc;

/// Something that a path can name.
pub trait Named: Sized + Send {
    /// Finds it, sealed.
    fn find(
        store: &Store,
        actor: &Actor,
        path: &RawPathParams,
    ) -> impl Future<Output = Result<Unchecked<Self>, Error>> + Send;
}

/// A part of the path, if it can be a name at all.
pub fn part<'a>(path: &'a RawPathParams, name: &str) -> Option<&'a str> {
    let (_, value) = path.iter().find(|(key, _)| *key == name)?;
    may_be_name(value).then_some(value)
}

/// Characters of the longest: what a person calls a key or a token.
const LONGEST_NAME: usize = 100;

/// Whether a text can be a name at all. PostgreSQL takes no NUL, and nothing that we keep is without bounds.
pub fn may_be_name(text: &str) -> bool {
    text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

impl Named for Platform {
    async fn find(store: &Store, actor: &Actor, _path: &RawPathParams) -> Result<Unchecked<Self>, Error> {
        Ok(store.platform(actor))
    }
}

impl Named for Service {
    async fn find(store: &Store, actor: &Actor, path: &RawPathParams) -> Result<Unchecked<Self>, Error> {
        store
            .service(actor, part(path, "service").ok_or(Error::NotFound("service"))?)
            .await
    }
}

impl Named for Infrastructure {
    async fn find(store: &Store, actor: &Actor, path: &RawPathParams) -> Result<Unchecked<Self>, Error> {
        store
            .infrastructure(
                actor,
                part(path, "infrastructure").ok_or(Error::NotFound("infrastructure"))?,
            )
            .await
    }
}

impl Named for Deployment {
    async fn find(store: &Store, actor: &Actor, path: &RawPathParams) -> Result<Unchecked<Self>, Error> {
        store
            .deployment(actor, part(path, "deployment").ok_or(Error::NotFound("deployment"))?)
            .await
    }
}

impl<P: Need<R>, R: Named> FromRequestParts<Api> for Permit<P, R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Caller(actor) = Caller::from_request_parts(parts, api).await?;
        let path = RawPathParams::from_request_parts(parts, &())
            .await
            .map_err(|_| Problem::not_found())?;
        let found = R::find(&api.store, &actor, &path).await?;
        let facts = found.facts().clone();
        match admit(api, found, &actor).await {
            Err(problem) if !parts.method.is_safe() && problem.status() == axum::http::StatusCode::FORBIDDEN => {
                // The route, not the path: what is between may be a secret that was pasted into the wrong place.
                let route = parts
                    .extensions
                    .get::<axum::extract::MatchedPath>()
                    .map(|path| path.as_str().to_owned());
                let action = format!("{} {}", parts.method, route.unwrap_or_default());
                let named = path.iter().next().and_then(|(name, _)| part(&path, name));
                let object = named.unwrap_or_default();
                api.store
                    .record_refusal(&actor, &action, "route", object, &facts)
                    .await?;
                Err(problem)
            }
            other => other,
        }
    }
}

/// Admits an actor to something that was found, or says why not.
///
/// # Errors
/// 404 for what is hidden, 403 with what is missing and who can give it.
pub async fn admit<P: Need<R>, R>(api: &Api, found: Unchecked<R>, actor: &Arc<Actor>) -> Result<Permit<P, R>, Problem> {
    match found.admit(&api.table, actor) {
        Ok(permit) => Ok(permit),
        Err(Refusal::Hidden) => Err(Problem::not_found()),
        Err(Refusal::Forbidden { missing, detail, facts }) => {
            let ask = api.store.who_can_give(&facts).await?;
            Err(Problem::forbidden(detail, missing, Some(ask)))
        }
    }
}

impl<R> FromRequestParts<Api> for Visible<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Caller(actor) = Caller::from_request_parts(parts, api).await?;
        Ok(Self::of(&actor, &api.table))
    }
}

/// The first part of the path that is a name.
pub struct First(pub String);

/// The last part of the path that is a name.
pub struct Last(pub String);

async fn names(parts: &mut Parts) -> Result<Vec<String>, Problem> {
    let path = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Problem::not_found())?;
    path.iter()
        .map(|(key, _)| part(&path, key).map(str::to_owned).ok_or_else(Problem::not_found))
        .collect()
}

impl<S: Send + Sync> FromRequestParts<S> for First {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        names(parts)
            .await?
            .into_iter()
            .next()
            .map(Self)
            .ok_or_else(Problem::not_found)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Last {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        names(parts).await?.pop().map(Self).ok_or_else(Problem::not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::may_be_name;
    use crate::domain::Title;

    /// A token that bears the longest name there is can be deleted.
    #[test]
    fn every_name_can_stand_in_a_path() {
        let longest = "\u{1f980}".repeat(100);
        assert!(Title::parse(&longest).is_ok() && may_be_name(&longest));
        assert!(!may_be_name(&format!("{longest}x")) && !may_be_name("a\0"));
    }
}
