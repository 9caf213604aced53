//! The proxy: Pingora carries the bytes, this module decides. Owns how a request's head is read (`target`, `call`), what
//! passes in both directions (`scrub`, `cookies`, `rewrite`), how upstreams are reached (`upstream`, `streams`), when an answer
//! means a dead credential (`answer`, `peek`), and how the process stops (`drain`). `phases` is the story of a request, in
//! Pingora's order, each a few lines. Never parses or writes HTTP itself, never sees a refresh token, and knows nothing of
//! pages: requests that are not for `/proxy/` go to whoever `serve` put behind the pipe.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::HeaderName;

use crate::{
    caller::Callers,
    clock::Clock,
    config::{Limits, Roles},
    connection::{Connections, Unusable},
    consent::Consent,
    dns::Name,
    id::ServiceName,
    provider::{Service, Services},
    refusal::{Refusal, Remedies},
    telemetry::{Metrics, RequestIds, metrics::ServiceMetrics},
};

mod admit;
mod answer;
mod call;
mod context;
mod cookies;
mod deadline;
mod drain;
mod findings;
mod forward;
mod forwarded;
mod guard;
mod lines;
mod methods;
mod patience;
mod peek;
mod phases;
mod rate;
mod ready;
mod refuse;
pub mod rewrite;
mod scrub;
mod server;
mod streams;
pub mod target;
mod traits;
mod upstream;
mod wording;

pub use drain::{Drain, ListenerLost};
pub use forwarded::Trusted;
pub use rate::Rates;
pub use server::{Door, ServeError, serve};
pub use streams::ServePipe;
pub use upstream::BadCertificate;

use call::Call;
use upstream::Destination;

/// What all doors share: the parts, and what is kept beside them.
pub struct Core {
    parts: Parts,
    rates: Rates,
    routes: Routes,
    /// Counts what reaches no service.
    nowhere: ServiceMetrics,
}

/// The services by name. The names are the operator's, so nobody can make them collide; the names that are asked for only
/// cost their own look-up.
type Routes = HashMap<ServiceName, Arc<Route>, quick_cache::DefaultHashBuilder>;

/// A service, and what is made ready for its calls.
struct Route {
    service: Arc<Service>,
    /// The headers that carry credentials, as they are written.
    written: [(HeaderName, Bytes); 2],
    destination: Destination,
    metrics: ServiceMetrics,
    /// Whether its provider's answers have to be read for signs of a dead token.
    judged_by_body: bool,
}

impl Route {
    /// A header's name as it is written to the upstream; ready for those that carry credentials.
    fn written(&self, name: &HeaderName) -> Bytes {
        match self.written.iter().find(|(known, _)| known == name) {
            Some((_, written)) => written.clone(),
            None => Bytes::copy_from_slice(name.as_str().as_bytes()),
        }
    }
}

/// What `serve` hands in.
pub struct Parts {
    /// Who calls.
    pub callers: Arc<Callers>,
    /// With what.
    pub connections: Connections,
    /// How people connect.
    pub consent: Arc<Consent>,
    /// To what.
    pub services: Arc<Services>,
    /// Limits on requests.
    pub limits: Limits,
    /// Whose word counts for where a request came from.
    pub trusted: Trusted,
    /// The cookie that proves to Valetkey's pages who the application's user is: no service's to read or to set.
    pub session_cookie: Option<String>,
    /// The time.
    pub clock: Clock,
    /// Names of requests.
    pub request_ids: RequestIds,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the process is stopping.
    pub drain: Drain,
}

impl std::ops::Deref for Core {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Core {
    /// Reads the services' certificates and takes the parts over.
    ///
    /// # Errors
    /// The service whose certificates can't be used, and why.
    pub fn new(parts: Parts) -> Result<Self, (ServiceName, BadCertificate)> {
        let mut routes = Routes::default();
        for service in parts.services.iter() {
            let route = Route {
                service: Arc::clone(service),
                written: [service.inject.header(), service.api_key.header()]
                    .map(|name| (name.clone(), Bytes::from(name.as_str().to_owned()))),
                destination: Destination::new(service, &service.upstream).map_err(|bad| (service.name.clone(), bad))?,
                metrics: parts.metrics.service(&service.name),
                judged_by_body: service.signs.look_at_bodies(),
            };
            routes.insert(service.name.clone(), Arc::new(route));
        }
        let nowhere = parts.metrics.no_service();
        Ok(Self { parts, rates: Rates::default(), routes, nowhere })
    }

    /// The answer for a call that gets no credential; with the connect link where one helps.
    async fn refusal(&self, call: &Call, unusable: &Unusable) -> Refusal {
        let Call { caller, route, scopes, .. } = call;
        let service = &route.service;
        if let Unusable::MissingScopes { scopes, account } = unusable {
            self.connections.resolver.lacks_scopes(&caller.id, service, account, scopes);
        }
        let application = self.callers.application(&caller.id.issuer);
        Remedies { consent: &self.consent, caller, application, service, scopes }
            .refuse(unusable, self.clock.now())
            .await
    }
}

/// One listener's view of it all.
#[derive(Clone)]
struct Gate {
    core: Arc<Core>,
    serves: Roles,
    encrypted: bool,
    own_routes: Arc<streams::OwnRoutes>,
    deadlines: Arc<deadline::Deadlines>,
}
