//! What can be done: the actions that the rules are about.
//!
//! Apart, so that the list is one screen. The rule a newcomer would break: an action is not an HTTP method or a route, but
//! what one privilege opens; a route that opens nothing new names an action that is here.

/// An action. Each has rules in `policies/builtin.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// See a service and its versions.
    SeeService,
    /// List a service's keys, masked.
    ListServiceKeys,
    /// Upload, download and delete versions.
    WriteVersions,
    /// A service's settings, grants and keys; delete it.
    AdministerService,
    /// See an infrastructure.
    SeeInfrastructure,
    /// An infrastructure's settings and grants; delete it.
    AdministerInfrastructure,
    /// See a deployment: status, nodes, logs, history, sample code, its keys masked.
    SeeDeployment,
    /// Create, change, enable, disable, roll back and delete a deployment; its keys; test queries.
    ChangeDeployment,
    /// Create services.
    CreateService,
    /// Users, groups, members, service accounts; create infrastructures.
    AdministerPlatform,
}

/// What an action is about, and what a privilege is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// A service.
    Service,
    /// An infrastructure.
    Infrastructure,
    /// Castoff as a whole.
    Platform,
}

impl Half {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Infrastructure => "infrastructure",
            Self::Platform => "platform",
        }
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 10] = [
        Self::SeeService,
        Self::ListServiceKeys,
        Self::WriteVersions,
        Self::AdministerService,
        Self::SeeInfrastructure,
        Self::AdministerInfrastructure,
        Self::SeeDeployment,
        Self::ChangeDeployment,
        Self::CreateService,
        Self::AdministerPlatform,
    ];

    /// Its name in the rules and in `can-i`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SeeService => "see-service",
            Self::ListServiceKeys => "list-service-keys",
            Self::WriteVersions => "write-versions",
            Self::AdministerService => "administer-service",
            Self::SeeInfrastructure => "see-infrastructure",
            Self::AdministerInfrastructure => "administer-infrastructure",
            Self::SeeDeployment => "see-deployment",
            Self::ChangeDeployment => "change-deployment",
            Self::CreateService => "create-service",
            Self::AdministerPlatform => "administer-platform",
        }
    }

    /// The action of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// What it is about: one half, or for deployments both.
    pub fn halves(self) -> &'static [Half] {
        match self {
            Self::SeeService | Self::ListServiceKeys | Self::WriteVersions | Self::AdministerService => {
                &[Half::Service]
            }
            Self::SeeInfrastructure | Self::AdministerInfrastructure => &[Half::Infrastructure],
            Self::SeeDeployment | Self::ChangeDeployment => &[Half::Service, Half::Infrastructure],
            Self::CreateService | Self::AdministerPlatform => &[Half::Platform],
        }
    }

    /// Whether it is about this half.
    pub fn needs(self, half: Half) -> bool {
        self.halves().contains(&half)
    }

    /// Whether it needs a privilege on a service and one on an infrastructure at once.
    pub fn is_conjunction(self) -> bool {
        self.halves().len() == 2
    }

    /// The action without which its object is hidden; nothing is hidden about the platform.
    pub fn sight(self) -> Option<Self> {
        match self.halves() {
            [Half::Service] => Some(Self::SeeService),
            [Half::Infrastructure] => Some(Self::SeeInfrastructure),
            [Half::Platform] => None,
            _ => Some(Self::SeeDeployment),
        }
    }
}
