//! What a pod takes, and how many there are by what they have to do.

use super::super::Invalid;
use super::{Bytes, Cpu};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// More than this is a mistake.
pub(super) const MOST_PODS: u32 = 200;

/// What a pod takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// What it is promised.
    pub cpu: Cpu,
    /// What it may use; null: what is there.
    pub cpu_limit: Option<Cpu>,
    /// What it is promised.
    pub memory: Bytes,
    /// What it may use; one that uses more is ended.
    pub memory_limit: Bytes,
}

/// How many pods there are by what they have to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Autoscaling {
    /// At least so many.
    #[schema(minimum = 1, maximum = 200)]
    pub min: u32,
    /// At most so many.
    #[schema(minimum = 1, maximum = 200)]
    pub max: u32,
    /// Of the promised processor, in percent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000)]
    pub cpu_percent: Option<u32>,
    /// Of the promised memory, in percent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000)]
    pub memory_percent: Option<u32>,
    /// Calls inside a pod; needs a metrics API that has `castoff_node_in_flight` of pods.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100_000)]
    pub in_flight: Option<u32>,
    /// Seconds for which less must be to do before there are fewer.
    #[serde(default = "Autoscaling::scale_down")]
    #[schema(maximum = 3_600)]
    pub scale_down_s: u32,
}

impl Default for Resources {
    /// Enough for ONNX Runtime and a small model: a node with one takes 40 to 50 MB (`make bench ONLY=memory`).
    fn default() -> Self {
        Self {
            cpu: Cpu::milli(100),
            cpu_limit: Some(Cpu::milli(2_000)),
            memory: Bytes::mib(256),
            memory_limit: Bytes::mib(1 << 10),
        }
    }
}

impl Resources {
    /// Checks that what is promised may be used.
    ///
    /// # Errors
    /// The limit that is below its promise.
    pub fn check(self) -> Result<Self, Invalid> {
        if self.cpu_limit.is_some_and(|limit| limit < self.cpu) {
            return Err(Invalid::new("/cpu_limit", "must not be less than cpu"));
        }
        if self.memory_limit < self.memory {
            return Err(Invalid::new("/memory_limit", "must not be less than memory"));
        }
        Ok(self)
    }
}

impl Autoscaling {
    /// As Kubernetes has it by itself.
    fn scale_down() -> u32 {
        300
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub fn check(self) -> Result<Self, Invalid> {
        let within = |pointer, value: u32, least, most| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(Invalid::new(pointer, format!("must be {least} to {most}"))),
        };
        within("/min", self.min, 1, MOST_PODS)?;
        within("/max", self.max, self.min, MOST_PODS)?;
        for (pointer, value, most) in [
            ("/cpu_percent", self.cpu_percent, 1_000),
            ("/memory_percent", self.memory_percent, 1_000),
            ("/in_flight", self.in_flight, 100_000),
        ] {
            if let Some(value) = value {
                within(pointer, value, 1, most)?;
            }
        }
        within("/scale_down_s", self.scale_down_s, 0, 3_600)?;
        if self.cpu_percent.or(self.memory_percent).or(self.in_flight).is_none() {
            return Err(Invalid::new(
                "",
                "needs cpu_percent, memory_percent or in_flight to scale by",
            ));
        }
        Ok(self)
    }
}
