//! What `castoff serve` is told: by flags, or by the environment under the same names. Parsed once, at the start.

mod packages;

pub use packages::PackagesPlace;

use crate::domain::{ImageName, InfrastructureName, ObjectName};
use clap::Args;
use rustls::pki_types::ServerName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Where everything that Castoff keeps on this machine lies, and where its database is.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The folder for the database, the master key, packages and local nodes
    #[arg(
        long,
        global = true,
        env = "CASTOFF_DATA_DIR",
        default_value = "data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,

    /// A file that holds the URL of a PostgreSQL database; or set CASTOFF_DATABASE_URL [default: SQLite in the data folder]
    #[arg(long, global = true, env = "CASTOFF_DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,

    /// A file that holds the URL of the same database past a pooler that shares sessions, such as PgBouncer; or set
    /// CASTOFF_DATABASE_DIRECT_URL
    #[arg(long, global = true, env = "CASTOFF_DATABASE_DIRECT_URL_FILE", value_name = "FILE")]
    pub database_direct_url_file: Option<PathBuf>,
}

/// The database, as it is reached.
pub struct DatabaseUrls {
    /// For all that is asked. It may hold a password, and is never shown.
    pub url: String,
    /// The same past a pooler, where one stands between; it may hold a password, too.
    pub direct: Option<String>,
}

impl DatabaseUrls {
    /// For what needs a session of its own: locks, and hints.
    pub fn direct(&self) -> &str {
        self.direct.as_deref().unwrap_or(&self.url)
    }
}

/// Where the master key is.
#[derive(Args, Clone, Debug, Default)]
pub struct MasterKeyPlace {
    /// A file with the master key, 64 hexadecimal digits; or set CASTOFF_MASTER_KEY [default with SQLite: made at the first start]
    #[arg(long, global = true, env = "CASTOFF_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,

    /// Keep the master key and the first password in this Secret, made at the first start in the namespace of the pod that this is
    #[arg(
        long,
        global = true,
        env = "CASTOFF_OWN_SECRET",
        value_name = "NAME",
        value_parser = object,
        conflicts_with = "master_key_file"
    )]
    pub own_secret: Option<ObjectName>,
}

/// `castoff serve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  castoff serve --data-dir /var/lib/castoff")]
pub struct Serve {
    #[command(flatten)]
    pub place: Place,

    /// Where the REST API and its documentation are served
    #[arg(long, env = "CASTOFF_LISTEN", default_value = "127.0.0.1:8400", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Where nodes dial
    #[arg(
        long,
        env = "CASTOFF_NODE_LISTEN",
        default_value = "127.0.0.1:8401",
        value_name = "ADDR"
    )]
    pub node_listen: SocketAddr,

    /// Where /livez, /readyz and /metrics are served
    #[arg(
        long,
        env = "CASTOFF_OPS_LISTEN",
        default_value = "127.0.0.1:8402",
        value_name = "ADDR"
    )]
    pub ops_listen: SocketAddr,

    /// The address under which nodes reach --node-listen, such as `https://castoff.example:8401`
    #[arg(long, env = "CASTOFF_NODE_URL", value_name = "URL")]
    pub node_url: Option<String>,

    /// More names or addresses under which nodes reach --node-listen, for the certificate that Castoff makes itself
    #[arg(
        long,
        env = "CASTOFF_NODE_SAN",
        value_name = "NAME",
        value_delimiter = ',',
        conflicts_with = "node_tls_cert"
    )]
    pub node_san: Vec<String>,

    /// The certificate chain for --node-listen, in PEM [default: beyond this machine, one of an authority of its own]
    #[arg(long, env = "CASTOFF_NODE_TLS_CERT", value_name = "FILE", requires_all = ["node_tls_key", "node_tls_ca"])]
    pub node_tls_cert: Option<PathBuf>,

    /// Its private key, in PEM
    #[arg(long, env = "CASTOFF_NODE_TLS_KEY", value_name = "FILE", requires = "node_tls_cert")]
    pub node_tls_key: Option<PathBuf>,

    /// The authority that signed it, in PEM: join documents tell nodes to trust it
    #[arg(long, env = "CASTOFF_NODE_TLS_CA", value_name = "FILE", requires = "node_tls_cert")]
    pub node_tls_ca: Option<PathBuf>,

    /// Serve HTTP without TLS beyond this machine, behind a proxy that has it
    #[arg(long, env = "CASTOFF_INSECURE_HTTP")]
    pub insecure_http: bool,

    /// The certificate chain for --listen, in PEM
    #[arg(long, env = "CASTOFF_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Its private key, in PEM
    #[arg(long, env = "CASTOFF_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// In place of both: the names or addresses by which --listen is called, for a certificate of an authority of Castoff's own. What clients are to trust then is ca.crt in the data folder, or in --own-secret
    #[arg(
        long,
        env = "CASTOFF_TLS_SAN",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = called,
        conflicts_with_all = ["tls_cert", "insecure_http"]
    )]
    pub tls_san: Vec<String>,

    #[command(flatten)]
    pub keeping: MasterKeyPlace,

    /// A file with the password of the first user, `admin` [default: made at the first start and shown once]
    #[arg(long, env = "CASTOFF_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,

    /// At the first start, make the namespace of the pod that this is an infrastructure of this name, of stage dev
    #[arg(long, env = "CASTOFF_FIRST_INFRASTRUCTURE", value_name = "NAME", value_parser = infrastructure)]
    pub first_infrastructure: Option<InfrastructureName>,

    /// Secrets by which pods of the first infrastructure pull their image
    #[arg(long, env = "CASTOFF_FIRST_PULL_SECRETS", value_name = "NAME", value_delimiter = ',', value_parser = object)]
    pub first_pull_secrets: Vec<ObjectName>,

    /// The labels of the pods that this one is of, as NAME=VALUE,…: those of deployments in its cluster are let out to them
    #[arg(long, env = "CASTOFF_OWN_PODS", value_name = "LABELS", value_parser = labels)]
    pub own_pods: Option<Labels>,

    /// A folder with model.conf and builtin.csv in place of the builtin rules
    #[arg(long, env = "CASTOFF_POLICIES", value_name = "DIR")]
    pub policies: Option<PathBuf>,

    /// The folder of local nodes and, without --packages-url, of packages, where several control planes share them [default: the data folder]
    #[arg(long, env = "CASTOFF_SHARED_DIR", value_name = "DIR")]
    pub shared_dir: Option<PathBuf>,

    #[command(flatten)]
    pub packages: PackagesPlace,

    /// The ports that local deployments get
    #[arg(long, env = "CASTOFF_LOCAL_PORTS", default_value = "8500-8999", value_name = "FIRST-LAST", value_parser = ports)]
    pub local_ports: RangeInclusive<u16>,

    /// The program that local nodes run [default: castoff-node beside this program]
    #[arg(long, env = "CASTOFF_NODE_BINARY", value_name = "FILE")]
    pub node_binary: Option<PathBuf>,

    /// ONNX Runtime's library, for local nodes
    #[arg(long, env = "CASTOFF_ONNXRUNTIME", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,

    /// What the pods of an infrastructure of kind kubernetes run, unless it says so itself [default: castoff-node of this release]
    #[arg(long, env = "CASTOFF_NODE_IMAGE", value_name = "IMAGE", value_parser = image)]
    pub node_image: Option<ImageName>,

    /// Bytes that an uploaded package may have
    #[arg(long, env = "CASTOFF_MAX_PACKAGE_BYTES", default_value_t = 2 << 30, value_name = "BYTES")]
    pub max_package_bytes: u64,

    /// Connections to --listen at once, as far as the limit of open files allows; more wait, and silent ones make room
    #[arg(long, env = "CASTOFF_MAX_CONNECTIONS", default_value_t = 1_000, value_name = "N")]
    pub max_connections: usize,

    /// Connections of nodes at once, as far as the limit of open files allows; more wait, and silent ones make room
    #[arg(
        long,
        env = "CASTOFF_MAX_NODE_CONNECTIONS",
        default_value_t = 2_000,
        value_name = "N"
    )]
    pub max_node_connections: usize,

    /// Seconds in which a connection must say what it wants, and so long it may be idle
    #[arg(long, env = "CASTOFF_HEAD_PATIENCE", default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub head_patience: u64,

    /// Seconds in which a body of JSON must come whole, and of an upload one more MiB
    #[arg(long, env = "CASTOFF_BODY_PATIENCE", default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub body_patience: u64,

    /// Seconds for which it goes on answering when it is told to end, but not ready any more: until nobody sends it anything new
    #[arg(long, env = "CASTOFF_DRAIN_DELAY", default_value_t = 0, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=300))]
    pub drain_delay: u64,

    /// End the local nodes when the control plane ends; else they go on serving
    #[arg(long, env = "CASTOFF_STOP_NODES")]
    pub stop_nodes: bool,
}

impl Serve {
    /// Whether REST speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls_cert.is_some() || !self.tls_san.is_empty()
    }

    /// The folder of packages and local nodes.
    pub fn shared_dir(&self) -> &Path {
        self.shared_dir.as_deref().unwrap_or(&self.place.data_dir)
    }
}

fn object(text: &str) -> Result<ObjectName, String> {
    ObjectName::parse(text).map_err(|invalid| invalid.reason)
}

fn infrastructure(text: &str) -> Result<InfrastructureName, String> {
    InfrastructureName::parse(text).map_err(|invalid| invalid.reason)
}

/// What a certificate can be for: a name, `*.` before one, or an address.
fn called(text: &str) -> Result<String, String> {
    match ServerName::try_from(text.strip_prefix("*.").unwrap_or(text)) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be a name or an address, such as castoff.example or 192.0.2.1".to_owned()),
    }
}

fn image(text: &str) -> Result<ImageName, String> {
    ImageName::parse(text).map_err(|invalid| invalid.reason)
}

/// Labels of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(pub BTreeMap<String, String>);

/// Names and values, as `app=castoff,release=a`.
fn labels(text: &str) -> Result<Labels, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        (!name.is_empty() && !value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    let parsed: Option<BTreeMap<_, _>> = text.split(',').map(pair).collect();
    parsed
        .map(Labels)
        .ok_or_else(|| "must be labels such as app=castoff,release=a".to_owned())
}

/// Two numbers with a hyphen between.
fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let parsed = text
        .split_once('-')
        .and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    match parsed {
        Some(range) if !range.is_empty() && *range.start() > 0 => Ok(range),
        _ => Err("must be two ports such as 8500-8999".to_owned()),
    }
}

impl Place {
    /// The URLs of the database.
    ///
    /// # Errors
    /// A file cannot be read, or names another kind of database.
    pub fn database_urls(&self) -> Result<DatabaseUrls, String> {
        let is = |url: &str, kinds: &[&str]| kinds.iter().any(|kind| url.starts_with(kind));
        let url = match secret(self.database_url_file.as_deref(), "CASTOFF_DATABASE_URL")? {
            None => crate::store::sqlite_url(&self.data_dir),
            Some(url) if is(&url, &["sqlite:", "postgres:", "postgresql:"]) => url,
            Some(_) => return Err("the database's URL must begin with sqlite: or postgres:".to_owned()),
        };
        let direct = secret(self.database_direct_url_file.as_deref(), "CASTOFF_DATABASE_DIRECT_URL")?;
        match &direct {
            Some(_) if url.starts_with("sqlite:") => {
                Err("a direct URL is for a PostgreSQL database: give its URL, too".to_owned())
            }
            Some(direct) if !is(direct, &["postgres:", "postgresql:"]) => {
                Err("the database's direct URL must begin with postgres:".to_owned())
            }
            _ => Ok(DatabaseUrls { url, direct }),
        }
    }
}

/// What a file or the environment says. Read here and not by clap, whose help would show it.
fn secret(file: Option<&Path>, variable: &str) -> Result<Option<String>, String> {
    let from_file = file.map(|path| read_secret(path, 4_096)).transpose()?;
    Ok(from_file.or_else(|| std::env::var(variable).ok().filter(|value| !value.is_empty())))
}

/// A secret from a file, without the line's end.
///
/// # Errors
/// The file cannot be read, is empty, or is larger than `most` bytes.
pub fn read_secret(path: &Path, most: u64) -> Result<String, String> {
    let fail = |reason: String| format!("{}: {reason}", path.display());
    let meta = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if meta.is_dir() {
        return Err(fail("is a folder, not a file".to_owned()));
    }
    if meta.len() > most {
        return Err(fail(format!("is larger than {most} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err(fail("is empty".to_owned()))
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_pods() {
        let parsed = labels("app.kubernetes.io/name=castoff,a=b").unwrap().0;
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed["app.kubernetes.io/name"], "castoff");
        for text in ["", "a", "a=", "=b", "a=b,"] {
            assert!(labels(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_certificates() {
        for text in ["castoff.example", "*.castoff.example", "castoff", "192.0.2.1", "::1"] {
            assert_eq!(called(text).unwrap(), text);
        }
        for text in [
            "",
            "*.",
            "https://castoff.example",
            "castoff.example:8400",
            "a b",
            "a..b",
        ] {
            assert!(called(text).is_err(), "{text}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!(ports("8500-8999").unwrap(), 8500..=8999);
        for text in ["8500", "8999-8500", "0-10", "a-b", "1-70000"] {
            assert!(ports(text).is_err(), "{text}");
        }
    }
}
