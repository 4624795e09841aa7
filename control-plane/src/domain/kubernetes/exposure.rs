//! How programs reach the pods of a deployment.

use super::super::{Invalid, ObjectName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How programs reach the pods of a deployment. Whatever it is, there is a Service of the deployment's name with port 8000.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Exposure {
    /// From inside the cluster.
    // In braces: of a variant without them serde takes unknown fields.
    ClusterIp {},
    /// By an address of the cluster's provider.
    LoadBalancer {},
    /// By an Ingress.
    Ingress {
        /// What the Ingress is called by.
        host: HostTemplate,
        /// The class of its controller; null: the cluster's default.
        #[serde(default)]
        class: Option<ObjectName>,
        /// A Secret of the namespace with the certificate; null: plain HTTP.
        #[serde(default)]
        tls_secret: Option<ObjectName>,
    },
    /// By an HTTPRoute of the Gateway API.
    HttpRoute {
        /// What the route is called by.
        host: HostTemplate,
        /// The Gateway that it belongs to.
        gateway: ObjectName,
        /// Its namespace; null: the one of the pods.
        #[serde(default)]
        gateway_namespace: Option<ObjectName>,
        /// Whether the Gateway speaks TLS there.
        #[serde(default)]
        tls: bool,
    },
}

impl Default for Exposure {
    fn default() -> Self {
        Self::ClusterIp {}
    }
}

/// A host with `{deployment}` in it, such as `{deployment}.models.example`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostTemplate(String);

const PLACE: &str = "{deployment}";
/// Of what is between two dots of a host, and of the whole.
const MOST_LABEL: usize = 63;
const MOST_HOST: usize = 253;

impl HostTemplate {
    /// The host of a deployment.
    pub fn host(&self, deployment: &str) -> String {
        self.0.replace(PLACE, deployment)
    }

    /// Checks that what a deployment gets is a host.
    ///
    /// # Errors
    /// It, or what is between two of its dots, is longer than names can be.
    pub fn check(&self, deployment: &str) -> Result<(), Invalid> {
        let host = self.host(deployment);
        let longest = host.split('.').map(str::len).max().unwrap_or_default();
        match (longest > MOST_LABEL, host.len() > MOST_HOST) {
            (false, false) => Ok(()),
            (true, _) => Err(Invalid::new(
                "",
                format!("makes {host}, in which {longest} characters stand between two dots: at most {MOST_LABEL} may"),
            )),
            (false, true) => Err(Invalid::new(
                "",
                format!(
                    "makes {host}, which has {} characters: at most {MOST_HOST} may be",
                    host.len()
                ),
            )),
        }
    }
}

impl TryFrom<String> for HostTemplate {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        // Two deployments with one host would take each other's calls.
        if !text.contains(PLACE) {
            return Err(Invalid::new("", "must have {deployment} in it"));
        }
        ObjectName::parse(&text.replace(PLACE, "d"))
            .map_err(|_| Invalid::new("", "must be a host such as {deployment}.models.example"))?;
        Ok(Self(text))
    }
}

impl From<HostTemplate> for String {
    fn from(template: HostTemplate) -> Self {
        template.0
    }
}

impl utoipa::PartialSchema for HostTemplate {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .max_length(Some(253))
            .pattern(Some(r"^([a-z0-9.-]*)\{deployment\}([a-z0-9.-]*)$"))
            .description(Some("A host with {deployment} in it"))
            .into()
    }
}

impl ToSchema for HostTemplate {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_as_long_as_names_can_be() {
        let of = |text: &str| HostTemplate::try_from(text.to_owned());
        let (long, longer) = ("d".repeat(56), "d".repeat(57));
        let template = of("models-{deployment}.example").unwrap();
        assert_eq!(template.check(&long), Ok(()));
        assert!(template.check(&longer).unwrap_err().reason.contains("64 characters"));
        let deep = of(&format!("{{deployment}}.{}example", "a.".repeat(92))).unwrap();
        assert!(deep.check(&"d".repeat(61)).is_ok() && deep.check(&"d".repeat(62)).is_err());
        for bad in [
            format!("{}{{deployment}}.example", "a".repeat(63)),
            "models.example".to_owned(),
        ] {
            assert!(of(&bad).is_err(), "{bad}");
        }
    }
}
