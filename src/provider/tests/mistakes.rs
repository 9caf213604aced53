//! Mistakes in services: each is told once, at its line, with what to do, together with all others of the file; and never with
//! a secret.

use super::*;
use crate::config::{
    self, Problems,
    testing::{GOOD, check, env, marked, with},
};

fn loaded(text: &str) -> Result<Loaded, Problems> {
    Loaded::settle(config::parse(text, std::path::Path::new("config"), &env))
}

fn problems(text: &str) -> Vec<config::Problem> {
    loaded(text).err().map(|problems| problems.all).unwrap_or_default()
}

#[test]
fn the_good_configuration_is_good() {
    assert_eq!(loaded(GOOD).unwrap().warnings, []);
}

#[test]
#[rustfmt::skip]
fn services_clients_and_providers() {
    let client = "    client_id: client\n    client_secret: hush-hush\n    scopes: [repo]";
    check(problems, &[
        (client, "    provider: gihtub # HERE\n    client_id: c\n    client_secret: s", "services.github.provider", "no provider", "did you mean `github`?"),
        (client, "    provider: zzz # HERE\n    client_id: c\n    client_secret: s", "services.github.provider", "no provider", "valetkey providers"),
        ("  github:\n    client_id: client\n    client_secret: hush-hush\n", "  github: # HERE\n", "services.github.client_id", "missing", "api_keys: {}"),
        (client, "    client_secret: hush-hush", "services.github.client_id", "needs its `client_id`", ""),
        (client, "    client_id: c\n    client_secret: a\n    client_secret_file: b # HERE", "services.github.client_secret_file", "Both", ""),
        (client, "    client_id: c\n    pkce: \"off\"", "services.github.client_secret", "missing", "PKCE"),
        (client, "    connection: crn # HERE", "services.github.connection", "no service", "did you mean `crm`?"),
        (client, "    connection: github # HERE", "services.github.connection", "its own", ""),
        ("  crm:\n    base_url: https://crm.example.com/api\n", "  crm: # HERE\n", "services.crm.base_url", "missing", "base_url: https://"),
        ("    token_url: https://crm.example.com/token\n", "", "services.crm.token_url", "missing", "token_url: https://"),
        ("  crm:\n", "  CRM: # HERE\n", "services.CRM", "name of a service", ""),
        ("  crm:\n", "  confirm: # HERE\n", "services.confirm", "name of a service", "another name"),
    ]);
    check(problems, &[
        ("  github:\n", "  gihtub: # HERE\n", "services.gihtub", "no provider's name", "did you mean `github`?"),
        ("  github:\n", "  zzz: # HERE\n", "services.zzz", "no provider's name", "valetkey providers"),
    ]);
    let chain = with(client, "    connection: crm").replace(
        "    client_id: client\n    client_secret: hush-hush\n",
        "    connection: other # HERE\n  other:\n    base_url: https://o.example\n    api_keys: {}\n",
    );
    let found = problems(&chain);
    assert!(found.len() == 1 && found[0].message.contains("itself"), "{found:?}");
    assert_eq!(found[0].path, "services.github.connection");
}

#[test]
#[rustfmt::skip]
fn services_details() {
    let scopes = "    scopes: [repo]";
    check(problems, &[
        (scopes, "    scopes: [\"a b\"] # HERE", "services.github.scopes[0]", "no possible scope", ""),
        (scopes, "    inject: { header: X-Key, template: secret } # HERE", "services.github.inject.template", "`{token}`", "Bearer {token}"),
        (scopes, "    inject: { header: \"X Key\" } # HERE", "services.github.inject.header", "name of a header", ""),
        (scopes, "    inject: { header: Content-Length } # HERE", "services.github.inject.header", "frames", ""),
        (scopes, "    headers: { \"a b\": c } # HERE", "services.github.headers.a b", "name of a header", ""),
        (scopes, "    headers: { accept: \"a\\nb\" } # HERE", "services.github.headers.accept", "this value", ""),
        (scopes, "    api_keys: { phase: deprecated, retire_on: 2026-02-30 } # HERE", "services.github.api_keys.retire_on", "no such day", ""),
        (scopes, "    api_keys: { phase: deprecated } # HERE", "services.github.api_keys.retire_on", "the day on which it ends", "YYYY-MM-DD"),
        (scopes, "    api_keys: { phase: retired, delete_after: 90d } # HERE", "services.github.api_keys.retire_on", "counts from", "YYYY-MM-DD"),
        (scopes, "    api_keys: { phase: retired, delete_after: soon } # HERE", "services.github.api_keys.delete_after", "duration", ""),
        (scopes, "    api_keys: { reminders: [0s] } # HERE", "services.github.api_keys.reminders[0]", "more than zero", ""),
        (scopes, "    api_keys: { benefits: [\"a\\nb\"] } # HERE", "services.github.api_keys.benefits[0]", "a line", ""),
        (scopes, "    api_keys: { retire_on: 2026-02-03 } # HERE", "services.github.api_keys.retire_on", "deprecated", ""),
        (scopes, "    timeouts: { read: 0s } # HERE", "services.github.timeouts.read", "more than zero", ""),
        (scopes, "    upstream: { protocol: h2c } # HERE", "services.github.upstream.protocol", "without TLS", ""),
        (scopes, "    rate_limit: { requests: 1 } # HERE", "services.github.rate_limit.per", "missing", ""),
        (scopes, "    policy: [{ allow: {}, deny: {} }] # HERE", "services.github.policy[0].deny", "Only one", ""),
        (scopes, "    policy: [{ deny: { paths: [repos] } }] # HERE", "services.github.policy[0].deny.paths[0]", "begins with `/`", ""),
        (scopes, "    policy: [{ deny: { methods: [\"a b\"] } }] # HERE", "services.github.policy[0].deny.methods[0]", "HTTP method", ""),
    ]);
}

#[test]
#[rustfmt::skip]
fn urls_of_services() {
    check(problems, &[
        ("base_url: https://crm.example.com/api", "base_url: http://crm.example.com/api # HERE", "services.crm.base_url", "only for loopback", "allow_plain_http"),
        ("base_url: https://crm.example.com/api", "base_url: https://crm.example.com/api?v=1 # HERE", "services.crm.base_url", "no query", ""),
    ]);
}

#[test]
fn every_problem_of_the_file_is_told_at_once() {
    let text = with("delay: 5s", "delay: soon")
        .replace("${VALETKEY_KEY}", "${ABSENT}")
        .replace("    token_url: https://crm.example.com/token\n", "");
    let paths: Vec<String> = problems(&text).into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["shutdown.delay", "vault.keys[0].key", "services.crm.token_url"]);
}

#[test]
fn no_problem_of_a_service_tells_a_secret() {
    let secret = "s3cr3t-v4lue";
    for text in [
        with("base_url: https://crm.example.com/api", &format!("base_url: {secret}")),
        with("scopes: [repo]", &format!("inject: {{ template: {secret} }}")),
        with("scopes: [repo]", &format!("headers: {{ Host: {secret} }}")),
    ] {
        let Err(found) = loaded(&text) else { panic!("{text} should be refused") };
        let shown = format!("{found}\n{found:?}");
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn warnings_do_not_refuse() {
    let client = "    client_id: client\n    client_secret: hush-hush\n    scopes: [repo]";
    let cases = [
        ("    client_secret: hush-hush\n    scopes: [repo]", "    scopes: [repo]", "services.github"),
        (
            client,
            "    client_id: client\n    client_secret: hush-hush\n    scopes: [repo]\n  mirror:\n    provider: github\n    client_id: client # HERE\n    client_secret: hush-hush",
            "services.mirror.client_id",
        ),
        (client, "    connection: crm\n    api_keys: {} # HERE", "services.github.api_keys"),
    ];
    for (part, other, path) in cases {
        let text = with(part, other);
        let loaded = loaded(&text).unwrap_or_else(|problems| panic!("{other:?}: {problems}"));
        let [warning] = loaded.warnings.as_slice() else { panic!("{other:?}: {:?}", loaded.warnings) };
        assert_eq!(warning.path, path);
        if let Some(line) = marked(&text) {
            assert_eq!(warning.line, Some(line), "{other:?}");
        }
    }
}

#[test]
fn a_broken_service_is_not_told_again_by_those_that_share_it() {
    let text = with("    client_id: client\n    client_secret: hush-hush\n    scopes: [repo]", "    connection: owner")
        .replace("  crm:", "  owner: nothing\n  crm:");
    let found = problems(&text);
    assert!(found.len() == 1 && found[0].path == "services.owner", "{found:?}");
}
