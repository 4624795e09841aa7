//! What is asked for with an `Idempotency-Key`: noted with the deed itself, whatever becomes of its answer.

use super::*;
use castoff_control_plane::store::{Once, Reply, once};
use futures::future::join_all;

const KEY: &str = "4c1e6f8a";

/// Makes a service as one request of root's that is done once; also whether it was done before.
async fn make(rows: &Rows, store: &Store, name: &str) -> (Result<Uuid, Error>, bool) {
    let what = Once {
        account_id: rows.root.account_id,
        key: KEY.to_owned(),
        request: name.as_bytes().to_vec(),
    };
    let permit = rows.platform::<CreateService>();
    once(what, store.create_service(&permit, new_service(name))).await
}

async fn is_there(rows: &Rows, name: &str) -> bool {
    rows.store.service(&rows.root, name).await.is_ok()
}

fn reply(body: &str) -> Reply {
    Reply {
        status: 201,
        headers: "{}".to_owned(),
        body: body.to_owned(),
    }
}

on_both_databases! {
    async fn a_deed_is_noted_in_its_own_transaction(rows: Rows) {
        // What fails is not noted: another try is no repetition.
        rows.service("taken").await;
        assert!(matches!(make(&rows, &rows.store, "taken").await, (Err(Error::Taken(_)), false)));
        assert!(rows.store.remembered(&rows.root, KEY).await.unwrap().is_none());
        assert!(matches!(make(&rows, &rows.store, "one").await, (Ok(_), false)));
        let noted = rows.store.remembered(&rows.root, KEY).await.unwrap().unwrap();
        assert!(noted.request == b"one" && noted.reply.is_none());
        // As if the control plane had ended before it could answer.
        assert!(matches!(make(&rows, &rows.store, "one").await, (Err(Error::InUse(_)), true)));
        assert!(matches!(make(&rows, &rows.store, "two").await, (Err(Error::InUse(_)), true)));
        assert!(!is_there(&rows, "two").await);
    }

    async fn an_answer_is_remembered_for_its_actor_for_a_day(rows: Rows) {
        let dana = rows.user("dana", &[]).await;
        let kept = async || {
            let before = rows.store.remembered(&rows.root, KEY).await.unwrap()?;
            before.reply.map(|reply| (reply.status, reply.body))
        };
        // There is nothing that it answers.
        rows.store.remember(&rows.root, KEY, reply("nothing")).await.unwrap();
        assert_eq!(kept().await, None);
        make(&rows, &rows.store, "one").await.0.unwrap();
        rows.store.remember(&rows.root, KEY, reply("first")).await.unwrap();
        // Whoever was first stays.
        rows.store.remember(&rows.root, KEY, reply("second")).await.unwrap();
        assert_eq!(kept().await, Some((201, "first".to_owned())));
        assert!(rows.store.remembered(&dana, KEY).await.unwrap().is_none());
        assert!(rows.store.remembered(&rows.root, "another").await.unwrap().is_none());
        rows.store.clock().turn_ms(24 * 3_600_000 + 1);
        assert_eq!(kept().await, None);
        assert!(matches!(make(&rows, &rows.store, "a-day-later").await, (Ok(_), false)));
    }
}

on_each_database! { of_many_at_once_one_is_done }

/// Two control planes get it at the same moment, several times.
async fn of_many_at_once_one_is_done(database: &Database) {
    let (rows, second) = Rows::open_twice(database).await;
    let names: Vec<String> = (0..8).map(|number| format!("s-{number}")).collect();
    let making = names.iter().zip([&rows.store, &second].into_iter().cycle());
    let made = join_all(making.map(|(name, store)| make(&rows, store, name))).await;
    assert_eq!(made.iter().filter(|(made, _)| made.is_ok()).count(), 1, "{made:?}");
    assert!(
        made.iter().all(|(made, repeated)| made.is_ok() != *repeated),
        "{made:?}"
    );
}
