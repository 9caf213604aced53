//! Services for tests, here and above.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use url::Url;

use super::{Problem, Service, Services};
use crate::{
    config::{
        ApiKeys, Binding, Cache, Config, Connect, Limits, Notifications, ProviderFields, Refresh,
        Service as Configured, Shutdown, Store, Timeouts, Upstream, Vault,
    },
    id::ServiceName,
};

/// Resolves services written as JSON: `provider`, `connection`, `client_id`, `client_secret`, `allow_plain_http`, and
/// provider fields beside them.
pub(crate) fn resolve(services: Value) -> Result<Services, Vec<Problem>> {
    let services: BTreeMap<ServiceName, Value> = serde_json::from_value(services).unwrap();
    let services = services.into_iter().map(|(name, service)| (name, configured(service))).collect();
    Services::resolve(&Config {
        public_url: Url::parse("https://connect.example.com").unwrap(),
        application: "Test".into(),
        brand: crate::config::Brand::default(),
        listeners: Vec::new(),
        admin_token: None,
        callers: Vec::new(),
        connect: Connect {
            binding: Binding::Link,
            session: None,
            confirm: true,
            return_to: Vec::new(),
            ticket_ttl: Duration::from_secs(600),
            notification_ttl: Duration::from_secs(600),
        },
        shutdown: Shutdown { delay: Duration::ZERO, grace: Duration::ZERO },
        cache: Cache { offline_max: Duration::ZERO, credentials: 1, callers: 1 },
        store: Store::Embedded { path: "unused".into() },
        vault: Vault { keys: Vec::new() },
        services,
        trusted_proxies: Vec::new(),
        limits: Limits::default(),
        refresh: Refresh::default(),
        notifications: Notifications { webhooks: Vec::new(), email: None, retries: Vec::new() },
    })
}

/// One service, resolved.
pub(crate) fn service(name: &str, fields: Value) -> Service {
    let services = resolve(serde_json::json!({ name: fields })).unwrap();
    Service::clone(services.get(name).unwrap())
}

fn configured(mut value: Value) -> Configured {
    let members = value.as_object_mut().unwrap();
    let mut take = |key: &str| members.remove(key);
    let text = |value: Option<Value>| value.map(|value| value.as_str().unwrap().to_owned());
    let (provider, client_id, secret) = (text(take("provider")), text(take("client_id")), text(take("client_secret")));
    let connection = text(take("connection")).map(|name| ServiceName::parse(&name).unwrap());
    let allow_plain_http = take("allow_plain_http").is_some_and(|value| value == true);
    let fields: ProviderFields = serde_json::from_value(value).unwrap();
    Configured {
        provider,
        connection,
        client_id,
        client_secret: secret.map(Into::into),
        fields,
        allow_plain_http,
        api_keys: ApiKeys::default(),
        timeouts: Timeouts::default(),
        upstream: Upstream::default(),
        response_cookies: false,
        rate_limit: None,
        policy: Vec::new(),
        limits: Limits::default(),
    }
}
