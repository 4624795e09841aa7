//! What can be granted, and what a caller holds.
//!
//! Apart from the rules, which say what a privilege opens. The rule a newcomer would break: nothing here knows that deploy
//! holds read; what implies what is in `policies/builtin.csv` alone.

use super::action::Half;
use crate::domain::Invalid;
use std::ops::BitOr;

/// Something that the rules are about: a privilege that a group can be granted, or what an account is by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    ServiceRead,
    ServiceWrite,
    ServiceDeploy,
    ServiceAdmin,
    ServiceOwner,
    InfrastructureView,
    InfrastructureDeploy,
    InfrastructureAdmin,
    PlatformCreateService,
    PlatformAdmin,
}

impl Role {
    pub(super) const ALL: [Self; 10] = [
        Self::ServiceRead,
        Self::ServiceWrite,
        Self::ServiceDeploy,
        Self::ServiceAdmin,
        Self::ServiceOwner,
        Self::InfrastructureView,
        Self::InfrastructureDeploy,
        Self::InfrastructureAdmin,
        Self::PlatformCreateService,
        Self::PlatformAdmin,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ServiceRead => "service:read",
            Self::ServiceWrite => "service:write",
            Self::ServiceDeploy => "service:deploy",
            Self::ServiceAdmin => "service:admin",
            Self::ServiceOwner => "service:owner",
            Self::InfrastructureView => "infrastructure:view",
            Self::InfrastructureDeploy => "infrastructure:deploy",
            Self::InfrastructureAdmin => "infrastructure:admin",
            Self::PlatformCreateService => "platform:create-service",
            Self::PlatformAdmin => "platform:admin",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// `deploy` of `service:deploy`.
    pub(super) fn word(self) -> &'static str {
        self.name().split_once(':').map_or("", |(_, word)| word)
    }

    /// What it is a privilege on.
    pub(super) fn half(self) -> Half {
        match self {
            Self::ServiceRead | Self::ServiceWrite | Self::ServiceDeploy | Self::ServiceAdmin | Self::ServiceOwner => {
                Half::Service
            }
            Self::InfrastructureView | Self::InfrastructureDeploy | Self::InfrastructureAdmin => Half::Infrastructure,
            Self::PlatformCreateService | Self::PlatformAdmin => Half::Platform,
        }
    }

    pub(super) fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Some roles at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles(pub(super) u16);

impl Roles {
    pub(super) fn of(roles: &[Role]) -> Self {
        Self(roles.iter().fold(0, |bits, role| bits | role.bit()))
    }

    pub(super) fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    pub(super) fn with(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }

    pub(super) fn without(self, role: Role) -> Self {
        Self(self.0 & !role.bit())
    }

    /// Those on one half.
    pub(super) fn on(self, half: Half) -> Self {
        Self(
            self.iter()
                .filter(|role| role.half() == half)
                .fold(0, |bits, role| bits | role.bit()),
        )
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

macro_rules! masks {
    ($($(#[$doc:meta])* $mask:ident, $what:literal: $($bit:literal $constant:ident $role:ident),+;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $mask(u8);

        impl $mask {
            $(
                #[doc = concat!("`", stringify!($constant), "`, alone.")]
                pub const $constant: Self = Self(1 << $bit);
            )+
            const ROLES: &'static [(Role, u8)] = &[$((Role::$role, 1 << $bit)),+];

            /// All there are.
            pub fn words() -> Vec<&'static str> {
                Self::ROLES.iter().map(|(role, _)| role.word()).collect()
            }

            /// Each of them as it is stored.
            pub fn bits() -> impl Iterator<Item = i32> {
                Self::ROLES.iter().map(|(_, bit)| i32::from(*bit))
            }

            /// From names such as `read`.
            ///
            /// # Errors
            /// A name that is none, with its place; or no name at all.
            pub fn parse(names: &[String]) -> Result<Self, Invalid> {
                if names.is_empty() {
                    return Err(Invalid::new("/privileges", "is empty: to take a grant away, delete it"));
                }
                let known = Self::words();
                if names.len() > known.len() {
                    return Err(Invalid::new("/privileges", "names more than there are"));
                }
                names.iter().enumerate().try_fold(Self::default(), |sum, (place, name)| {
                    let found = Self::ROLES.iter().find(|(role, _)| role.word() == name);
                    let unknown = || {
                        let reason = format!(concat!($what, " has the privileges {}"), known.join(", "));
                        Invalid::new(format!("/privileges/{place}"), reason)
                    };
                    Ok(Self(sum.0 | found.ok_or_else(unknown)?.1))
                })
            }

            /// As it was stored; bits of a later release are left out.
            pub fn from_stored(bits: i32) -> Self {
                let known = Self::ROLES.iter().filter(|(_, bit)| bits & i32::from(*bit) != 0);
                Self(known.fold(0, |sum, (_, bit)| sum | bit))
            }

            /// Whether there is no privilege in it.
            pub fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// The names of the privileges in it.
            pub fn names(self) -> Vec<&'static str> {
                self.held().map(Role::word).collect()
            }

            fn held(self) -> impl Iterator<Item = Role> {
                Self::ROLES.iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(role, _)| *role)
            }

            pub(super) fn roles(self) -> Roles {
                Roles(self.held().fold(0, |bits, role| bits | role.bit()))
            }

            pub(super) fn of_roles(roles: Roles) -> Self {
                Self(Self::ROLES.iter().filter(|(role, _)| roles.has(*role)).fold(0, |sum, (_, bit)| sum | bit))
            }
        }

        impl BitOr for $mask {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl From<$mask> for i32 {
            fn from(mask: $mask) -> Self {
                Self::from(mask.0)
            }
        }
    )*};
}

masks! {
    /// Privileges on a service, as they are granted: without what they imply.
    ServiceMask, "a service": 0 READ ServiceRead, 1 WRITE ServiceWrite, 2 DEPLOY ServiceDeploy, 3 ADMIN ServiceAdmin;
    /// Privileges on an infrastructure, as they are granted: without what they imply.
    InfrastructureMask, "an infrastructure": 0 VIEW InfrastructureView, 1 DEPLOY InfrastructureDeploy, 2 ADMIN InfrastructureAdmin;
}

/// What a caller is to a row: the privileges of their groups, and what they are by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Platform admin.
    pub platform_admin: bool,
    /// May create services.
    pub create_service: bool,
    /// Granted on the service concerned.
    pub service: ServiceMask,
    /// Owns the service concerned.
    pub service_owner: bool,
    /// Granted on the infrastructure concerned.
    pub infrastructure: InfrastructureMask,
}

impl Standing {
    pub(super) fn roles(&self) -> Roles {
        let by_itself = [
            (self.platform_admin, Role::PlatformAdmin),
            (self.create_service, Role::PlatformCreateService),
            (self.service_owner, Role::ServiceOwner),
        ];
        let own = by_itself
            .iter()
            .filter(|(is, _)| *is)
            .fold(0, |bits, (_, role)| bits | role.bit());
        Roles(own | self.service.roles().0 | self.infrastructure.roles().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_their_stored_bits() {
        assert_eq!(i32::from(ServiceMask::READ | ServiceMask::ADMIN), 9);
        assert_eq!(ServiceMask::from_stored(9).names(), ["read", "admin"]);
        assert_eq!(ServiceMask::from_stored(1 << 20 | 1).names(), ["read"]);
        assert_eq!(
            InfrastructureMask::parse(&["view".into(), "deploy".into()])
                .unwrap()
                .names(),
            ["view", "deploy"]
        );
        assert_eq!(
            ServiceMask::parse(&["read".into(), "view".into()]).unwrap_err().pointer,
            "/privileges/1"
        );
        assert!(ServiceMask::parse(&[]).is_err());
    }
}
