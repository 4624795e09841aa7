//! Where pods may connect to.

use super::super::Invalid;
use super::{is_label, is_qualified};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use utoipa::ToSchema;

/// Somewhere that pods may connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// Addresses, such as `10.1.0.0/16`.
    pub cidr: String,
    /// There.
    #[schema(minimum = 1)]
    pub port: u16,
    /// By what.
    #[serde(default, skip_serializing_if = "Protocol::is_usual")]
    pub protocol: Protocol,
}

/// By what pods connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// As nearly everything.
    #[default]
    Tcp,
    /// As name servers.
    Udp,
}

impl Protocol {
    /// Whether nobody has to say it.
    fn is_usual(&self) -> bool {
        *self == Self::Tcp
    }

    /// As Kubernetes writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl Egress {
    /// Checks that it is somewhere.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        match is_cidr(&self.cidr) && self.port > 0 {
            true => Ok(()),
            false => Err(Invalid::new(
                "",
                "must be a CIDR such as 10.1.0.0/16 and a port above 0",
            )),
        }
    }
}

/// Checks the labels of the name servers: without any, all pods would be.
pub(super) fn check_name_servers(labels: &BTreeMap<String, String>) -> Result<(), Invalid> {
    let fits = |(name, value): (&String, &String)| is_qualified(name) && is_label(value);
    match (1..=10).contains(&labels.len()) && labels.iter().all(fits) {
        true => Ok(()),
        false => Err(Invalid::new(
            "",
            "must be 1 to 10 labels as Kubernetes takes them, such as {\"k8s-app\": \"kube-dns\"}",
        )),
    }
}

pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}
