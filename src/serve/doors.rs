//! The listeners, and who serves what comes in there. The admin listener is up first and last, in the background; those that
//! carry calls are Pingora's, on the runtime for calls. Owns what each of them shows as its certificate.

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
#[derive(Default)]
pub struct Doors {
    /// Each one's own routes, which can be replaced.
    pub routes: Vec<Arc<web::Routes>>,
    /// The files of Unix sockets; they go with this.
    pub claims: Vec<Claim>,
    /// What they show.
    pub certificates: Certificates,
}

/// What each listener shows as its certificate, in the order of the configuration; none where it has no TLS.
#[derive(Default)]
pub struct Certificates(Vec<Option<Arc<proxy::Shown>>>);

impl Certificates {
    /// Makes the certificates of these listeners ready, which are the same but for them.
    ///
    /// # Errors
    /// The first that can't be used.
    pub fn prepare(&self, listeners: &[Listener]) -> Result<Vec<Option<proxy::Certificate>>, Error> {
        listeners.iter().map(certificate).collect()
    }

    /// From now on they are shown to whoever connects.
    pub fn put_in_force(&self, certificates: Vec<Option<proxy::Certificate>>) {
        for (shown, certificate) in self.0.iter().zip(certificates) {
            if let (Some(shown), Some(certificate)) = (shown, certificate) {
                shown.replace(certificate);
            }
        }
    }
}

fn certificate(listener: &Listener) -> Result<Option<proxy::Certificate>, Error> {
    let Some(tls) = &listener.tls else { return Ok(None) };
    let unusable = || Error::Proxy(proxy::ServeError::Certificate(listener.listen.clone()));
    proxy::Certificate::new(tls).ok_or_else(unusable).map(Some)
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
    let (mut doors, mut opened) = (Vec::new(), Doors::default());
    for listener in listeners {
        let failed = |error| Error::Listen(listener.listen.clone(), error);
        let routes = web::Routes::new(Arc::clone(state), listener.serves, may_end(listener));
        let shown = certificate(listener)?.map(proxy::Shown::new);
        let socket = match &listener.listen {
            Listen::Tcp(_) => None,
            Listen::Unix { path, mode } => {
                let (socket, claim) = sockets::claim(path, *mode).map_err(failed)?;
                opened.claims.push(claim);
                Some(socket)
            }
        };
        let only_admin = only_admin(listener);
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
                tls: shown.clone(),
                own_routes: routes.behind_a_pipe(on.background.clone()),
            }),
        }
        opened.routes.push(routes);
        opened.certificates.0.push(shown);
        tracing::info!(address = %listener.listen, serves = %listener.serves, "listening");
    }
    proxy::serve(core, doors, &on.calls)?;
    Ok(opened)
}

fn only_admin(listener: &Listener) -> bool {
    listener.serves.admin && !listener.serves.proxy && !listener.serves.connect
}

/// Whether whoever comes in there may end the process: where only operators on this machine do. (Behind a pipe, where TLS is,
/// the end of a connection says nothing of the client's.)
fn may_end(listener: &Listener) -> bool {
    only_admin(listener) && listener.tls.is_none() && listener.listen.is_local()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ListenerTls, Roles};

    #[test]
    fn only_operators_on_this_machine_may_end_it() {
        let admin = Roles { proxy: false, connect: false, admin: true };
        let at = |text: &str, serves| Listener { listen: Listen::Tcp(text.parse().unwrap()), serves, tls: None };
        for local in ["127.0.0.1:9090", "127.8.8.8:9090", "[::1]:9090"] {
            assert!(may_end(&at(local, admin)), "{local}");
        }
        for reachable in ["0.0.0.0:9090", "[::]:9090", "10.1.2.3:9090", "[fd00::1]:9090"] {
            assert!(!may_end(&at(reachable, admin)), "{reachable}");
        }
        assert!(may_end(&Listener {
            listen: Listen::Unix { path: "/run/v.sock".into(), mode: 0o660 },
            ..at("[::1]:1", admin)
        }));
        for shared in [
            Roles { proxy: true, ..admin },
            Roles { connect: true, ..admin },
            Roles { admin: false, proxy: true, connect: true },
        ] {
            assert!(!may_end(&at("127.0.0.1:9090", shared)), "{shared:?}");
        }
        let tls = Some(ListenerTls { certificate: "c".into(), key: "k".into() });
        assert!(!may_end(&Listener { tls, ..at("127.0.0.1:9090", admin) }));
    }
}
