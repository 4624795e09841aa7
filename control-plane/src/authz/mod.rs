//! May they: casbin decides the rules once, at start; a request reads the finished table.
//!
//! Apart from the store, which holds the facts. The rule a newcomer would break: nothing here knows a user or a row; what
//! a caller is to a row comes in as a [`Standing`], and a decision is never asked of casbin again.

mod action;
mod explain;
#[cfg(test)]
mod matrix;
mod model;
mod policy;
mod privilege;
mod rules;
mod table;
#[cfg(test)]
mod tests;

pub use action::{Action, Half};
pub use explain::{Explained, Source};
pub use policy::{BadPolicy, load, load_builtin};
pub use privilege::{InfrastructureMask, ServiceMask, Standing};
pub use table::{DecisionTable, Missing, Verdict};

/// What a permit proves about a resource: that this action on it was decided, and allowed.
pub trait Need<R> {
    /// The action.
    const ACTION: Action;
}

/// May read a service.
pub struct Read;
/// May list a service's keys.
pub struct ListKeys;
/// May write a service's versions.
pub struct Write;
/// May deploy.
pub struct Deploy;
/// May administer.
pub struct Administer;
/// May view an infrastructure or a deployment.
pub struct View;
/// May create services.
pub struct CreateService;
