//! How many nodes a deployment has, and what each takes.

use super::deployment::within;
use super::kubernetes::{Autoscaling, Resources};
use super::{InfrastructureKind, Invalid};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// How many nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scale {
    /// 1 to 20, on Kubernetes 1 to 200. When absent, as many as the infrastructure gives.
    #[schema(minimum = 1, maximum = 200)]
    pub replicas: u32,
    /// On Kubernetes: how many by what they have to do, in place of what the infrastructure says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// On Kubernetes: always as many as `replicas`, though the infrastructure scales its deployments.
    // A word of its own: null in place of autoscaling has always meant that there is no own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fixed: bool,
    /// On Kubernetes: what each takes, in place of what the infrastructure says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// How many nodes, as it is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaidScale {
    #[serde(deserialize_with = "said")]
    replicas: Option<u32>,
    autoscaling: Option<Autoscaling>,
    fixed: bool,
    resources: Option<Resources>,
}

/// A number, and not null.
fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    u32::deserialize(from).map(Some)
}

impl SaidScale {
    /// With as many nodes as are usual, where that is not said.
    pub fn or(self, usual: u32) -> Scale {
        let Self {
            replicas,
            autoscaling,
            fixed,
            resources,
        } = self;
        Scale {
            replicas: replicas.unwrap_or(usual),
            autoscaling,
            fixed,
            resources,
        }
    }
}

impl Default for Scale {
    fn default() -> Self {
        SaidScale::default().or(1)
    }
}

impl Scale {
    /// How many by what they have to do, with what the infrastructure says where this says nothing.
    pub fn autoscaling(&self, usual: Option<Autoscaling>) -> Option<Autoscaling> {
        self.autoscaling.or(usual).filter(|_| !self.fixed)
    }

    /// At least so many nodes there should be, with what the infrastructure says where this says nothing.
    pub fn least(&self, usual: Option<Autoscaling>) -> u32 {
        let autoscaling = self.autoscaling(usual);
        autoscaling.map_or(self.replicas, |autoscaling| autoscaling.min)
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub fn check(self) -> Result<Self, Invalid> {
        within("/replicas", self.replicas, 1, 200)?;
        if let Some(autoscaling) = self.autoscaling {
            autoscaling.check().map_err(|invalid| invalid.under("/autoscaling"))?;
            if self.fixed {
                return Err(Invalid::new("/fixed", "does not go together with autoscaling"));
            }
        }
        if let Some(resources) = self.resources {
            resources.check().map_err(|invalid| invalid.under("/resources"))?;
        }
        Ok(self)
    }

    /// Checks what only this kind of infrastructure can do.
    ///
    /// # Errors
    /// The first field that is out of bounds there.
    pub fn check_on(self, kind: InfrastructureKind) -> Result<Self, Invalid> {
        if kind == InfrastructureKind::Kubernetes {
            return Ok(self);
        }
        within("/replicas", self.replicas, 1, 20)?;
        for (pointer, given) in [
            ("/autoscaling", self.autoscaling.is_some()),
            ("/fixed", self.fixed),
            ("/resources", self.resources.is_some()),
        ] {
            if given {
                return Err(Invalid::new(pointer, "is for infrastructures of kind kubernetes"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(said: Value) -> Scale {
        serde_json::from_value::<SaidScale>(said).unwrap().or(3)
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        Scale::default().check().unwrap();
        assert_eq!(of(json!({})).replicas, 3);
        assert_eq!(of(json!({"replicas": 1, "autoscaling": null})).replicas, 1);
        for wrong in [json!({"replicas": null}), json!({"replica": 1})] {
            serde_json::from_value::<SaidScale>(wrong).unwrap_err();
        }
        // As it was stored before there was `fixed`, and as it is read again.
        let scale: Scale = serde_json::from_value(json!({"replicas": 2})).unwrap();
        assert_eq!(serde_json::to_value(scale).unwrap(), json!({"replicas": 2}));
    }

    #[test]
    fn who_is_fixed_is_not_scaled() {
        let autoscaling = |min: u32| json!({"min": min, "max": 9, "cpu_percent": 70});
        let usual: Autoscaling = serde_json::from_value(autoscaling(2)).unwrap();
        for (said, least, scaled) in [
            (json!({}), 2, true),
            // Null is no own, as it always was.
            (json!({"autoscaling": null}), 2, true),
            (json!({"autoscaling": autoscaling(5)}), 5, true),
            (json!({"fixed": true}), 3, false),
        ] {
            let scale = of(said.clone()).check().unwrap();
            assert_eq!(scale.least(Some(usual)), least, "{said}");
            assert_eq!(scale.autoscaling(Some(usual)).is_some(), scaled, "{said}");
        }
        let both = of(json!({"fixed": true, "autoscaling": autoscaling(1)}));
        assert_eq!(both.check().unwrap_err().pointer, "/fixed");
        let elsewhere = of(json!({"fixed": true})).check_on(InfrastructureKind::Local);
        assert_eq!(elsewhere.unwrap_err().pointer, "/fixed");
    }
}
