//! The listeners, and who serves what comes in there. The admin listener is up first and last, in the background; those that
//! carry calls are Pingora's, on the runtime for calls.

use std::{net::TcpListener, sync::Arc};

use super::{Error, runtimes::Handles};
use crate::{config::Listener, proxy, web};

/// Opens the doors; gives each one's own routes, which can be replaced.
///
/// # Errors
/// Where an address can't be listened on, or a certificate can't be used.
pub fn open(
    listeners: &[Listener],
    core: &Arc<proxy::Core>,
    state: &Arc<web::State>,
    on: &Handles,
) -> Result<Vec<Arc<web::Routes>>, Error> {
    let (mut doors, mut all) = (Vec::new(), Vec::new());
    for listener in listeners {
        let routes = web::Routes::new(Arc::clone(state), listener.serves);
        let only_admin = listener.serves.admin && !listener.serves.proxy && !listener.serves.connect;
        if only_admin && listener.tls.is_none() {
            let failed = |error| Error::Listen(listener.address, error);
            on.background.block_on(routes.listen(listener.address)).map_err(failed)?;
        } else {
            doors.push(proxy::Door {
                address: listener.address,
                serves: listener.serves,
                tls: listener.tls.clone(),
                own_routes: routes.behind_a_pipe(on.background.clone()),
            });
        }
        all.push(routes);
        tracing::info!(address = %listener.address, serves = %listener.serves, "listening");
    }
    proxy::serve(core, doors, &on.calls)?;
    Ok(all)
}

/// Pingora would panic on an address that is taken.
///
/// # Errors
/// The first address that can't be listened on.
pub fn check_addresses(listeners: &[Listener]) -> Result<(), Error> {
    for listener in listeners {
        TcpListener::bind(listener.address).map_err(|error| Error::Listen(listener.address, error))?;
    }
    Ok(())
}
