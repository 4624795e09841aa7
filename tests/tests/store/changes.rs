//! Many change one thing at once: one wins, and the others learn of it.

use super::*;
use castoff_control_plane::store::{AccountChange, DeploymentChange, InfrastructureChange, ServiceChange};
use futures::future::join_all;

/// So many at once.
const MANY: usize = 12;

/// Runs them as tasks of their own, so that they meet in the database.
async fn at_once<T: Send + 'static>(work: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
    join_all(tasks).await.into_iter().map(|done| done.unwrap()).collect()
}

#[track_caller]
fn one_won(results: &[Result<(), Error>]) {
    let won = results.iter().filter(|result| result.is_ok()).count();
    let stale = results
        .iter()
        .filter(|result| matches!(result, Err(Error::Stale)))
        .count();
    assert_eq!((won, stale), (1, MANY - 1), "{results:?}");
}

on_both_databases! {
    async fn of_many_changes_at_one_revision_one_is_made(rows: Rows) {
        rows.service("iris").await;
        rows.infrastructure("dev").await;
        rows.deployment("iris", "dev", Access::Keys).await;
        rows.user("dana", &[]).await;

        let mut work = Vec::new();
        for number in 0..MANY {
            let (store, permit) = (rows.store.clone(), rows.my_service("iris").await);
            let change = ServiceChange { description: Some(number.to_string()), ..ServiceChange::default() };
            let visible = rows.sight();
            work.push(async move { store.change_service(&permit, &visible, change).await.map(drop) });
        }
        one_won(&at_once(work).await);
        assert_eq!(rows.my_service("iris").await.revision, 2);

        let mut work = Vec::new();
        for number in 0..MANY {
            let (store, permit) = (rows.store.clone(), rows.on_infrastructure(&rows.root, "dev").await.unwrap());
            let change = InfrastructureChange { description: Some(number.to_string()), ..Default::default() };
            work.push(async move { store.change_infrastructure(&permit, change).await });
        }
        one_won(&at_once(work).await);

        let mut work = Vec::new();
        for number in 0..MANY {
            let (store, permit) = (rows.store.clone(), rows.my_deployment("iris-on-dev").await);
            let limits = Limits { queue: 100 + number as u32, ..Limits::default() };
            let change = DeploymentChange { limits: Some(limits), ..Default::default() };
            work.push(async move { store.change_deployment(&permit, "change-deployment", change).await });
        }
        one_won(&at_once(work).await);
        let now = rows.seen("iris-on-dev").await;
        assert_eq!(now.revision, 2);
        // What won is what the history and the config say.
        let newest = rows.store.revision(&now, 2).await.unwrap();
        assert_eq!(newest.limits, now.limits);
        let config = rows.config(now.id).await;
        assert_eq!(config.version, 2);
        assert_eq!(config.serving.unwrap().limits.unwrap().queue, now.limits.queue);

        let platform = rows.platform::<Administer>();
        let account = rows.store.account(&platform, AccountKind::User, "dana").await.unwrap();
        let mut work = Vec::new();
        for number in 0..MANY {
            let (store, platform, account) = (rows.store.clone(), rows.platform(), account.clone());
            let change = AccountChange { display_name: Some(number.to_string()), ..AccountChange::default() };
            work.push(async move { store.change_account(&platform, &account, change).await });
        }
        one_won(&at_once(work).await);
    }

    async fn of_many_creations_of_one_name_one_is_made(rows: Rows) {
        #[track_caller]
        fn one_got_it(results: &[Result<(), Error>]) {
            let won = results.iter().filter(|result| result.is_ok()).count();
            let taken = results.iter().filter(|result| matches!(result, Err(Error::Taken(_)))).count();
            assert_eq!((won, taken), (1, MANY - 1), "{results:?}");
        }
        let create = |_| {
            let (store, permit) = (rows.store.clone(), rows.platform::<CreateService>());
            async move { store.create_service(&permit, new_service("iris")).await.map(drop) }
        };
        one_got_it(&at_once((0..MANY).map(create).collect()).await);
        let create = |_| {
            let (store, permit) = (rows.store.clone(), rows.platform::<Administer>());
            async move { store.create_group(&permit, &GroupName::parse("ds").unwrap(), GroupChange::default()).await }
        };
        one_got_it(&at_once((0..MANY).map(create).collect()).await);
        let create = |_| {
            let (store, permit) = (rows.store.clone(), rows.platform::<Administer>());
            let new = NewAccount {
                kind: AccountKind::User,
                name: AccountName::parse("dana").unwrap(),
                display_name: String::new(),
                password: None,
            };
            async move { store.create_account(&permit, new).await }
        };
        one_got_it(&at_once((0..MANY).map(create).collect()).await);

        rows.service("wine").await;
        rows.infrastructure("dev").await;
        let mut work = Vec::new();
        for _ in 0..MANY {
            let site = rows.store.site(&rows.root, "wine", "dev").await.unwrap();
            let (store, site) = (rows.store.clone(), site.admit(&rows.table, &rows.root).unwrap());
            let new = new_deployment("wine", Access::Keys);
            work.push(async move { store.create_deployment(&site, new).await.map(drop) });
        }
        one_got_it(&at_once(work).await);

        // A version is its bytes: the same again is no conflict, other bytes are.
        let mut work = Vec::new();
        for number in 0..MANY {
            let (store, permit) = (rows.store.clone(), rows.on_service::<Write>(&rows.root, "wine").await.unwrap());
            let new = new_version("v2", [number as u8 % 2; 32]);
            work.push(async move { store.add_version(&permit, new).await });
        }
        let results = at_once(work).await;
        assert_eq!(results.iter().filter(|result| matches!(result, Ok((_, true)))).count(), 1);
        assert_eq!(results.iter().filter(|result| matches!(result, Ok((_, false)))).count(), MANY / 2 - 1);
        assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::InUse(_)))).count(), MANY / 2);
    }
}
