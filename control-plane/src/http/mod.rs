//! REST: every route on one screen, one file per noun.
//!
//! The rule a newcomer would break: a handler's first argument is its permit, or the caller where everybody who is logged
//! in may ask. What the path names is decided before the body is read.

mod again;
mod audit;
mod bodies;
mod caller;
mod can_i;
mod checks;
mod deployment_state;
mod deployments;
mod events;
mod grants;
mod groups;
mod idempotency;
mod infrastructures;
mod input;
mod keys;
mod kubernetes_settings;
mod log_events;
mod logs;
mod nodes;
mod openapi;
mod output;
mod permit;
mod problem;
mod receipts;
mod revisions;
mod service_accounts;
mod services;
mod session;
mod site;
mod state;
mod tokens;
mod upgrades;
mod users;
mod versions;

pub use bodies::Bodies;
pub use problem::{Kind, Problem};
pub use state::Api;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use castoff_listen::linger::Lingering;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

fn api_routes() -> OpenApiRouter<Api> {
    let accounts = OpenApiRouter::new()
        .routes(routes!(session::create, session::remove))
        .routes(routes!(session::whoami))
        .routes(routes!(can_i::ask))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::change, users::remove))
        .routes(routes!(users::set_password))
        .routes(routes!(groups::list, groups::create))
        .routes(routes!(groups::show, groups::change, groups::remove))
        .routes(routes!(groups::list_members))
        .routes(routes!(groups::add_member, groups::remove_member))
        .routes(routes!(service_accounts::list, service_accounts::create))
        .routes(routes!(
            service_accounts::show,
            service_accounts::change,
            service_accounts::remove
        ))
        .routes(routes!(service_accounts::list_tokens, service_accounts::create_token))
        .routes(routes!(service_accounts::remove_token))
        .routes(routes!(audit::list))
        .routes(routes!(events::all));
    let services = OpenApiRouter::new()
        .routes(routes!(services::list, services::create))
        .routes(routes!(services::show, services::change, services::remove))
        .routes(routes!(grants::list_on_service))
        .routes(routes!(grants::put_on_service, grants::remove_on_service))
        .routes(routes!(versions::list))
        .routes(routes!(versions::show, versions::upload, versions::remove))
        .routes(routes!(versions::package))
        .routes(routes!(keys::of_service::list, keys::of_service::create))
        .routes(routes!(
            keys::of_service::show,
            keys::of_service::change,
            keys::of_service::remove
        ))
        .routes(routes!(keys::of_service::reveal))
        .routes(routes!(keys::of_service::revoke))
        .routes(routes!(keys::of_service::activate))
        .routes(routes!(keys::of_service::rotate));
    let deployments = OpenApiRouter::new()
        .routes(routes!(infrastructures::list, infrastructures::create))
        .routes(routes!(
            infrastructures::show,
            infrastructures::change,
            infrastructures::remove
        ))
        .routes(routes!(checks::check))
        .routes(routes!(upgrades::upgrade))
        .routes(routes!(grants::list_on_infrastructure))
        .routes(routes!(grants::put_on_infrastructure, grants::remove_on_infrastructure))
        .routes(routes!(deployments::list, deployments::create))
        .routes(routes!(deployments::show, deployments::change, deployments::remove))
        .routes(routes!(deployments::enable))
        .routes(routes!(deployments::disable))
        .routes(routes!(deployments::roll_back))
        .routes(routes!(revisions::list_revisions))
        .routes(routes!(revisions::show_revision))
        .routes(routes!(nodes::status))
        .routes(routes!(nodes::list))
        .routes(routes!(logs::logs))
        .routes(routes!(log_events::follow))
        .routes(routes!(nodes::sample))
        .routes(routes!(nodes::create_token))
        .routes(routes!(nodes::rotate_token))
        .routes(routes!(events::of_deployment))
        .routes(routes!(keys::of_deployment::list, keys::of_deployment::create))
        .routes(routes!(
            keys::of_deployment::show,
            keys::of_deployment::change,
            keys::of_deployment::remove
        ))
        .routes(routes!(keys::of_deployment::reveal))
        .routes(routes!(keys::of_deployment::revoke))
        .routes(routes!(keys::of_deployment::activate))
        .routes(routes!(keys::of_deployment::rotate));
    accounts.merge(services).merge(deployments)
}

/// What a page of ours may load: what comes from here. Swagger UI sets styles inline and draws from `data:`.
const OUR_OWN_ONLY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The whole OpenAPI document.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, document) = OpenApiRouter::<Api>::with_openapi(openapi::base())
        .nest("/api/v1", api_routes())
        .split_for_parts();
    openapi::finish(document)
}

/// The document as it is committed and served.
pub fn document_text() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Everything that is served over HTTP.
pub fn router(api: Api) -> Router {
    let (routes, _) = OpenApiRouter::<Api>::with_openapi(openapi::base())
        .nest("/api/v1", api_routes())
        .split_for_parts();
    let text = document_text();
    let docs = utoipa_swagger_ui::SwaggerUi::new("/docs").config(
        utoipa_swagger_ui::Config::from("/openapi.json")
            .validator_url("none")
            .use_base_layout()
            .doc_expansion("none"),
    );
    let json = move || {
        let text = text.clone();
        async move {
            (
                [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
                text,
            )
        }
    };
    let set = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    routes
        .layer(axum::middleware::from_fn(again::layer))
        .layer(axum::middleware::from_fn_with_state(api.clone(), idempotency::layer))
        // Packages are streamed and bounded where they are received; JSON where it is read.
        .layer(DefaultBodyLimit::disable())
        .route("/openapi.json", get(json))
        .route("/", get(|| async { Redirect::temporary("/docs/") }))
        .merge(docs)
        .fallback(nothing_here)
        .method_not_allowed_fallback(|| async {
            Problem::new(Kind::MethodNotAllowed, "see /docs for what this path takes")
        })
        .layer(set(header::CACHE_CONTROL, "no-store"))
        .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(set(header::X_FRAME_OPTIONS, "DENY"))
        .layer(set(header::REFERRER_POLICY, "no-referrer"))
        .layer(set(header::CONTENT_SECURITY_POLICY, OUR_OWN_ONLY))
        .layer(CatchPanicLayer::custom(|_| {
            tracing::error!("a handler panicked");
            Problem::new(Kind::Internal, "it is in the log of the control plane").into_response()
        }))
        .layer(axum::middleware::map_request(linger))
        .with_state(api)
}

/// A refusal comes before the body was read; a client that is still sending it must get to read the refusal. One that
/// asks first (`Expect`) sends nothing when it is refused.
async fn linger(request: Request) -> Request {
    if request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::new(Lingering::new(body)))
}

async fn nothing_here(uri: Uri) -> Response {
    let detail = if uri.path().starts_with("/api/") {
        "see /docs for the paths"
    } else {
        "the API is under /api/v1, its documentation under /docs"
    };
    Problem::new(Kind::NotFound, detail).into_response()
}

/// A name as one part of a path.
pub(crate) fn path_part(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    name.bytes().fold(String::new(), |mut part, byte| {
        if keep(byte) {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
        part
    })
}

#[cfg(test)]
mod settings_document;

#[cfg(test)]
mod tests {
    /// The committed document is what the handlers say. `CASTOFF_UPDATE=1` writes it.
    #[test]
    fn the_committed_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi.json");
        let text = super::document_text();
        if std::env::var_os("CASTOFF_UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == text,
            "openapi.json is not current: run CASTOFF_UPDATE=1 cargo test committed"
        );
    }
}
