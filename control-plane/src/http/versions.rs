//! Versions: packages of a service, uploaded as streams.

use super::input::{PageQuery, Query};
use super::output::{Answer, Created, List};
use super::permit::Last;
use super::problem::{Kind, Problem};
use super::state::Api;
use crate::artifacts::{Refused, StoreFailed};
use crate::authz::{Read, Write};
use crate::domain::package::Endpoint;
use crate::domain::{Service, Time, Version, VersionName};
use crate::store::{NewVersion, Permit, Visible};
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::io::ErrorKind;
use utoipa::ToSchema;

/// A package, as it is: one `.onnx` file, a zip or a tar.gz.
#[derive(ToSchema)]
#[schema(as = Package, value_type = String, format = Binary)]
pub struct Bytes(#[allow(dead_code)] Vec<u8>);

/// A version.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
pub struct VersionOut {
    name: VersionName,
    /// `sha256:` and the digest of the bytes as they were uploaded.
    digest: String,
    /// Bytes as they were uploaded.
    size: u64,
    /// The highest opset that a model of it asks for.
    opset: i64,
    endpoints: Vec<Endpoint>,
    created_by: String,
    created_at: Time,
}

impl From<Version> for VersionOut {
    fn from(version: Version) -> Self {
        Self {
            name: version.name,
            digest: version.digest.to_string(),
            size: version.size,
            opset: version.manifest.opset,
            endpoints: version.manifest.endpoints,
            created_by: version.created_by,
            created_at: version.created_at,
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge { .. } => Self::new(Kind::TooLarge, refused.to_string()),
            Refused::Slow { .. } => Self::new(Kind::Slow, refused.to_string()),
            Refused::Interrupted => Self::new(Kind::Malformed, refused.to_string()),
            Refused::Invalid(invalid) => invalid.into(),
            Refused::Io(error) => {
                tracing::error!(%error, "a package could not be kept or read");
                if is_full(&error) {
                    let detail = "nothing was kept: make space where the packages lie, then upload again";
                    return Self::new(Kind::Full, detail);
                }
                let is_away = error.get_ref().is_some_and(|error| error.is::<StoreFailed>());
                let detail = match is_away {
                    true => {
                        "the object store that holds packages failed, nothing was changed: try again; the log of the control plane says why"
                    }
                    false => "the package could not be kept or read: the log of the control plane says why",
                };
                Self::new(Kind::Unavailable, detail)
            }
        }
    }
}

/// Whether anything in the chain of an error says that the disk is full.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(error), |error| error.source());
    chain.any(|error| {
        let error = error.downcast_ref::<std::io::Error>();
        error.is_some_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    })
}

/// The versions of a service, by name.
#[utoipa::path(get, path = "/services/{service}/versions", tag = "services", params(("service" = String, Path), PageQuery),
    responses((status = 200, body = List<VersionOut>)))]
pub async fn list(
    permit: Permit<Read, Service>,
    State(api): State<Api>,
    Query(page): Query<PageQuery>,
) -> Answer<List<VersionOut>> {
    Ok(api.store.versions(&permit, &page.request()?).await?.into())
}

/// A version.
#[utoipa::path(get, path = "/services/{service}/versions/{version}", tag = "services", params(("service" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = VersionOut)))]
pub async fn show(
    permit: Permit<Read, Service>,
    State(api): State<Api>,
    Last(version): Last,
) -> Answer<axum::Json<VersionOut>> {
    Ok(axum::Json(api.store.version(&permit, &version).await?.into()))
}

/// Upload a version: one `.onnx` file, or a zip or tar.gz with a `service.yaml`. The same bytes again are fine (200);
/// other bytes under the same name are not (409).
#[utoipa::path(put, path = "/services/{service}/versions/{version}", tag = "services", params(("service" = String, Path), ("version" = String, Path)),
    request_body(content = Bytes, content_type = "application/octet-stream"),
    responses((status = 201, body = VersionOut), (status = 200, body = VersionOut, description = "It was there already")))]
pub async fn upload(
    permit: Permit<Write, Service>,
    State(api): State<Api>,
    Last(version): Last,
    body: Body,
) -> Answer<Response> {
    let name = VersionName::parse(&version).map_err(|invalid| invalid.under("/version"))?;
    api.packages.check_size(body.size_hint().lower())?;
    let received = api.packages.receive(body.into_data_stream(), &permit.name).await?;
    // Kept first: a version that is acknowledged has its files.
    api.packages.keep(&received).await.map_err(Refused::Io)?;
    let new = NewVersion {
        name,
        digest: received.digest,
        size: received.size,
        manifest: received.manifest.clone(),
    };
    let (version, fresh) = api.store.add_version(&permit, new).await?;
    let place = format!("/services/{}/versions/{}", permit.name, version.name);
    let body = axum::Json(VersionOut::from(version));
    Ok(if fresh {
        Created(place, body).into_response()
    } else {
        body.into_response()
    })
}

/// Download a version's package, as it was uploaded.
#[utoipa::path(get, path = "/services/{service}/versions/{version}/package", tag = "services",
    params(("service" = String, Path), ("version" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Bytes)))]
pub async fn package(permit: Permit<Write, Service>, State(api): State<Api>, Last(version): Last) -> Answer<Response> {
    let version = api.store.package(&permit, &version).await?;
    let found = api
        .packages
        .read(&version.digest)
        .await
        .map_err(|error| Problem::from(Refused::Io(error)))?;
    let (size, bytes) =
        found.ok_or_else(|| Problem::new(Kind::Unavailable, "the package's file is missing on the control plane"))?;
    let mut response = Body::from_stream(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let file = format!("attachment; filename=\"{}-{}\"", permit.name, version.name);
    if let Ok(value) = HeaderValue::from_str(&file) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Delete a version that no deployment routes to. Its name is never used for other bytes again.
#[utoipa::path(delete, path = "/services/{service}/versions/{version}", tag = "services", params(("service" = String, Path), ("version" = String, Path)),
    responses((status = 204)))]
pub async fn remove(permit: Permit<Write, Service>, State(api): State<Api>, Last(version): Last) -> Answer<StatusCode> {
    let visible = Visible::of(permit.actor(), &api.table);
    api.store.delete_version(&permit, &version, &visible).await?;
    Ok(StatusCode::NO_CONTENT)
}
