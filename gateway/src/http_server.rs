//! The servers behind every HTTP and WebSocket listener.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum_server::Server;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;

/// A server without TLS. What is sent leaves at once: TCP's own way (RFC 896) holds a small message back until the one before
/// was acknowledged, and a client may take 40 ms for that. Two pieces of an answer that follow each other closely would
/// arrive that much apart.
///
/// # Errors
/// The listener blocks, or the runtime does not take it.
pub(crate) fn plain(listener: TcpListener) -> io::Result<Server<SocketAddr, NoDelayAcceptor>> {
    Ok(axum_server::from_tcp(listener)?.acceptor(NoDelayAcceptor::new()))
}

/// The same with TLS.
///
/// # Errors
/// As for [`plain`].
pub(crate) fn secure(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
) -> io::Result<Server<SocketAddr, RustlsAcceptor<NoDelayAcceptor>>> {
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls)).acceptor(NoDelayAcceptor::new());
    Ok(axum_server::from_tcp(listener)?.acceptor(acceptor))
}

#[cfg(test)]
mod tests;
