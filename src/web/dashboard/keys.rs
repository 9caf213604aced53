//! API keys on the dashboard: storing one, replacing it, taking it away, and the prompt to connect instead. A key goes in
//! and is never shown again, not even in part.

use axum::response::Response;
use http::StatusCode;

use super::target::{Answered, Pressed, Question, Target};
use crate::{
    clock::Timestamp,
    config::ApiKeyPhase,
    connection::{KeyFacts, LABELS_MAX},
    consent::Reach,
    provider::Service,
    secret::SecretString,
    words::{Shown, Texts},
};

/// What an entry says of keys.
pub(super) struct KeyPlace {
    /// Whether there is a form to store one.
    pub offered: bool,
    /// Whether one is stored.
    pub stored: bool,
    /// Whether it lies unused beside a grant that works.
    pub beside: bool,
    /// The way away from it.
    pub prompt: Option<Prompt>,
}

/// Why to connect instead, and until when.
pub(super) struct Prompt {
    pub until: Option<String>,
    pub benefits: Vec<String>,
}

impl KeyPlace {
    pub fn of(service: &Service, key: Option<KeyFacts>, shown: Shown, t: &'static dyn Texts, now: Timestamp) -> Self {
        let phase = service.api_keys.phase_at(now);
        let granted = matches!(shown, Shown::Connected | Shown::NeedsMore | Shown::Pending);
        let leads_away = matches!(phase, ApiKeyPhase::Encouraged | ApiKeyPhase::Deprecated);
        let prompt = leads_away && shown == Shown::ApiKey && service.oauth.is_some();
        Self {
            offered: service.offers_keys && phase != ApiKeyPhase::Retired && !granted,
            stored: key.is_some(),
            beside: key.is_some() && matches!(shown, Shown::Connected | Shown::NeedsMore),
            prompt: prompt.then(|| Prompt::of(service, t)),
        }
    }
}

impl Prompt {
    fn of(service: &Service, t: &'static dyn Texts) -> Self {
        let own = &service.api_keys.benefits;
        let benefits =
            if own.is_empty() { t.key_benefits().iter().map(|text| (*text).to_owned()).collect() } else { own.clone() };
        let until = service.api_keys.retire_on.map(|day| t.migrate_until(&service.title, &t.day(day)));
        Self { until, benefits }
    }
}

/// `POST /dashboard/api-key`.
pub(super) async fn store(Pressed { target, form }: Pressed) -> Response {
    let (t, service) = (target.visit.t, &target.service);
    if service.api_keys.is_retired(target.state().now()) {
        return target.wrong(StatusCode::FORBIDDEN, &t.keys_retired(&service.title));
    }
    // Blanks around it come from copying.
    let key = SecretString::from(form.get("api_key").unwrap_or_default().trim().to_owned());
    if !service.takes_key(&key) {
        return target.wrong(StatusCode::BAD_REQUEST, &t.key_bad());
    }
    match target.state().parts.connections.manager.has_room(&target.id).await {
        Ok(true) => {}
        Ok(false) => return target.wrong(StatusCode::BAD_REQUEST, &t.too_many_labels(&service.title, LABELS_MAX)),
        Err(_) => return target.unavailable(),
    }
    match target.state().parts.connections.api_keys.store(&target.id, &key, &target.visit.cause).await {
        Ok(()) => {
            follow(&target).await;
            target.done("key_stored")
        }
        Err(_) => target.unavailable(),
    }
}

/// A session that reaches one connection only goes along where a key began one, or ended it.
async fn follow(target: &Target) {
    let Reach::Only { made, .. } = &target.visitor.reach else { return };
    let Ok(there) = target.state().parts.connections.manager.get(&target.id).await else { return };
    let now = there.and_then(|there| there.connected_at).map(Timestamp::millis);
    if made.is_none() || now.is_none() {
        target.follow(target.id.account.clone(), now).await;
    }
}

fn missing(target: &Target) -> Response {
    target.wrong(StatusCode::NOT_FOUND, &target.visit.t.key_missing())
}

/// `GET /dashboard/api-key/remove?service=&account=`: asks first.
pub(super) async fn ask(target: Target) -> Answered {
    match target.state().parts.connections.manager.get(&target.id).await {
        Ok(Some(connection)) if connection.api_key.is_some() => {}
        Ok(_) => return Err(missing(&target)),
        Err(_) => return Err(target.unavailable()),
    }
    let (t, about) = (target.visit.t, target.about());
    let question = Question {
        action: "/dashboard/api-key/remove",
        heading: t.key_remove_heading(about.service),
        body: t.key_remove_body(about, target.id.account.as_str()),
        button: t.key_remove().to_owned(),
    };
    target.confirm(question).await
}

/// `POST /dashboard/api-key/remove`.
pub(super) async fn remove(Pressed { target, .. }: Pressed) -> Response {
    match target.state().parts.connections.api_keys.remove(&target.id, &target.visit.cause).await {
        Ok(true) => {
            follow(&target).await;
            target.done("key_removed")
        }
        Ok(false) => missing(&target),
        Err(_) => target.unavailable(),
    }
}
