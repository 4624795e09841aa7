//! Showing a recoverable key again.

use super::KeyRing;
use crate::domain::{KeyText, KeyVisibility};
use crate::store::entity::api_keys;
use crate::store::error::stored;
use crate::store::vault::Place;
use crate::store::{Error, Store};
use sea_orm::{ColumnTrait, QueryFilter};
use uuid::Uuid;

impl Store {
    /// Shows a recoverable key again to who made it, or where the service says so to whoever may list it. Put on record
    /// before it is shown, and when it is not.
    ///
    /// # Errors
    /// It is not theirs to reveal, only its hash was kept, there is none, or the database failed.
    pub async fn reveal_key(&self, ring: &KeyRing<'_>, id: Uuid) -> Result<KeyText, Error> {
        let row = ring
            .select()
            .filter(api_keys::Column::Id.eq(id))
            .one(&self.db)
            .await?
            .ok_or(Error::NotFound("key"))?;
        let may = row.created_by_id == ring.actor.account_id || ring.visibility == KeyVisibility::Readers;
        if !may {
            ring.deed("reveal-key", &row.name)
                .refuse(&self.db, ring.actor, self.clock.now())
                .await?;
            return Err(Error::NotAllowed(format!(
                "only {} who made this key can reveal it",
                row.created_by
            )));
        }
        let Some(sealed) = &row.sealed else {
            return Err(Error::InUse(
                "only the hash of this key was kept (class reveal-once): rotate it to get a new one".to_owned(),
            ));
        };
        ring.deed("reveal-key", &row.name)
            .record(&self.db, ring.actor, self.clock.now())
            .await?;
        let place = Place {
            table: "api_keys",
            row: row.id,
            owner: ring.owner(),
        };
        let text = stored(String::from_utf8(self.vault.open(&place, sealed)?), "a sealed key")?;
        Ok(KeyText::kept(text))
    }
}
