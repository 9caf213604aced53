//! From the configuration's services to whole ones, with every problem told at once.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    BaseUrl, Inject, OAuth, ScopeFacts, Service, Upstream, base_url::endpoint, catalogue, inject::header_name, notice,
    overlay::overlay, verdict::Signs,
};
use crate::{
    config::{self, ApiKeyPhase, Config, Injection, Pkce, ProviderFields},
    id::ServiceName,
};

/// What is wrong with the configuration, and where. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as in `services.github.token_url`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// All services by name.
#[derive(Debug, Clone, Default)]
pub struct Services {
    by_name: BTreeMap<ServiceName, Arc<Service>>,
}

impl Services {
    /// Makes the configuration's services whole.
    ///
    /// # Errors
    /// All problems there are.
    pub fn resolve(config: &Config) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let fields: BTreeMap<&ServiceName, ProviderFields> = config
            .services
            .iter()
            .map(|(name, service)| (name, whole_fields(name, service, &config.services, &mut problems)))
            .collect();
        let clients: BTreeMap<&ServiceName, Option<Arc<OAuth>>> = config
            .services
            .iter()
            .filter(|(_, service)| service.connection.is_none())
            .map(|(name, service)| {
                let scopes = scopes_of_all(name, config, &fields);
                (name, client(name, service, &fields[name], scopes, &mut problems))
            })
            .collect();
        let mut by_name = BTreeMap::new();
        for (name, service) in &config.services {
            check_connection(name, service, &config.services, &mut problems);
            let owner = service.connection.as_ref().unwrap_or(name);
            let oauth = clients.get(owner).cloned().flatten();
            if let Some(mut resolved) = resolved(name, service, &fields[name], oauth, &mut problems) {
                resolved.api_keys.clone_from(&config.services.get(owner).unwrap_or(service).api_keys);
                resolved.offers_keys = offers_keys(&resolved, service, &fields[name]);
                resolved.key_notice = notice::headers(&resolved.api_keys, &config.public_url);
                by_name.insert(name.clone(), Arc::new(resolved));
            }
        }
        if problems.0.is_empty() { Ok(Self { by_name }) } else { Err(problems.0) }
    }

    /// A service by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(name)
    }

    /// The service that owns this one's connections: itself, mostly.
    pub fn owner(&self, service: &Service) -> Option<&Arc<Service>> {
        self.by_name.get(&service.owner)
    }

    /// All that share this one's connections, itself among them, in alphabetical order.
    pub fn sharing<'s>(&'s self, service: &'s Service) -> impl Iterator<Item = &'s Arc<Service>> {
        self.by_name.values().filter(move |other| other.owner == service.owner)
    }

    /// All services, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_name.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, service: &ServiceName, key: &str, message: impl Into<String>, hint: Option<String>) {
        let path = if key.is_empty() { format!("services.{service}") } else { format!("services.{service}.{key}") };
        self.0.push(Problem { path, message: message.into(), hint });
    }

    /// The value, or its problem on the list.
    fn take<T>(&mut self, service: &ServiceName, key: &str, result: Result<T, &'static str>) -> Option<T> {
        result.map_err(|message| self.add(service, key, message, None)).ok()
    }
}

/// The provider's or preset's fields, and the service's own over them.
fn whole_fields(
    name: &ServiceName,
    service: &config::Service,
    all: &BTreeMap<ServiceName, config::Service>,
    problems: &mut Problems,
) -> ProviderFields {
    let base = match &service.provider {
        Some(provider) => {
            let base = catalogue::fields_for(provider, name.as_str());
            if base.is_none() {
                let known: Vec<&str> = catalogue::names().collect();
                problems.add(name, "provider", "no such provider", Some(format!("known are {}", known.join(", "))));
            }
            base
        }
        None => catalogue::fields(name.as_str()),
    };
    let owner = service.connection.as_ref().and_then(|owner| Some((owner, all.get(owner)?)));
    match (base, owner) {
        (Some(base), _) => overlay(base, &service.fields),
        // Of an unknown name that shares a connection: as its owner, but for what tells them apart.
        (None, Some((owner_name, owner))) if service.provider.is_none() && owner.connection.is_none() => {
            let mut base = whole_fields(owner_name, owner, all, &mut Problems::default());
            (base.title, base.base_url, base.scopes, base.scope_rules) = (None, None, None, None);
            overlay(&base, &service.fields)
        }
        (None, _) => service.fields.clone(),
    }
}

/// The owner's scopes and those of every service that shares its connections, each once.
fn scopes_of_all(owner: &ServiceName, config: &Config, fields: &BTreeMap<&ServiceName, ProviderFields>) -> Vec<String> {
    let sharing = config.services.iter().filter(|(_, service)| service.connection.as_ref() == Some(owner));
    let names = std::iter::once(owner).chain(sharing.map(|(name, _)| name));
    let facts = ScopeFacts::new(&fields[owner]);
    let mut scopes: Vec<String> = Vec::new();
    for scope in names.filter_map(|name| fields[name].scopes.as_ref()).flatten() {
        let scope = facts.canonical(scope);
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

/// The OAuth client of a service that owns its connections; `None` where it has none, or where it is wrong.
fn client(
    name: &ServiceName,
    service: &config::Service,
    fields: &ProviderFields,
    scopes: Vec<String>,
    problems: &mut Problems,
) -> Option<Arc<OAuth>> {
    let Some(client_id) = service.client_id.clone() else {
        if service.client_secret.is_some() {
            problems.add(name, "client_secret", "is of no use without client_id", None);
        }
        if service.api_keys.phase == ApiKeyPhase::Retired {
            let hint = Some("give client_id, or take API keys".into());
            problems.add(name, "", "has no OAuth client and takes no API keys", hint);
        }
        return None;
    };
    let mut url = |key: &str, text: Option<&String>| {
        let text = text?;
        let client = utf8_percent_encode(&client_id, NON_ALPHANUMERIC).to_string();
        let text = text.replace("{client_id}", &client);
        problems.take(name, key, endpoint(&text, service.allow_plain_http))
    };
    let authorize_url = url("authorize_url", fields.authorize_url.as_ref());
    let token_url = url("token_url", fields.token_url.as_ref());
    let refresh_url = url("refresh_url", fields.refresh_url.as_ref());
    let revoke_url = url("revoke_url", fields.revoke_url.as_ref());
    let userinfo_url = url("userinfo_url", fields.userinfo_url.as_ref());
    for (key, given) in [("authorize_url", &fields.authorize_url), ("token_url", &fields.token_url)] {
        if given.is_none() {
            problems.add(name, key, "is missing", Some("an OAuth client needs it; or name a provider".into()));
        }
    }
    for scope in &scopes {
        if super::scopes::words(scope) != [scope.as_str()] {
            problems.add(name, "scopes", "a scope has spaces, commas or other characters that no scope has", None);
        }
    }
    let inject = Inject::parse(&fields.inject.clone().unwrap_or_default()).ok()?;
    let errors = fields.errors.clone().unwrap_or_default();
    Some(Arc::new(OAuth {
        client_secret: service.client_secret.clone(),
        client_auth: fields.client_auth.unwrap_or_default(),
        authorize_url: authorize_url?,
        refresh_url: refresh_url.or_else(|| token_url.clone())?,
        token_url: token_url?,
        revoke_url,
        revoke: fields.revoke.clone().unwrap_or_default(),
        userinfo_url,
        identity: fields.identity.clone().unwrap_or_default(),
        headers: fields.headers.iter().flatten().filter_map(|(name, value)| header(name, value).ok()).collect(),
        inject,
        issuer: fields.issuer.clone(),
        iss_in_response: fields.iss_in_response.unwrap_or_default(),
        scopes,
        scope_facts: ScopeFacts::new(fields),
        scope_param: fields.scope_param.clone().unwrap_or_else(|| "scope".into()),
        scope_separator: fields.scope_separator.clone().unwrap_or_else(|| " ".into()),
        pkce: fields.pkce.unwrap_or_default() == Pkce::S256,
        authorize_params: fields.authorize_params.clone().unwrap_or_default(),
        token_params: fields.token_params.clone().unwrap_or_default(),
        redirect_uri_on_refresh: fields.redirect_uri_on_refresh.unwrap_or_default(),
        token_objects: fields
            .token_answer
            .as_ref()
            .map(|answer| answer.objects.clone())
            .filter(|objects| !objects.is_empty())
            .unwrap_or_else(|| vec![String::new()]),
        token_error: errors.token_error,
        invalid_grant: errors.invalid_grant,
        unavailable: errors.unavailable,
        allow_plain_http: service.allow_plain_http,
        client_id,
    }))
}

fn resolved(
    name: &ServiceName,
    service: &config::Service,
    fields: &ProviderFields,
    oauth: Option<Arc<OAuth>>,
    problems: &mut Problems,
) -> Option<Service> {
    let base = match &fields.base_url {
        Some(text) => problems.take(name, "base_url", BaseUrl::parse(text, service.allow_plain_http)),
        None => {
            problems.add(name, "base_url", "is missing", base_url_hint(service));
            None
        }
    };
    let inject = fields.inject.clone().unwrap_or_default();
    let mut parse = |key: &str, injection: &Injection| problems.take(name, key, Inject::parse(injection));
    let inject = parse("inject", &inject);
    let api_key = match &fields.api_key {
        Some(api_key) => parse("api_key", api_key),
        None => inject.clone(),
    };
    let mut headers = Vec::new();
    for (header_name, value) in fields.headers.iter().flatten() {
        let checked = problems.take(name, &format!("headers.{header_name}"), header(header_name, value));
        headers.extend(checked);
    }
    let signs = Signs::parse(fields.errors.as_ref())
        .map_err(|(key, message)| problems.add(name, &format!("errors.{key}"), message, None));
    Some(Service {
        name: name.clone(),
        title: fields.title.clone().unwrap_or_else(|| name.to_string()),
        provider: service.provider.clone(),
        owner: service.connection.clone().unwrap_or_else(|| name.clone()),
        upstream: Upstream::new(base?),
        oauth,
        inject: inject?,
        api_key: api_key?,
        api_keys: service.api_keys.clone(),
        offers_keys: false,
        key_notice: Vec::new(),
        headers,
        scopes: ScopeFacts::new(fields),
        signs: signs.ok()?,
        timeouts: service.timeouts,
        transport: service.upstream.clone(),
        response_cookies: service.response_cookies,
        rate_limit: service.rate_limit,
        policy: service.policy.clone(),
        limits: service.limits,
    })
}

/// A provider that has keys of its own says so; a custom service, and one whose keys the operator leads away from, has.
fn offers_keys(whole: &Service, written: &config::Service, fields: &ProviderFields) -> bool {
    let led_away = matches!(whole.api_keys.phase, ApiKeyPhase::Encouraged | ApiKeyPhase::Deprecated);
    whole.oauth.is_none() || written.provider.is_none() || fields.api_key.is_some() || led_away
}

fn check_connection(
    name: &ServiceName,
    service: &config::Service,
    all: &BTreeMap<ServiceName, config::Service>,
    problems: &mut Problems,
) {
    let Some(owner) = &service.connection else { return };
    match all.get(owner) {
        None => problems.add(name, "connection", "names no configured service", None),
        Some(found) if found.connection.is_some() => {
            let hint = Some("name the service that has the client; only one hop is followed".into());
            problems.add(name, "connection", "names a service that itself shares another's connection", hint);
        }
        Some(_) => {}
    }
    let client = [("client_id", service.client_id.is_some()), ("client_secret", service.client_secret.is_some())];
    for (key, _) in client.into_iter().filter(|(_, given)| *given) {
        let hint = Some("the client is that of the service whose connection is shared".into());
        problems.add(name, key, "has no effect together with `connection`", hint);
    }
}

fn base_url_hint(service: &config::Service) -> Option<String> {
    let presets: Vec<&str> = catalogue::presets(service.provider.as_deref()?).collect();
    (!presets.is_empty()).then(|| format!("give it, or use one of the provider's services: {}", presets.join(", ")))
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = header_name(name)?;
    let value = HeaderValue::from_str(value).map_err(|_| "holds characters that no header value has")?;
    Ok((name, value))
}
