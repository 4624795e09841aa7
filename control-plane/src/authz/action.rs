//! What can be done: the deeds of the decision table.

/// A deed. Each is one line of the table in ARCHITECTURE.md, and has rules in `policies/builtin.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// See a service, its versions.
    SeeService,
    /// List a service's keys, masked.
    ListServiceKeys,
    /// Upload, download, delete versions.
    WriteVersions,
    /// Settings, grants, keys, deletion of a service.
    AdministerService,
    /// See an infrastructure.
    SeeInfrastructure,
    /// Settings, grants, deletion of an infrastructure.
    AdministerInfrastructure,
    /// See a deployment: status, nodes, logs, history, sample code, its keys masked.
    SeeDeployment,
    /// Create, change, enable, disable, roll back, delete a deployment; its keys.
    ChangeDeployment,
    /// Create services.
    CreateService,
    /// Users, groups, members, service accounts, new infrastructures.
    AdministerPlatform,
}

/// What a deed is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// A service.
    Service,
    /// An infrastructure.
    Infrastructure,
    /// Castoff as a whole.
    Platform,
}

impl Action {
    /// Every deed.
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

    /// The deed of a name.
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

    /// The deed without which its object is hidden; nothing is hidden about the platform.
    pub fn sight(self) -> Option<Self> {
        match self.halves() {
            [Half::Service] => Some(Self::SeeService),
            [Half::Infrastructure] => Some(Self::SeeInfrastructure),
            [Half::Platform] => None,
            _ => Some(Self::SeeDeployment),
        }
    }
}
