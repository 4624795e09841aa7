//! What stands in the way of a deletion or a change.

use super::*;
use castoff_control_plane::store::{DeploymentChange, InfrastructureChange};

#[track_caller]
fn in_use<T: std::fmt::Debug>(result: Result<T, Error>, reason: &str) {
    match result {
        Err(Error::InUse(said)) if said.contains(reason) => {}
        other => panic!("{reason}: {other:?}"),
    }
}

on_both_databases! {
    async fn what_is_used_stays(rows: Rows) {
        rows.service("iris").await;
        rows.infrastructure("dev").await;
        rows.deployment("iris", "dev", Access::Inherit).await;
        let all = rows.sight();
        in_use(rows.store.delete_service(rows.my_service("iris").await, &all).await, "iris-on-dev");
        let dev = rows.on_infrastructure(&rows.root, "dev").await.unwrap();
        in_use(rows.store.delete_infrastructure(dev, &all, None).await, "iris-on-dev");
        let write = rows.on_service::<Write>(&rows.root, "iris").await.unwrap();
        in_use(rows.store.delete_version(&write, "v1", &all).await, "routed to version v1: switch iris-on-dev");
        in_use(rows.store.delete_deployment(rows.my_deployment("iris-on-dev").await).await, "enabled");
        // What a deployment uses cannot be disallowed under it.
        let dev = rows.on_infrastructure(&rows.root, "dev").await.unwrap();
        let nothing = Allowances { inherit: false, public: false, personal_keys: false };
        let change = InfrastructureChange { allow: Some(nothing), ..InfrastructureChange::default() };
        in_use(rows.store.change_infrastructure(&dev, change.clone()).await, "access inherit");

        let off = DeploymentChange { enabled: Some(false), access: Some(Access::Keys), ..DeploymentChange::default() };
        let permit = rows.my_deployment("iris-on-dev").await;
        rows.store.change_deployment(&permit, "disable-deployment", off).await.unwrap();
        rows.store.change_infrastructure(&dev, change).await.unwrap();
        let permit = rows.my_deployment("iris-on-dev").await;
        for access in [Access::Inherit, Access::Public] {
            let change = DeploymentChange { access: Some(access), ..DeploymentChange::default() };
            let refused = rows.store.change_deployment(&permit, "change-deployment", change).await;
            assert!(matches!(refused, Err(Error::NotAllowed(_))), "{refused:?}");
        }

        // Keys go with what they open, and do not come back with its name.
        let ring = rows.store.deployment_keys_to_change(&permit).await.unwrap();
        rows.store.create_key(&ring, new_key("own")).await.unwrap();
        rows.store.delete_deployment(rows.my_deployment("iris-on-dev").await).await.unwrap();
        let again = rows.deployment("iris", "dev", Access::Keys).await;
        assert!(rows.opening(again).await.is_empty());
        let off = DeploymentChange { enabled: Some(false), ..DeploymentChange::default() };
        let permit = rows.my_deployment("iris-on-dev").await;
        rows.store.change_deployment(&permit, "disable-deployment", off).await.unwrap();
        rows.store.delete_deployment(rows.my_deployment("iris-on-dev").await).await.unwrap();

        rows.store.delete_version(&write, "v1", &all).await.unwrap();
        in_use(rows.store.add_version(&write, new_version("v1", [7; 32])).await, "was deleted");
        let service = rows.my_service("iris").await;
        let ring = rows.store.service_keys_to_change(&service).await.unwrap();
        rows.store.create_key(&ring, new_key("shared")).await.unwrap();
        rows.store.delete_service(rows.my_service("iris").await, &all).await.unwrap();
        assert!(matches!(rows.store.service(&rows.root, "iris").await, Err(Error::NotFound(_))));
        let dev = rows.on_infrastructure(&rows.root, "dev").await.unwrap();
        rows.store.delete_infrastructure(dev, &all, None).await.unwrap();
    }

    /// Somebody deletes what somebody else deploys at the same moment: both must not succeed.
    async fn a_deletion_and_a_use_exclude_each_other(rows: Rows) {
        rows.infrastructure("dev").await;
        for round in 0..8 {
            let name = format!("iris-{round}");
            rows.service(&name).await;
            let site = rows.store.site(&rows.root, &name, "dev").await.unwrap();
            let site = site.admit::<Deploy>(&rows.table, &rows.root).unwrap();
            let permit = rows.my_service(&name).await;
            let new = new_deployment(&name, Access::Keys);
            let (deployer, deleter) = (rows.store.clone(), rows.store.clone());
            let deployed = tokio::spawn(async move { deployer.create_deployment(&site, new).await });
            let visible = rows.sight();
            let deleted = tokio::spawn(async move { deleter.delete_service(permit, &visible).await });
            let (deployed, deleted) = (deployed.await.unwrap(), deleted.await.unwrap());
            assert_ne!(deployed.is_ok(), deleted.is_ok(), "{deployed:?} {deleted:?}");

            let name = format!("wine-{round}");
            rows.service(&name).await;
            let site = rows.store.site(&rows.root, &name, "dev").await.unwrap();
            let site = site.admit::<Deploy>(&rows.table, &rows.root).unwrap();
            let write = rows.on_service::<Write>(&rows.root, &name).await.unwrap();
            let new = new_deployment(&name, Access::Keys);
            let (deployer, deleter) = (rows.store.clone(), rows.store.clone());
            let deployed = tokio::spawn(async move { deployer.create_deployment(&site, new).await });
            let visible = rows.sight();
            let deleted = tokio::spawn(async move { deleter.delete_version(&write, "v1", &visible).await });
            let (deployed, deleted) = (deployed.await.unwrap(), deleted.await.unwrap());
            assert_ne!(deployed.is_ok(), deleted.is_ok(), "{deployed:?} {deleted:?}");
        }
    }

    async fn somebody_can_always_administer(rows: Rows) {
        let platform = rows.platform::<Administer>();
        let admins = rows.store.group(&rows.root, "admins").await.unwrap();
        let refused = rows.store.set_member(&platform, &admins, "root", false).await;
        assert!(refused.is_err(), "the last admin left the group");
        let powerless = GroupChange { admin: Some(false), ..GroupChange::default() };
        assert!(rows.store.change_group(&platform, &admins, powerless).await.is_err());
        assert!(rows.store.delete_group(&platform, &admins).await.is_err());
        // Two admins who each take the other out at the same moment.
        for round in 0..8 {
            let name = format!("dana-{round}");
            rows.user(&name, &["admins"]).await;
            let out = |name: String| {
                let (store, platform, admins) = (rows.store.clone(), rows.platform(), admins.clone());
                tokio::spawn(async move { store.set_member(&platform, &admins, &name, false).await })
            };
            let (one, other) = (out("root".to_owned()), out(name.clone()));
            let (one, other) = (one.await.unwrap(), other.await.unwrap());
            assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
            for name in ["root", name.as_str()] {
                rows.store.set_member(&platform, &admins, name, name == "root").await.unwrap();
            }
        }
    }
}
