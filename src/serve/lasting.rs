//! What lives as long as the process, and how a generation is made with it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    Error,
    generation::{Current, Generation},
    health::Probe,
    heart::Heart,
    notices::Around,
    runtimes::Handles,
    traces::Collector,
};
use crate::{
    caller::Callers,
    clock::Clock,
    config::Config,
    consent::{self, Consent, Funnel},
    events::Contacts,
    provider::{Loaded, Services},
    telemetry::{Metrics, RequestIds},
    trends::Trends,
    web,
};

/// What lives as long as the process, and generations are made with.
pub struct Lasting {
    /// Connections and what they stand on.
    pub heart: Heart,
    /// The generation in force.
    pub current: Current,
    /// Counts how far attempts to connect come.
    pub funnel: Funnel,
    /// What notices say.
    pub around: Arc<Around>,
    /// How the process is.
    pub health: Arc<Probe>,
    /// Where traces go.
    pub collector: Collector,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How things went, by the day.
    pub trends: Arc<Trends>,
    /// Names pages' requests.
    pub request_ids: Arc<RequestIds>,
    /// Cancelled: the process drains and ends.
    pub stop: CancellationToken,
    /// Where tasks run.
    pub on: Handles,
}

impl Lasting {
    /// Makes a configuration real, in place of `before`: issuers that haven't changed keep their keys, and where none has,
    /// also the callers that they vouched for.
    ///
    /// # Errors
    /// An issuer that can't be believed as configured.
    pub fn generation(&self, loaded: Loaded, before: Option<&Generation>) -> Result<Generation, Error> {
        let Loaded { config, services, .. } = loaded;
        let (callers, contacts) = match before.filter(|before| believes_as(&config, &before.config)) {
            Some(before) => (Arc::clone(&before.callers), before.contacts.clone()),
            None => self.callers(&config, before)?,
        };
        let services = match before {
            Some(before) => Arc::new(Services::clone(&services).in_place_of(&before.services)),
            None => services,
        };
        let consent = Arc::new(Consent::new(
            self.heart.roots.clone(),
            Arc::clone(&self.heart.store),
            Arc::clone(&self.heart.oauth),
            self.heart.connections.clone(),
            self.funnel.clone(),
            consent::Settings { public_url: config.public_url.clone(), connect: config.connect.clone() },
        ));
        Ok(Generation { config, services, callers, contacts, consent })
    }

    fn callers(&self, config: &Config, before: Option<&Generation>) -> Result<(Arc<Callers>, Contacts), Error> {
        let background = self.on.background.clone();
        let issuers = if config.notifications.email.is_some() { config.callers.as_slice() } else { &[] };
        let contacts = Contacts::new(
            issuers,
            config.cache.callers,
            Arc::clone(&self.heart.store),
            Arc::clone(&self.around) as _,
            self.clock.clone(),
            background.clone(),
        );
        let (remembered, outbound) = (config.cache.callers, self.heart.outbound.clone());
        let callers = match before {
            Some(before) => before.callers.replaced(&config.callers, remembered, outbound, background)?,
            None => Callers::new(&config.callers, remembered, outbound, background)?,
        };
        let noting = contacts.clone();
        let callers = callers
            .no_longer_than(config.limits.jwt_bytes)
            .counting(Arc::clone(&self.metrics))
            .telling(move |caller| noting.note(&caller.id, || caller.claims(), caller.expires_at));
        Ok((Arc::new(callers), contacts))
    }

    /// What pages go by.
    pub fn state(&self, generation: &Generation) -> Arc<web::State> {
        let config = &generation.config;
        Arc::new(web::State::new(web::Parts {
            consent: Arc::clone(&generation.consent),
            connections: self.heart.connections.clone(),
            failures: self.heart.failures(),
            services: Arc::clone(&generation.services),
            callers: Arc::clone(&generation.callers),
            contacts: generation.contacts.clone(),
            audit: self.heart.audit(),
            roots: self.heart.roots.clone(),
            trends: Arc::clone(&self.trends),
            operators: web::Operators::new(self.heart.roots.clone(), Arc::clone(&self.heart.store)),
            outbound: self.heart.outbound.clone(),
            metrics: Arc::clone(&self.metrics),
            health: Arc::clone(&self.health) as _,
            clock: self.clock.clone(),
            request_ids: Arc::clone(&self.request_ids),
            stop: self.stop.clone(),
            settings: web::Settings {
                public_url: config.public_url.clone(),
                application: config.application.clone(),
                brand: config.brand.clone(),
                confirm: config.connect.confirm,
                return_to: config.connect.return_to.clone(),
                session: config.connect.session.clone(),
                admin: config.admin.clone(),
                issuers: config.callers.iter().map(|issuer| issuer.issuer.clone()).collect(),
            },
        }))
    }
}

/// Whether both believe the same of the same issuers.
fn believes_as(one: &Config, other: &Config) -> bool {
    one.callers == other.callers && one.limits.jwt_bytes == other.limits.jwt_bytes
}
