//! Nodes that say one message a byte at a time. The control plane's clock is turned, as nobody waits for ten minutes.
//!
//! The rule a newcomer would break: the bytes of a long message are a sign of life, so whoever goes on without an end is
//! bounded by the time of a whole message.

use acceptance::faketime::Faketime;
use acceptance::{Cast, Database, Edge, World, eventually, raw, scratch};
use castoff_wire::life::LONGEST_MESSAGE;
use castoff_wire::line::{PREFACE, framed};
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{FromNode, Heartbeat, Hello, Opened, Opening, Received, ToNode};
use prost::Message;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two bytes. A heartbeat may be sent before the byte that came with it is read: twice this, and what a busy machine
/// takes for two rounds, is less than a silence of 3.5 s.
const DRIP: Duration = Duration::from_secs(1);
/// Bytes of an honest message, one a second: for much longer than a silence.
const LONG: usize = 200;

/// A node on a line, and the clock of its control plane.
struct Dripping<'a> {
    stream: TcpStream,
    clock: &'a Faketime,
    ahead: Duration,
}

impl Dripping<'_> {
    /// The next message; none when the control plane has hung up.
    #[track_caller]
    fn next<M: Message + Default>(&mut self) -> Option<M> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
            Err(error) => panic!("nothing came: {error}"),
        }
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut message).expect("all of it");
        Some(M::decode(&*message).expect("a message"))
    }

    /// Waits for a config, and says that it has arrived: one that is under way would end the line, too.
    fn takes_the_config(&mut self) {
        loop {
            let message = self.next::<ToNode>().expect("it is on the line").message;
            if let Some(Down::Snapshot(signed)) = message {
                let digest = signed.digest().to_vec();
                return self.say(Up::Received(Received { digest }));
            }
        }
    }

    /// Waits for a heartbeat of now or later; whether one came.
    fn beats(&mut self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + self.ahead;
        while let Some(ToNode { message }) = self.next() {
            if let Some(Down::Heartbeat(beat)) = message
                && i128::from(beat.sent_at_ms) >= now.as_millis() as i128
            {
                return true;
            }
        }
        false
    }

    fn say(&mut self, message: Up) {
        let message = FromNode { message: Some(message) };
        self.stream.write_all(&framed(&message)).expect("it is taken");
    }

    /// Says these bytes in drips, while the control plane says what it has to say; after how long it hung up.
    fn drip(&mut self, bytes: &[u8]) -> Option<Duration> {
        let (began, before) = (Instant::now(), self.ahead);
        for byte in bytes {
            self.ahead += DRIP;
            self.clock.turn_by(self.ahead);
            // It wakes the control plane, which looks at its clock. It may have hung up.
            self.stream.write_all(&[*byte]).ok();
            if !self.beats() {
                return Some(self.ahead - before + began.elapsed());
            }
        }
        None
    }
}

/// A slow line takes its time with a long message, and is heard. What has no end is hung up on, however steadily it comes.
#[test]
fn a_message_in_drips_is_heard_when_it_ends_and_ends_the_line_when_it_does_not() {
    let clock = Faketime::new(&scratch::subfolder("clock"));
    let environment = clock.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let edge = Edge::of(Cast::gather(World::start_in(Database::Sqlite, &[], &environment)));
    let server = &edge.cast.world.server;
    let join = edge.join(&server.node);
    let deployment: uuid::Uuid = join["deployment"].as_str().expect("an id").parse().expect("a UUID");
    let opening = Opening {
        token: join["token"].as_str().expect("a token").to_owned(),
        hello: Some(Hello {
            node_id: uuid::Uuid::new_v4().as_bytes().to_vec(),
            deployment_id: deployment.as_bytes().to_vec(),
            ..Hello::default()
        }),
    };
    let mut node = Dripping {
        stream: raw::dial(&server.node),
        clock: &clock,
        ahead: Duration::ZERO,
    };
    let opened = [&PREFACE[..], &framed(&opening)].concat();
    node.stream.write_all(&opened).expect("it is taken");
    assert_eq!(node.next::<Opened>().expect("an answer").code, 0);
    node.takes_the_config();
    assert!(node.beats());

    // Field 99, which means nothing.
    let mut long = [&[0x9a, 6, 0xc4, 1][..], &[7; LONG - 4]].concat();
    long.splice(..0, u32::try_from(LONG).expect("few").to_be_bytes());
    assert_eq!(node.drip(&long), None, "it goes on");
    node.say(Up::Heartbeat(Heartbeat::default()));
    assert!(node.beats(), "it was a message, and the next is heard");

    let half = [&[0, 0x0f, 0xff, 0xff][..], &[7; 700]].concat();
    let ended = node.drip(&half).expect("it does not go on for ever");
    let (least, most) = (LONGEST_MESSAGE - DRIP, LONGEST_MESSAGE + 10 * DRIP);
    assert!((least..most).contains(&ended), "{ended:?}");
    let events = edge.cast.dana.request("GET", &edge.path("/events"));
    let events = events.header("last-event-id", "0").stream();
    eventually("it is an event", || {
        let told = events.text();
        told.contains("is lost: a message took too long")
            .then_some(())
            .ok_or(told)
    });
}
