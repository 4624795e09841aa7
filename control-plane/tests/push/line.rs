//! Nodes on a line of their own: that it says what gRPC says, and what becomes of bytes that are no line.

use super::world::{PATIENCE, World, eventually};
use castoff_control_plane::authn::{Secret, SecretKind};
use castoff_wire::line::{self, FIRST, Inbox, PREFACE, framed};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{Ack, FromNode, Heartbeat, Hello, Nack, Opened, Opening, Position, Signed, ToNode, nack};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use uuid::Uuid;

/// A node on a line.
struct Liner {
    stream: TcpStream,
    inbox: Inbox,
}

async fn connect(world: &World) -> TcpStream {
    let (_, address) = world.join.control_plane.split_once("://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

async fn open(world: &World, token: &str, hello: Option<Hello>) -> Result<Liner, Status> {
    let mut stream = connect(world).await;
    let token = token.to_owned();
    let (opened, inbox) = line::open(&mut stream, &Opening { token, hello }).await.unwrap();
    opened.verdict()?;
    let inbox = inbox.and_then_of(1 << 20);
    Ok(Liner { stream, inbox })
}

impl Liner {
    async fn say(&mut self, message: Up) {
        let message = FromNode { message: Some(message) };
        self.stream.write_all(&framed(&message)).await.unwrap();
    }

    /// The next message that is not a heartbeat; none when the line has ended.
    async fn next(&mut self) -> Option<Down> {
        let next = async {
            loop {
                let message: ToNode = self.inbox.next(&mut self.stream).await.ok()??;
                match message.message? {
                    Down::Heartbeat(heartbeat) => self.say(Up::Heartbeat(heartbeat)).await,
                    other => return Some(other),
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap()
    }

    async fn snapshot(&mut self) -> Signed {
        match self.next().await {
            Some(Down::Snapshot(signed)) => signed,
            other => panic!("no snapshot but {other:?}"),
        }
    }

    async fn ack(&mut self, position: Position) {
        let position = Some(position);
        self.say(Up::Ack(Ack { position })).await;
    }
}

#[tokio::test]
async fn a_node_on_a_line_gets_every_change_and_the_receipt_says_so() {
    let world = World::new().await;
    let id = Uuid::new_v4();
    let mut node = open(&world, world.token.expose(), Some(world.hello(id))).await.unwrap();
    let (config, position) = world.open(&node.snapshot().await);
    assert_eq!(config.deployment, "iris-on-edge");
    node.ack(position).await;
    assert_eq!(world.receipt(PATIENCE).await.acked, [id]);
    let (_, key) = world.new_key(&world.store, "first").await;
    let (config, position) = world.open(&node.snapshot().await);
    assert_eq!(config.access.unwrap().keys.len(), 1);
    assert_eq!(world.receipt(Duration::ZERO).await.pending, [id]);
    node.ack(position.clone()).await;
    assert_eq!(world.receipt(PATIENCE).await.acked, [id]);
    // What it has when it dials again is not sent again; and who dials again is on one line.
    let mut hello = world.hello(id);
    hello.have = Some(position);
    let mut again = open(&world, world.token.expose(), Some(hello)).await.unwrap();
    assert!(matches!(again.next().await, Some(Down::UpToDate(_))));
    assert!(node.next().await.is_none());
    world.revoke(key).await;
    let (config, _) = world.open(&again.snapshot().await);
    assert!(config.access.unwrap().keys.is_empty());
    drop(again);
    eventually("it is seen that it hung up", async || {
        let nodes = world.store.system().nodes(world.deployment).await.unwrap();
        nodes.first().is_some_and(|node| !node.connected)
    })
    .await;
    assert!(!world.events().await.contains(&"node-lost".to_owned()));
    world.end().await;
}

/// However often it asks: the answer is large, and the question is not.
#[tokio::test]
async fn a_node_that_asks_for_the_whole_config_gets_it_once_until_it_has_it() {
    let world = World::new().await;
    let hello = world.hello(Uuid::new_v4());
    let mut node = open(&world, world.token.expose(), Some(hello)).await.unwrap();
    let (_, position) = world.open(&node.snapshot().await);
    node.ack(position).await;
    let (_, key) = world.new_key(&world.store, "first").await;
    let (_, position) = world.open(&node.snapshot().await);
    for _ in 0..20 {
        node.say(Up::Nack(Nack {
            code: nack::Code::Gap.into(),
            ..Nack::default()
        }))
        .await;
    }
    // For the first question, and for those that came while that was under way.
    for _ in 0..2 {
        let (config, again) = world.open(&node.snapshot().await);
        assert_eq!((config.access.unwrap().keys.len(), &again), (1, &position));
        node.ack(again).await;
    }
    world.revoke(key).await;
    let (config, _) = world.open(&node.snapshot().await);
    assert!(config.access.unwrap().keys.is_empty());
    world.end().await;
}

#[tokio::test]
async fn nobody_opens_a_line_without_the_token_of_the_deployment() {
    let world = World::new().await;
    let hello = world.hello(Uuid::new_v4());
    let stranger = Secret::mint(SecretKind::NodeToken).unwrap();
    let (_, other) = world.deploy("iris-elsewhere").await;
    let nameless = Hello {
        node_id: vec![1; 15],
        ..hello.clone()
    };
    let own = world.token.expose();
    for (token, hello, code) in [
        (stranger.expose(), Some(hello.clone()), Code::Unauthenticated),
        ("", Some(hello.clone()), Code::Unauthenticated),
        ("castoff-node_short", Some(hello.clone()), Code::Unauthenticated),
        // Nothing else is said to whoever has none.
        (stranger.expose(), None, Code::Unauthenticated),
        (stranger.expose(), Some(nameless.clone()), Code::Unauthenticated),
        (other.expose(), Some(hello), Code::PermissionDenied),
        (own, None, Code::InvalidArgument),
        (own, Some(nameless), Code::InvalidArgument),
    ] {
        let refused = open(&world, token, hello).await.err().unwrap();
        assert_eq!(refused.code(), code, "{}", refused.message());
    }
    assert!(world.store.system().nodes(world.deployment).await.unwrap().is_empty());
    world.end().await;
}

/// What comes back for these bytes until the control plane hangs up: one answer, with this code.
async fn refused(world: &World, bytes: &[u8]) -> Code {
    let mut stream = connect(world).await;
    stream.write_all(bytes).await.unwrap();
    let mut inbox = Inbox::of(line::MOST_ANSWER);
    let answer = async {
        let opened: Opened = inbox.next(&mut stream).await.unwrap().unwrap();
        // It may not have read all that it was sent.
        let rest = stream.read(&mut [0]).await.unwrap_or(0);
        assert_eq!(rest, 0, "it hangs up");
        opened.verdict().unwrap_err().code()
    };
    tokio::time::timeout(PATIENCE, answer).await.unwrap()
}

#[tokio::test]
async fn what_is_no_opening_is_answered_and_hung_up_on() {
    let world = World::new().await;
    let opening = framed(&Opening {
        token: world.token.expose().to_owned(),
        hello: Some(world.hello(Uuid::new_v4())),
    });
    let long = u32::try_from(line::MOST_OPENING + 1).unwrap().to_be_bytes();
    let whole = [&PREFACE[..], &opening].concat();
    let (invalid, late) = (Code::InvalidArgument, Code::DeadlineExceeded);
    let cases: [(&str, Vec<u8>, Code); 9] = [
        (
            "another protocol",
            [&[FIRST], &b"GET / HTTP/1.1\r\n\r\n"[..]].concat(),
            invalid,
        ),
        (
            "another version",
            [&b"\xcacastoff-line/2\n"[..], &opening].concat(),
            invalid,
        ),
        ("too long", [&PREFACE[..], &long].concat(), invalid),
        ("as long as can be", [&PREFACE[..], &[0xff; 4]].concat(), invalid),
        (
            "no message",
            [&PREFACE[..], &[0, 0, 0, 2, 0xff, 0xff]].concat(),
            invalid,
        ),
        ("nothing but a first byte", vec![FIRST], late),
        ("half a preface", PREFACE[..8].to_vec(), late),
        ("half a length", [&PREFACE[..], &[0, 0]].concat(), late),
        ("half an opening", whole[..whole.len() - 1].to_vec(), late),
    ];
    let all = cases.iter().map(|(_, bytes, _)| refused(&world, bytes));
    let codes = futures::future::join_all(all).await;
    for ((name, _, expected), code) in cases.iter().zip(codes) {
        assert_eq!(code, *expected, "{name}");
    }
    assert!(world.store.system().nodes(world.deployment).await.unwrap().is_empty());
    // Whoever says it slowly, and goes on in time, is heard.
    let mut stream = connect(&world).await;
    for piece in whole.chunks(40) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let opened: Opened = Inbox::of(line::MOST_ANSWER).next(&mut stream).await.unwrap().unwrap();
    assert!(opened.verdict().is_ok());
    world.end().await;
}

#[tokio::test]
async fn what_is_no_message_ends_a_line() {
    let world = World::new().await;
    let beat = FromNode {
        message: Some(Up::Heartbeat(Heartbeat::default())),
    };
    let hello = FromNode {
        message: Some(Up::Hello(world.hello(Uuid::new_v4()))),
    };
    for (name, bytes, ends) in [
        ("a heartbeat", framed(&beat).to_vec(), false),
        ("nothing", vec![0; 4], false),
        // Field 99: a later release may say more.
        ("an unknown message", vec![0, 0, 0, 5, 0x9a, 0x06, 2, 1, 2], false),
        ("more than a message may have", vec![0, 0x10, 0, 1], true),
        ("no message", vec![0, 0, 0, 2, 0xff, 0xff], true),
        ("a second hello", framed(&hello).to_vec(), true),
    ] {
        let hello = world.hello(Uuid::new_v4());
        let mut node = open(&world, world.token.expose(), Some(hello)).await.unwrap();
        let (_, position) = world.open(&node.snapshot().await);
        node.stream.write_all(&bytes).await.unwrap();
        if ends {
            assert!(node.next().await.is_none(), "{name}");
            continue;
        }
        node.ack(position).await;
        world.new_key(&world.store, &name.replace(' ', "-")).await;
        assert!(matches!(node.next().await, Some(Down::Snapshot(_))), "{name}");
    }
    world.end().await;
}

/// Whoever says its token in the clear is not heard.
#[tokio::test]
async fn nothing_but_tls_is_answered_where_tls_is_spoken() {
    let world = World::on("0.0.0.0:0").await;
    let opening = framed(&Opening {
        token: world.token.expose().to_owned(),
        hello: Some(world.hello(Uuid::new_v4())),
    });
    for bytes in [
        [&PREFACE[..], &opening].concat(),
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
        vec![0; 4_096],
    ] {
        let mut stream = connect(&world).await;
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // It may not have read all that it was sent.
        drop(ended.expect("it hangs up"));
        let is_alert = answer.is_empty() || answer[0] == 0x15;
        assert!(is_alert, "{bytes:?}: {answer:?}");
    }
    assert!(world.store.system().nodes(world.deployment).await.unwrap().is_empty());
    world.end().await;
}
