//! Wires notices: links come from `consent`, titles from `provider`, the application's name from the configuration.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use crate::{
    clock::Clock,
    config::Config,
    connection::Roots,
    consent::{Consent, Wish},
    events::{About, Link, Surroundings},
    id::{ConnectionId, Issuer},
    provider::Services,
    secret::SecretString,
    vault::Root,
};

/// What notices say beside the bare events.
pub struct Around {
    roots: Roots,
    consent: Arc<Consent>,
    services: Arc<Services>,
    application: String,
    applications: BTreeMap<Issuer, String>,
    dashboard: String,
    clock: Clock,
}

impl Around {
    /// Puts it together.
    pub fn new(config: &Config, roots: Roots, consent: Arc<Consent>, services: Arc<Services>, clock: Clock) -> Self {
        let named = |issuer: &crate::config::CallerIssuer| Some((issuer.issuer.clone(), issuer.application.clone()?));
        Self {
            roots,
            consent,
            services,
            application: config.application.clone(),
            applications: config.callers.iter().rev().filter_map(named).collect(),
            dashboard: format!("{}/dashboard", config.public_url.as_str().trim_end_matches('/')),
            clock,
        }
    }
}

#[async_trait]
impl Surroundings for Around {
    async fn root(&self) -> Option<Arc<Root>> {
        self.roots.get().await.ok()
    }

    async fn about(&self, connection: &ConnectionId, scopes: &[String], name: Option<&str>) -> Option<About> {
        let own = self.applications.get(&connection.caller.issuer);
        let application = own.unwrap_or(&self.application).clone();
        let Some(service) = self.services.get(connection.service.as_str()) else {
            // No longer configured: there is nothing that the person could do.
            let service = connection.service.to_string();
            return Some(About { application, service, link: None });
        };
        let link = if service.oauth.is_some() {
            let wish = Wish {
                caller: &connection.caller,
                name,
                application: own.map(String::as_str),
                service,
                account: &connection.account,
                scopes,
                return_to: None,
            };
            let now = self.clock.now();
            let link = self.consent.links.notification_link(&wish, now).await.ok()?;
            let expires_at = now.plus(std::time::Duration::from_secs(link.expires_in));
            Link { url: SecretString::new(link.url), expires_at: Some(expires_at) }
        } else {
            Link { url: SecretString::from(self.dashboard.as_str()), expires_at: None }
        };
        Some(About { application, service: service.title.clone(), link: Some(link) })
    }
}
