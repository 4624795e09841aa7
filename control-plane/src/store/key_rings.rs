//! From a permit to the keys that it is about.

use super::api_keys::{KeyRing, WritableRing};
use super::{Error, Permit, Store};
use crate::authz::{Administer, Deploy, ListKeys, View};
use crate::domain::{Deployment, KeyPlace, KeyVisibility, Service};
use sea_orm::EntityTrait;

impl Store {
    /// The keys of a service, to be listed.
    ///
    /// # Errors
    /// None: as for a deployment, whose service is asked.
    pub async fn service_keys<'a>(&self, permit: &'a Permit<ListKeys, Service>) -> Result<KeyRing<'a>, Error> {
        Ok(ring(permit, permit.actor()))
    }

    /// The keys of a service, to be changed.
    ///
    /// # Errors
    /// None: as for a deployment, whose service is asked.
    pub async fn service_keys_to_change<'a>(
        &self,
        permit: &'a Permit<Administer, Service>,
    ) -> Result<WritableRing<'a>, Error> {
        Ok(WritableRing(ring(permit, permit.actor())))
    }

    /// The keys of a deployment, to be listed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deployment_keys<'a>(&self, permit: &'a Permit<View, Deployment>) -> Result<KeyRing<'a>, Error> {
        let visibility = self.key_visibility(permit).await?;
        Ok(deployment_ring(permit, permit.actor(), visibility))
    }

    /// The keys of a deployment, to be changed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deployment_keys_to_change<'a>(
        &self,
        permit: &'a Permit<Deploy, Deployment>,
    ) -> Result<WritableRing<'a>, Error> {
        let visibility = self.key_visibility(permit).await?;
        Ok(WritableRing(deployment_ring(permit, permit.actor(), visibility)))
    }

    async fn key_visibility(&self, deployment: &Deployment) -> Result<KeyVisibility, Error> {
        let row = super::entity::services::Entity::find_by_id(deployment.service_id)
            .one(&self.db)
            .await?;
        super::services::parse_word(&row.ok_or(Error::NotFound("service"))?.key_visibility)
    }
}

impl<'a> WritableRing<'a> {
    /// Who holds the permit.
    pub fn actor(&self) -> &'a crate::authn::Actor {
        self.0.actor
    }
}

fn ring<'a>(service: &'a Service, actor: &'a crate::authn::Actor) -> KeyRing<'a> {
    KeyRing {
        place: KeyPlace::Service(service.id),
        service_id: service.id,
        infrastructure_id: None,
        of: service.name.as_str(),
        visibility: service.key_visibility,
        actor,
    }
}

fn deployment_ring<'a>(
    deployment: &'a Deployment,
    actor: &'a crate::authn::Actor,
    visibility: KeyVisibility,
) -> KeyRing<'a> {
    KeyRing {
        place: KeyPlace::Deployment(deployment.id),
        service_id: deployment.service_id,
        infrastructure_id: Some(deployment.infrastructure_id),
        of: deployment.name.as_str(),
        visibility,
        actor,
    }
}
