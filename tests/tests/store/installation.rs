//! A database as such: who can open it, and that its schema goes there and back.

use super::*;
use futures::future::join_all;

async fn opens_with_its_master_key_only(database: &Database) {
    let url = url(database);
    store::migrate_up(&url).await.unwrap();
    let master = MasterKey::mint().unwrap();
    assert!(open(&url, &master).await.is_some());
    assert!(open(&url, &MasterKey::mint().unwrap()).await.is_none());
    // And the refusal changed nothing.
    assert!(open(&url, &master).await.is_some());
}

/// Replicas that start at once on an empty database make one installation, one authority of the nodes' port, and one
/// first admin.
async fn is_prepared_once(database: &Database) {
    let url = url(database);
    store::migrate_up(&url).await.unwrap();
    let master = MasterKey::mint().unwrap();
    let starting = (0..8).map(|number| {
        let (url, master) = (url.clone(), master.clone());
        tokio::spawn(async move {
            let db = store::connect(&url, false).await.unwrap();
            let clock = Clock::default();
            let mut installation = store::prepare(&db, &master, clock.now()).await.unwrap().unwrap();
            let publisher = Arc::new(Publisher::new(&installation).unwrap());
            let store = Store::new(db, clock, Arc::clone(&installation.vault), publisher);
            let name = AccountName::parse(&format!("admin-{number}")).unwrap();
            let password = PasswordHash::from_stored("no password fits".to_owned());
            let claimed = store.system().claim(name, password).await.unwrap();
            let (own, key) = (format!("certificate {number}"), format!("key {number}"));
            store.keep_authority(&mut installation, own, key).await.unwrap();
            let kept = installation.authority.clone().unwrap();
            ((installation.id, installation.signing_seed, kept), claimed)
        })
    });
    let mut started = Vec::new();
    for start in join_all(starting).await {
        started.push(start.unwrap());
    }
    let (first, _) = started[0].clone();
    assert!(started.iter().all(|(other, _)| *other == first));
    assert_eq!(started.iter().filter(|(_, claimed)| *claimed).count(), 1);
}

async fn goes_down_to_nothing_and_up_again(database: &Database) {
    let url = url(database);
    store::migrate_up(&url).await.unwrap();
    let master = MasterKey::mint().unwrap();
    assert!(open(&url, &master).await.is_some());
    let steps = store::migration_status(&url).await.unwrap();
    assert!(!steps.is_empty() && steps.iter().all(|(_, state)| *state == store::StepState::Applied));
    // One by one, as an operator would, and not past the end.
    for left in (0..steps.len()).rev() {
        store::migrate_down(&url, 1).await.unwrap();
        let status = store::migration_status(&url).await.unwrap();
        assert_eq!(
            status
                .iter()
                .filter(|(_, state)| *state == store::StepState::Applied)
                .count(),
            left
        );
    }
    store::migrate_up(&url).await.unwrap();
    // Nothing of before is left: another installation may move in.
    assert!(open(&url, &MasterKey::mint().unwrap()).await.is_some());
}

on_each_database! { opens_with_its_master_key_only is_prepared_once goes_down_to_nothing_and_up_again }
