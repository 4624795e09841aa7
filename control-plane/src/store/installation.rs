//! This installation: its data key and its signing key, made at the first start.

use super::entity::installation;
use super::vault::{MasterKey, Place, Vault};
use super::{Connection, Error, Store, commit, error::stored, take_turn};
use crate::authn::random_bytes;
use crate::domain::Time;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// What the installation signs and seals with.
pub struct Installation {
    /// Never used again.
    pub id: Uuid,
    /// Seals and opens.
    pub vault: Arc<Vault>,
    /// 32 bytes of Ed25519. Never printed.
    pub signing_seed: [u8; 32],
    /// The authority of the nodes' port, once one was needed: certificate and private key, in PEM.
    pub authority: Option<(String, String)>,
}

/// Whether something was sealed with a master key already.
///
/// # Errors
/// The database failed.
pub async fn is_sealed(db: &Connection) -> Result<bool, Error> {
    Ok(installation::Entity::find().one(db).await?.is_some())
}

/// Reads the installation's row, or makes it at the first start.
///
/// # Errors
/// `None` in place of an installation: the database was sealed with another master key.
pub async fn prepare(db: &Connection, master: &MasterKey, now: Time) -> Result<Option<Installation>, Error> {
    let tx = db.begin().await?;
    // Replicas that start at once must not each make one.
    take_turn(&tx).await?;
    let found = installation::Entity::find().one(&tx).await?;
    let installation = match found {
        Some(row) => open(master, row)?,
        None => {
            let (vault, data_key_wrapped) = master.new_vault()?;
            let id = Uuid::new_v4();
            let signing_seed = random_bytes::<32>().map_err(|_| Error::NoRandom)?;
            let pair = stored(Ed25519KeyPair::from_seed_unchecked(&signing_seed), "a signing key")?;
            installation::ActiveModel {
                id: Set(id),
                epoch: Set(1),
                data_key_wrapped: Set(data_key_wrapped),
                signing_public: Set(pair.public_key().as_ref().to_vec()),
                signing_sealed: Set(vault.seal(&place(id, "signing"), &signing_seed)?),
                authority_certificate: Set(None),
                authority_sealed: Set(None),
                created_at: Set(now.ms()),
            }
            .insert(&tx)
            .await?;
            Some(Installation {
                id,
                vault: Arc::new(vault),
                signing_seed,
                authority: None,
            })
        }
    };
    commit(tx).await?;
    Ok(installation)
}

impl Store {
    /// Keeps the authority of the nodes' port, unless one is kept already: then it is this one from now on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keep_authority(
        &self,
        installation: &mut Installation,
        certificate: String,
        key: String,
    ) -> Result<(), Error> {
        let tx = self.begin().await?;
        // Of control planes that start at once the first one's stays: nodes trust it already.
        take_turn(&tx).await?;
        let row = installation::Entity::find_by_id(installation.id).one(&tx).await?;
        let kept = authority(&installation.vault, row.ok_or(Error::NotFound("installation"))?)?;
        if let Some(kept) = kept {
            installation.authority = Some(kept);
            return Ok(());
        }
        let sealed = installation
            .vault
            .seal(&place(installation.id, "authority"), key.as_bytes())?;
        installation::Entity::update_many()
            .col_expr(
                installation::Column::AuthorityCertificate,
                Expr::value(certificate.as_str()),
            )
            .col_expr(installation::Column::AuthoritySealed, Expr::value(sealed))
            .filter(installation::Column::Id.eq(installation.id))
            .exec(&tx)
            .await?;
        commit(tx).await?;
        installation.authority = Some((certificate, key));
        Ok(())
    }
}

fn open(master: &MasterKey, row: installation::Model) -> Result<Option<Installation>, Error> {
    let Some(vault) = master.open_vault(&row.data_key_wrapped)? else {
        return Ok(None);
    };
    let seed = vault.open(&place(row.id, "signing"), &row.signing_sealed)?;
    Ok(Some(Installation {
        id: row.id,
        signing_seed: stored(seed.try_into(), "the signing key")?,
        authority: authority(&vault, row)?,
        vault: Arc::new(vault),
    }))
}

fn authority(vault: &Vault, row: installation::Model) -> Result<Option<(String, String)>, Error> {
    let (Some(certificate), Some(sealed)) = (row.authority_certificate, row.authority_sealed) else {
        return Ok(None);
    };
    let key = vault.open(&place(row.id, "authority"), &sealed)?;
    Ok(Some((
        certificate,
        stored(String::from_utf8(key), "the authority's key")?,
    )))
}

fn place(id: Uuid, what: &str) -> Place<'_> {
    Place {
        table: what,
        row: id,
        owner: id,
    }
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
