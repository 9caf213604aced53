//! One configuration as calls see it: who is believed, what there is to call, and what is made ready for that. A request reads
//! it once, when it begins, and ends with it; a new one takes its place whole. Never changes, and holds no caller.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::HeaderName;
use pingora::proxy::Session;

use crate::{
    caller::Callers,
    config::{self, Limits},
    consent::Consent,
    id::ServiceName,
    provider::{Service, Services},
    telemetry::{Metrics, metrics::ServiceMetrics, trace::Share},
};

use super::{
    forwarded::{Trusted, peer},
    upstream::{BadCertificate, Destination},
};

/// What the configuration says that calls go by; `serve` hands it in.
pub struct Settings {
    /// Who is believed.
    pub callers: Arc<Callers>,
    /// How people connect.
    pub consent: Arc<Consent>,
    /// What there is to call.
    pub services: Arc<Services>,
    /// Limits on requests.
    pub limits: Limits,
    /// Whose word counts for where a request came from.
    pub trusted: Trusted,
    /// The cookie that proves to Valetkey's pages who the application's user is: no service's to read or to set.
    pub session_cookie: Option<String>,
    /// What is told of calls.
    pub telling: Telling,
}

/// What the configuration says is told.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// Of which part of calls.
    pub share: Share,
    /// Whether anybody takes traces.
    pub traces: bool,
    /// Whether answers say how long what took.
    pub server_timing: bool,
}

impl From<&config::Telemetry> for Telling {
    fn from(telemetry: &config::Telemetry) -> Self {
        Self {
            share: Share::new(telemetry.sample),
            traces: telemetry.otlp.is_some(),
            server_timing: telemetry.server_timing,
        }
    }
}

/// The settings, and what follows from them.
pub struct Generation {
    /// The settings.
    pub settings: Settings,
    routes: Routes,
}

/// The services by name. The names are the operator's, so nobody can make them collide; the names that are asked for only
/// cost their own look-up.
type Routes = HashMap<ServiceName, Arc<Route>, quick_cache::DefaultHashBuilder>;

/// A service, and what is made ready for its calls.
pub struct Route {
    /// The service.
    pub service: Arc<Service>,
    /// The headers that carry credentials, as they are written.
    written: [(HeaderName, Bytes); 2],
    /// Where it lies, and how it is spoken to.
    pub destination: Destination,
    /// Where its calls are counted.
    pub metrics: Arc<ServiceMetrics>,
    /// Whether its provider's answers have to be read for signs of a dead token.
    pub judged_by_body: bool,
}

impl Generation {
    /// Reads the services' certificates and makes everything ready. Of services that are no other than in `previous`, what is known
    /// of their upstreams is kept.
    ///
    /// # Errors
    /// The service whose certificates can't be used, and why.
    pub fn new(
        settings: Settings,
        metrics: &Metrics,
        previous: Option<&Self>,
    ) -> Result<Self, (ServiceName, BadCertificate)> {
        let mut routes = Routes::default();
        for service in settings.services.iter() {
            let kept = previous.and_then(|previous| previous.routes.get(&service.name));
            let route = match kept.filter(|kept| Arc::ptr_eq(&kept.service, service)) {
                Some(kept) => Arc::clone(kept),
                None => Arc::new(Route::new(service, metrics).map_err(|bad| (service.name.clone(), bad))?),
            };
            routes.insert(service.name.clone(), route);
        }
        Ok(Self { settings, routes })
    }

    /// The address that a request came from, as far as somebody trusted knows it.
    pub(super) fn client(&self, session: &Session) -> IpAddr {
        self.settings.trusted.told(&session.req_header().headers, peer(session)).address
    }

    /// The way to a service.
    pub fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.get(name)
    }
}

impl Route {
    fn new(service: &Arc<Service>, metrics: &Metrics) -> Result<Self, BadCertificate> {
        Ok(Self {
            service: Arc::clone(service),
            written: [service.inject.header(), service.api_key.header()]
                .map(|name| (name.clone(), Bytes::from(name.as_str().to_owned()))),
            destination: Destination::new(service, &service.upstream)?,
            metrics: metrics.service(&service.name),
            judged_by_body: service.signs.look_at_bodies(),
        })
    }

    /// A header's name as it is written to the upstream; ready for those that carry credentials.
    pub fn written(&self, name: &HeaderName) -> Bytes {
        match self.written.iter().find(|(known, _)| known == name) {
            Some((_, written)) => written.clone(),
            None => Bytes::copy_from_slice(name.as_str().as_bytes()),
        }
    }
}
