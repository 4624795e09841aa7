//! Lists in pages: complete and without doubles, also while somebody adds to them.

use super::*;
use castoff_control_plane::authz::ServiceMask;
use castoff_control_plane::store::PageRequest;
use std::collections::BTreeSet;

on_both_databases! {
    async fn pages_are_complete_while_others_insert(rows: Rows) {
        for number in 0..23 {
            rows.service(&format!("before-{number}")).await;
        }
        let (store, permit) = (rows.store.clone(), rows.platform::<CreateService>());
        let inserting = tokio::spawn(async move {
            // Names that fall before, between and behind what is being listed.
            for number in 0..30 {
                let name = format!("{}-{number}", ["a", "before-1", "z"][number % 3]);
                store.create_service(&permit, new_service(&name)).await.unwrap();
            }
        });
        let visible = rows.sight::<Service>();
        let (mut listed, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = PageRequest::parse(cursor.as_deref(), Some(4)).unwrap();
            let page = rows.store.services(&visible, &page).await.unwrap();
            assert!(page.items.len() <= 4);
            assert!(page.next.is_none() || page.items.len() == 4);
            listed.extend(page.items.into_iter().map(|service| service.row.name.to_string()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        inserting.await.unwrap();
        let once: BTreeSet<&String> = listed.iter().collect();
        assert_eq!(once.len(), listed.len(), "{listed:?}");
        assert!(listed.is_sorted(), "{listed:?}");
        let missing: Vec<_> = (0..23).map(|number| format!("before-{number}")).filter(|name| !once.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// A page is looked for among the next 1,000 names before it is looked for anywhere: what is seen lies close together
    /// at first, then far apart, then at the end.
    async fn pages_are_complete_however_far_apart_what_is_seen_lies(rows: Rows) {
        let name = |number: usize| format!("service-{number:04}");
        for number in 0..1_250 {
            rows.store.create_service(&rows.platform::<CreateService>(), new_service(&name(number))).await.unwrap();
        }
        let dana = rows.user("dana", &["ds", "qa"]).await;
        let sam = rows.user("sam", &[]).await;
        let seen: Vec<String> = (0..1_250).filter(|n| n % 3 == 0 && *n < 90 || *n == 700 || *n >= 1_240).map(name).collect();
        for (number, name) in seen.iter().enumerate() {
            let permit = rows.my_service(name).await;
            let group = if number % 2 == 0 { "ds" } else { "qa" };
            rows.store.grant_on_service(&permit, group, ServiceMask::READ, None).await.unwrap();
        }
        for (actor, seen) in [(&dana, seen), (&sam, Vec::new())] {
            let visible = Visible::<Service>::of(actor, &rows.table);
            let (mut listed, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let page = PageRequest::parse(cursor.as_deref(), Some(7)).unwrap();
                let page = rows.store.services(&visible, &page).await.unwrap();
                listed.extend(page.items.into_iter().map(|service| service.row.name.to_string()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(listed, seen, "{}", actor.name);
        }
    }

    /// A name's order is that of its bytes on both databases, whatever the locale.
    async fn the_order_is_the_same_everywhere(rows: Rows) {
        rows.service("iris").await;
        let names = ["2", "10", "A", "Z", "_", "a", "a-b", "a.b", "a_b", "aB", "b", "v1"];
        let permit = rows.on_service::<Write>(&rows.root, "iris").await.unwrap();
        for name in names.iter().rev().filter(|name| **name != "v1") {
            rows.store.add_version(&permit, new_version(name, [1; 32])).await.unwrap();
        }
        let read = rows.on_service(&rows.root, "iris").await.unwrap();
        let (mut listed, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = PageRequest::parse(cursor.as_deref(), Some(1)).unwrap();
            let page = rows.store.versions(&read, &page).await.unwrap();
            listed.extend(page.items.into_iter().map(|version| version.name.to_string()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut expected = names.map(str::to_owned);
        expected.sort();
        assert_eq!(listed, expected);
    }

    async fn keys_and_history_in_pages(rows: Rows) {
        rows.service("iris").await;
        let service = rows.my_service("iris").await;
        let ring = rows.store.service_keys_to_change(&service).await.unwrap();
        let mut made = Vec::new();
        for number in 0..7 {
            made.push(rows.store.create_key(&ring, new_key(&number.to_string())).await.unwrap().1.key.id);
        }
        let read = rows.on_service(&rows.root, "iris").await.unwrap();
        let shown = rows.store.service_keys(&read).await.unwrap();
        let (mut listed, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = PageRequest::parse(cursor.as_deref(), Some(3)).unwrap();
            let page = rows.store.keys(&shown, &page).await.unwrap();
            listed.extend(page.items.into_iter().map(|key| key.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, made);
        // A cursor of another list is refused, and does not begin somewhere.
        let other = PageRequest::parse(Some("aXJpcw"), None).unwrap();
        assert!(matches!(rows.store.keys(&shown, &other).await, Err(Error::Invalid(_))));
    }
}
