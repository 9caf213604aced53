//! The proxy: Pingora carries the bytes, this module decides. Owns how a request's head is read (`target`, `call`), what
//! passes in both directions (`scrub`, `rewrite`), how upstreams are reached (`upstream`, `dns`, `streams`), when an answer
//! means a dead credential (`answer`, `peek`), and how the process stops (`drain`). `phases` is the story of a request, in
//! Pingora's order, each a few lines. Never parses or writes HTTP itself, never sees a refresh token, and knows nothing of
//! pages: requests that are not for `/proxy/` go to whoever `serve` put behind the pipe.

use std::sync::Arc;

use crate::{
    caller::Callers,
    clock::Clock,
    config::{Limits, Roles},
    connection::{Connections, Reason, Unusable},
    consent::{Consent, Wish},
    id::{Account, ServiceName},
    provider::Services,
    refusal::{About, Refusal},
    telemetry::{Metrics, RequestIds, metrics::ServiceMetrics},
};

mod answer;
mod call;
mod context;
mod dns;
mod drain;
mod guard;
mod peek;
mod phases;
mod policy;
mod rate;
mod refuse;
mod rewrite;
mod scrub;
mod server;
mod streams;
pub mod target;
mod upstream;

pub use drain::Drain;
pub use rate::Rates;
pub use server::{Door, ServeError, serve};
pub use streams::ServePipe;
pub use upstream::BadCertificate;

use call::Call;
use dns::Names;
use upstream::Tls;

/// What all doors share.
pub struct Core {
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
    /// The time.
    pub clock: Clock,
    /// Names of requests.
    pub request_ids: RequestIds,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the process is stopping.
    pub drain: Drain,
    rates: Rates,
    names: Names,
    reached: std::collections::HashMap<ServiceName, Reached>,
}

/// What is kept for each service beside its facts.
struct Reached {
    tls: Tls,
    metrics: ServiceMetrics,
}

/// The parts that [`Core::new`] takes over as they are.
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
    /// The time.
    pub clock: Clock,
    /// Names of requests.
    pub request_ids: RequestIds,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the process is stopping.
    pub drain: Drain,
}

impl Core {
    /// Reads the services' certificates and takes the parts over.
    ///
    /// # Errors
    /// The service whose certificates can't be used, and why.
    pub fn new(parts: Parts) -> Result<Self, (ServiceName, BadCertificate)> {
        let mut reached = std::collections::HashMap::new();
        for service in parts.services.iter() {
            let tls = Tls::read(service).map_err(|bad| (service.name.clone(), bad))?;
            let metrics = parts.metrics.service(&service.name);
            reached.insert(service.name.clone(), Reached { tls, metrics });
        }
        let Parts { callers, connections, consent, services, limits, clock, request_ids, metrics, drain } = parts;
        let (rates, names) = (Rates::default(), Names::default());
        Ok(Self {
            callers,
            connections,
            consent,
            services,
            limits,
            clock,
            request_ids,
            metrics,
            drain,
            rates,
            names,
            reached,
        })
    }

    /// The answer for a call that gets no credential; makes the connect link where one helps.
    async fn refusal(&self, call: &Call, unusable: &Unusable) -> Refusal {
        match unusable {
            Unusable::AuthRequired { reason, account } => self.auth_required(call, *reason, account).await,
            Unusable::MissingScopes { scopes, account } => self.missing_scopes(call, scopes, account).await,
            Unusable::AccountRequired { accounts } => Refusal::account_required(&call.service.title, accounts),
            Unusable::RefreshFailed => Refusal::refresh_failed(&call.service.title),
            Unusable::Unavailable(unavailable) => Refusal::from(*unavailable),
        }
    }

    async fn auth_required(&self, call: &Call, reason: Reason, account: &Account) -> Refusal {
        match self.link(call, account, &call.scopes).await {
            Ok(link) => Refusal::auth_required(about(call, account), reason, &link),
            Err(refusal) => refusal,
        }
    }

    async fn missing_scopes(&self, call: &Call, scopes: &[String], account: &Account) -> Refusal {
        match self.link(call, account, scopes).await {
            Ok(link) => Refusal::additional_scopes_required(about(call, account), scopes, &link),
            Err(refusal) => refusal,
        }
    }

    async fn link(&self, call: &Call, account: &Account, scopes: &[String]) -> Result<crate::consent::Link, Refusal> {
        let name = ["name", "email", "preferred_username"];
        let wish = Wish {
            caller: &call.caller.id,
            name: name.iter().find_map(|claim| call.caller.claims.get(*claim)?.as_str()),
            application: call.caller.application.as_deref(),
            service: &call.service,
            account,
            scopes,
            return_to: None,
        };
        self.consent.link(&wish, self.clock.now()).await.map_err(Refusal::from)
    }
}

fn about<'a>(call: &'a Call, account: &'a Account) -> About<'a> {
    About { service: &call.service.name, title: &call.service.title, account }
}

/// One listener's view of it all.
#[derive(Clone)]
struct Gate {
    core: Arc<Core>,
    serves: Roles,
    encrypted: bool,
    own_routes: Arc<streams::OwnRoutes>,
    deadlines: Arc<guard::Deadlines>,
}
