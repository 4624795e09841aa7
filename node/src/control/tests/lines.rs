//! The control plane's end of lines, and which calls are none.

use super::world::Service;
use castoff_wire::line::{self, FIRST, framed};
use castoff_wire::proto::{FromNode, Opened, ToNode};
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

/// Answers lines, where they are known, and hands on what else comes.
pub(super) async fn accept(
    listener: TcpListener,
    service: Service,
    calls: Sender<io::Result<TcpStream>>,
    knows_lines: bool,
) {
    let mut lines = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (service, calls) = (service.clone(), calls.clone());
        lines.spawn(async move {
            let mut first = [0];
            let came = stream.peek(&mut first).await;
            if knows_lines && came.is_ok_and(|came| came > 0) && first == [FIRST] {
                // A node that hangs up is no failure.
                let _ = answer(service, stream).await;
            } else {
                let _ = calls.send(Ok(stream)).await;
            }
        });
    }
}

async fn answer(service: Service, mut stream: TcpStream) -> io::Result<()> {
    let (opening, inbox) = line::opening(&mut stream).await.map_err(io::Error::other)?;
    let token = match service.admit_token(&opening.token) {
        Ok(token) => token,
        Err(status) => return stream.write_all(&framed(&Opened::refused(&status))).await,
    };
    stream.write_all(&framed(&Opened::default())).await?;
    let hello = opening.hello.expect("a node says hello");
    let (up, mut down) = service.talk(token, hello).await.map_err(io::Error::other)?;
    let (mut from, mut to) = stream.into_split();
    let mut inbox = inbox.and_then_of(1 << 20);
    let hearing = async {
        while let Ok(Some(FromNode { message: Some(message) })) = inbox.next(&mut from).await {
            if up.send(message).await.is_err() {
                return;
            }
        }
        drop(up);
    };
    let saying = async {
        while let Some(Ok(message)) = down.recv().await {
            let message: ToNode = message;
            if to.write_all(&framed(&message)).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(hearing, saying);
    Ok(())
}
