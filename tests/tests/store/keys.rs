//! Keys under many hands: none is lost, none is shown to the wrong person.

use super::*;
use castoff_control_plane::authz::View;
use castoff_control_plane::domain::KeyText;
use castoff_control_plane::store::{AuditFilter, PageRequest, Seen, ServiceChange};
use futures::future::join_all;

on_both_databases! {
    /// Each creation writes the whole set: one that did not see another's key would take it away again.
    async fn no_key_is_lost_among_many_creations(rows: Rows) {
        const MANY: usize = 24;
        rows.service("iris").await;
        rows.infrastructure("dev").await;
        let deployment = rows.deployment("iris", "dev", Access::Inherit).await;
        let mut tasks = Vec::new();
        for number in 0..MANY {
            let (store, service, of) =
                (rows.store.clone(), rows.my_service("iris").await, rows.my_deployment("iris-on-dev").await);
            tasks.push(tokio::spawn(async move {
                let ring = match number % 2 {
                    0 => store.service_keys_to_change(&service).await.unwrap(),
                    _ => store.deployment_keys_to_change(&of).await.unwrap(),
                };
                let (_, made) = store.create_key(&ring, new_key(&format!("key {number}"))).await.unwrap();
                // Every third is revoked again, among the creations of the others.
                if number % 3 == 0 {
                    store.revoke_key(&ring, made.key.id).await.unwrap();
                    return None;
                }
                Some(made.key.id)
            }));
        }
        let kept = join_all(tasks).await.into_iter().filter_map(|made| made.unwrap());
        let mut kept: Vec<Uuid> = kept.collect();
        kept.sort();
        assert_eq!(rows.opening(deployment).await, kept);
        assert_eq!(rows.version(deployment).await, 1 + (MANY + MANY / 3) as u64);
    }

    async fn a_revoke_is_never_stale_and_a_change_is(rows: Rows) {
        rows.service("iris").await;
        let service = rows.my_service("iris").await;
        let ring = rows.store.service_keys_to_change(&service).await.unwrap();
        let (_, made) = rows.store.create_key(&ring, new_key("first")).await.unwrap();
        let rename = |name| castoff_control_plane::store::KeyChange { name: Some(title(name)), ..Default::default() };
        rows.store.change_key(&ring, made.key.id, Some(1), rename("second")).await.unwrap();
        let late = rows.store.change_key(&ring, made.key.id, Some(1), rename("third")).await.map(drop);
        assert!(matches!(late, Err(Error::Stale)), "{late:?}");
        let in_use = rows.store.delete_key(&ring, made.key.id).await;
        assert!(matches!(in_use, Err(Error::InUse(_))), "{in_use:?}");
        let revoked = rows.store.revoke_key(&ring, made.key.id).await.unwrap().key;
        // Again: it stays revoked since then.
        let again = rows.store.revoke_key(&ring, made.key.id).await.unwrap().key;
        assert_eq!(again.revoked_at, revoked.revoked_at);
        rows.store.delete_key(&ring, made.key.id).await.unwrap();
    }

    async fn a_recoverable_key_is_shown_to_who_made_it(rows: Rows) {
        rows.service("iris").await;
        let dana = rows.user("dana", &["ds"]).await;
        let grant = authz::ServiceMask::READ | authz::ServiceMask::ADMIN;
        rows.store.grant_on_service(&rows.my_service("iris").await, "ds", grant, None).await.unwrap();
        let service = rows.my_service("iris").await;
        let mine = rows.store.service_keys_to_change(&service).await.unwrap();
        let recoverable = NewKey { class: KeyClass::Recoverable, ..new_key("shown again") };
        let (text, made) = rows.store.create_key(&mine, recoverable).await.unwrap();
        let (_, once) = rows.store.create_key(&mine, new_key("shown once")).await.unwrap();

        let read = rows.on_service(&rows.root, "iris").await.unwrap();
        let ring = rows.store.service_keys(&read).await.unwrap();
        assert_eq!(rows.store.reveal_key(&ring, made.key.id).await.unwrap().expose(), text.expose());
        let refused = rows.store.reveal_key(&ring, once.key.id).await.map(drop);
        assert!(matches!(refused, Err(Error::InUse(_))), "{refused:?}");

        // An admin of the service, but not who made it.
        let read = rows.on_service(&dana, "iris").await.unwrap();
        let ring = rows.store.service_keys(&read).await.unwrap();
        let refused = rows.store.reveal_key(&ring, made.key.id).await.map(drop);
        assert!(matches!(refused, Err(Error::NotAllowed(_))), "{refused:?}");
        let readers = ServiceChange { key_visibility: Some(KeyVisibility::Readers), ..ServiceChange::default() };
        rows.store.change_service(&service, &rows.sight(), readers).await.unwrap();
        let read = rows.on_service(&dana, "iris").await.unwrap();
        let ring = rows.store.service_keys(&read).await.unwrap();
        assert_eq!(rows.store.reveal_key(&ring, made.key.id).await.unwrap().expose(), text.expose());
    }

    async fn every_deed_is_on_record_and_no_secret_is(rows: Rows) {
        rows.service("iris").await;
        rows.infrastructure("dev").await;
        rows.deployment("iris", "dev", Access::Inherit).await;
        rows.user("dana", &["ds"]).await;
        let service = rows.my_service("iris").await;
        rows.store.grant_on_service(&service, "ds", authz::ServiceMask::READ, None).await.unwrap();
        let ring = rows.store.service_keys_to_change(&service).await.unwrap();
        let new = NewKey { class: KeyClass::Recoverable, ..new_key("minted") };
        let (minted, made) = rows.store.create_key(&ring, new).await.unwrap();
        let imported = "a-key-from-somewhere-else";
        let new = NewKey {
            imported: Some(KeyText::import(imported.to_owned(), false).unwrap()),
            ..new_key("imported")
        };
        rows.store.create_key(&ring, new).await.unwrap();
        let (rotated, _) = rows.store.rotate_key(&ring, made.key.id, 0, None).await.unwrap();
        rows.store.revoke_key(&ring, made.key.id).await.unwrap();
        rows.store.activate_key(&ring, made.key.id, None).await.unwrap();
        let read = rows.on_service(&rows.root, "iris").await.unwrap();
        let shown = rows.store.service_keys(&read).await.unwrap();
        rows.store.reveal_key(&shown, made.key.id).await.unwrap();
        rows.store.revoke_key(&ring, made.key.id).await.unwrap();
        rows.store.delete_key(&ring, made.key.id).await.unwrap();
        let platform = rows.store.platform(&rows.root);
        let refused = ("DELETE /users/{user}", "route", "dana");
        rows.store.record_refusal(&rows.root, refused.0, refused.1, refused.2, platform.facts()).await.unwrap();

        let seen = Seen::of(&rows.root, &rows.table);
        let page = PageRequest::parse(None, Some(200)).unwrap();
        let audit = rows.store.audit(&rows.root, &seen, AuditFilter::default(), &page).await.unwrap();
        let mut deeds: Vec<&str> = audit.items.iter().map(|row| row.action.as_str()).collect();
        deeds.reverse();
        assert_eq!(deeds, [
            "create-account", "create-service", "upload-version", "create-infrastructure", "create-deployment",
            "create-account", "create-group", "add-member", "grant", "create-key", "create-key", "rotate-key",
            "revoke-key", "activate-key", "reveal-key", "revoke-key", "delete-key", "DELETE /users/{user}",
        ]);
        assert!(audit.items.iter().skip(1).all(|row| row.outcome == "done"));
        assert_eq!(audit.items[0].outcome, "refused");
        let text = format!("{:?}", audit.items);
        for secret in [minted.expose(), rotated.expose(), imported] {
            let hash = castoff_wire::key::KeyHash::of(secret.as_bytes());
            let hash: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(!text.contains(secret) && !text.contains(&hash));
        }
    }

    /// The same key may not stand twice where it would be one key with two names.
    async fn the_key_of_a_deployment_does_not_open_another(rows: Rows) {
        rows.service("iris").await;
        for infrastructure in ["dev", "prod"] {
            rows.infrastructure(infrastructure).await;
            rows.deployment("iris", infrastructure, Access::Keys).await;
        }
        let dev = rows.my_deployment("iris-on-dev").await;
        let ring = rows.store.deployment_keys_to_change(&dev).await.unwrap();
        let (_, made) = rows.store.create_key(&ring, new_key("of dev")).await.unwrap();
        let prod = rows.on_deployment::<View>(&rows.root, "iris-on-prod").await.unwrap();
        let shown = rows.store.deployment_keys(&prod).await.unwrap();
        assert!(rows.store.keys(&shown, &PageRequest::default()).await.unwrap().items.is_empty());
        assert!(matches!(rows.store.key(&shown, made.key.id).await, Err(Error::NotFound(_))));
        let prod = rows.my_deployment("iris-on-prod").await;
        let ring = rows.store.deployment_keys_to_change(&prod).await.unwrap();
        let revoked = rows.store.revoke_key(&ring, made.key.id).await.map(drop);
        assert!(matches!(revoked, Err(Error::NotFound(_))), "{revoked:?}");
        assert_eq!(rows.opening(dev.id).await, [made.key.id]);
        assert!(rows.opening(prod.id).await.is_empty());
    }
}
