//! What was read is used again only while the database is as it was: whatever one control plane has changed holds on another
//! at its next question, and on itself.

use super::*;
use castoff_control_plane::authn::{Secret, SecretKind};
use castoff_control_plane::authz::{InfrastructureMask, ServiceMask};
use castoff_control_plane::domain::Time;
use castoff_control_plane::store::AccountChange;
use std::sync::atomic::{AtomicBool, Ordering};

const DEPLOYMENT: &str = "iris-on-dev";

/// A company with one deployment, which dana may see, and two control planes.
struct Company {
    rows: Rows,
    there: Store,
    token: Secret,
}

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nobody,
    Hidden,
    Shown,
}

impl Company {
    async fn found(database: &Database) -> Self {
        let (rows, there) = Rows::open_twice(database).await;
        rows.service("iris").await;
        rows.infrastructure("dev").await;
        rows.deployment("iris", "dev", Access::Keys).await;
        rows.user("dana", &["ds"]).await;
        let mut company = Self {
            token: Secret::mint(SecretKind::AccessToken).unwrap(),
            rows,
            there,
        };
        company.token = company.new_token("first", None).await;
        company.grant(ServiceMask::READ, InfrastructureMask::VIEW).await;
        company
    }

    async fn new_token(&self, name: &str, expires_at: Option<Time>) -> Secret {
        let (platform, dana) = self.dana().await;
        let title = title(name);
        let made = self
            .rows
            .store
            .create_account_token(&platform, &dana, &title, expires_at);
        made.await.unwrap().0
    }

    async fn dana(&self) -> (Permit<Administer, Platform>, castoff_control_plane::domain::Account) {
        let platform = self.rows.platform();
        let dana = self
            .rows
            .store
            .account(&platform, AccountKind::User, "dana")
            .await
            .unwrap();
        (platform, dana)
    }

    async fn grant(&self, on_service: ServiceMask, on_infrastructure: InfrastructureMask) {
        let service = self.rows.my_service("iris").await;
        self.rows
            .store
            .grant_on_service(&service, "ds", on_service, None)
            .await
            .unwrap();
        let infrastructure = self.rows.on_infrastructure(&self.rows.root, "dev").await.unwrap();
        let granted = self
            .rows
            .store
            .grant_on_infrastructure(&infrastructure, "ds", on_infrastructure, None);
        granted.await.unwrap();
    }

    async fn disable(&self, disabled: bool) {
        let (platform, dana) = self.dana().await;
        let change = AccountChange {
            disabled: Some(disabled),
            ..AccountChange::default()
        };
        self.rows.store.change_account(&platform, &dana, change).await.unwrap();
    }

    async fn member(&self, is: bool) {
        let group = self.rows.store.group(&self.rows.root, "ds").await.unwrap();
        self.rows
            .store
            .set_member(&self.rows.platform(), &group, "dana", is)
            .await
            .unwrap();
    }

    /// What the token opens here and there, asked twice: the second answer may be from what the first one read.
    async fn sees(&self, token: &Secret) -> Seen {
        let mut answers = Vec::new();
        for store in [&self.there, &self.rows.store, &self.there, &self.rows.store] {
            answers.push(sees(store, &self.rows.table, token).await);
        }
        assert!(answers.iter().all(|seen| *seen == answers[0]), "{answers:?}");
        answers[0]
    }
}

async fn sees(store: &Store, table: &DecisionTable, token: &Secret) -> Seen {
    let Some(actor) = store.actor(token, SecretKind::AccessToken, None).await.unwrap() else {
        return Seen::Nobody;
    };
    let actor = Arc::new(actor);
    let found = store.deployment(&actor, DEPLOYMENT).await.unwrap();
    match found.admit::<View>(table, &actor) {
        Ok(permit) => {
            assert!(store.nodes(&permit).await.unwrap().is_empty());
            Seen::Shown
        }
        Err(_) => Seen::Hidden,
    }
}

async fn what_is_withdrawn_is_gone(database: &Database) {
    let company = Company::found(database).await;
    assert_eq!(company.sees(&company.token).await, Seen::Shown);
    for (service, infrastructure) in [
        (ServiceMask::default(), InfrastructureMask::VIEW),
        (ServiceMask::READ, InfrastructureMask::default()),
    ] {
        company.grant(service, infrastructure).await;
        assert_eq!(
            company.sees(&company.token).await,
            Seen::Hidden,
            "a grant was withdrawn"
        );
        company.grant(ServiceMask::READ, InfrastructureMask::VIEW).await;
        assert_eq!(company.sees(&company.token).await, Seen::Shown, "it was given again");
    }
    company.member(false).await;
    assert_eq!(company.sees(&company.token).await, Seen::Hidden, "out of the group");
    company.member(true).await;
    assert_eq!(company.sees(&company.token).await, Seen::Shown);
    company.disable(true).await;
    assert_eq!(company.sees(&company.token).await, Seen::Nobody, "disabled");
    company.disable(false).await;
    assert_eq!(company.sees(&company.token).await, Seen::Shown);

    let short = company
        .new_token("short", Some(company.there.clock().now().after_ms(30_000)))
        .await;
    assert_eq!(company.sees(&short).await, Seen::Shown);
    for store in [&company.rows.store, &company.there] {
        store.clock().turn_ms(30_001);
    }
    assert_eq!(
        company.sees(&short).await,
        Seen::Nobody,
        "its time is over, though nothing has changed"
    );
    let (platform, dana) = company.dana().await;
    company
        .rows
        .store
        .delete_account_token(&platform, &dana, "first")
        .await
        .unwrap();
    assert_eq!(company.sees(&company.token).await, Seen::Nobody, "its token is gone");
}

/// While many ask at once, and so share answers, none who asks after a change has been answered sees what was before.
async fn nobody_is_answered_from_before_their_question(database: &Database) {
    let company = Arc::new(Company::found(database).await);
    for round in 0..10 {
        let changed = Arc::new(AtomicBool::new(false));
        let askers: Vec<_> = (0..16)
            .map(|number| {
                let (company, changed) = (Arc::clone(&company), Arc::clone(&changed));
                tokio::spawn(async move {
                    let store = if number % 2 == 0 {
                        &company.there
                    } else {
                        &company.rows.store
                    };
                    loop {
                        let after = changed.load(Ordering::SeqCst);
                        let seen = sees(store, &company.rows.table, &company.token).await;
                        if after {
                            return seen;
                        }
                    }
                })
            })
            .collect();
        let wanted = if round % 2 == 0 {
            company.disable(true).await;
            Seen::Nobody
        } else {
            company.disable(false).await;
            Seen::Shown
        };
        changed.store(true, Ordering::SeqCst);
        for asker in askers {
            assert_eq!(asker.await.unwrap(), wanted, "round {round}");
        }
    }
}

/// A use is written down once a minute, also of somebody who is known.
async fn a_use_is_noted_once_a_minute(database: &Database) {
    let company = Company::found(database).await;
    let noted = async || {
        let (platform, dana) = company.dana().await;
        let tokens = company.rows.store.account_tokens(&platform, &dana).await.unwrap();
        tokens[0].last_used_at
    };
    assert_eq!(noted().await, None);
    company.sees(&company.token).await;
    let first = noted().await;
    assert!(first.is_some());
    company.sees(&company.token).await;
    assert_eq!(noted().await, first);
    for store in [&company.rows.store, &company.there] {
        store.clock().turn_ms(60_000);
    }
    company.sees(&company.token).await;
    assert!(noted().await > first);
}

on_each_database! {
    what_is_withdrawn_is_gone
    nobody_is_answered_from_before_their_question
    a_use_is_noted_once_a_minute
}
