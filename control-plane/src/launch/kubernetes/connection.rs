//! The way to a cluster, and what its troubles mean in plain words.

use super::bounds::{Bounds, TooMuch, words};
use super::clocks::Clocks;
use super::refused;
use crate::domain::kubernetes::{ClusterUser, Kubeconfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::client::ClientBuilder;
use kube::config::AuthInfo;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::Duration;
use tokio::time::timeout;

/// A cluster that does not answer for so long is away.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);

/// Why something could not be done in a cluster.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(super) struct Trouble {
    /// What it is and what to do, for people.
    pub(super) sentence: String,
    pub(super) cause: Cause,
}

/// What sort of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is not there.
    NotFound,
    /// Somebody else was faster: look again.
    Conflict,
    /// It does not answer, or has too much to do.
    Away,
    /// The account may not.
    Forbidden,
    /// It said no.
    Refused,
}

impl Trouble {
    pub(super) fn refused(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            cause: Cause::Refused,
        }
    }
}

/// A client; nothing is sent yet. Without a kubeconfig, to the cluster that this process runs in.
pub(super) fn connect(kubeconfig: Option<&Kubeconfig>) -> Result<Client, Trouble> {
    connect_and_note(kubeconfig, &Clocks::default())
}

/// The same; what time it is there is noted.
pub(super) fn connect_and_note(kubeconfig: Option<&Kubeconfig>, clocks: &Clocks) -> Result<Client, Trouble> {
    let mut config = match kubeconfig {
        Some(kubeconfig) => from(kubeconfig)?,
        None => Config::incluster().map_err(|_| {
            Trouble::refused(
                "Castoff does not run in a cluster: give the infrastructure a kubeconfig (`castoff infra manifest` says how to make one)",
            )
        })?,
    };
    config.connect_timeout = Some(CONNECT);
    // Fifteen tries in almost three minutes, of which nobody would learn: the queue tries again, and the status says why.
    config.default_retry = false;
    let client = ClientBuilder::try_from(config).map(|client| client.with_layer(&Bounds(clocks.clone())).build());
    client.map_err(|error| Trouble::refused(format!("the kubeconfig cannot be used: {}", root(&error))))
}

fn from(kubeconfig: &Kubeconfig) -> Result<Config, Trouble> {
    let unusable = |what: &str| Trouble::refused(format!("the kubeconfig cannot be used: its {what} cannot be read"));
    let mut config = Config::new(kubeconfig.server.parse().map_err(|_| unusable("server"))?);
    if let Some(authority) = &kubeconfig.authority {
        let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(authority.as_bytes()).collect();
        let parsed = parsed.map_err(|_| unusable("certificate-authority-data"))?;
        config.root_cert = Some(parsed.into_iter().map(|certificate| certificate.to_vec()).collect());
    }
    config.tls_server_name.clone_from(&kubeconfig.server_name);
    config.auth_info = match &kubeconfig.user {
        ClusterUser::Token(token) => AuthInfo {
            token: Some(token.clone().into()),
            ..AuthInfo::default()
        },
        ClusterUser::Certificate { chain, key } => AuthInfo {
            client_certificate_data: Some(STANDARD.encode(chain)),
            client_key_data: Some(STANDARD.encode(key).into()),
            ..AuthInfo::default()
        },
    };
    Ok(config)
}

/// Waits for an answer, but not for ever.
pub(super) async fn answer<T>(asked: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Trouble> {
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(trouble(&error)),
        Err(_) => Err(silence()),
    }
}

/// Whether a cluster says anything within that time, be it that it has too much to do.
pub(super) async fn says_something(client: &Client) -> bool {
    let asked = timeout(PATIENCE, client.apiserver_version()).await;
    matches!(asked, Ok(Ok(_) | Err(kube::Error::Api(_))))
}

/// That there has been no answer for too long.
pub(super) fn silence() -> Trouble {
    Trouble {
        sentence: unreached(&format!("it has not answered for {} s", PATIENCE.as_secs())),
        cause: Cause::Away,
    }
}

/// Why there is no answer.
fn unreached(why: &str) -> String {
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if says(&["certificate expired", "certificate not valid yet"]) {
        return format!(
            "the cluster's certificate does not hold at this time ({why}): set the clock of Castoff's machine or of the cluster right, or renew the certificate"
        );
    }
    if says(&["certificate"]) {
        return format!(
            "the cluster shows a certificate that its kubeconfig does not vouch for ({why}): give the infrastructure a kubeconfig of this cluster"
        );
    }
    format!(
        "the cluster cannot be reached: {why}: see that the server in its kubeconfig is right and that the way there is open; it is asked again until it answers, and pods go on meanwhile"
    )
}

/// That an answer is none of a cluster.
pub(super) fn not_understood(why: &str) -> String {
    format!(
        "the cluster's answer cannot be understood: {why}: see that the server in its kubeconfig is a Kubernetes API server, with no proxy between that answers for it"
    )
}

/// What an error means.
pub(super) fn trouble(error: &kube::Error) -> Trouble {
    let kube::Error::Api(status) = error else {
        let sentence = match error {
            _ if is_too_much(error) => format!(
                "the cluster answers too much ({}): give the infrastructure a kubeconfig that names a Kubernetes API server",
                root(error)
            ),
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
                unreached(&root(error))
            }
            other => not_understood(&root(other)),
        };
        return Trouble {
            sentence,
            cause: Cause::Away,
        };
    };
    let message = words(&status.message);
    if let (400 | 403 | 422 | 500, Some(refusal)) = (status.code, refused::of(&message)) {
        let (what, advice) = (refusal.what, refusal.advice);
        let cause = if status.code == 500 {
            Cause::Away
        } else {
            Cause::Refused
        };
        let sentence = format!("{what}: {message}: {advice}");
        return Trouble { sentence, cause };
    }
    let (sentence, cause) = match status.code {
        401 => (
            "the cluster does not take Castoff's credential any more: give the infrastructure a new kubeconfig"
                .to_owned(),
            Cause::Refused,
        ),
        403 if message.contains("is being terminated") => (
            "the namespace is being deleted: wait, and create it again".to_owned(),
            Cause::Refused,
        ),
        403 => (
            format!("Castoff's account lacks a permission: {message}: apply what `castoff infra manifest` prints"),
            Cause::Forbidden,
        ),
        404 => (
            format!("something that is needed is not there: {message}: `castoff infra check` looks for what"),
            Cause::NotFound,
        ),
        409 => (
            format!("changed by somebody else meanwhile: {message}: it is tried again"),
            Cause::Conflict,
        ),
        429 | 500 | 502..=504 => (
            format!(
                "the cluster has too much to do, or fails: {message}: it is asked again until it answers; if this lasts, see to its API server and etcd"
            ),
            Cause::Away,
        ),
        _ => (
            format!(
                "the cluster refused it: {message}: change what it names in the settings of the infrastructure or of the deployment; `castoff infra check` tries again"
            ),
            Cause::Refused,
        ),
    };
    Trouble { sentence, cause }
}

/// Whether it is an answer that was not read to its end.
pub(super) fn is_too_much(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut reasons = std::iter::successors(Some(error), |error| error.source());
    reasons.any(|reason| reason.is::<TooMuch>())
}

/// The innermost reason: the outer ones say only that something failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn said(code: u16, message: &str) -> Trouble {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        trouble(&kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn each_answer_says_what_to_do() {
        let quota = "ingresses \"i\" is forbidden: exceeded quota: q";
        let webhook = "Internal error occurred: failed calling webhook \"w\": refused";
        let policy = "admission webhook \"w\" denied the request: no";
        for (code, message, advice, cause) in [
            (
                401,
                "Unauthorized",
                "give the infrastructure a new kubeconfig",
                Cause::Refused,
            ),
            (403, quota, "ask for more quota", Cause::Refused),
            (
                403,
                "n is being terminated",
                "wait, and create it again",
                Cause::Refused,
            ),
            (403, policy, "what the policy asks for", Cause::Refused),
            (400, policy, "what the policy asks for", Cause::Refused),
            (403, "cannot list resource", "castoff infra manifest", Cause::Forbidden),
            (404, "secrets \"s\" not found", "castoff infra check", Cause::NotFound),
            (
                409,
                "the object has been modified",
                "it is tried again",
                Cause::Conflict,
            ),
            (429, "slow down", "if this lasts, see to its API server", Cause::Away),
            (
                500,
                "etcdserver: no leader",
                "see to its API server and etcd",
                Cause::Away,
            ),
            (500, webhook, "have it leave this namespace alone", Cause::Away),
            (503, "not ready", "it is asked again", Cause::Away),
            (
                422,
                "spec.x: Invalid value",
                "change what it names in the settings",
                Cause::Refused,
            ),
            (418, "", "castoff infra check", Cause::Refused),
        ] {
            let trouble = said(code, message);
            assert!(trouble.sentence.contains(advice), "{code} {message}: {trouble}");
            assert!(
                trouble.sentence.contains(message) || [401, 403].contains(&code),
                "{trouble}"
            );
            assert_eq!(trouble.cause, cause, "{code} {message}");
        }
    }

    #[test]
    fn whatever_keeps_a_cluster_away_says_what_to_do() {
        for (why, advice) in [
            ("invalid peer certificate: certificate expired", "set the clock"),
            ("invalid peer certificate: certificate not valid yet", "set the clock"),
            (
                "invalid peer certificate: UnknownIssuer",
                "give the infrastructure a kubeconfig of this cluster",
            ),
            ("connection refused", "see that the server in its kubeconfig is right"),
        ] {
            assert!(unreached(why).contains(advice), "{why}");
        }
        let answer = serde_json::from_str::<u8>("<html>").unwrap_err();
        let other = trouble(&kube::Error::SerdeError(answer));
        assert!(other.sentence.contains("is a Kubernetes API server"), "{other}");
        assert_eq!(other.cause, Cause::Away);
    }
}
