//! The ports of the control plane: taken, guarded, served.
//!
//! Apart from what is served there. The rule a newcomer would break: ports are taken before anything is made or shown, so
//! that a start that cannot listen leaves nothing half done.

use crate::config::Serve;
use axum::Router;
use castoff_listen::tls::Shown;
use castoff_listen::{Life, OPERATORS, Phase, Port, descriptors};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Passwords do not travel in the clear, unless somebody says that something in front sees to it.
pub(super) fn check_exposure(config: &Serve) -> Result<(), String> {
    if config.listen.ip().is_loopback() || config.has_tls() || config.insecure_http {
        return Ok(());
    }
    Err(format!(
        "--listen {} is reachable from other machines, and passwords would travel in the clear: give --tls-cert and --tls-key, --tls-san for a certificate of Castoff's own, or --insecure-http behind a proxy that has TLS",
        config.listen
    ))
}

/// A port, or why there is none and what to do.
pub(super) fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    castoff_listen::open(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{flag} {address}: another program listens there, perhaps another control plane: end it, or give another {flag}"
        ),
        _ => format!("{flag} {address}: {error}"),
    })
}

/// How the three ports are kept: of REST, which shows this, of operators, of nodes.
pub(super) fn kept(config: &Serve, shown: Option<Arc<Shown>>) -> Result<[Port; 3], String> {
    let life = Life {
        head: Duration::from_secs(config.head_patience),
        ..Life::default()
    };
    let port = |most| Port {
        life,
        most,
        ..Port::default()
    };
    let wanted = [config.max_connections, OPERATORS, config.max_node_connections];
    let [rest, operators, nodes] = descriptors::divide(descriptors::raise(), wanted).map(port);
    let rest = Port {
        tells_peer: true,
        ..rest
    };
    Ok([over_tls(rest, shown)?, operators, nodes])
}

/// The port of REST as it shows this, if it is anything.
pub(super) fn over_tls(rest: Port, shown: Option<Arc<Shown>>) -> Result<Port, String> {
    let Some(shown) = shown else { return Ok(rest) };
    Ok(Port {
        tls: Some(shown.config(&["h2", "http/1.1"])?),
        ..rest
    })
}

/// The ports that are served over HTTP, until they are shut.
pub(super) struct Served {
    phase: watch::Sender<Phase>,
    connections: TaskTracker,
}

impl Served {
    pub(super) fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Open),
            connections: TaskTracker::new(),
        }
    }

    /// Answers on one more port.
    pub(super) fn open(&self, listener: TcpListener, router: Router, port: Port) -> Result<(), String> {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
        let (phases, connections) = (self.phase.subscribe(), self.connections.clone());
        tokio::spawn(castoff_listen::serve(listener, router, port, phases, connections));
        Ok(())
    }

    /// Goes on answering, and has whoever is answered come anew: elsewhere, as soon as whoever is in front knows.
    pub(super) fn leave(&self) {
        self.phase.send_replace(Phase::Leaving);
    }

    /// Accepts no more, and lets what is under way be answered for so long.
    pub(super) async fn shut(self, last_answers: Duration) {
        self.phase.send_replace(Phase::Shut);
        self.connections.close();
        if tokio::time::timeout(last_answers, self.connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.connections.len(),
                "answers were not finished in time"
            );
        }
    }
}
