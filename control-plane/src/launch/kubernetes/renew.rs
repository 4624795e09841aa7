//! A token of an account in a cluster ends after a day or so: it is exchanged for a new one when half of that has passed.

use super::connection::{Trouble, answer};
use crate::domain::Time;
use crate::domain::kubernetes::{ClusterUser, Kubeconfig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;

/// What is asked for; a cluster may give less.
const ASKED_S: i64 = 86_400;

/// A token whose life is shorter than two of these, as no real cluster gives one, is exchanged no sooner: what it says of its
/// times is the cluster's word, and each exchange begins all watches anew.
const LEAST_MS: i64 = 60_000;

/// What is not exchanged so long after it was due fails again and again.
const LATE_MS: i64 = 5 * 60_000;

/// Those of clusters have about a thousand.
const MOST_TOKEN_BYTES: usize = 16 << 10;

/// A token of an account, as far as it says so itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccountToken {
    pub(super) namespace: String,
    pub(super) account: String,
    /// When it is to be exchanged.
    pub(super) due: Time,
    /// When the cluster takes it no more.
    ends: Time,
    /// Half of its life, a minute at least.
    pub(super) half_ms: i64,
}

impl AccountToken {
    /// Of a kubeconfig; none when it has no token of an account, or one that never ends.
    pub(super) fn of(kubeconfig: &Kubeconfig) -> Option<Self> {
        #[derive(Deserialize)]
        struct Claims {
            sub: String,
            iat: i64,
            exp: i64,
        }
        let ClusterUser::Token(token) = &kubeconfig.user else {
            return None;
        };
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        // Not verified here: the cluster does, and what is read decides only when it is asked.
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        let (namespace, account) = claims.sub.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let half_s = claims.exp.saturating_sub(claims.iat) / 2;
        let due = Time::from_ms(claims.iat.saturating_add(half_s).saturating_mul(1_000));
        let half_ms = half_s.saturating_mul(1_000).max(LEAST_MS);
        let ends = Time::from_ms(claims.exp.saturating_mul(1_000));
        Some(Self {
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            due,
            ends,
            half_ms,
        })
    }

    /// That it could not be exchanged, and what to do before it ends.
    pub(super) fn unrenewed(&self, why: &str) -> String {
        format!(
            "the token by which Castoff enters the cluster is not renewed, and ends at {}: {why}: apply what `castoff infra \
             manifest {}` prints, or give the infrastructure a new kubeconfig before",
            self.ends, self.namespace
        )
    }

    /// How it stands, for whoever is not the one that exchanges it.
    ///
    /// # Errors
    /// It should have been exchanged by now.
    pub(super) fn look(&self, now: Time) -> Result<String, String> {
        match now <= self.due.after_ms(LATE_MS) {
            true => Ok(format!(
                "is renewed from {} on, before it ends at {}",
                self.due, self.ends
            )),
            false => Err(self.unrenewed(&format!("that was due at {}", self.due))),
        }
    }

    /// The same kubeconfig with a new token.
    pub(super) async fn renew(&self, client: &Client, kubeconfig: &Kubeconfig) -> Result<Kubeconfig, Trouble> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(ASKED_S),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &self.namespace);
        let parameters = PostParams::default();
        let given = answer(accounts.create_token_request(&self.account, &parameters, &request)).await?;
        let given = given
            .status
            .filter(|given| (1..=MOST_TOKEN_BYTES).contains(&given.token.len()))
            .ok_or_else(|| Trouble::refused("the cluster gave no token"))?;
        Ok(Kubeconfig {
            user: ClusterUser::Token(given.token),
            ..kubeconfig.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(claims: &str) -> Kubeconfig {
        Kubeconfig {
            server: "https://a".to_owned(),
            authority: None,
            server_name: None,
            user: ClusterUser::Token(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))),
        }
    }

    #[test]
    fn a_token_is_exchanged_when_half_of_its_time_has_passed() {
        let claims = r#"{"iat": 1000, "exp": 1600, "sub": "system:serviceaccount:models:castoff"}"#;
        let token = AccountToken::of(&kubeconfig(claims)).unwrap();
        assert_eq!(
            (token.namespace.as_str(), token.account.as_str()),
            ("models", "castoff")
        );
        assert_eq!((token.due.ms(), token.half_ms), (1_300_000, 300_000));
        let due = "1970-01-01T00:21:40.000Z";
        let fine = token.look(Time::from_ms(1_300_000 + LATE_MS)).unwrap();
        assert!(fine.contains(due) && fine.contains("00:26:40"), "{fine}");
        let late = token.look(Time::from_ms(1_300_001 + LATE_MS)).unwrap_err();
        for part in [
            due,
            "ends at 1970-01-01T00:26:40",
            "castoff infra manifest models",
            "a new kubeconfig",
        ] {
            assert!(late.contains(part), "{late}");
        }
        for (iat, exp) in [(1_000, 1_000), (1_000, 1_001), (1_000, 0), (i64::MAX, i64::MIN)] {
            let claims = format!(r#"{{"iat": {iat}, "exp": {exp}, "sub": "system:serviceaccount:models:castoff"}}"#);
            let half_ms = AccountToken::of(&kubeconfig(&claims)).map(|token| token.half_ms);
            assert_eq!(half_ms, Some(60_000), "asked for without a pause: {claims}");
        }
        for other in [
            r#"{"iat": 1000, "exp": 1600, "sub": "somebody"}"#,
            r#"{"iat": 1000, "sub": "system:serviceaccount:models:castoff"}"#,
            "not JSON",
        ] {
            assert_eq!(AccountToken::of(&kubeconfig(other)), None, "{other}");
        }
        let mut opaque = kubeconfig("");
        opaque.user = ClusterUser::Token("opaque".to_owned());
        assert_eq!(AccountToken::of(&opaque), None);
    }
}
