//! The OpenAPI document, generated from the handlers, and the page that shows it.

use super::problem::ProblemOut;
use crate::domain::{AccountName, DeploymentName, GroupName, InfrastructureName, ServiceName, Title, VersionName};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, RefOr, ResponseBuilder, SecurityRequirement};
use utoipa::{OpenApi as _, PartialSchema, ToSchema};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Castoff",
        description = "Deploys ONNX models as protected services. To try calls out on this page, log in with `POST /api/v1/session` (accounts): its cookie counts here from then on. Programs send an access token. Errors are RFC 9457 problems. Lists are pages: give `next` as `cursor`. Send `If-Match` with an ETag to change only what you read, and `Idempotency-Key` to repeat a creation safely.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemOut)),
    tags(
        (name = "accounts", description = "Who is calling, and what they may do"),
        (name = "services", description = "What can be deployed"),
        (name = "infrastructures", description = "Where it runs"),
        (name = "deployments", description = "What runs"),
        (name = "keys", description = "Who may call it"),
        (name = "audit", description = "What happened"),
    )
)]
struct Document;

/// The document before the routes are added.
pub fn base() -> OpenApi {
    Document::openapi()
}

/// Adds what is true of every route: how one proves who one is, what the names in its path may be, and that anything but
/// success is a problem.
pub fn finish(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An access token"))
        .build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(super::caller::COOKIE)));
    components.add_security_scheme("session", cookie);
    document.security = Some(vec![
        SecurityRequirement::new::<_, [&str; 0], &str>("token", []),
        SecurityRequirement::new::<_, [&str; 0], &str>("session", []),
    ]);
    for (path, item) in &mut document.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
            ("patch", &mut item.patch),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            operation.operation_id = Some(operation_id(method, path));
            for parameter in operation.parameters.iter_mut().flatten() {
                let RefOr::T(parameter) = parameter else { continue };
                if let (ParameterIn::Path, Some(rule)) = (&parameter.parameter_in, rule(&parameter.name)) {
                    parameter.schema = Some(rule);
                }
            }
            let content = ContentBuilder::new()
                .schema(Some(RefOr::Ref(utoipa::openapi::Ref::from_schema_name(
                    ProblemOut::name(),
                ))))
                .build();
            let response = ResponseBuilder::new()
                .description("A problem")
                .content("application/problem+json", content)
                .build();
            operation
                .responses
                .responses
                .insert("default".to_owned(), RefOr::T(response));
        }
    }
    document
}

/// What a name in a path may be, by what it is the name of.
fn rule(name: &str) -> Option<RefOr<Schema>> {
    Some(match name {
        "service" => ServiceName::schema(),
        "infrastructure" => InfrastructureName::schema(),
        "deployment" => DeploymentName::schema(),
        "version" => VersionName::schema(),
        "group" => GroupName::schema(),
        "user" | "account" => AccountName::schema(),
        "token" => Title::schema(),
        _ => return None,
    })
}

/// Unique as a method and a path are: `get_services_service` of GET /api/v1/services/{service}.
fn operation_id(method: &str, path: &str) -> String {
    let parts = path
        .trim_start_matches("/api/v1")
        .split('/')
        .filter(|part| !part.is_empty());
    parts.fold(method.to_owned(), |id, part| {
        format!("{id}_{}", part.trim_matches(['{', '}']).replace('-', "_"))
    })
}
