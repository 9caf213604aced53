//! The listeners, and who serves what comes in there. The admin listener is up first and last, in the background; those that
//! carry calls are Pingora's, on the runtime for calls.

use std::{net::TcpListener, sync::Arc};

use super::{
    Error,
    runtimes::Handles,
    sockets::{self, Claim},
};
use crate::{
    config::{Listen, Listener},
    proxy, web,
};

/// What is open.
pub struct Doors {
    /// Each one's own routes, which can be replaced.
    pub routes: Vec<Arc<web::Routes>>,
    /// The files of Unix sockets; they go with this.
    pub claims: Vec<Claim>,
}

/// Opens the doors.
///
/// # Errors
/// Where one can't be listened on, or a certificate can't be used.
pub fn open(
    listeners: &[Listener],
    core: &Arc<proxy::Core>,
    state: &Arc<web::State>,
    on: &Handles,
) -> Result<Doors, Error> {
    let (mut doors, mut opened) = (Vec::new(), Doors { routes: Vec::new(), claims: Vec::new() });
    for listener in listeners {
        let failed = |error| Error::Listen(listener.listen.clone(), error);
        let routes = web::Routes::new(Arc::clone(state), listener.serves);
        let socket = match &listener.listen {
            Listen::Tcp(_) => None,
            Listen::Unix { path, mode } => {
                let (socket, claim) = sockets::claim(path, *mode).map_err(failed)?;
                opened.claims.push(claim);
                Some(socket)
            }
        };
        let only_admin = listener.serves.admin && !listener.serves.proxy && !listener.serves.connect;
        match (&listener.listen, socket) {
            (Listen::Tcp(address), _) if only_admin && listener.tls.is_none() => {
                on.background.block_on(routes.listen(*address)).map_err(failed)?;
            }
            (Listen::Unix { .. }, Some(socket)) if only_admin => {
                on.background.block_on(routes.listen_at(socket)).map_err(failed)?;
            }
            (listen, socket) => doors.push(proxy::Door {
                listen: listen.clone(),
                socket,
                serves: listener.serves,
                tls: listener.tls.clone(),
                own_routes: routes.behind_a_pipe(on.background.clone()),
            }),
        }
        opened.routes.push(routes);
        tracing::info!(address = %listener.listen, serves = %listener.serves, "listening");
    }
    proxy::serve(core, doors, &on.calls)?;
    Ok(opened)
}

/// Pingora would panic on an address that is taken.
///
/// # Errors
/// The first address that can't be listened on.
pub fn check_addresses(listeners: &[Listener]) -> Result<(), Error> {
    for listener in listeners {
        if let Listen::Tcp(address) = &listener.listen {
            TcpListener::bind(address).map_err(|error| Error::Listen(listener.listen.clone(), error))?;
        }
    }
    Ok(())
}
