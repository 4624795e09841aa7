//! The lease: one holds it, and what was written under an older term is not written.

use super::*;
use castoff_control_plane::store::Holding;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_holds_it_and_who_was_overtaken_writes_nothing() {
    let Some(database) = Database::postgres() else { return };
    let rows = Rows::open(&database).await;
    let (one, other) = (rows.store.system(), rows.store.system());
    let first = one.hold_lease("one", None).await.unwrap().unwrap();
    assert_eq!(other.hold_lease("other", None).await.unwrap(), None);
    // Renewed, it is the same; another start of the same name is another holder.
    assert_eq!(one.hold_lease("one", Some(first)).await.unwrap(), Some(first));
    assert_eq!(one.hold_lease("one", None).await.unwrap(), None);
    let nobody = Uuid::new_v4();
    one.acting(Some(first)).set_problem(nobody, None).await.unwrap();
    let holding = Holding {
        holder: "one".to_owned(),
        term: first,
    };
    assert_eq!(one.lease().await.unwrap().unwrap(), holding);
    one.end_lease(&holding).await.unwrap();
    let second = other.hold_lease("other", None).await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(one.hold_lease("one", Some(first)).await.unwrap(), None);
    // Late words of the first: neither its writes nor its leaving count.
    let written = one.acting(Some(first)).set_problem(nobody, None).await;
    assert!(matches!(written, Err(Error::Overtaken)), "{written:?}");
    one.end_lease(&holding).await.unwrap();
    assert_eq!(other.hold_lease("other", Some(second)).await.unwrap(), Some(second));
    other.acting(Some(second)).set_problem(nobody, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_ask_at_once_one_gets_it() {
    let Some(database) = Database::postgres() else { return };
    let rows = Rows::open(&database).await;
    let asking = (0..16).map(|number| {
        let system = rows.store.system();
        tokio::spawn(async move { system.hold_lease(&number.to_string(), None).await.unwrap() })
    });
    let answers = futures::future::join_all(asking).await;
    let got: Vec<i64> = answers.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(got, [1]);
}
