//! Configs: one version for each cause, in the transaction of the cause, and none for anything else.

use super::*;
use castoff_control_plane::domain::KeyText;
use castoff_control_plane::store::{DeploymentChange, KeyChange, ServiceChange};

/// The versions of some configs.
async fn versions(rows: &Rows, of: &[Uuid]) -> Vec<u64> {
    let mut versions = Vec::new();
    for id in of {
        versions.push(rows.version(*id).await);
    }
    versions
}

/// Two deployments that inherit, one with keys of its own, one of another service.
async fn four(rows: &Rows) -> [Uuid; 4] {
    for service in ["iris", "wine"] {
        rows.service(service).await;
    }
    for infrastructure in ["dev", "test", "prod"] {
        rows.infrastructure(infrastructure).await;
    }
    [
        rows.deployment("iris", "dev", Access::Inherit).await,
        rows.deployment("iris", "test", Access::Inherit).await,
        rows.deployment("iris", "prod", Access::Keys).await,
        rows.deployment("wine", "dev", Access::Inherit).await,
    ]
}

on_both_databases! {
    async fn each_cause_raises_whom_it_concerns_by_one(rows: Rows) {
        let all = four(&rows).await;
        assert_eq!(versions(&rows, &all).await, [1, 1, 1, 1]);

        let service = rows.my_service("iris").await;
        let ring = rows.store.service_keys_to_change(&service).await.unwrap();
        let (_, made) = rows.store.create_key(&ring, new_key("shared")).await.unwrap();
        let mut raised = made.raised.clone();
        raised.sort();
        let mut inheriting = all[..2].to_vec();
        inheriting.sort();
        assert_eq!(raised, inheriting);
        assert_eq!(versions(&rows, &all).await, [2, 2, 1, 1]);
        assert_eq!(rows.opening(all[0]).await, [made.key.id]);
        assert!(rows.opening(all[2]).await.is_empty() && rows.opening(all[3]).await.is_empty());

        let dev = rows.my_deployment("iris-on-dev").await;
        let own = rows.store.deployment_keys_to_change(&dev).await.unwrap();
        let (_, of_dev) = rows.store.create_key(&own, new_key("own")).await.unwrap();
        assert_eq!(of_dev.raised, [all[0]]);
        assert_eq!(versions(&rows, &all).await, [3, 2, 1, 1]);

        // A name is in no config.
        let rename = KeyChange { name: Some(title("renamed")), ..KeyChange::default() };
        assert!(rows.store.change_key(&ring, made.key.id, None, rename).await.unwrap().raised.is_empty());
        rows.store.revoke_key(&ring, made.key.id).await.unwrap();
        assert_eq!(versions(&rows, &all).await, [4, 3, 1, 1]);
        assert_eq!(rows.opening(all[0]).await, [of_dev.key.id]);
        assert!(rows.opening(all[1]).await.is_empty());
        rows.store.activate_key(&ring, made.key.id, None).await.unwrap();
        assert_eq!(versions(&rows, &all).await, [5, 4, 1, 1]);
        let (_, successor) = rows.store.rotate_key(&ring, made.key.id, 1_000, None).await.unwrap();
        assert_eq!(versions(&rows, &all).await, [6, 5, 1, 1]);
        assert_eq!(rows.opening(all[1]).await, [made.key.id, successor.key.id]);

        // Access, of the deployment and of the service.
        let public = DeploymentChange { access: Some(Access::Keys), ..DeploymentChange::default() };
        rows.store.change_deployment(&dev, "change-deployment", public).await.unwrap();
        assert_eq!(versions(&rows, &all).await, [7, 5, 1, 1]);
        assert_eq!(rows.opening(all[0]).await, [of_dev.key.id], "keys of the service open it no more");
        let public = ServiceChange { access: Some(ServiceAccess::Public), ..ServiceChange::default() };
        let raised = rows.store.change_service(&service, &rows.sight(), public).await.unwrap();
        assert_eq!(raised, [all[1]]);
        assert_eq!(versions(&rows, &all).await, [7, 6, 1, 1]);
        let mode = rows.config(all[1]).await.access.unwrap().mode();
        assert_eq!(mode, proto::access::Mode::Public);
        // The other service noticed nothing of all this.
        assert_eq!(rows.config(all[3]).await.version, 1);
    }

    /// The config goes with its cause: what is refused or rolled back raises nothing.
    async fn what_is_not_done_raises_nothing(rows: Rows) {
        let all = four(&rows).await;
        let service = rows.my_service("iris").await;
        let ring = rows.store.service_keys_to_change(&service).await.unwrap();
        let imported = || NewKey {
            imported: Some(KeyText::import("a key from somewhere else".replace(' ', "-"), false).unwrap()),
            ..new_key("taken over")
        };
        rows.store.create_key(&ring, imported()).await.unwrap();
        let before = versions(&rows, &all).await;
        let again = rows.store.create_key(&ring, imported()).await.map(drop);
        assert!(matches!(again, Err(Error::InUse(_))), "{again:?}");

        let rename = || ServiceChange { description: Some("flowers".to_owned()), ..ServiceChange::default() };
        rows.store.change_service(&service, &rows.sight(), rename()).await.unwrap();
        let stale = ServiceChange { access: Some(ServiceAccess::Public), ..rename() };
        assert!(matches!(rows.store.change_service(&service, &rows.sight(), stale).await, Err(Error::Stale)));

        let dev = rows.my_deployment("iris-on-dev").await;
        let unknown = Route::only(VersionName::parse("nowhere").unwrap());
        let change = DeploymentChange { route: Some(unknown), ..DeploymentChange::default() };
        let refused = rows.store.change_deployment(&dev, "change-deployment", change).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        let revoked = rows.store.revoke_key(&ring, Uuid::now_v7()).await.map(drop);
        assert!(matches!(revoked, Err(Error::NotFound(_))), "{revoked:?}");
        assert_eq!(versions(&rows, &all).await, before);
    }

    async fn a_restored_database_begins_an_epoch(rows: Rows) {
        let all = four(&rows).await;
        assert_eq!(rows.store.system().raise_epoch().await.unwrap(), 2);
        for id in all {
            let config = rows.config(id).await;
            assert_eq!((config.epoch, config.version), (2, 1));
        }
    }
}
