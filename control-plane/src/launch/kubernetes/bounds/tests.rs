//! What the bounds let through; and a cluster that answers without end, as no real one can be made to.

use super::super::connection::{connect, is_too_much};
use super::super::watch::View;
use super::*;
use crate::domain::kubernetes::{ClusterUser, Kubeconfig};
use crate::domain::{Kubernetes, NamespaceName};
use axum::Router;
use axum::extract::RawQuery;
use castoff_wire::signed::Trust;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchParams};
use kube::{Api, Client};
use std::time::Duration;
use uuid::Uuid;

fn counted(query: &str, parts: &[&str], times: usize) -> Result<(), TooMuch> {
    let mut count = Count::of("/api/v1/pods", query);
    (0..times).try_for_each(|_| parts.iter().try_for_each(|part| count.add(part.as_bytes())))
}

#[test]
fn what_is_too_much_and_what_is_not() {
    let mib = "x".repeat(1 << 20);
    let text = format!("\"{mib}\",");
    assert_eq!(counted("limit=100", &[&text], 31), Ok(()));
    assert_eq!(counted("limit=100", &[&text], 33), Err(TooMuch::Answer));
    assert_eq!(counted("watch=true", &[&text], 5), Err(TooMuch::Event));
    // However long it is watched.
    assert_eq!(counted("a=b&watch=true", &[&text, "\n"], 100), Ok(()));
    for query in ["limit=100", "watch=true"] {
        assert_eq!(counted(query, &["{},"], 150_000), Ok(()));
        assert_eq!(counted(query, &["{},"], 250_000), Err(TooMuch::Values));
        assert_eq!(counted(query, &["[[", "0,"], 150_000), Err(TooMuch::Values));
    }
    // Text is no value, also where it is cut into pieces.
    assert_eq!(counted("", &["\"{,\\", "\"[,", "{\","], 300_000), Ok(()));
    assert_eq!(counted("", &["\"\\\\\",{}"], 250_000), Err(TooMuch::Values));
}

#[test]
fn logs_are_no_json() {
    let mut count = Count::of("/api/v1/namespaces/m/pods/p/log", "tailLines=5");
    assert_eq!(count.add("[".repeat(1 << 20).as_bytes()), Ok(()));
    assert_eq!(count.add(&vec![b'\n'; MOST_ANSWER_BYTES]), Err(TooMuch::Answer));
}

/// Answers every question by the same piece again and again, as often as it is told.
async fn endless(begin: &'static str, piece: &'static str) -> Client {
    let piece = Bytes::from(piece.repeat(1 + (64 << 10) / piece.len()));
    let answer = move || async move {
        let begin =
            futures::stream::once(
                async move { Ok::<_, std::convert::Infallible>(Bytes::from_static(begin.as_bytes())) },
            );
        let pieces = futures::stream::repeat_with(move || Ok(piece.clone()));
        axum::body::Body::from_stream(futures::StreamExt::chain(begin, pieces))
    };
    open(Router::new().fallback(answer)).await
}

async fn open(cluster: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, cluster).await });
    let kubeconfig = Kubeconfig {
        server,
        authority: None,
        server_name: None,
        user: ClusterUser::Token("token".to_owned()),
    };
    connect(Some(&kubeconfig)).unwrap()
}

#[tokio::test]
async fn an_answer_without_end_is_left_where_it_is_too_much() {
    for (begin, piece) in [
        (r#"{"metadata":{},"items":["#, r#"{"metadata":{}},"#),
        (r#"{"metadata":{},"items":[{"metadata":{"name":""#, "xxxxxxxx"),
        ("", "not JSON, and no line ends "),
    ] {
        let pods: Api<Pod> = Api::namespaced(endless(begin, piece).await, "models");
        let error = pods.list(&ListParams::default()).await.unwrap_err();
        assert!(is_too_much(&error), "{error:?}");
        let error = pods.get("iris").await.unwrap_err();
        assert!(is_too_much(&error), "{error:?}");
        let sentence = super::super::connection::trouble(&error).sentence;
        assert!(sentence.starts_with("the cluster answers too much"), "{sentence}");
        let events = pods.watch(&WatchParams::default(), "0").await.unwrap();
        let mut events = std::pin::pin!(events);
        let error = futures::TryStreamExt::try_next(&mut events).await.unwrap_err();
        assert!(is_too_much(&error), "{error:?}");
    }
}

/// Pages that are right, and each names a next one.
#[tokio::test]
async fn a_namespace_without_end_is_not_remembered() {
    let page = |RawQuery(query): RawQuery| async move {
        let query = query.unwrap_or_default();
        let number = query
            .split("continue=")
            .nth(1)
            .and_then(|rest| rest.split('&').next()?.parse::<usize>().ok());
        let number = number.unwrap_or(0);
        let object = |at: usize| {
            let labels = serde_json::json!({super::super::labels::DEPLOYMENT: Uuid::from_u128(at as u128)});
            serde_json::json!({"metadata": {"name": format!("p{number}-{at}"), "labels": labels}})
        };
        axum::Json(serde_json::json!({
            "apiVersion": "v1", "kind": "List",
            "metadata": {"resourceVersion": "1", "continue": (number + 1).to_string()},
            "items": (0..5_000).map(object).collect::<Vec<_>>(),
        }))
    };
    let client = open(Router::new().fallback(page)).await;
    let trust = Trust::new(vec![(String::new(), [0; 32])]).unwrap();
    let view = View::of(&Kubernetes::of(NamespaceName::parse("models").unwrap()), trust);
    let queue = super::super::queue::Queue::default();
    let crowded = async {
        let mut changes = view.changes();
        loop {
            match view.is_clear() {
                Err(why) => return why,
                Ok(_) => changes.changed().await.unwrap(),
            }
        }
    };
    let why = tokio::select! {
        () = view.watch(&client, "models", Uuid::nil(), &queue) => unreachable!(),
        why = crowded => why,
        () = tokio::time::sleep(Duration::from_secs(120)) => panic!("it goes on for ever"),
    };
    assert!(why.contains("more objects"), "{why}");
    let live = view.live();
    let kinds = super::super::objects::Kind::ALL;
    let count: usize = kinds.iter().map(|kind| live.names(*kind).len()).sum();
    assert!(count <= MOST_OBJECTS && live.pod_names().len() <= MOST_PODS);
}
