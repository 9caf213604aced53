//! What a right configuration means: variables, defaults, files, secrets.

use std::time::Duration;

use serde_json::Value;

use super::{super::*, KEY, Known, env, parsed};

const LEAST: &str = "\
public_url: https://connect.example.com/base/
callers: [{ issuer: i, audience: a, secret: 0123456789abcdef0123456789abcdef, algorithms: [HS256] }]
store: { embedded: { path: v.redb } }
vault: { keys: [{ id: a, key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= }] }
";

const SERVICE: &str = "services: { github: { client_id: c, client_secret: s } }\n";

fn config(text: &str) -> Config {
    parsed(text).unwrap_or_else(|problems| panic!("{problems}\n{text}")).config
}

/// The least configuration with more keys.
fn and(more: &str) -> Config {
    config(&format!("{LEAST}{SERVICE}{more}"))
}

/// The least configuration with these services.
fn service(yaml: &str) -> Service {
    let config = config(&format!("{LEAST}services:\n  github:\n    client_id: c\n    client_secret: s\n    {yaml}\n"));
    config.services["github"].clone()
}

#[test]
fn the_example_is_a_whole_configuration() {
    let loaded = parsed(include_str!("../../../config/valetkey.yaml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.public_url.as_str(), "http://localhost:8080/");
    assert_eq!(config.services.len(), 4);
    assert_eq!(config.services["github"].provider.as_deref(), Some("github"));
    assert_eq!(config.services["internal-crm"].policy.len(), 3);
}

#[test]
fn variables_are_typed_where_they_are_not_quoted() {
    assert!(!and("connect:\n  confirm: ${FLAG}\n").connect.confirm);
    assert_eq!(and("cache:\n  credentials: ${NUMBER}\n").cache.credentials, 42);
    assert_eq!(and("shutdown:\n  delay: ${LONG}\n").shutdown.delay, Duration::from_secs(3600));
    assert_eq!(and("shutdown:\n  delay: ${NUMBER}s\n").shutdown.delay, Duration::from_secs(42));
    assert_eq!(and("shutdown:\n  delay: ${ABSENT:-7s}\n").shutdown.delay, Duration::from_secs(7));
    assert_eq!(and("shutdown:\n  delay: ${EMPTY:-7s}\n").shutdown.delay, Duration::from_secs(7));
    let quoted = parsed(&format!("{LEAST}{SERVICE}cache: {{ credentials: \"${{NUMBER}}\" }}\n"));
    assert!(quoted.is_err_and(|problems| problems.all[0].message.contains("a whole number")));
}

#[test]
fn a_number_in_a_variable_is_text_where_text_is_wanted() {
    assert_eq!(service("title: ${NUMBER}").fields.title.as_deref(), Some("42"));
    assert_eq!(
        service("authorize_params:\n      max_age: ${NUMBER}").fields.authorize_params.unwrap()["max_age"],
        "42"
    );
    let claims = &service("policy:\n    - allow:\n        claims:\n          level: ${NUMBER}").policy[0].claims;
    assert_eq!(claims["level"], Value::from(42));
}

#[test]
fn a_variable_never_becomes_structure() {
    assert_eq!(service("title: ${YAML}").fields.title.as_deref(), Some("x: [1, 2]\n- \"injected\""));
    assert_eq!(service("title: \"a ${YAML} b\"").fields.title.as_deref(), Some("a x: [1, 2]\n- \"injected\" b"));
    let env = |name: &str| (name == "OUTER").then(|| "${INNER}".to_owned());
    let text = format!("{LEAST}services: {{ github: {{ client_id: c, client_secret: s, title: \"${{OUTER}}\" }} }}");
    let loaded = parse(&text, std::path::Path::new(""), &env, &Known).unwrap();
    assert_eq!(loaded.config.services["github"].fields.title.as_deref(), Some("${INNER}"));
}

#[test]
fn an_escaped_variable_is_text() {
    assert_eq!(service("title: a $${NUMBER} b").fields.title.as_deref(), Some("a ${NUMBER} b"));
    assert_eq!(service("title: $NUMBER").fields.title.as_deref(), Some("$NUMBER"));
}

/// The schema's defaults, written out, mean the same as nothing.
#[test]
fn the_defaults_of_the_schema_are_those_that_count() {
    let schema = schema();
    let mut written = serde_json::Map::new();
    for part in ["connect", "shutdown", "cache", "refresh"] {
        let name = schema["properties"][part]["$ref"].as_str().unwrap().trim_start_matches('#');
        let properties = schema.pointer(name).unwrap()["properties"].as_object().unwrap();
        let defaults: serde_json::Map<String, Value> = properties
            .iter()
            .filter_map(|(key, property)| Some((key.clone(), property.get("default")?.clone())))
            .collect();
        assert!(!defaults.is_empty(), "{part}");
        written.insert(part.to_owned(), defaults.into());
    }
    let service = |name: &str| {
        let properties = schema["$defs"][name]["properties"].as_object().unwrap();
        let defaults: serde_json::Map<String, Value> = properties
            .iter()
            .filter_map(|(key, property)| Some((key.clone(), property.get("default")?.clone())))
            .collect();
        Value::from(defaults)
    };
    let mut github = service("Service");
    github["client_id"] = "c".into();
    github["client_secret"] = "s".into();
    github["timeouts"] = service("Timeouts");
    github["upstream"] = service("Upstream");
    github["api_keys"] = service("ApiKeys");
    written.insert("services".into(), serde_json::json!({ "github": github }));
    let explicit = config(&format!(
        "{LEAST}{}",
        written.iter().map(|(key, value)| format!("{key}: {value}\n")).collect::<String>()
    ));
    assert_eq!(format!("{explicit:#?}"), format!("{:#?}", and("")));
}

#[test]
fn what_is_left_out_is_safe() {
    let config = and("");
    assert_eq!(config.public_url.as_str(), "https://connect.example.com/base");
    assert_eq!(config.listeners.len(), 2);
    assert!(config.listeners.iter().all(|listener| listener.address.ip().is_loopback()));
    assert!(config.listeners.iter().all(|listener| !(listener.serves.admin && listener.serves.proxy)));
    assert!(config.admin_token.is_none());
    assert_eq!(config.callers[0].user_claim, "sub");
    assert_eq!(config.limits.header_bytes, Some(32 << 10));
    assert_eq!(config.limits.uri_bytes, Some(8 << 10));
    assert_eq!(config.limits.body_bytes, None);
    assert_eq!(config.connect.binding, Binding::Link);
    assert!(config.connect.confirm);
    assert!(!config.services["github"].allow_plain_http);
    assert!(!config.services["github"].response_cookies);
}

#[test]
fn limits_of_a_service_are_complete_in_themselves() {
    let config = config(&format!(
        "{LEAST}limits: {{ body_bytes: 1MiB, uri_bytes: none }}\n\
         services: {{ keyed: {{ limits: {{ header_bytes: 4096, body_bytes: none }} }} }}\n"
    ));
    let limits = config.services["keyed"].limits;
    assert_eq!(limits.header_bytes, Some(4096));
    assert_eq!(limits.uri_bytes, None);
    assert_eq!(limits.body_bytes, None);
    assert_eq!(config.limits.body_bytes, Some(1 << 20));
    assert_eq!(config.limits.header_bytes, Some(32 << 10));
}

#[test]
fn a_password_in_the_url_moves_out_of_it() {
    let store = "store: { embedded: { path: v.redb } }";
    let text = format!("{LEAST}{SERVICE}")
        .replace(store, "store: { redis: { url: \"rediss://valetkey:p%40ss@redis:6379/2\" } }");
    let Store::Redis(redis) = config(&text).store else { panic!("should be Redis") };
    assert_eq!(redis.url.as_str(), "rediss://valetkey@redis:6379/2");
    assert_eq!(redis.password.unwrap().expose(), "p@ss");
    assert_eq!(redis.prefix, "vk");
    let text = format!("{LEAST}{SERVICE}")
        .replace(store, "store: { redis: { sentinel: { master: m, addresses: [\"127.0.0.1:26379\"] } } }");
    let Store::Redis(redis) = config(&text).store else { panic!("should be Redis") };
    assert_eq!(redis.url.as_str(), "redis://127.0.0.1:26379");
    assert!(matches!(redis.topology, RedisTopology::Sentinel { master, .. } if master == "m"));
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), format!("{KEY}\n")).unwrap();
    std::fs::write(directory.path().join("client"), "  hush \r\n").unwrap();
    let file = directory.path().join("valetkey.yaml");
    let text = format!("{LEAST}services: {{ github: {{ client_id: c, client_secret_file: client }} }}\n")
        .replace("key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "key_file: key");
    std::fs::write(&file, text).unwrap();
    let config = load(&file, &env, &Known).unwrap().config;
    assert_eq!(config.services["github"].client_secret.as_ref().unwrap().expose(), "  hush ");
    assert_eq!(config.vault.keys[0].key.expose()[31], 31);
    assert!(matches!(config.store, Store::Embedded { path } if path == directory.path().join("v.redb")));
}

#[test]
fn a_file_that_is_not_there_is_a_problem_without_a_line() {
    let problems = load(std::path::Path::new("absent.yaml"), &env, &Known).unwrap_err();
    assert_eq!(
        problems.to_string().lines().next(),
        Some("absent.yaml: The configuration can't be read: there is no such file")
    );
}

#[test]
fn a_problem_found_above_is_placed_in_the_file() {
    let loaded = parsed(&format!("{LEAST}services:\n  github:\n    client_id: c\n    client_secret: s\n")).unwrap();
    assert_eq!(loaded.problem("services.github.client_id", "x", None).line, Some(7));
    assert_eq!(loaded.problem("services.github.base_url", "x", None).line, Some(6));
    assert_eq!(loaded.problem("nowhere", "x", None).line, None);
}

#[test]
fn a_service_may_take_api_keys_only_or_share_a_connection() {
    let config = config(&format!(
        "{LEAST}services:\n  keyed: {{}}\n  weather: {{ base_url: \"https://w.example\", api_keys: {{}} }}\n  \
         github: {{ client_id: c, client_secret: s }}\n  uploads: {{ provider: github, connection: github }}\n"
    ));
    assert_eq!(config.services["uploads"].connection.as_ref().map(|name| name.as_str()), Some("github"));
    assert_eq!(config.services["keyed"].provider.as_deref(), Some("keyed"));
    assert_eq!(config.services["weather"].provider, None);
}
