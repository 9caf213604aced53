//! Wires notices: links come from `consent`, titles from `provider`, the application's name from the configuration.

use std::sync::Arc;

use async_trait::async_trait;

use super::generation::{Current, Generation};
use crate::{
    clock::Clock,
    connection::Roots,
    consent::Wish,
    events::{About, Link, Surroundings},
    id::ConnectionId,
    secret::SecretString,
    vault::Root,
};

/// What notices say beside the bare events, by the configuration in force.
pub struct Around {
    roots: Roots,
    current: Current,
    clock: Clock,
}

impl Around {
    /// Puts it together.
    pub fn new(roots: Roots, current: Current, clock: Clock) -> Self {
        Self { roots, current, clock }
    }
}

#[async_trait]
impl Surroundings for Around {
    async fn root(&self) -> Option<Arc<Root>> {
        self.roots.get().await.ok()
    }

    async fn about(&self, connection: &ConnectionId, scopes: &[String], name: Option<&str>) -> Option<About> {
        let generation = self.current.get()?;
        let Generation { config, services, callers, consent, .. } = generation.as_ref();
        let own = callers.application(&connection.caller.issuer);
        let application = own.unwrap_or(&config.application).to_owned();
        let Some(service) = services.get(connection.service.as_str()) else {
            // No longer configured: there is nothing that the person could do.
            let service = connection.service.to_string();
            return Some(About { application, service, link: None });
        };
        let link = if service.oauth.is_some() {
            let wish = Wish {
                caller: &connection.caller,
                name,
                application: own,
                service,
                account: &connection.account,
                scopes,
                return_to: None,
            };
            let now = self.clock.now();
            let link = consent.links.notification_link(&wish, now).await.ok()?;
            let expires_at = now.plus(std::time::Duration::from_secs(link.expires_in));
            Link { url: SecretString::new(link.url), expires_at: Some(expires_at) }
        } else {
            let dashboard = format!("{}/dashboard", config.public_url.as_str().trim_end_matches('/'));
            Link { url: SecretString::new(dashboard), expires_at: None }
        };
        Some(About { application, service: service.title.clone(), link: Some(link) })
    }
}
