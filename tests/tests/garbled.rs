//! Bytes on the line between a node and the control plane that are none of its messages, from either side: it ends or goes on,
//! says why, and nobody else notices.
//!
//! The rule a newcomer would break: what ends a line is as often a defect as an attack. The node serves on meanwhile.

use acceptance::edge::deploy;
use acceptance::node::ByHand;
use acceptance::proxy::{Messages, Spoken};
use acceptance::{Edge, eventually, json, raw};
use castoff_wire::line::{FIRST, PREFACE, framed};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::{FromNode, Hello, Opened, Opening};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// As much as each of the two may take at its highest, in MiB: what it takes anyway, and what is said to it.
const MOST_MIB: u64 = 140;

/// What becomes of a node's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It goes on.
    GoesOn,
    /// It is dialled again, since this is logged.
    Ends(&'static str),
    /// The same, and it is counted as a config that is larger than a node takes.
    IsCounted,
}

/// How bytes are put on it.
#[derive(Clone, Copy, Debug)]
enum Put {
    Between,
    AtTheEnd,
    BeforeSilence,
}

/// What it is, its bytes, how they come, and what becomes of the line.
type Garbled = (&'static str, Vec<u8>, Put, Then);

fn said_to_a_node() -> Vec<Garbled> {
    let no_message = Then::Ends("what came is no message");
    let cut = Then::Ends("the connection ended within a message");
    let answer = Opened {
        code: 16,
        reason: "once more".to_owned(),
    };
    vec![
        ("nothing", vec![0; 4], Put::Between, Then::GoesOn),
        ("nothing, 100,000 times", vec![0; 400_000], Put::Between, Then::GoesOn),
        // Field 99.
        (
            "what a later release says",
            vec![0, 0, 0, 5, 0x9a, 6, 2, 1, 2],
            Put::Between,
            Then::GoesOn,
        ),
        ("no message", vec![0, 0, 0, 2, 0xff, 0xff], Put::Between, no_message),
        ("another answer", framed(&answer).to_vec(), Put::Between, no_message),
        ("half a length", vec![0, 0], Put::AtTheEnd, cut),
        ("half a message", vec![0, 0, 0, 9, 0x12, 7], Put::AtTheEnd, cut),
        (
            "half a message for ever",
            vec![0, 0, 0, 9, 0x12, 7],
            Put::BeforeSilence,
            Then::Ends("three heartbeats were missed"),
        ),
        ("as long as can be", vec![0xff; 4], Put::Between, Then::IsCounted),
        (
            "an answer of HTTP",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Put::Between,
            Then::IsCounted,
        ),
        ("a preface", PREFACE.to_vec(), Put::Between, Then::IsCounted),
    ]
}

/// How often it came to be on the line.
fn lines(node: &ByHand) -> usize {
    node.logged().matches("on the line with the control plane").count()
}

#[test]
fn a_node_survives_what_is_no_message() {
    let edge = Edge::start();
    let proxy = Messages::to(&edge.cast.world.server.node, Spoken::Line);
    let node = edge.node(&proxy.url());
    let kept = edge.new_key("kept");
    edge.serves(&node, &kept);
    let process = node.process().expect("it runs");
    let mut too_large = 0;
    for (what, bytes, put, then) in said_to_a_node() {
        edge.up_to_date(&node);
        let (begun, logged) = (lines(&node), node.logged().len());
        match put {
            Put::Between => proxy.inject_bytes(&bytes),
            Put::AtTheEnd => proxy.end_with(&bytes),
            Put::BeforeSilence => proxy.fall_silent_with(&bytes),
        }
        match then {
            Then::GoesOn => {}
            Then::Ends(why) => eventually(what, || {
                let since = node.logged()[logged..].to_owned();
                since.contains(why).then_some(()).ok_or(since)
            }),
            Then::IsCounted => too_large += 1,
        }
        assert_eq!(node.call(&kept.key), 200, "{what}");
        if then != Then::GoesOn {
            eventually(what, || lines(&node) == begun + 1);
        }
        let made = edge.new_key(&format!("after {what}"));
        edge.serves(&node, &made);
        edge.revoke(&made, "?wait=30s").expect(200);
        assert_eq!(node.call(&made.key), 401, "{what}");
        assert_eq!(lines(&node), begun + usize::from(then != Then::GoesOn), "{what}");
        let counted = node.counted("castoff_node_refused_configs_total{reason=\"too-large\"}");
        let expected = format!("castoff_node_refused_configs_total{{reason=\"too-large\"}} {too_large}");
        assert!(
            too_large == 0 && counted.is_empty() || counted == [expected],
            "{what}: {counted:?}"
        );
        eventually("the status counts the same", || {
            let seen = edge.seen(&node);
            (seen["refused_configs"] == json!(too_large))
                .then_some(())
                .ok_or(seen.to_string())
        });
    }
    sound(&node.logged());
    assert!(process.alive(), "the same process");
    assert!(process.highest_kib() >> 10 <= MOST_MIB, "{} KiB", process.highest_kib());
}

/// No panic, no failure of ours.
#[track_caller]
fn sound(log: &str) {
    let bad = log
        .lines()
        .find(|line| line.contains("panicked") || line.contains("\"ERROR\""));
    assert_eq!(bad, None);
}

/// What comes first on a connection, whether there is no more, and the code of the answer on a line; none where what is
/// spoken is no line.
fn first_words(token: &str, hello: &Hello) -> Vec<(&'static str, Vec<u8>, bool, Option<u32>)> {
    let opened = |opening: &Opening| [&PREFACE[..], &framed(opening)].concat();
    let own = Opening {
        token: token.to_owned(),
        hello: Some(hello.clone()),
    };
    let stranger = Opening {
        token: "castoff-node_stranger".to_owned(),
        ..own.clone()
    };
    let (invalid, late, nobody) = (Some(3), Some(4), Some(16));
    let rubbish = [opened(&stranger), vec![0xff; 1 << 20]].concat();
    let own = opened(&own);
    vec![
        (
            "HTTP/1.1",
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
            false,
            None,
        ),
        ("a banner of SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), false, None),
        (
            "TLS",
            [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 512]].concat(),
            false,
            None,
        ),
        ("zeros", vec![0; 4_096], false, None),
        (
            "a line of another version",
            [&b"\xcacastoff-line/9\n"[..], &own[PREFACE.len()..]].concat(),
            false,
            invalid,
        ),
        (
            "a line that goes on with HTTP",
            [&[FIRST][..], b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"].concat(),
            false,
            invalid,
        ),
        ("as long as can be", [&PREFACE[..], &[0xff; 4]].concat(), false, invalid),
        (
            "a byte more than is taken",
            [&PREFACE[..], &[0, 0, 0x40, 1]].concat(),
            false,
            invalid,
        ),
        (
            "no message",
            [&PREFACE[..], &[0, 0, 0, 2, 0xff, 0xff]].concat(),
            false,
            invalid,
        ),
        (
            "an opening with nothing in it",
            [&PREFACE[..], &[0; 4]].concat(),
            false,
            nobody,
        ),
        ("a stranger, and a megabyte behind", rubbish, false, nobody),
        ("half a preface, cut", PREFACE[..9].to_vec(), true, invalid),
        ("half an opening, cut", own[..own.len() - 1].to_vec(), true, invalid),
        (
            "half an opening, and silence",
            own[..own.len() - 1].to_vec(),
            false,
            late,
        ),
        ("a first byte, and silence", vec![FIRST], false, late),
    ]
}

/// What comes back until the other side hangs up.
fn answered(url: &str, bytes: &[u8], no_more: bool) -> Vec<u8> {
    let mut stream = raw::dial(url);
    // It may have answered and hung up before it has read all.
    stream.write_all(bytes).ok();
    if no_more {
        stream.shutdown(Shutdown::Write).ok();
    }
    until_the_end(&mut stream)
}

fn until_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), [0; 1_024]);
    loop {
        match stream.read(&mut some) {
            Ok(0) => return all,
            Ok(size) => all.extend_from_slice(&some[..size]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("no end came: {error}; so far {all:?}"),
        }
    }
}

/// The message in an answer, and that there is nothing else.
#[track_caller]
fn only_message<M: prost::Message + Default>(answer: &[u8]) -> M {
    let (length, message) = answer.split_first_chunk::<4>().expect("a length");
    assert_eq!(u32::from_be_bytes(*length) as usize, message.len());
    M::decode(message).expect("a message")
}

/// What a node says on a line that is taken, and whether it hangs up behind it; all of it ends the line.
fn last_words(hello: &Hello) -> Vec<(&'static str, Vec<u8>, bool)> {
    let again = Opening {
        token: "castoff-node_again".to_owned(),
        hello: Some(hello.clone()),
    };
    let hello = FromNode {
        message: Some(Up::Hello(hello.clone())),
    };
    vec![
        ("a byte more than is taken", vec![0, 0x10, 0, 1], false),
        ("as long as can be", vec![0xff; 4], false),
        ("no message", vec![0, 0, 0, 2, 0xff, 0xff], false),
        ("a megabyte of noise", vec![0xa5; 1 << 20], false),
        ("a second preface", [&PREFACE[..], &framed(&again)].concat(), false),
        ("a second opening", framed(&again).to_vec(), false),
        ("a second hello", framed(&hello).to_vec(), false),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), false),
        ("half a length, cut", vec![0, 0], true),
        ("half a message, cut", vec![0, 0, 0, 9, 0x12, 7], true),
        ("half a message, and silence", vec![0, 0, 0, 9, 0x12, 7], false),
        // Of the largest that there may be, most is there.
        (
            "most of a megabyte, and silence",
            [&[0, 0x0f, 0xff, 0xff][..], &vec![7; 1_000_000]].concat(),
            false,
        ),
        ("nothing, 100,000 times, and silence", vec![0; 400_000], false),
        ("an end, and nothing before it", Vec::new(), true),
    ]
}

/// Strangers, and nodes of another deployment that have lost their wits: each is answered or hung up on within its time, and a
/// node beside them stays on its line and hears of every change.
#[test]
fn a_control_plane_survives_what_is_no_message() {
    let edge = Edge::start();
    let server = &edge.cast.world.server;
    let node = edge.node(&format!("http://{}", server.node));
    let kept = edge.new_key("kept");
    edge.serves(&node, &kept);
    edge.up_to_date(&node);
    let begun = lines(&node);
    let other = deploy(&edge.cast, "other");
    let token = other["token"].as_str().expect("a token");
    let deployment: uuid::Uuid = other["deployment"].as_str().expect("an id").parse().expect("a UUID");
    let hello = || Hello {
        node_id: uuid::Uuid::new_v4().as_bytes().to_vec(),
        deployment_id: deployment.as_bytes().to_vec(),
        ..Hello::default()
    };
    std::thread::scope(|scope| {
        for (what, bytes, no_more, code) in first_words(token, &hello()) {
            scope.spawn(move || {
                let answer = answered(&server.node, &bytes, no_more);
                match code {
                    Some(code) => assert_eq!(only_message::<Opened>(&answer).code, code, "{what}"),
                    None => assert!(answer.first() != Some(&0), "{what}: {answer:?}"),
                }
            });
        }
        for (what, bytes, no_more) in last_words(&hello()) {
            let opening = Opening {
                token: token.to_owned(),
                hello: Some(hello()),
            };
            scope.spawn(move || {
                let mut stream = raw::dial(&server.node);
                stream
                    .write_all(&[&PREFACE[..], &framed(&opening)].concat())
                    .expect("it is taken");
                let mut opened = [9; 4];
                stream.read_exact(&mut opened).expect("an answer");
                assert_eq!(opened, [0; 4], "{what}: it is taken");
                stream.write_all(&bytes).ok();
                if no_more {
                    stream.shutdown(Shutdown::Write).ok();
                }
                until_the_end(&mut stream);
            });
        }
        for number in 0..5 {
            let made = edge.new_key(&format!("made-{number}"));
            edge.serves(&node, &made);
            edge.revoke(&made, "?wait=30s").expect(200);
            assert_eq!((node.call(&made.key), node.call(&kept.key)), (401, 200));
        }
    });
    assert_eq!(lines(&node), begun, "it stayed on its line");
    let metrics = acceptance::Request::get(format!("{}/metrics", server.ops))
        .send()
        .expect(200)
        .text();
    for (code, count) in [("InvalidArgument", 7), ("Unauthenticated", 2), ("DeadlineExceeded", 2)] {
        let line = format!("castoff_push_refused_total{{spoken=\"castoff-line/1\",code=\"{code}\"}} {count}");
        assert!(metrics.lines().any(|counted| counted == line), "{line}: {metrics}");
    }
    let events = edge.cast.dana.request("GET", "/deployments/iris-on-other/events");
    let events = events.header("last-event-id", "0").stream();
    for why in [
        "what it said is no message",
        "the connection broke",
        "three heartbeats were missed",
    ] {
        eventually("it is an event", || {
            let told = events.text();
            told.contains(&format!("is lost: {why}")).then_some(()).ok_or(told)
        });
    }
    let log = server.logged();
    sound(&log);
    assert!(
        log.contains("a second hello came") && log.contains("the node ended the stream"),
        "{log}"
    );
    let highest = server.process().highest_kib();
    assert!(highest >> 10 <= MOST_MIB, "{highest} KiB");
}
