//! How bytes reach the routes: through an in-memory pipe behind the proxy's port, or on a listener of their own that needs
//! no proxy. hyper reads and writes the HTTP.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::Router;
use http::Request;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, UnixListener},
    runtime::Handle,
};
use tower::ServiceExt as _;

use super::{State, Via, leave::Leaving, wording::Worded};
use crate::config::Roles;

/// How long a request head may take on a listener of our own.
const HEAD: Duration = Duration::from_secs(10);
/// As many as calls may have (Pingora's limit), and what the proxy adds.
const HEADERS: usize = 256 + 16;

/// The routes of one listener, as the configuration in force has them. A request is served to its end by the routes that it
/// came to; those that take their place get the next one, on the same connection, too.
pub struct Routes {
    roles: Roles,
    may_end: bool,
    current: ArcSwap<Current>,
}

struct Current {
    state: Arc<State>,
    router: Router,
}

impl Current {
    fn of(state: Arc<State>, roles: Roles, may_end: bool) -> Self {
        Self { router: super::router(Arc::clone(&state), roles, may_end), state }
    }
}

impl Routes {
    /// The routes of these roles. `may_end`: whoever comes in there may end the process (`/quitquitquit`).
    pub fn new(state: Arc<State>, roles: Roles, may_end: bool) -> Arc<Self> {
        Arc::new(Self { roles, may_end, current: ArcSwap::from_pointee(Current::of(state, roles, may_end)) })
    }

    /// Serves by this state from now on.
    pub fn replace(&self, state: Arc<State>) {
        self.current.store(Arc::new(Current::of(state, self.roles, self.may_end)));
    }

    /// Serves each pipe that it is given, on this runtime.
    pub fn behind_a_pipe(self: &Arc<Self>, handle: Handle) -> Arc<dyn Fn(DuplexStream) + Send + Sync> {
        let routes = Arc::clone(self);
        Arc::new(move |pipe| {
            // One request a pipe: it can't be pooled, so it must not be kept alive (docs/PINGORA.md 2).
            handle.spawn(Arc::clone(&routes).serve(pipe, Via::Proxy));
        })
    }

    /// Serves who comes in at an address, for as long as the runtime lives.
    ///
    /// # Errors
    /// Where the address can't be listened on.
    pub async fn listen(self: &Arc<Self>, address: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        let listener = Arc::new(listener);
        tokio::spawn(Arc::clone(self).accept(move || {
            let listener = Arc::clone(&listener);
            async move { listener.accept().await.map(|(stream, peer)| (stream, Some(peer.ip()))) }
        }));
        Ok(())
    }

    /// Serves who comes in at this Unix socket, for as long as the runtime lives.
    ///
    /// # Errors
    /// Where the system doesn't lend it.
    pub async fn listen_at(self: &Arc<Self>, socket: std::os::unix::net::UnixListener) -> io::Result<()> {
        let listener = Arc::new(UnixListener::from_std(socket)?);
        tokio::spawn(Arc::clone(self).accept(move || {
            let listener = Arc::clone(&listener);
            async move { listener.accept().await.map(|(stream, _)| (stream, None)) }
        }));
        Ok(())
    }

    async fn accept<S, F>(self: Arc<Self>, mut next: impl FnMut() -> F + Send)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = io::Result<(S, Option<IpAddr>)>> + Send,
    {
        loop {
            match next().await {
                Ok((stream, peer)) => {
                    tokio::spawn(Arc::clone(&self).serve(stream, Via::Listener(peer)));
                }
                // Out of file descriptors, or a connection that was gone already: neither ends the listener.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, via: Via)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let state = Arc::clone(&self.current.load().state);
        let (stop, leaving) = (state.parts.stop.clone(), Leaving::default());
        let wish = leaving.clone();
        let by_current = tower::service_fn(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(via);
            request.extensions_mut().insert(wish.clone());
            let router = self.current.load().router.clone();
            router.oneshot(request)
        });
        let keep_alive = matches!(via, Via::Listener(_));
        let mut connection = http1::Builder::new();
        connection.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(keep_alive).max_headers(HEADERS);
        // A client that breaks off is not worth a word.
        let stream = TokioIo::new(Worded::new(stream, state));
        let _ = connection.serve_connection(stream, TowerToHyperService::new(by_current)).await;
        if leaving.is_wished() {
            stop.cancel();
        }
    }
}
