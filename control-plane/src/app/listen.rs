//! The ports of the control plane: taken, guarded, served.
//!
//! Apart from what is served there. The rule a newcomer would break: ports are taken before anything is made or shown, so
//! that a start that cannot listen leaves nothing half done.

use crate::config::Serve;
use axum_server::Handle;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// What a connection may take to begin a request, and its headers to come.
const HEAD: Duration = Duration::from_secs(30);
/// How often HTTP/2 asks whether the other side is there, and how long it may take to say so.
const ARE_YOU_THERE: Duration = Duration::from_secs(20);

/// Passwords do not travel in the clear, unless somebody says that something in front sees to it.
pub(super) fn check_exposure(config: &Serve) -> Result<(), String> {
    if config.listen.ip().is_loopback() || config.tls_cert.is_some() || config.insecure_http {
        return Ok(());
    }
    Err(format!(
        "--listen {} is reachable from other machines, and passwords would travel in the clear: give --tls-cert and --tls-key, or --insecure-http behind a proxy that has TLS",
        config.listen
    ))
}

/// A port, or why there is none and what to do.
pub(super) fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{flag} {address}: another program listens there, perhaps another control plane: end it, or give another {flag}"
        ),
        _ => format!("{flag} {address}: {error}"),
    })
}

/// The certificate of the REST port, if it has one.
pub(super) async fn tls(config: &Serve) -> Result<Option<axum_server::tls_rustls::RustlsConfig>, String> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let loaded = axum_server::tls_rustls::RustlsConfig::from_pem_file(cert, key).await;
    loaded
        .map(Some)
        .map_err(|error| format!("--tls-cert, --tls-key: {error}"))
}

/// Answers until the handle ends it.
pub(super) async fn serve_http(
    listener: TcpListener,
    router: axum::Router,
    tls: Option<axum_server::tls_rustls::RustlsConfig>,
    handle: Handle<SocketAddr>,
) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let result = match tls {
        Some(tls) => match axum_server::from_tcp_rustls(listener, tls) {
            Ok(server) => impatient(server).handle(handle).serve(service).await,
            Err(error) => Err(error),
        },
        None => match axum_server::from_tcp(listener) {
            Ok(server) => impatient(server).handle(handle).serve(service).await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = result {
        tracing::error!(%error, "an HTTP port failed");
    }
}

/// Lets nobody hold a connection by saying nothing on it.
fn impatient<A>(mut server: axum_server::Server<SocketAddr, A>) -> axum_server::Server<SocketAddr, A> {
    server.http_builder().http1().header_read_timeout(HEAD);
    server
        .http_builder()
        .http2()
        .keep_alive_interval(ARE_YOU_THERE)
        .keep_alive_timeout(ARE_YOU_THERE);
    server.first_request_timeout(HEAD)
}
