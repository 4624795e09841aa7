//! Writing answers: lists, things with an ETag, things just made.

use super::problem::Problem;
use crate::store::Page;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub struct List<T> {
    /// What the caller may see.
    pub items: Vec<T>,
    /// To be given as `cursor` for the next page; null on the last.
    pub next: Option<String>,
}

impl<T, U: From<T>> From<Page<T>> for List<U> {
    fn from(page: Page<T>) -> Self {
        Self {
            items: page.items.into_iter().map(U::from).collect(),
            next: page.next,
        }
    }
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// A list that is never cut: what it holds is bounded elsewhere.
pub fn whole<T>(items: Vec<T>) -> List<T> {
    List { items, next: None }
}

/// Something with a revision, which becomes its ETag.
pub struct Etagged<T>(pub i64, pub T);

impl<T: Serialize> IntoResponse for Etagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.1).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.0)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// 201 with where the new thing is.
pub struct Created<T>(pub String, pub T);

impl<T: IntoResponse> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, self.1).into_response();
        if let Ok(location) = HeaderValue::from_str(&format!("/api/v1{}", self.0)) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// An answer with a secret in it, which nothing on the way may keep.
pub struct Secretive<T>(pub T);

impl<T: IntoResponse> IntoResponse for Secretive<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(HoldsSecret);
        response
    }
}

/// Marks an answer that must not be kept for a repeated request as it is.
#[derive(Clone, Copy)]
pub struct HoldsSecret;

/// What handlers answer.
pub type Answer<T> = Result<T, Problem>;
