//! The Secret that a control plane in a cluster keeps for itself: what is made at its first start lies there, and comes back
//! with the next pod.

use super::connection::{Cause, answer, connect};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Config};
use serde_json::json;

/// Two replicas that start at once may each find it changed by the other.
const TRIES: u32 = 5;

/// The Secret of a control plane, in the namespace of its own pod.
pub struct OwnSecret {
    api: Api<Secret>,
    name: String,
}

/// The namespace of the pod that this process is in.
///
/// # Errors
/// It is in none.
pub fn own_namespace() -> Result<String, String> {
    let config = Config::incluster().map_err(|_| "this process is not in a pod of a cluster".to_owned())?;
    Ok(config.default_namespace)
}

impl OwnSecret {
    /// The Secret of this name. Nothing is asked yet.
    ///
    /// # Errors
    /// This process is not in a pod.
    pub fn open(name: &str) -> Result<Self, String> {
        let client = connect(None).map_err(|trouble| trouble.sentence)?;
        Ok(Self {
            api: Api::namespaced(client, &own_namespace()?),
            name: name.to_owned(),
        })
    }

    /// Deletes it, for good: what was sealed with its master key cannot be read any more. Once more is no error.
    ///
    /// # Errors
    /// The cluster does not let it go.
    pub async fn delete(&self) -> Result<(), String> {
        match answer(self.api.delete(&self.name, &DeleteParams::default())).await {
            Ok(_) => Ok(()),
            Err(trouble) if trouble.cause == Cause::NotFound => Ok(()),
            Err(trouble) => Err(format!("Secret {}: {}", self.name, trouble.sentence)),
        }
    }

    /// What is kept under a name; if it is nothing, what is made now and kept. All replicas get the same.
    ///
    /// # Errors
    /// It cannot be made, or the cluster does not take it.
    pub async fn get_or_make(&self, key: &str, make: impl Fn() -> Result<String, String>) -> Result<String, String> {
        self.keep(key, |kept| kept.map_or_else(&make, Ok)).await
    }

    /// Keeps this under a name, whatever was kept there.
    ///
    /// # Errors
    /// The cluster does not take it.
    pub async fn put(&self, key: &str, text: &str) -> Result<(), String> {
        self.keep(key, |_| Ok(text.to_owned())).await.map(|_| ())
    }

    /// Keeps under a name what is wanted there, by what is there already.
    async fn keep(
        &self,
        key: &str,
        wanted: impl Fn(Option<String>) -> Result<String, String>,
    ) -> Result<String, String> {
        let fail = |why: String| format!("Secret {}: {why}", self.name);
        for _ in 0..TRIES {
            let there = answer(self.api.get_opt(&self.name)).await;
            let there = there.map_err(|trouble| fail(trouble.sentence))?;
            let kept = there.as_ref().and_then(|secret| secret.data.as_ref()?.get(key));
            let kept = kept.map(|kept| String::from_utf8(kept.0.clone()));
            let kept = kept.transpose().map_err(|_| fail(format!("{key} is not text")))?;
            let text = wanted(kept.clone())?;
            if kept.as_ref() == Some(&text) {
                return Ok(text);
            }
            let mut object = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}, "stringData": {key: text},
            });
            let written = match there.and_then(|secret| secret.metadata.resource_version) {
                None => {
                    let object = serde_json::from_value(object).map_err(|error| fail(error.to_string()))?;
                    answer(self.api.create(&PostParams::default(), &object)).await
                }
                Some(version) => {
                    if let Some(metadata) = object
                        .pointer_mut("/metadata")
                        .and_then(|metadata| metadata.as_object_mut())
                    {
                        metadata.insert("resourceVersion".to_owned(), version.into());
                    }
                    let patch = Patch::Merge(&object);
                    answer(self.api.patch(&self.name, &PatchParams::default(), &patch)).await
                }
            };
            match written {
                Ok(_) => return Ok(text),
                // Another replica was faster: what it has kept counts.
                Err(trouble) if trouble.cause == Cause::Conflict => {}
                Err(trouble) => return Err(fail(trouble.sentence)),
            }
        }
        Err(fail("it changes all the time".to_owned()))
    }
}
