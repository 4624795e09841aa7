//! The builtin rules against the agreed table, written here by hand and apart from them.

use super::privilege::{Role, Roles};
use super::{Action, DecisionTable, InfrastructureMask, ServiceMask, Standing, Verdict, load_builtin};
use proptest::prelude::*;
use std::sync::LazyLock;

static BUILTIN: LazyLock<DecisionTable> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(load_builtin()).unwrap()
});

/// All standings: four privileges on a service, three on an infrastructure, and what an account is by itself.
fn standings() -> impl Iterator<Item = Standing> {
    (0..1 << 10).map(standing)
}

fn standing(bits: i32) -> Standing {
    Standing {
        service: ServiceMask::from_stored(bits & 0b1111),
        infrastructure: InfrastructureMask::from_stored(bits >> 4 & 0b111),
        service_owner: bits >> 7 & 1 != 0,
        create_service: bits >> 8 & 1 != 0,
        platform_admin: bits >> 9 & 1 != 0,
    }
}

#[test]
fn the_builtin_rules_are_the_agreed_table() {
    for who in standings() {
        let service = |mask: ServiceMask| mask.names().iter().any(|name| who.service.names().contains(name));
        let infrastructure = |mask: InfrastructureMask| {
            mask.names()
                .iter()
                .any(|name| who.infrastructure.names().contains(name))
        };
        let full = who.platform_admin || who.service_owner;
        let read = full || !who.service.is_empty();
        let write = full || service(ServiceMask::WRITE | ServiceMask::ADMIN);
        let deploy = full || service(ServiceMask::DEPLOY | ServiceMask::ADMIN);
        let admin = full || service(ServiceMask::ADMIN);
        let view = who.platform_admin || !who.infrastructure.is_empty();
        let deploy_there = who.platform_admin || infrastructure(InfrastructureMask::DEPLOY | InfrastructureMask::ADMIN);
        let admin_there = who.platform_admin || infrastructure(InfrastructureMask::ADMIN);
        for (action, expected) in [
            (Action::SeeService, read),
            (Action::ListServiceKeys, read),
            (Action::WriteVersions, write),
            (Action::AdministerService, admin),
            (Action::SeeInfrastructure, view),
            (Action::AdministerInfrastructure, admin_there),
            (Action::SeeDeployment, read && view),
            (Action::ChangeDeployment, deploy && deploy_there),
            (Action::CreateService, who.create_service || who.platform_admin),
            (Action::AdministerPlatform, who.platform_admin),
        ] {
            assert_eq!(BUILTIN.allows(action, &who), expected, "{action:?} {who:?}");
        }
    }
}

#[test]
fn whoever_may_not_see_a_thing_is_told_that_it_is_not_there() {
    for who in standings() {
        for action in Action::ALL {
            let sees = match action.sight() {
                Some(sight) => BUILTIN.allows(sight, &who),
                None => true,
            };
            match BUILTIN.decide(action, &who) {
                Verdict::Allowed => assert!(BUILTIN.allows(action, &who) && sees, "{action:?} {who:?}"),
                Verdict::Hidden => assert!(!sees, "{action:?} {who:?}"),
                Verdict::Forbidden { missing } => {
                    assert!(sees && !missing.is_empty(), "{action:?} {who:?}");
                    assert!(missing.len() <= action.halves().len());
                }
            }
        }
    }
}

/// Lists ask SQL for `mask & bits != 0`; single decisions read the table.
#[test]
fn lists_and_single_decisions_agree() {
    let single = Action::ALL.into_iter().filter(|action| !action.is_conjunction());
    for action in single {
        let service_bits = i32::from(BUILTIN.service_bits(action));
        let infrastructure_bits = i32::from(BUILTIN.infrastructure_bits(action));
        for bits in 0..1 << 7 {
            let who = standing(bits);
            let by_service = i32::from(who.service) & service_bits != 0;
            let by_infrastructure = i32::from(who.infrastructure) & infrastructure_bits != 0;
            assert_eq!(
                by_service || by_infrastructure,
                BUILTIN.allows(action, &who),
                "{action:?} {who:?}"
            );
        }
    }
}

#[test]
fn the_missing_half_is_named() {
    let said = |action, who: Standing| {
        let Verdict::Forbidden { missing } = BUILTIN.decide(action, &who) else {
            panic!("{action:?} {who:?}")
        };
        let say = |half: &super::Missing| half.render(Some("iris"), Some("prod"));
        missing.iter().map(say).collect::<Vec<_>>()
    };
    let on = |service, infrastructure| Standing {
        service,
        infrastructure,
        ..Standing::default()
    };
    let (read, view) = (ServiceMask::READ, InfrastructureMask::VIEW);
    for (who, expected) in [
        (
            on(ServiceMask::DEPLOY, view),
            vec!["needs deploy on infrastructure prod; you have view"],
        ),
        (
            on(read, InfrastructureMask::DEPLOY),
            vec!["needs deploy on service iris; you have read"],
        ),
        (
            on(ServiceMask::WRITE, InfrastructureMask::ADMIN),
            vec!["needs deploy on service iris; you have write"],
        ),
        (
            on(read, view),
            vec![
                "needs deploy on service iris; you have read",
                "needs deploy on infrastructure prod; you have view",
            ],
        ),
    ] {
        assert_eq!(said(Action::ChangeDeployment, who), expected);
    }
    let both = on(ServiceMask::WRITE | ServiceMask::DEPLOY, view);
    assert_eq!(
        said(Action::AdministerService, both),
        ["needs admin on service iris; you have write and deploy"]
    );
    let nobody = said(Action::AdministerPlatform, Standing::default());
    assert_eq!(nobody, ["needs admin on the platform; you have nothing"]);
    assert_eq!(
        BUILTIN.decide(Action::ChangeDeployment, &on(read, InfrastructureMask::default())),
        Verdict::Hidden
    );
}

#[test]
fn privileges_are_shown_with_what_they_imply() {
    let who = Standing {
        service: ServiceMask::WRITE,
        ..Standing::default()
    };
    assert_eq!(BUILTIN.service_privileges(&who).names(), ["read", "write"]);
    let owner = Standing {
        service_owner: true,
        ..Standing::default()
    };
    assert_eq!(
        BUILTIN.service_privileges(&owner).names(),
        ["read", "write", "deploy", "admin"]
    );
    assert!(BUILTIN.infrastructure_privileges(&owner).is_empty());
    let admin = Standing {
        platform_admin: true,
        ..Standing::default()
    };
    assert_eq!(
        BUILTIN.infrastructure_privileges(&admin).names(),
        ["view", "deploy", "admin"]
    );
}

proptest! {
    /// More privileges never allow less, and a decision is the same however it is come by.
    #[test]
    fn more_is_never_less(held in 0u16..1 << 10, more in 0u16..1 << 10, action in 0..Action::ALL.len()) {
        let action = Action::ALL[action];
        let (less, more) = (Roles(held), Roles(held | more));
        prop_assert!(!BUILTIN.permits(action, less) || BUILTIN.permits(action, more));
        prop_assert_eq!(BUILTIN.permits(action, less), BUILTIN.reads(action, less));
        prop_assert!(less.iter().all(|role| Role::parse(role.name()) == Some(role)));
    }
}
