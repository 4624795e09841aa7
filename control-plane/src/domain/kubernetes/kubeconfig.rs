//! What opens a cluster: the one context of a kubeconfig file that is current, and nothing that leads out of the file.
//!
//! The rule a newcomer would break: a kubeconfig comes from whoever administers Castoff, and is read on the machine of the
//! control plane. It may neither run a program nor name a file there; what is kept of it can do neither.

use super::super::Invalid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;

/// A kubeconfig with a few clusters and certificates has 20 kB.
const MOST_BYTES: usize = 128 << 10;
/// What to do instead.
const WAY: &str = "`castoff infra manifest` prints an account for Castoff, whose token can be given in its place";

/// What opens a cluster. It holds a secret, and so has no Debug.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubeconfig {
    /// The URL of the API server.
    pub server: String,
    /// Whom its certificate must be from, in PEM; none: any that this machine trusts.
    pub authority: Option<String>,
    /// What its certificate must be for, where that is not the host of the URL.
    pub server_name: Option<String>,
    /// As whom.
    pub user: ClusterUser,
}

/// As whom a cluster is entered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterUser {
    /// By a bearer token.
    Token(String),
    /// By a client's certificate, both in PEM.
    Certificate {
        /// The certificate, and those between it and its authority.
        chain: String,
        /// Its private key.
        key: String,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "current-context")]
    current: Option<String>,
    #[serde(default)]
    clusters: Vec<Named>,
    #[serde(default)]
    contexts: Vec<Named>,
    #[serde(default)]
    users: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(alias = "cluster", alias = "context", alias = "user")]
    what: Value,
}

impl Kubeconfig {
    /// Reads the text of a kubeconfig file.
    ///
    /// # Errors
    /// What cannot be used, without anything that the file says.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::read(text).map_err(|reason| Invalid::new("", reason))
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("must have at most {MOST_BYTES} bytes"));
        }
        // Its own message would show a part of the text.
        let file: File = serde_yaml_ng::from_str(text).map_err(|_| "is not a kubeconfig file".to_owned())?;
        let current = match (&file.current, file.contexts.as_slice()) {
            (Some(current), _) if !current.is_empty() => current.clone(),
            (_, [only]) => only.name.clone(),
            _ => return Err("has no current-context".to_owned()),
        };
        let context = find(&file.contexts, &current, "context")?;
        let named = |what: &str| word(context, what).ok_or_else(|| format!("has a context without {what}"));
        let cluster = find(&file.clusters, &named("cluster")?, "cluster")?;
        let user = find(&file.users, &named("user")?, "user")?;
        let (server, authority, server_name) = self::cluster(cluster)?;
        Ok(Self {
            server,
            authority,
            server_name,
            user: self::user(user)?,
        })
    }
}

type Cluster = (String, Option<String>, Option<String>);

fn cluster(cluster: &Value) -> Result<Cluster, String> {
    let server = word(cluster, "server").ok_or("has a cluster without server")?;
    if !server.starts_with("https://") || server.len() > 2_048 || !server.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a server that is not https://…".to_owned());
    }
    if is_given(cluster, "certificate-authority") {
        return Err(names_a_file("certificate-authority"));
    }
    if cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool) == Some(true) {
        return Err(
            "switches off the check of the server's certificate: give certificate-authority-data instead".to_owned(),
        );
    }
    if is_given(cluster, "proxy-url") {
        return Err("has a proxy-url, which is not supported".to_owned());
    }
    let authority = pem(cluster, "certificate-authority-data")?;
    Ok((server, authority, word(cluster, "tls-server-name")))
}

fn user(user: &Value) -> Result<ClusterUser, String> {
    for runs in ["exec", "auth-provider"] {
        if is_given(user, runs) {
            return Err(format!(
                "has a user with {runs}, which runs a program: it is never run. {WAY}"
            ));
        }
    }
    for file in ["tokenFile", "client-certificate", "client-key"] {
        if is_given(user, file) {
            return Err(names_a_file(file));
        }
    }
    if ["username", "password", "as", "as-uid", "as-groups"]
        .iter()
        .any(|other| is_given(user, other))
    {
        return Err(format!("has a user by password or on behalf of another. {WAY}"));
    }
    if let Some(token) = word(user, "token") {
        let is_header = token.bytes().all(|byte| byte.is_ascii_graphic());
        return match is_header {
            true => Ok(ClusterUser::Token(token)),
            false => Err("has a token with other than visible letters".to_owned()),
        };
    }
    let parts = (pem(user, "client-certificate-data")?, pem(user, "client-key-data")?);
    match parts {
        (Some(chain), Some(key)) => Ok(ClusterUser::Certificate { chain, key }),
        _ => Err(format!(
            "has a user with neither a token nor a certificate and its key. {WAY}"
        )),
    }
}

fn names_a_file(field: &str) -> String {
    format!("names a file by {field}, which is never read: give the data itself ({field}-data). {WAY}")
}

fn find<'a>(all: &'a [Named], name: &str, what: &str) -> Result<&'a Value, String> {
    let found = all.iter().find(|named| named.name == name);
    found
        .map(|named| &named.what)
        .ok_or_else(|| format!("names a {what} that is not in it"))
}

fn word(value: &Value, name: &str) -> Option<String> {
    let text = value.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_given(value: &Value, name: &str) -> bool {
    value.get(name).is_some_and(|value| !value.is_null())
}

fn pem(value: &Value, name: &str) -> Result<Option<String>, String> {
    let Some(encoded) = word(value, name) else {
        return Ok(None);
    };
    let decoded = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.filter(|text| text.contains("-----BEGIN ")) {
        Some(text) => Ok(Some(text)),
        None => Err(format!("has {name} that is not PEM in base64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";

    fn file(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
             contexts: [{{name: here, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        )
    }

    #[test]
    fn tokens_and_certificates_are_taken() {
        let data = STANDARD.encode(PEM);
        let server = format!("server: 'https://10.0.0.1:6443', certificate-authority-data: {data}");
        let by_token = Kubeconfig::parse(&file(&server, "token: secret")).ok().unwrap();
        assert_eq!(by_token.server, "https://10.0.0.1:6443");
        assert_eq!(by_token.authority.as_deref(), Some(PEM));
        assert!(by_token.user == ClusterUser::Token("secret".to_owned()));
        let certificate = format!("client-certificate-data: {data}, client-key-data: {data}");
        let by_certificate = Kubeconfig::parse(&file(&server, &certificate)).ok().unwrap();
        let (chain, key) = (PEM.to_owned(), PEM.to_owned());
        assert!(by_certificate.user == ClusterUser::Certificate { chain, key });
    }

    #[test]
    fn nothing_is_run_and_no_file_is_read() {
        let good = "server: 'https://a'";
        for (cluster, user, says) in [
            (good, "exec: {command: /bin/very-secret}", "castoff infra manifest"),
            (good, "auth-provider: {name: gcp}", "castoff infra manifest"),
            (good, "tokenFile: /very-secret", "tokenFile"),
            (
                good,
                "client-certificate: /very-secret, client-key: /b",
                "client-certificate",
            ),
            (good, "client-key: /very-secret", "client-key"),
            (
                "server: 'https://a', certificate-authority: /very-secret",
                "token: t",
                "certificate-authority",
            ),
            (
                "server: 'https://a', insecure-skip-tls-verify: true",
                "token: t",
                "check of the server",
            ),
            (
                "server: 'https://a', proxy-url: 'socks5://very-secret'",
                "token: t",
                "proxy-url",
            ),
            ("server: 'http://very-secret'", "token: t", "https://"),
            (
                "server: 'https://a', certificate-authority-data: very-secret",
                "token: t",
                "not PEM",
            ),
            (good, "username: a, password: very-secret", "password"),
            (good, "token: t, as: very-secret", "on behalf"),
            (good, "token: \"very\\nsecret\"", "visible"),
            (good, "", "neither"),
            ("", "token: t", "server"),
        ] {
            let invalid = Kubeconfig::parse(&file(cluster, user)).err().unwrap();
            assert!(invalid.reason.contains(says), "{cluster} {user}: {}", invalid.reason);
            assert!(!invalid.reason.contains("very-secret"), "{}", invalid.reason);
        }
        for text in [
            "",
            "[]",
            "very-secret",
            "a: b",
            "current-context: x\ncontexts: []",
            &"a".repeat(MOST_BYTES + 1),
        ] {
            let reason = Kubeconfig::parse(text).err().unwrap().reason;
            assert!(!reason.contains("very-secret"), "{reason}");
        }
    }
}
