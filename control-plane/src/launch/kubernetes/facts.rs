//! What a deployment should be in its cluster, from the database.

use super::dialled::{Names, OwnPods, Place, places};
use super::objects::{Boot, Desired, Packages, Vouched};
use super::vouch::moment;
use crate::authn::{Secret, SecretKind};
use crate::domain::kubernetes::{MOST_IN_SECRET, Make, Template};
use crate::domain::package::Digest;
use crate::domain::{Deployment, InfrastructureKind};
use crate::launch::{AddressSource, JoinSource};
use crate::store::{Acting, Cluster, Error, KeptAddresses, StoredConfig};
use castoff_wire::Join;
use castoff_wire::proto::Signed;
use castoff_wire::signed::Trust;
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

/// Whoever gathers what deployments should be.
pub(super) struct Facts {
    pub(super) acting: Acting,
    pub(super) joins: Arc<dyn JoinSource>,
    pub(super) addresses: Arc<dyn AddressSource>,
    pub(super) installation: Uuid,
    /// Who signs its configs.
    pub(super) trust: Trust,
    /// What pods run where nothing else is said.
    pub(super) image: String,
    /// What hosts are called.
    pub(super) names: Arc<Names>,
    /// Where all control planes are, for nodes.
    pub(super) living: watch::Receiver<Vec<String>>,
    /// The pods of this control plane, where it runs in a cluster.
    pub(super) own_pods: Option<OwnPods>,
}

/// What is there of a deployment already.
#[derive(Clone, Copy, Debug)]
pub(super) struct There {
    /// What makes its pods.
    pub(super) runs: bool,
    /// What keeps them apart.
    pub(super) is_walled: bool,
}

/// What there should be of a deployment in a cluster.
pub(super) enum Wanted {
    /// All that it becomes, and the deployment itself.
    Present(Box<(Desired, Deployment)>),
    /// Nothing: it was deleted.
    Absent,
    /// It is another cluster's.
    Elsewhere,
}

impl Facts {
    /// All places where the pods of a cluster dial a control plane, by what they are told to join.
    fn places(&self, cluster: &Cluster, joined: &str) -> Vec<Place> {
        places(&cluster.settings, joined, &self.living.borrow())
    }

    /// Looks once more where that is; whether it is another place than before.
    pub(super) async fn look_around(&self, cluster: &Cluster) -> bool {
        let own = cluster.settings.control_plane.as_ref();
        let living = self.living.borrow().clone();
        let joined = own.map(|own| &own.url).or(living.first());
        let Some(joined) = joined else { return false };
        let places = self.places(cluster, joined);
        self.names.look_up(&places, self.acting.system().now()).await
    }

    /// What there should be of a deployment in this cluster.
    pub(super) async fn of(&self, cluster: &Cluster, id: Uuid, there: There) -> Result<Wanted, Error> {
        let system = self.acting.system();
        let Some(deployment) = system.deployment(id).await? else {
            return Ok(Wanted::Absent);
        };
        if deployment.kind != InfrastructureKind::Kubernetes || deployment.infrastructure_id != cluster.id {
            return Ok(Wanted::Elsewhere);
        }
        let (Some(mut join), Some(config)) = (self.joins.join(id).await?, system.config(id).await?) else {
            return Ok(Wanted::Absent);
        };
        let make = self.make(&deployment, there.runs).await?;
        if let Some(own) = &cluster.settings.control_plane {
            join.control_plane.clone_from(&own.url);
            join.ca_pem = own.ca.clone().or(join.ca_pem);
        }
        let moment = moment(id, &deployment.limits, system.now()).filter(|_| deployment.enabled);
        let vouched = moment.map(|(at, again)| Vouched {
            document: system.vouch(&config, at),
            again,
        });
        let uncopied_token = self.uncopied_token(id, &join).await?;
        // In another cluster they are nobody's pods.
        let is_here = cluster.kubeconfig.is_none() && cluster.settings.control_plane.is_none();
        let own_pods = self.own_pods.as_ref().filter(|_| is_here);
        let places = self.places(cluster, &join.control_plane);
        let control_plane = self.names.dialled(&places, own_pods, system.now()).await;
        let join = serde_json::to_string(&join).map_err(|_| Error::Unreadable("a join document"))?;
        let (position, files) = ((config.epoch, config.version), files(&config));
        let config = encoded(config);
        let beside = join.len() + config.len() + vouched.as_ref().map_or(0, |vouched| vouched.document.len());
        let room = MOST_IN_SECRET.saturating_sub(beside);
        let packages = self.addresses(&deployment, &files, room).await?;
        let desired = Desired {
            installation: self.installation,
            deployment: id,
            name: deployment.name.clone(),
            enabled: deployment.enabled,
            scale: deployment.scale,
            limits: deployment.limits,
            settings: cluster.settings.clone(),
            image: make.image,
            template: Template::of(make.template),
            boot: Boot {
                join,
                position,
                vouched,
                config,
                uncopied_token,
                packages,
            },
            control_plane,
            is_walled: there.is_walled,
        };
        Ok(Wanted::Present(Box::new((desired, deployment))))
    }

    async fn uncopied_token(&self, id: Uuid, join: &Join) -> Result<Option<Vec<u8>>, Error> {
        let uncopied = self.acting.system().uncopied_node_tokens().await?;
        let token = Secret::presented(SecretKind::NodeToken, &join.token);
        let hash = token.map(|token| token.hash().into_bytes());
        Ok(hash.filter(|hash| uncopied.iter().any(|(of, other)| *of == id && other == hash)))
    }

    /// Where its pods fetch their files without a control plane, said in so many bytes. What was made before is given again, to
    /// the byte, for as long as it serves: a control plane that comes back changes nothing.
    async fn addresses(
        &self,
        deployment: &Deployment,
        files: &BTreeSet<Digest>,
        room: usize,
    ) -> Result<Packages, Error> {
        let (id, system) = (deployment.id, self.acting.system());
        let kept = system.addresses(id).await?;
        let Some(of) = self.addresses.of(files).filter(|_| deployment.enabled) else {
            if kept.is_some() {
                self.acting.keep_addresses(id, None).await?;
            }
            return Ok(Packages::Nowhere);
        };
        let now = system.now();
        let (given, anew) = match kept.filter(|kept| kept.of == of) {
            Some(kept) if now < kept.due() => (kept, false),
            kept => match (self.addresses.make(files, now).await, kept) {
                (Ok(Some(addresses)), _) => {
                    let (of, made_at) = (of.to_vec(), now);
                    let made = KeptAddresses { of, made_at, addresses };
                    (made, true)
                }
                (Ok(None), _) => return Ok(Packages::Nowhere),
                (Err(reason), kept) => {
                    tracing::warn!(deployment.id = %id, reason, "the addresses of packages were not made anew");
                    match kept {
                        Some(kept) => (kept, false),
                        None => return Ok(Packages::Nowhere),
                    }
                }
            },
        };
        let document = document(&given)?;
        let fits = document.len() <= room;
        // The status says until when pods have addresses: those that they do not get are forgotten.
        if anew || !fits {
            self.acting.keep_addresses(id, fits.then_some(&given)).await?;
        }
        Ok(match fits {
            true => Packages::At(document),
            false => Packages::NoRoom,
        })
    }

    /// A new release of Castoff replaces no pod: a deployment's pods are what they were first, until somebody says otherwise.
    /// Where a template is not made by this release and no pods are there by it, they are made by the newest.
    async fn make(&self, deployment: &Deployment, runs: bool) -> Result<Make, Error> {
        let newest = Make::newest(deployment.named_image.as_ref(), &self.image);
        let make = match &deployment.make {
            Some(make) if runs || !deployment.enabled || Template::of(make.template).is_some() => {
                return Ok(make.clone());
            }
            Some(make) => Make {
                image: make.image.clone(),
                ..newest
            },
            None => newest,
        };
        self.acting.pin_make(deployment.id, &make).await?;
        Ok(make)
    }
}

/// What its nodes fetch.
fn files(config: &StoredConfig) -> BTreeSet<Digest> {
    config.files.iter().map(|(digest, _)| *digest).collect()
}

/// Addresses as nodes read them.
fn document(kept: &KeptAddresses) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(&kept.addresses).map_err(|_| Error::Unreadable("addresses of packages"))
}

/// A signed config as nodes keep it.
fn encoded(config: StoredConfig) -> Vec<u8> {
    let signed = Signed {
        config: config.config,
        key_id: config.key_id,
        signature: config.signature,
    };
    signed.encode_to_vec()
}
