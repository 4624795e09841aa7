//! Lists are decided by SQL, single things by the table: both must say the same.

use super::*;
use castoff_control_plane::authz::{InfrastructureMask, Read, ServiceMask};
use castoff_control_plane::store::{Listed, Page, PageRequest, ServiceChange};

/// Numbers that look random and are the same each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn mask<M: Copy + Default + std::ops::BitOr<Output = M>>(&mut self, of: &[M]) -> M {
        let mut mask = M::default();
        for bit in of {
            if self.roll(3) == 0 {
                mask = mask | *bit;
            }
        }
        mask
    }
}

const SERVICES: [&str; 5] = ["iris", "wine", "digits", "text", "diabetes"];
const INFRASTRUCTURES: [&str; 4] = ["dev", "test", "prod", "edge"];
const GROUPS: [&str; 4] = ["ds", "devops", "qa", "audit"];

/// Deals out grants and owners anew.
async fn deal(rows: &Rows, dice: &mut Dice, people: &[Arc<Actor>]) {
    for name in SERVICES {
        let permit = rows.my_service(name).await;
        for group in GROUPS {
            let mask = dice.mask(&[
                ServiceMask::READ,
                ServiceMask::WRITE,
                ServiceMask::DEPLOY,
                ServiceMask::ADMIN,
            ]);
            rows.store.grant_on_service(&permit, group, mask, None).await.unwrap();
        }
        let owner = match dice.roll(3) {
            0 => people[dice.roll(people.len() as u64) as usize].name.clone(),
            _ => "root".to_owned(),
        };
        let change = ServiceChange {
            owner: Some(AccountName::parse(&owner).unwrap()),
            ..ServiceChange::default()
        };
        rows.store.change_service(&permit, &rows.sight(), change).await.unwrap();
    }
    for name in INFRASTRUCTURES {
        let permit = rows.on_infrastructure(&rows.root, name).await.unwrap();
        for group in GROUPS {
            let mask = dice.mask(&[
                InfrastructureMask::VIEW,
                InfrastructureMask::DEPLOY,
                InfrastructureMask::ADMIN,
            ]);
            rows.store
                .grant_on_infrastructure(&permit, group, mask, None)
                .await
                .unwrap();
        }
    }
}

/// A list in pages of two, and in one: a full page is found in another way than one that is not.
async fn in_pages<T>(list: impl AsyncFn(&PageRequest) -> Result<Page<T>, Error>) -> [Vec<T>; 2] {
    let mut lists = [Vec::new(), Vec::new()];
    for (listed, most) in lists.iter_mut().zip([2, 200]) {
        let mut cursor = None::<String>;
        loop {
            let page = PageRequest::parse(cursor.as_deref(), Some(most)).unwrap();
            let page = list(&page).await.unwrap();
            listed.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    lists
}

on_both_databases! {
    async fn lists_and_single_decisions_agree(rows: Rows) {
        for service in SERVICES {
            rows.service(service).await;
        }
        for infrastructure in INFRASTRUCTURES {
            rows.infrastructure(infrastructure).await;
        }
        let mut deployments = Vec::new();
        for service in SERVICES {
            for infrastructure in INFRASTRUCTURES {
                rows.deployment(service, infrastructure, Access::Keys).await;
                deployments.push(format!("{service}-on-{infrastructure}"));
            }
        }
        // Root joins no group: the groups are made by those who are in them.
        let mut people = vec![
            rows.user("ada", &["ds"]).await,
            rows.user("bob", &["devops", "qa"]).await,
            rows.user("eve", &["ds", "devops", "audit"]).await,
            rows.user("sam", &[]).await,
        ];
        people.push(Arc::clone(&rows.root));
        let mut dice = Dice(20_261_125);
        let (mut allowed, mut refused) = (0, 0);
        for round in 0..12 {
            deal(&rows, &mut dice, &people).await;
            for actor in &people {
                let (store, table) = (&rows.store, &rows.table);
                let mut expected = Vec::new();
                for name in SERVICES {
                    if let Ok(permit) = rows.on_service::<Read>(actor, name).await {
                        let groups = store.service_admin_groups(permit.id).await.unwrap();
                        expected.push((name.to_owned(), permit.standing().service, groups));
                    }
                }
                expected.sort_by(|a, b| a.0.cmp(&b.0));
                let visible = Visible::of(actor, table);
                for listed in in_pages(async |page| store.services(&visible, page).await).await {
                    let shown = |one: Listed<Service, _>| (one.row.name.to_string(), one.mask, one.admin_groups);
                    let listed: Vec<_> = listed.into_iter().map(shown).collect();
                    assert_eq!(listed, expected, "services, round {round}, {}", actor.name);
                }

                let mut expected = Vec::new();
                for name in INFRASTRUCTURES {
                    if let Ok(permit) = rows.on_infrastructure::<View>(actor, name).await {
                        let groups = store.infrastructure_admin_groups(permit.id).await.unwrap();
                        expected.push((name.to_owned(), permit.standing().infrastructure, groups));
                    }
                }
                expected.sort_by(|a, b| a.0.cmp(&b.0));
                let visible = Visible::of(actor, table);
                for listed in in_pages(async |page| store.infrastructures(&visible, page).await).await {
                    let shown = |one: Listed<Infrastructure, _>| (one.row.name.to_string(), one.mask, one.admin_groups);
                    let listed: Vec<_> = listed.into_iter().map(shown).collect();
                    assert_eq!(listed, expected, "infrastructures, round {round}, {}", actor.name);
                }

                let mut expected = Vec::new();
                for name in &deployments {
                    match rows.on_deployment::<View>(actor, name).await {
                        Ok(_) => expected.push(name.clone()),
                        // Whoever may not see it must not learn that it is there.
                        Err(refusal) => assert!(matches!(refusal, Refusal::Hidden), "{refusal:?}"),
                    }
                }
                expected.sort();
                let visible = Visible::of(actor, table);
                for listed in in_pages(async |page| store.deployments(&visible, page).await).await {
                    let listed: Vec<String> = listed.into_iter().map(|row| row.name.to_string()).collect();
                    assert_eq!(listed, expected, "deployments, round {round}, {}", actor.name);
                }
                allowed += expected.len();
                refused += deployments.len() - expected.len();
            }
        }
        assert!(allowed > 100 && refused > 100, "the dice said little: {allowed} {refused}");
    }

    /// What is granted is what is read back; granting nothing takes it away; other groups are left alone.
    async fn grants_are_what_was_granted(rows: Rows) {
        rows.service("iris").await;
        rows.infrastructure("dev").await;
        rows.user("ada", &["ds", "devops"]).await;
        let permit = rows.my_service("iris").await;
        let both = ServiceMask::READ | ServiceMask::DEPLOY;
        rows.store.grant_on_service(&permit, "ds", both, None).await.unwrap();
        rows.store.grant_on_service(&permit, "devops", ServiceMask::READ, None).await.unwrap();
        rows.store.grant_on_service(&permit, "devops", ServiceMask::WRITE, None).await.unwrap();
        let read = async || {
            let grants = rows.store.service_grants(&permit).await.unwrap();
            grants.into_iter().map(|grant| (grant.group, grant.mask)).collect::<Vec<_>>()
        };
        assert_eq!(read().await, [("devops".to_owned(), ServiceMask::WRITE), ("ds".to_owned(), both)]);
        rows.store.grant_on_service(&permit, "ds", ServiceMask::default(), None).await.unwrap();
        assert_eq!(read().await, [("devops".to_owned(), ServiceMask::WRITE)]);
        let nobody = rows.store.grant_on_service(&permit, "nobody", both, None).await;
        assert!(matches!(nobody, Err(Error::NotFound(_))), "{nobody:?}");

        let permit = rows.on_infrastructure(&rows.root, "dev").await.unwrap();
        rows.store.grant_on_infrastructure(&permit, "ds", InfrastructureMask::VIEW, None).await.unwrap();
        let grants = rows.store.infrastructure_grants(&permit).await.unwrap();
        assert_eq!(grants.len(), 1);
        assert_eq!((grants[0].group.as_str(), grants[0].mask), ("ds", InfrastructureMask::VIEW));
        // A group that goes takes its grants along.
        let ds = rows.store.group(&rows.root, "ds").await.unwrap();
        rows.store.delete_group(&rows.platform(), &ds).await.unwrap();
        assert!(rows.store.infrastructure_grants(&permit).await.unwrap().is_empty());
    }
}
