//! Whether the model files of a deployment fit into what its pods may keep of them.
//!
//! A pod that keeps more is ended by its machine, and so is the one in its place, for ever: it is refused before. The rule a
//! newcomer would break: only what names other versions is refused; a key can be revoked whatever a pod may keep.

use super::entity::{configs, deployments, infrastructures};
use super::{Error, json};
use crate::domain::kubernetes::Bytes;
use crate::domain::{Infrastructure, Invalid};
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A file takes whole blocks of a disk.
const BLOCK: u64 = 4 << 10;
/// Of what a pod may keep, one part in so many is left for what a file system needs beside files.
const LEFT: u64 = 16;

/// Files that a deployment's nodes fetch: bytes by digest.
pub(super) type Files = BTreeMap<String, u64>;

/// Of a deployment as its config is now; none when it has no config.
pub(super) async fn files(tx: &DatabaseTransaction, deployment_id: Uuid) -> Result<Files, Error> {
    let stored: Option<String> = configs::Entity::find_by_id(deployment_id)
        .select_only()
        .column(configs::Column::Files)
        .into_tuple()
        .one(tx)
        .await?;
    stored.map_or_else(
        || Ok(Files::new()),
        |text| json::read(&text, "a list of files").map(listed),
    )
}

fn listed(files: Vec<(String, u64)>) -> Files {
    files.into_iter().collect()
}

/// Refuses a deployment whose config is written and does not fit. `kept` are the files that its pods have now, and keep until
/// they have loaded the new ones.
pub(super) async fn check(
    tx: &DatabaseTransaction,
    infrastructure_id: Uuid,
    deployment_id: Uuid,
    kept: Files,
) -> Result<(), Error> {
    let row = infrastructures::Entity::find_by_id(infrastructure_id).one(tx).await?;
    let infrastructure = Infrastructure::try_from(row.ok_or(Error::NotFound("infrastructure"))?)?;
    let Some(settings) = infrastructure.kubernetes else {
        return Ok(());
    };
    let new = files(tx, deployment_id).await?;
    let is_more = kept.keys().any(|digest| !new.contains_key(digest));
    let need = need(new.into_iter().chain(kept));
    if need <= room(settings.packages) {
        return Ok(());
    }
    let kept = match is_more {
        true => {
            ", with those of the versions before, which a pod keeps until it has loaded these (not while it is switched off)"
        }
        false => "",
    };
    Err(Error::Invalid(Invalid::new(
        "/route",
        format!(
            "needs {} MiB of model files in each pod{kept}, and kubernetes.packages of infrastructure {} is {}, of which a \
             {LEFT}th is left free: raise it there, or deploy smaller versions",
            need.div_ceil(1 << 20),
            infrastructure.name,
            settings.packages,
        ),
    )))
}

/// Refuses to let pods keep so little that those of deployments there could not have their files.
pub(super) async fn check_all(tx: &DatabaseTransaction, infrastructure_id: Uuid, packages: Bytes) -> Result<(), Error> {
    let own = Query::select()
        .column(deployments::Column::Id)
        .from(deployments::Entity)
        .and_where(deployments::Column::InfrastructureId.eq(infrastructure_id))
        .to_owned();
    let there: Vec<String> = configs::Entity::find()
        .select_only()
        .column(configs::Column::Files)
        .filter(configs::Column::DeploymentId.in_subquery(own))
        .into_tuple()
        .all(tx)
        .await?;
    let mut most = 0;
    for text in there {
        most = need(listed(json::read(&text, "a list of files")?)).max(most);
    }
    if most <= room(packages) {
        return Ok(());
    }
    Err(Error::Invalid(Invalid::new(
        "/kubernetes/packages",
        format!(
            "is too little: a deployment there has {} MiB of model files, and a {LEFT}th is left free",
            most.div_ceil(1 << 20)
        ),
    )))
}

/// Bytes that files take on a disk, each digest once.
fn need(files: impl IntoIterator<Item = (String, u64)>) -> u64 {
    let each: Files = files.into_iter().collect();
    let blocks = each
        .into_values()
        .map(|size| size.div_ceil(BLOCK).saturating_mul(BLOCK));
    blocks.fold(0, u64::saturating_add)
}

/// Bytes of files for which there is room.
fn room(packages: Bytes) -> u64 {
    packages.bytes() - packages.bytes() / LEFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_leaves_room_and_counts_a_file_once() {
        let file = |digest: &str, size: u64| (digest.to_owned(), size);
        assert_eq!(need([]), 0);
        assert_eq!(need([file("a", 1), file("b", BLOCK), file("a", 1)]), 2 * BLOCK);
        assert_eq!(need([file("a", u64::MAX / 2), file("b", u64::MAX)]), u64::MAX);
        assert_eq!(room(Bytes::mib(16)), 15 << 20);
    }
}
