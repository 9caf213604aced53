//! From what the operator wrote of the services to whole ones: each checked and taken apart once, together with what its
//! provider brings, and every problem noted in the configuration's own report. The only resolver of a service.
//!
//! - `fields`: what a service is built on; `owners`: whose connections it uses
//! - `client`: its OAuth client; `vendor`: the API's facts, taken apart; `details`: limits, timeouts and TLS
//! - `api_keys`: the way from keys to OAuth; `rules`: policy and scope rules

use std::{collections::BTreeMap, sync::Arc};

use url::Url;

use super::{OAuth, Service, Services, Upstream, notice};
use crate::{
    config::{ApiKeyPhase, Config, Context, Draft, Limits, Path, RawService, finding},
    id::ServiceName,
};

mod api_keys;
mod client;
mod details;
mod fields;
mod owners;
mod rules;
mod vendor;

use client::Client;
use fields::Base;
use vendor::Vendor;

/// What all services have in common.
#[derive(Debug, Default)]
pub struct Common {
    limits: Limits,
    public_url: Option<Url>,
}

impl Common {
    fn of(config: &Config) -> Self {
        Self { limits: config.limits, public_url: Some(config.public_url.clone()) }
    }
}

/// Makes a draft's services whole. What is wrong goes into the draft's report, and is left out here.
pub fn resolve(draft: &mut Draft) -> Services {
    let common = draft.config().map(Common::of).unwrap_or_default();
    let (raw, mut cx) = draft.take_services();
    services(raw, &common, &mut cx)
}

/// The same of services alone.
pub fn services(raw: BTreeMap<String, RawService>, common: &Common, cx: &mut Context<'_>) -> Services {
    let path = Path::default().key("services");
    if raw.is_empty() && !cx.report.is_broken(&path) {
        cx.report.warning(&path, finding("There are no services: nothing can be called"));
    }
    let owners = owners::owners(&raw, &path, cx);
    let bases = fields::bases(&raw, &path, cx);
    let mut parts = Vec::new();
    for ((name, raw), base) in raw.into_iter().zip(bases) {
        let owner = owners.get(&name).cloned();
        parts.extend(part(&name, raw, base, owner, common, &path.key(&name), cx));
    }
    warn_of_shared_clients(&parts, &path, cx);
    joined(parts, common)
}

/// A service before it is joined with those that share its connection.
struct Part {
    service: Service,
    /// Its own OAuth client.
    client: Option<OAuth>,
    /// The scopes that it asks for itself.
    scopes: Vec<String>,
    /// Its API has keys of its own, or nobody but the operator knows.
    has_keys: bool,
}

fn part(
    written: &str,
    raw: RawService,
    base: Base,
    owner: Option<ServiceName>,
    common: &Common,
    path: &Path,
    cx: &mut Context<'_>,
) -> Option<Part> {
    let name = name(written, path, cx);
    let client = Client::of(&raw, base.provider.is_none(), path, cx);
    if raw.connection.is_some() && raw.api_keys.is_some() {
        let finding = finding("`api_keys` has no effect here: `connection` uses the other service's keys");
        cx.report.warning(&path.key("api_keys"), finding.hint("write it on the service that owns the connection"));
    }
    let client_secret = cx.secret(path, "client_secret", raw.client_secret, raw.client_secret_file);
    let base_url = base.fields.as_ref().and_then(|fields| fields.base_url.as_deref());
    let transport = details::upstream(raw.upstream, base_url, &path.key("upstream"), cx);
    let api_keys = api_keys::api_keys(raw.api_keys, &path.key("api_keys"), cx);
    let timeouts = details::timeouts(raw.timeouts, &path.key("timeouts"), cx);
    let rate_limit = raw.rate_limit.and_then(|raw| details::rate_limit(&raw, &path.key("rate_limit"), cx));
    let policy = rules::policy(raw.policy.unwrap_or_default(), &path.key("policy"), cx);
    let limits = details::limits(raw.limits.as_ref(), common.limits, &path.key("limits"), cx);

    let fields = base.fields?;
    if base.provider.is_none() && client.has_nothing_to_build_on(written, &fields, path, cx) {
        return None;
    }
    client.check(&fields, &api_keys, path, cx);
    vendor::check_written(&raw.fields, path, cx);
    let allow_plain_http = raw.allow_plain_http.unwrap_or_default();
    let provider = base.provider.as_deref();
    let vendor = Vendor::of(&fields, provider, raw.client_id.as_deref(), allow_plain_http, path, cx)?;
    let client = match raw.client_id {
        Some(id) if owner.is_none() => Some(client::oauth(id, client_secret, &fields, &vendor, allow_plain_http)?),
        _ => None,
    };
    let name = name?;
    Some(Part {
        client,
        has_keys: base.provider.is_none() || fields.api_key.is_some(),
        scopes: fields.scopes.clone().unwrap_or_default(),
        service: Service {
            title: fields.title.clone().unwrap_or_else(|| name.to_string()),
            provider: base.provider,
            owner: owner.unwrap_or_else(|| name.clone()),
            name,
            upstream: Upstream::new(vendor.base),
            base_url_env: fields.base_url_env.clone().unwrap_or_default(),
            oauth: None,
            inject: vendor.inject,
            api_key: vendor.api_key,
            api_keys,
            offers_keys: false,
            key_notice: Vec::new(),
            headers: vendor.headers,
            scopes: vendor.scopes,
            signs: vendor.signs,
            timeouts,
            transport,
            response_cookies: raw.response_cookies.unwrap_or_default(),
            trace_context: raw.trace_context.unwrap_or_default(),
            rate_limit,
            policy,
            limits,
        },
    })
}

fn name(written: &str, path: &Path, cx: &mut Context<'_>) -> Option<ServiceName> {
    match ServiceName::parse(written) {
        Ok(_) if written == "confirm" => {
            let taken = finding("`confirm` can't be the name of a service: `/connections/confirm` is a way of its own");
            cx.report.problem(path, taken.hint("give the service another name"));
            None
        }
        Ok(name) => Some(name),
        Err(malformed) => {
            cx.report.problem(path, finding(format!("This can't be the name of a service: {malformed}")));
            None
        }
    }
}

/// A provider may take what one of two services is given up with for both, and a second consent for the end of the first.
fn warn_of_shared_clients(parts: &[Part], services: &Path, cx: &mut Context<'_>) {
    for (at, part) in parts.iter().enumerate() {
        let Some(client) = &part.client else { continue };
        let is_same = |other: &&Part| other.client.as_ref().is_some_and(|other| other.is_same_client(client));
        let Some(other) = parts[..at].iter().find(is_same) else { continue };
        let other = &other.service.name;
        let finding =
            finding(format!("`{other}` has the same OAuth client: the provider may not tell their grants apart"));
        let hint = format!(
            "register a client of its own, or share one connection with `connection: {other}`; while somebody has both, \
             neither is revoked at the provider when it is disconnected"
        );
        cx.report.warning(&services.key(part.service.name.as_str()).key("client_id"), finding.hint(hint));
    }
}

/// Gives each service what it has of the one that owns its connections: client and API keys.
fn joined(mut parts: Vec<Part>, common: &Common) -> Services {
    let mut clients = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for at in 0..parts.len() {
        let client = parts[at].client.take();
        let owner = &parts[at].service;
        if owner.owner != owner.name {
            continue;
        }
        keys.insert(owner.name.clone(), owner.api_keys.clone());
        if let Some(mut client) = client {
            client.scopes = scopes_of_all(&client, &parts[at], &parts);
            clients.insert(owner.name.clone(), Arc::new(client));
        }
    }
    let whole = parts.into_iter().map(|Part { mut service, has_keys, .. }| {
        service.oauth = clients.get(&service.owner).cloned();
        if let Some(keys) = keys.get(&service.owner) {
            service.api_keys.clone_from(keys);
        }
        let led_away = matches!(service.api_keys.phase, ApiKeyPhase::Encouraged | ApiKeyPhase::Deprecated);
        service.offers_keys = service.oauth.is_none() || has_keys || led_away;
        service.key_notice =
            common.public_url.as_ref().map_or_else(Vec::new, |at| notice::headers(&service.api_keys, at));
        service
    });
    whole.collect()
}

/// The owner's scopes and those of every service that shares its connections, each once.
fn scopes_of_all(client: &OAuth, owner: &Part, parts: &[Part]) -> Vec<String> {
    let name = &owner.service.name;
    let sharing = parts.iter().filter(|part| part.service.owner == *name && part.service.name != *name);
    let mut scopes: Vec<String> = Vec::new();
    for scope in std::iter::once(owner).chain(sharing).flat_map(|part| &part.scopes) {
        let scope = client.scope_facts.canonical(scope);
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}
