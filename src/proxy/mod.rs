//! The proxy: Pingora carries the bytes, this module decides. Owns how a request's head is read (`target`, `call`), what
//! passes in both directions (`scrub`, `cookies`, `rewrite`), how upstreams are reached (`upstream`, `streams`), when an answer
//! means a dead credential (`answer`, `peek`), what one configuration means for calls (`generation`), and how the process stops
//! (`drain`). `phases` is the story of a request, in
//! Pingora's order, each a few lines. Never parses or writes HTTP itself, never sees a refresh token, and knows nothing of
//! pages: requests that are not for `/proxy/` go to whoever `serve` put behind the pipe.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    clock::Clock,
    config::Roles,
    connection::{Connections, Unusable},
    consent::RefusedCall,
    id::ServiceName,
    refusal::Refusal,
    telemetry::{Metrics, RequestIds, metrics::ServiceMetrics, trace::Tracer},
};

mod acting;
mod admit;
mod answer;
mod call;
mod certificate;
mod context;
mod cookies;
mod deadline;
mod drain;
mod findings;
mod forward;
mod forwarded;
mod generation;
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
mod timing;
mod told;
mod traits;
mod upstream;
mod vary;
mod wording;

pub use certificate::{Certificate, Shown};
pub use drain::{Drain, ListenerLost};
pub use forwarded::Trusted;
pub use generation::{Generation, Settings, Telling};
pub use rate::Rates;
pub use server::{Door, ServeError, serve};
pub use streams::ServePipe;
pub use upstream::BadCertificate;

use call::Call;

/// What all doors share: the parts, what is kept beside them, and what calls go by now.
pub struct Core {
    parts: Parts,
    rates: Rates,
    generation: ArcSwap<Generation>,
    /// Counts what reaches no service.
    nowhere: Arc<ServiceMetrics>,
}

/// What stays for as long as the process lives; `serve` hands it in.
pub struct Parts {
    /// What calls carry.
    pub connections: Connections,
    /// The time.
    pub clock: Clock,
    /// Names of requests.
    pub request_ids: RequestIds,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Chooses the calls that are told of, and takes their traces.
    pub tracer: Arc<Tracer>,
    /// Whether the process is stopping.
    pub drain: Drain,
}

impl Core {
    /// Takes the parts over, and begins with these settings.
    ///
    /// # Errors
    /// The service whose certificates can't be used, and why.
    pub fn new(parts: Parts, settings: Settings) -> Result<Self, (ServiceName, BadCertificate)> {
        let generation = ArcSwap::from_pointee(Generation::new(settings, &parts.metrics, None)?);
        let nowhere = parts.metrics.no_service();
        Ok(Self { parts, rates: Rates::default(), generation, nowhere })
    }

    /// Makes other settings ready, without putting them in force.
    ///
    /// # Errors
    /// The service whose certificates can't be used, and why.
    pub fn prepare(&self, settings: Settings) -> Result<Generation, (ServiceName, BadCertificate)> {
        Generation::new(settings, &self.parts.metrics, Some(&self.generation.load()))
    }

    /// From now on calls begin with these. Those in flight end with what they began with.
    pub fn put_in_force(&self, generation: Generation) {
        self.generation.store(Arc::new(generation));
    }

    /// What a request that begins now goes by. Read once a request.
    fn now(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// The answer for a call that gets no credential; with the connect link where one helps.
    async fn refusal(&self, call: &Call, unusable: &Unusable) -> Refusal {
        let Call { caller, route, generation, .. } = call;
        let service = &route.service;
        let scopes = &service.scopes_beside_its_own(Some(call.operation()), &call.scopes);
        let application = generation.settings.callers.application(&caller.id.issuer);
        let refused = RefusedCall { caller, application, service, scopes };
        let remedy = generation.settings.consent.links.remedy(unusable, &refused, self.parts.clock.now()).await;
        Refusal::no_credential(service, &remedy)
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
