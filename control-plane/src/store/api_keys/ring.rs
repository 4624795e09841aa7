//! A place of keys: those of a service or of a deployment, for who holds a permit for it.

use crate::authn::Actor;
use crate::domain::{ApiKey, KeyPlace, KeyVisibility};
use crate::store::audit::Deed;
use crate::store::entity::api_keys;
use crate::store::{Error, Store, configs};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use serde_json::json;
use uuid::Uuid;

/// The place of keys that a permit was given for, and who holds the permit.
#[derive(Clone, Copy)]
pub struct KeyRing<'a> {
    pub(in crate::store) place: KeyPlace,
    pub(in crate::store) service_id: Uuid,
    pub(in crate::store) infrastructure_id: Option<Uuid>,
    pub(in crate::store) of: &'a str,
    pub(in crate::store) visibility: KeyVisibility,
    pub(in crate::store) actor: &'a Actor,
}

/// A place of keys that may be written.
pub struct WritableRing<'a>(pub(in crate::store) KeyRing<'a>);

impl KeyRing<'_> {
    pub(super) fn select(&self) -> sea_orm::Select<api_keys::Entity> {
        match self.place {
            KeyPlace::Service(id) => api_keys::Entity::find().filter(api_keys::Column::ServiceId.eq(id)),
            KeyPlace::Deployment(id) => api_keys::Entity::find().filter(api_keys::Column::DeploymentId.eq(id)),
        }
    }

    pub(super) fn owner(&self) -> Uuid {
        match self.place {
            KeyPlace::Service(id) | KeyPlace::Deployment(id) => id,
        }
    }

    pub(super) fn deed<'b>(&'b self, action: &'b str, of: &'b str) -> Deed<'b> {
        let deed = Deed::new(action, "key", of).on_service(self.service_id);
        match self.infrastructure_id {
            Some(id) => deed.on_infrastructure(id),
            None => deed,
        }
    }

    pub(super) fn look(&self, key: &ApiKey) -> serde_json::Value {
        json!({
            "id": key.id, "on": self.of, "name": key.name, "endpoints": key.endpoints, "not_before": key.not_before,
            "expires_at": key.expires_at, "rate_limit": key.rate_limit, "quota": key.quota,
            "revoked_at": key.revoked_at,
        })
    }

    pub(super) async fn raise(&self, store: &Store, tx: &DatabaseTransaction) -> Result<Vec<Uuid>, Error> {
        match self.place {
            KeyPlace::Service(id) => configs::raise_inheriting(store, tx, id).await,
            KeyPlace::Deployment(id) => configs::raise(store, tx, id).await.map(|_| vec![id]),
        }
    }
}
