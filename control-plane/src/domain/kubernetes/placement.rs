//! On which machines of a cluster pods run.

use super::super::{Invalid, ObjectName};
use super::{few, is_label, is_qualified};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// On which machines of a cluster pods run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// Labels that a machine must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are no hindrance.
    #[schema(max_items = 50)]
    pub tolerations: Vec<Toleration>,
    /// As in the spec of a pod, in Kubernetes' own words; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub affinity: Option<serde_json::Map<String, serde_json::Value>>,
    /// Over what the pods of a deployment are spread.
    #[schema(max_items = 10)]
    pub spread: Vec<Spread>,
    /// The priority of pods.
    pub priority_class: Option<ObjectName>,
    /// What runs pods.
    pub runtime_class: Option<ObjectName>,
}

/// A taint that is no hindrance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// Of the taint; null: of any.
    #[serde(default)]
    pub key: Option<String>,
    /// `equal` when absent.
    #[serde(default)]
    pub operator: Operator,
    /// Of the taint, for `equal`.
    #[serde(default)]
    pub value: Option<String>,
    /// Null: any.
    #[serde(default)]
    pub effect: Option<Effect>,
    /// For how long a pod stays in spite of `NoExecute`; null: for ever.
    #[serde(default)]
    #[schema(maximum = 31_536_000)]
    pub seconds: Option<u32>,
}

/// How a taint is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operator {
    /// It has the value.
    #[default]
    Equal,
    /// It is there.
    Exists,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// No new pods.
    NoSchedule,
    /// No new pods, if it can be avoided.
    PreferNoSchedule,
    /// No pods.
    NoExecute,
}

/// Over what pods are spread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The label of machines that names the places, such as `topology.kubernetes.io/zone`.
    pub topology_key: String,
    /// How many more pods one place may have than another.
    #[serde(default = "Spread::one")]
    #[schema(minimum = 1, maximum = 200)]
    pub max_skew: u32,
    /// `schedule-anyway` when absent.
    #[serde(default)]
    pub when_unsatisfiable: Unsatisfiable,
}

/// What becomes of a pod that cannot be placed so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unsatisfiable {
    /// It runs where it can.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}

impl Spread {
    fn one() -> u32 {
        1
    }
}

impl Default for Placement {
    /// Over machines, where that can be had.
    fn default() -> Self {
        Self {
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            spread: vec![Spread {
                topology_key: "kubernetes.io/hostname".to_owned(),
                max_skew: 1,
                when_unsatisfiable: Unsatisfiable::default(),
            }],
            priority_class: None,
            runtime_class: None,
        }
    }
}

impl Placement {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        few("/node_selector", self.node_selector.len(), 50)?;
        few("/tolerations", self.tolerations.len(), 50)?;
        few("/spread", self.spread.len(), 10)?;
        let pairs = &self.node_selector;
        if !pairs.iter().all(|(name, value)| is_qualified(name) && is_label(value)) {
            return Err(Invalid::new(
                "/node_selector",
                "has a name or a value that Kubernetes does not take",
            ));
        }
        for (place, toleration) in self.tolerations.iter().enumerate() {
            toleration
                .check()
                .map_err(|reason| Invalid::new(format!("/tolerations/{place}"), reason))?;
        }
        for (place, spread) in self.spread.iter().enumerate() {
            if !is_qualified(&spread.topology_key) || !(1..=200).contains(&spread.max_skew) {
                let reason = "must have a label's name as topology_key, and 1 to 200 as max_skew";
                return Err(Invalid::new(format!("/spread/{place}"), reason));
            }
        }
        let affinity = self.affinity.as_ref();
        if affinity.is_some_and(|affinity| serde_json::to_string(affinity).map_or(0, |text| text.len()) > 16 << 10) {
            return Err(Invalid::new("/affinity", "must have at most 16 KiB"));
        }
        Ok(())
    }
}

impl Toleration {
    fn check(&self) -> Result<(), &'static str> {
        let key = self.key.as_deref();
        match self.operator {
            _ if key.is_some_and(|key| !is_qualified(key)) => Err("has a key that Kubernetes does not take"),
            _ if self.value.as_deref().is_some_and(|value| !is_label(value)) => {
                Err("has a value that Kubernetes does not take")
            }
            Operator::Equal if key.is_none() => Err("needs a key, or the operator exists"),
            Operator::Exists if self.value.is_some() => Err("has a value, which the operator exists does not compare"),
            _ if self.seconds.is_some() && self.effect != Some(Effect::NoExecute) => {
                Err("has seconds, which only the effect no-execute knows")
            }
            _ => Ok(()),
        }
    }
}
