//! What comes on a line, from whoever has found the port: how it is opened, and what a node and a control plane say then.
//! However the bytes come, the same is heard.

#![no_main]

use castoff_wire::line::{self, Inbox, PREFACE};
use castoff_wire::proto::{FromNode, ToNode};
use prost::Message;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::{Builder, Runtime};

const MOST: usize = 8 << 10;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("it runs"));

/// So many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let size = self.1.min(self.0.len()).min(into.remaining());
        let (now, later) = self.0.split_at(size);
        into.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

/// What is heard, and how it ends.
async fn heard<M: Message + Default>(mut from: Pieces<'_>, mut inbox: Inbox) -> (Vec<M>, String) {
    let mut all = Vec::new();
    loop {
        match inbox.next(&mut from).await {
            Ok(Some(message)) => all.push(message),
            Ok(None) => return (all, String::new()),
            Err(unheard) => return (all, unheard.to_string()),
        }
    }
}

fn alike<M: Message + Default + PartialEq>(bytes: &[u8], size: usize) {
    let whole = RUNTIME.block_on(heard::<M>(Pieces(bytes, usize::MAX), Inbox::of(MOST)));
    let pieces = RUNTIME.block_on(heard::<M>(Pieces(bytes, size), Inbox::of(MOST)));
    assert!(whole == pieces);
    // What was understood is said in the same words, but for what is unknown and left out.
    for message in whole.0 {
        let again = M::decode(&line::framed(&message)[line::PREFIX..]).expect("we have said it");
        assert!(again == message);
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1);
    alike::<FromNode>(bytes, size);
    alike::<ToNode>(bytes, size);
    let opened = [&PREFACE[..], bytes].concat();
    for bytes in [bytes, &opened] {
        RUNTIME.block_on(async {
            let mut from = Pieces(bytes, size);
            if let Ok((opening, inbox)) = line::opening(&mut from).await {
                assert!(opening.encoded_len() <= line::MOST_OPENING);
                heard::<FromNode>(from, inbox.and_then_of(MOST)).await;
            }
        });
    }
});
