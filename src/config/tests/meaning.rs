//! What a right configuration means: variables, defaults, files, secrets.

use std::time::Duration;

use serde_json::Value;

use super::{super::*, KEY, env, parsed};

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

/// What this text, where a name is wanted, becomes.
fn named(text: &str) -> String {
    and(&format!("application:\n  name: {text}\n")).application
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
    assert_eq!(named("${NUMBER}"), "42");
}

#[test]
fn a_variable_never_becomes_structure() {
    assert_eq!(named("${YAML}"), "x: [1, 2]\n- \"injected\"");
    assert_eq!(named("\"a ${YAML} b\""), "a x: [1, 2]\n- \"injected\" b");
    let env = |name: &str| (name == "OUTER").then(|| "${INNER}".to_owned());
    let text = format!("{LEAST}{SERVICE}application: {{ name: \"${{OUTER}}\" }}");
    let (config, ..) = parse(&text, std::path::Path::new(""), &env).finish().unwrap();
    assert_eq!(config.application, "${INNER}");
}

#[test]
fn an_escaped_variable_is_text() {
    assert_eq!(named("a $${NUMBER} b"), "a ${NUMBER} b");
    assert_eq!(named("$NUMBER"), "$NUMBER");
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
    let explicit = config(&format!(
        "{LEAST}{SERVICE}{}",
        written.iter().map(|(key, value)| format!("{key}: {value}\n")).collect::<String>()
    ));
    assert_eq!(format!("{explicit:#?}"), format!("{:#?}", and("")));
}

#[test]
fn what_is_left_out_is_safe() {
    let config = and("");
    assert_eq!(config.public_url.as_str(), "https://connect.example.com/base");
    assert_eq!(config.listeners.len(), 2);
    assert!(config.listeners.iter().all(|listener| listener.listen.is_local()));
    assert!(config.listeners.iter().all(|listener| !(listener.serves.admin && listener.serves.proxy)));
    assert!(config.admin.is_none());
    assert_eq!(config.callers[0].user_claim, "sub");
    assert_eq!(config.limits.header_bytes, Some(32 << 10));
    assert_eq!(config.limits.uri_bytes, Some(8 << 10));
    assert_eq!(config.limits.body_bytes, None);
    assert_eq!(config.connect.binding, Binding::Link);
    assert!(config.connect.confirm);
}

#[test]
fn pods_are_believed_as_their_cluster_vouches_for_them() {
    let issuer = "{ issuer: i, audience: a, secret: 0123456789abcdef0123456789abcdef, algorithms: [HS256] }";
    let pods = "{ kubernetes: { audience: a, service_accounts: [jobs/nightly] }, application: { name: Jobs } }";
    let config = config(&format!("{LEAST}{SERVICE}").replace(issuer, pods));
    let caller = &config.callers[0];
    assert_eq!(caller.issuer.as_str(), "https://kubernetes.default.svc.cluster.local");
    assert_eq!((caller.user_claim.as_str(), caller.application.as_deref()), ("sub", Some("Jobs")));
    assert_eq!(caller.algorithms, [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384]);
    assert!(caller.pods.as_ref().unwrap().include("system:serviceaccount:jobs:nightly"));
    let IssuerKeys::Cluster(keys) = &caller.keys else { panic!("should be the cluster's") };
    assert_eq!(keys.url.as_str(), "https://kubernetes.default.svc/openid/v1/jwks");
    assert_eq!(keys.token_file, PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount/token"));
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
    std::fs::write(directory.path().join("admin"), "  hush-hush-hush-hush \r\n").unwrap();
    let file = directory.path().join("valetkey.yaml");
    let text = format!("{LEAST}{SERVICE}admin: {{ token_file: admin }}\n")
        .replace("key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "key_file: key");
    std::fs::write(&file, text).unwrap();
    let (config, ..) = load(&file, &env).finish().unwrap();
    assert_eq!(config.admin.as_ref().unwrap().token.expose(), "  hush-hush-hush-hush ");
    assert_eq!(config.vault.keys[0].key.expose()[31], 31);
    assert!(matches!(config.store, Store::Embedded { path } if path == directory.path().join("v.redb")));
}

#[test]
fn a_file_that_is_not_there_is_a_problem_without_a_line() {
    let problems = load(std::path::Path::new("absent.yaml"), &env).finish().unwrap_err();
    assert_eq!(
        problems.to_string().lines().next(),
        Some("absent.yaml: The configuration can't be read: there is no such file")
    );
}

#[test]
fn a_problem_found_above_is_placed_in_the_file() {
    let text = format!("{LEAST}services:\n  github:\n    client_id: c\n    client_secret: s\n");
    let line = |steps: &[&str]| {
        let mut draft = parse(&text, std::path::Path::new(""), &env);
        let path = steps.iter().fold(Path::default(), |path, step| path.key(step));
        draft.problem(&path, finding("x"));
        draft.finish().unwrap_err().all[0].line
    };
    assert_eq!(line(&["services", "github", "client_id"]), Some(7));
    assert_eq!(line(&["services", "github", "base_url"]), Some(6), "where it would be");
    assert_eq!(line(&["nowhere"]), Some(1));
}

#[test]
fn a_unix_socket_lies_beside_the_configuration_and_is_its_owners_and_their_groups() {
    let listens = |more: &str| and(&format!("listeners: [{{ unix: run/v.sock, serves: [proxy]{more} }}]\n")).listeners;
    let path = std::path::PathBuf::from("config/run/v.sock");
    assert_eq!(listens("")[0].listen, Listen::Unix { path: path.clone(), mode: 0o660 });
    assert_eq!(listens(", mode: \"0600\"")[0].listen, Listen::Unix { path, mode: 0o600 });
    assert_eq!(listens("")[0].listen.to_string(), "unix:config/run/v.sock");
}
