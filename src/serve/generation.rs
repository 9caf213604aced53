//! A configuration made real: who is believed, what there is to connect to, how people connect. Replaced whole; whoever reads
//! it keeps it for one piece of work.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::{
    caller::Callers,
    config::{Config, SessionProof},
    consent::Consent,
    events::Contacts,
    provider::Services,
    proxy,
};

/// A configuration made real.
pub struct Generation {
    /// All but the services.
    pub config: Config,
    /// The services; those that are no other than before, the very same.
    pub services: Arc<Services>,
    /// Who is believed.
    pub callers: Arc<Callers>,
    /// Where callers can be reached.
    pub contacts: Contacts,
    /// How people connect.
    pub consent: Arc<Consent>,
}

/// The generation in force; none before the first. Cheap to clone.
#[derive(Clone, Default)]
pub struct Current(Arc<ArcSwapOption<Generation>>);

impl Current {
    /// What is in force now.
    pub fn get(&self) -> Option<Arc<Generation>> {
        self.0.load_full()
    }

    /// Puts a generation in force.
    pub fn set(&self, generation: Arc<Generation>) {
        self.0.store(Some(generation));
    }
}

impl Generation {
    /// What calls go by.
    pub fn settings(&self) -> proxy::Settings {
        proxy::Settings {
            callers: Arc::clone(&self.callers),
            consent: Arc::clone(&self.consent),
            services: Arc::clone(&self.services),
            limits: self.config.limits,
            trusted: proxy::Trusted::new(self.config.trusted_proxies.clone()),
            session_cookie: match &self.config.connect.session {
                Some(SessionProof::Cookie(name)) => Some(name.clone()),
                Some(SessionProof::Header(_) | SessionProof::CheckUrl(_)) | None => None,
            },
            telling: proxy::Telling::from(&self.config.telemetry),
        }
    }
}
