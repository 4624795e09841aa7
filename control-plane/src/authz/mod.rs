//! May they: the decision table. A skeleton, replaced as soon as the policy is read.
use crate::domain::Invalid;
macro_rules! mask {
    ($n:ident) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $n(u8);
        impl $n {
            pub const ADMIN: Self = Self(8);
            pub fn from_stored(m: i32) -> Self {
                Self(m as u8)
            }
            pub fn is_empty(self) -> bool {
                self.0 == 0
            }
            pub fn names(self) -> Vec<&'static str> {
                vec![]
            }
            pub fn parse(_: &[String]) -> Result<Self, Invalid> {
                Ok(Self(0))
            }
        }
        impl From<$n> for i32 {
            fn from(m: $n) -> i32 {
                m.0.into()
            }
        }
        impl std::ops::BitOr for $n {
            type Output = Self;
            fn bitor(self, o: Self) -> Self {
                Self(self.0 | o.0)
            }
        }
    };
}
mask!(ServiceMask);
mask!(InfrastructureMask);
pub enum Action {
    SeeService,
    WriteVersions,
    AdministerService,
    SeeInfrastructure,
    AdministerInfrastructure,
    SeeDeployment,
    ChangeDeployment,
    CreateService,
    AdministerPlatform,
}
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    pub platform_admin: bool,
    pub create_service: bool,
    pub service: ServiceMask,
    pub service_owner: bool,
    pub infrastructure: InfrastructureMask,
}
pub struct Read;
pub struct Write;
pub struct Deploy;
pub struct Administer;
pub struct View;
pub struct CreateService;
pub trait Need<R> {
    const ACTION: Action;
}
pub struct Missing;
impl Missing {
    pub fn render(&self, _: Option<&str>, _: Option<&str>) -> String {
        String::new()
    }
}
pub enum Verdict {
    Allowed,
    Hidden,
    Forbidden { missing: Vec<Missing>, have: u8 },
}
pub struct DecisionTable;
impl DecisionTable {
    pub fn decide(&self, _: Action, _: &Standing) -> Verdict {
        Verdict::Hidden
    }
    pub fn service_bits(&self, _: Action) -> ServiceMask {
        ServiceMask(1)
    }
    pub fn infrastructure_bits(&self, _: Action) -> InfrastructureMask {
        InfrastructureMask(1)
    }
}
