//! The nouns, pure: what they are made of and what they may be.
//!
//! Parse once, and nothing is invalid afterwards. The rule a newcomer would break: nothing here reads a clock, a file, a
//! database or the network.

mod account;
mod bucket;
mod deployment;
mod infrastructure;
mod invalid;
mod key;
pub mod kubernetes;
mod limit;
mod name;
pub mod package;
mod refusal;
mod scale;
mod service;
mod skew;
mod time;

pub use account::{AccessToken, Account, AccountKind, Group};
pub use bucket::{BucketPlace, StoreEndpoint};
pub use deployment::{Access, Deployment, Leg, Limits, Revision, Route};
pub use infrastructure::{Allowances, Infrastructure, InfrastructureKind};
pub use invalid::Invalid;
pub use key::{ApiKey, KeyClass, KeyPlace, KeyState, KeyText};
pub use kubernetes::Kubernetes;
pub use limit::{Quota, QuotaUse, RateLimit, SaidQuota, SaidRateLimit, Window};
pub use name::{
    AccountName, DeploymentName, Description, DisplayName, EndpointName, GroupName, HeaderName, ImageName,
    InfrastructureName, NamespaceName, ObjectName, ServiceName, Stage, Title, VersionName,
};
pub use refusal::{Refusal, RefusalReason};
pub use scale::{SaidScale, Scale};
pub use service::{KeyVisibility, Service, ServiceAccess, Version};
pub use skew::skew;
pub use time::Time;
