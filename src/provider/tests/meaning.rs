//! What right services mean: defaults, files, limits.

use super::*;
use crate::config::{self, schema, testing::env};

const LEAST: &str = "\
public_url: https://connect.example.com/base/
callers: [{ issuer: i, audience: a, secret: 0123456789abcdef0123456789abcdef, algorithms: [HS256] }]
store: { embedded: { path: v.redb } }
vault: { keys: [{ id: a, key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= }] }
";

fn loaded(text: &str) -> Loaded {
    let draft = config::parse(text, std::path::Path::new("config"), &env);
    Loaded::settle(draft).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// GitHub with more keys.
fn github(yaml: &str) -> Service {
    let text = format!("{LEAST}services:\n  github:\n    client_id: c\n    client_secret: s\n    {yaml}\n");
    Service::clone(loaded(&text).services.get("github").unwrap())
}

#[test]
fn the_example_is_a_whole_configuration() {
    let loaded = loaded(include_str!("../../../config/valetkey.yaml"));
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.public_url.as_str(), "http://localhost:8080/");
    assert_eq!(loaded.services.len(), 4);
    assert_eq!(loaded.services.get("github").unwrap().provider.as_deref(), Some("github"));
    assert_eq!(loaded.services.get("internal-crm").unwrap().policy.len(), 3);
}

#[test]
fn a_variable_is_of_the_type_that_is_wanted() {
    let service = github("authorize_params:\n      max_age: ${NUMBER}");
    assert_eq!(service.oauth.unwrap().authorize_params["max_age"], "42");
    let claims = &github("policy:\n    - allow:\n        claims:\n          level: ${NUMBER}").policy[0].claims;
    assert_eq!(claims["level"], Value::from(42));
}

/// The schema's defaults, written out, mean the same as nothing.
#[test]
fn the_defaults_of_the_schema_are_those_that_count() {
    let schema = schema();
    let defaults = |name: &str| {
        let properties = schema["$defs"][name]["properties"].as_object().unwrap();
        let defaults: serde_json::Map<String, Value> = properties
            .iter()
            .filter_map(|(key, property)| Some((key.clone(), property.get("default")?.clone())))
            .collect();
        assert!(!defaults.is_empty(), "{name}");
        Value::from(defaults)
    };
    let mut explicit = defaults("Service");
    explicit["client_id"] = "c".into();
    explicit["client_secret"] = "s".into();
    explicit["timeouts"] = defaults("Timeouts");
    explicit["upstream"] = defaults("Upstream");
    explicit["api_keys"] = defaults("ApiKeys");
    assert_eq!(
        format!("{:#?}", service("github", explicit)),
        format!("{:#?}", service("github", json!({"client_id": "c", "client_secret": "s"})))
    );
}

#[test]
fn limits_of_a_service_are_complete_in_themselves() {
    let loaded = loaded(&format!(
        "{LEAST}limits: {{ body_bytes: 1MiB, uri_bytes: none }}\n\
         services: {{ github: {{ client_id: c, limits: {{ header_bytes: 4096, body_bytes: none }} }} }}\n"
    ));
    let limits = loaded.services.get("github").unwrap().limits;
    assert_eq!((limits.header_bytes, limits.uri_bytes, limits.body_bytes), (Some(4096), None, None));
    assert_eq!(loaded.config.limits.body_bytes, Some(1 << 20));
    assert_eq!(loaded.config.limits.header_bytes, Some(32 << 10));
}

#[test]
fn a_clients_secret_comes_from_a_file_beside_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("client"), "  hush \r\n").unwrap();
    let file = directory.path().join("valetkey.yaml");
    let text = format!("{LEAST}services: {{ github: {{ client_id: c, client_secret_file: client }} }}\n");
    std::fs::write(&file, text).unwrap();
    let loaded = Loaded::settle(config::load(&file, &env)).unwrap();
    let oauth = loaded.services.get("github").unwrap().oauth.clone().unwrap();
    assert_eq!(oauth.client_secret.as_ref().unwrap().expose(), "  hush ");
}

#[test]
fn a_service_may_take_api_keys_only_or_share_a_connection() {
    let services = resolve(json!({
        "weather": {"base_url": "https://w.example", "api_keys": {}},
        "github": {"client_id": "c"},
        "uploads": {"provider": "github", "connection": "github"},
    }))
    .unwrap();
    assert_eq!(services.get("uploads").unwrap().owner.as_str(), "github");
    let weather = services.get("weather").unwrap();
    assert!(weather.provider.is_none() && weather.oauth.is_none() && weather.offers_keys);
}
