//! How bytes reach the routes: through an in-memory pipe behind the proxy's port, or on a listener of their own that needs
//! no proxy. hyper reads and writes the HTTP.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use http::Request;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpListener,
    runtime::Handle,
};
use tower::ServiceExt;

use super::{State, Via, wording::Worded};

/// How long a request head may take on a listener of our own.
const HEAD: Duration = Duration::from_secs(10);
/// As many as calls may have (Pingora's limit), and what the proxy adds.
const HEADERS: usize = 256 + 16;

/// Serves each pipe that it is given, on this runtime.
pub fn behind_a_pipe(state: Arc<State>, router: Router, handle: Handle) -> Arc<dyn Fn(DuplexStream) + Send + Sync> {
    Arc::new(move |pipe| {
        // One request a pipe: it can't be pooled, so it must not be kept alive (docs/PINGORA.md 2).
        handle.spawn(serve(pipe, Arc::clone(&state), router.clone(), Via::Proxy));
    })
}

/// Listens on an address of its own, for as long as the runtime lives.
///
/// # Errors
/// Where the address can't be listened on.
pub async fn listen(address: SocketAddr, state: Arc<State>, router: Router) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    tokio::spawn(serve(stream, Arc::clone(&state), router.clone(), Via::Listener(peer.ip())));
                }
                // Out of file descriptors, or a connection that was gone already: neither ends the listener.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    Ok(())
}

async fn serve<S>(stream: S, state: Arc<State>, router: Router, via: Via)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = router.into_service::<hyper::body::Incoming>().map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(via);
        request
    });
    let service = TowerToHyperService::new(service);
    let keep_alive = matches!(via, Via::Listener(_));
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(keep_alive).max_headers(HEADERS);
    // A client that breaks off is not worth a word.
    let _ = connection.serve_connection(TokioIo::new(Worded::new(stream, state)), service).await;
}
