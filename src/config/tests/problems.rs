//! A table of mistakes: each is told once, at its line, with what to do; and never with a secret. Services have their own, in
//! `provider`.

use super::{
    super::{testing::*, *},
    parsed,
};

pub(super) fn problems(text: &str) -> Vec<Problem> {
    match parsed(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.all,
    }
}

#[test]
fn the_good_configuration_is_good() {
    let loaded = parsed(GOOD).unwrap();
    assert_eq!(loaded.warnings, []);
}

#[test]
#[rustfmt::skip]
fn keys_of_the_wrong_name_or_form() {
    check(problems, &[
        ("    client_secret: hush-hush\n    scopes", "    client_secert: hush-hush # HERE\n    scopes", "services.github.client_secert", "unknown", "did you mean `client_secret`?"),
        ("shutdown: { delay: 5s }", "shotdown: { delay: 5s } # HERE", "shotdown", "unknown", "did you mean `shutdown`?"),
        ("  binding: link", "  colour: red # HERE", "connect.colour", "unknown", "known here: binding"),
        ("  - issuer: https://auth.example.com/\n    audience: valetkey", "  - issuer: https://auth.example.com/ # HERE", "callers[0].audience", "missing", "add `audience:`"),
        ("binding: link", "binding: sesion # HERE", "connect.binding", "one of `link`, `session`, `confirm`", "did you mean `session`?"),
        ("algorithms: [RS256]", "algorithms: [none] # HERE", "callers[0].algorithms[0]", "one of `HS256`", ""),
        ("algorithms: [RS256]", "algorithms: [] # HERE", "callers[0].algorithms", "empty", ""),
        ("shutdown: { delay: 5s }", "shutdown: { delay: 5 } # HERE", "shutdown.delay", "duration with its unit", ""),
        ("shutdown: { delay: 5s }", "shutdown: { delay: five } # HERE", "shutdown.delay", "duration with its unit", ""),
        ("client_id: client\n    client_secret: hush-hush\n    scopes", "client_id: 5 # HERE\n    client_secret: hush-hush\n    scopes", "services.github.client_id", "a text", "quotes"),
        ("scopes: [repo]", "scopes: repo # HERE", "services.github.scopes", "a list", ""),
        ("scopes: [repo]", "scopes: # HERE", "services.github.scopes", "no value", "leave the key out"),
        ("scopes: [repo]", "limits: { body_bytes: 10XB } # HERE", "services.github.limits.body_bytes", "a size such as", ""),
        ("scopes: [repo]", "limits: { connections_per_client: 0 } # HERE", "services.github.limits.connections_per_client", "at least 1", ""),
        ("application: { name: Acme }", "application: Acme # HERE", "application", "a mapping", ""),
        ("application: { name: Acme }", "application: !name Acme # HERE", "application", "tags", ""),
        ("    - id: one", "    - id: one/two # HERE", "vault.keys[0].id", "form", ""),
    ]);
}

#[test]
#[rustfmt::skip]
fn yaml_that_is_none() {
    check(problems, &[
        ("  binding: link", "  binding: link\n  binding: link # HERE", "", "a second time", "keep one"),
        ("application: { name: Acme }", "application: { name: ${NUMBER} } # HERE", "", "no valid YAML", "in quotes"),
        ("  binding: link", "\tbinding: link # HERE", "", "no valid YAML", "spaces"),
    ]);
    for (text, message) in [("", "no configuration"), ("- a", "no configuration"), ("a: 1\n---\nb: 2", "several")] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].message.contains(message), "{text:?}: {found:?}");
    }
}

#[test]
#[rustfmt::skip]
fn variables() {
    check(problems, &[
        ("key: ${VALETKEY_KEY}", "key: ${VALETKEY_KYE} # HERE", "vault.keys[0].key", "`VALETKEY_KYE` is not set", "${VALETKEY_KYE:-default}"),
        ("key: ${VALETKEY_KEY}", "key: \"${}\" # HERE", "vault.keys[0].key", "no variable", "$${"),
        ("key: ${VALETKEY_KEY}", "key: ${VALETKEY_KEY # HERE", "vault.keys[0].key", "no variable", "$${"),
        ("key: ${VALETKEY_KEY}", "key: ${EMPTY} # HERE", "vault.keys[0].key", "no value", ""),
        ("key: ${VALETKEY_KEY}", "key: \"${EMPTY}\" # HERE", "vault.keys[0].key", "empty", ""),
    ]);
}

#[test]
#[rustfmt::skip]
fn addresses_and_urls() {
    check(problems, &[
        ("https://connect.example.com", "http://connect.example.com # HERE", "public_url", "only for loopback", "https"),
        ("https://connect.example.com", "https://connect.example.com/?a=b # HERE", "public_url", "no query", ""),
        ("https://connect.example.com", "https://connect.example.com/#a # HERE", "public_url", "no fragment", ""),
        ("https://connect.example.com", "https://me@connect.example.com # HERE", "public_url", "no user", ""),
        ("https://connect.example.com", "connect.example.com # HERE", "public_url", "no absolute URL", "https://"),
        ("https://connect.example.com", "ftp://connect.example.com # HERE", "public_url", "`https` URL", ""),
        ("127.0.0.1:8080", "localhost:8080 # HERE", "listeners[0].address", "IP address and a port", "127.0.0.1:8080"),
        ("127.0.0.1:9090", "127.0.0.1:8080 # HERE", "listeners[1].address", "listed twice", "serves"),
        ("127.0.0.1:9090", "0.0.0.0:8080 # HERE", "listeners[1].address", "127.0.0.1:8080 takes the connections", "another"),
        ("  - address: 127.0.0.1:9090\n", "  - unix: a.sock # HERE\n    address: 127.0.0.1:9090\n", "listeners[1].unix", "Only one", "`address`, `unix`"),
        ("  - address: 127.0.0.1:9090\n    serves: [admin]\n", "  - serves: [admin] # HERE\n", "listeners[1]", "missing", "`address`, `unix`"),
        ("  - address: 127.0.0.1:9090\n", "  - unix: a.sock\n    mode: rw # HERE\n", "listeners[1].mode", "of the form", ""),
        ("  - address: 127.0.0.1:9090\n", "  - address: 127.0.0.1:9090\n    mode: \"0600\" # HERE\n", "listeners[1].mode", "Only a Unix socket", ""),
        ("return_to: [https://app.example.com/]", "return_to: [/home] # HERE", "connect.return_to[0]", "no absolute URL", ""),
        ("https://auth.example.com/jwks", "http://auth.example.com/jwks # HERE", "callers[0].jwks_url", "only for loopback", ""),
    ]);
    for fine in ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:1/x", "http://valetkey.localhost"] {
        assert_eq!(problems(&with("https://connect.example.com", fine)), [], "{fine}");
    }
}

#[test]
#[rustfmt::skip]
fn pods_as_callers() {
    let item = "  - issuer: https://auth.example.com/\n    audience: valetkey\n    jwks_url: https://auth.example.com/jwks\n    algorithms: [RS256]\n";
    let pods = |more: &str| format!("  - kubernetes:\n      service_accounts: [jobs/nightly]\n      audience: valetkey\n{more}");
    let name = "callers[0].kubernetes";
    check(problems, &[
        (item, "  - kubernetes: # HERE\n      service_accounts: [jobs/nightly]\n", &format!("{name}.audience"), "missing", "add `audience:`"),
        (item, "  - kubernetes: # HERE\n      audience: valetkey\n", &format!("{name}.service_accounts"), "missing", "add `service_accounts:`"),
        (item, "  - kubernetes:\n      audience: valetkey\n      service_accounts: [] # HERE\n", &format!("{name}.service_accounts"), "empty", ""),
        (item, "  - kubernetes:\n      audience: valetkey\n      service_accounts: [jobs/a, nightly] # HERE\n", &format!("{name}.service_accounts[1]"), "no ServiceAccount", "`namespace/*`"),
        (item, &pods("    issuer: https://i # HERE\n"), "callers[0].issuer", "doesn't go with `kubernetes`", "below"),
        (item, &pods("    email_claim: email # HERE\n"), "callers[0].email_claim", "doesn't go with `kubernetes`", "leave it out"),
        (item, &pods("      jwks_url: http://api.example/jwks # HERE\n"), &format!("{name}.jwks_url"), "only for loopback", ""),
        (item, &pods("      ca_file: absent # HERE\n"), &format!("{name}.ca_file"), "doesn't exist", ""),
        (item, &pods("      ca_file: absent # HERE\n      jwks_file: ../tests/it/fixtures/jwks.json\n"), &format!("{name}.ca_file"), "Nothing is fetched", ""),
        (item, &pods("      algorithms: [HS256] # HERE\n"), &format!("{name}.algorithms"), "shared secret", ""),
        (item, &pods("      audiense: x # HERE\n"), &format!("{name}.audiense"), "unknown", "did you mean `audience`?"),
    ]);
    assert_eq!(problems(&with(item, &pods("    application: { name: Jobs }\n"))), []);
}

#[test]
#[rustfmt::skip]
fn callers_keys_and_algorithms() {
    let jwks = "jwks_url: https://auth.example.com/jwks\n    algorithms: [RS256]";
    let secret = "0123456789abcdef0123456789abcdef";
    let with_secret = |algorithms: &str| format!("secret: {secret}\n    algorithms: [{algorithms}] # HERE");
    check(problems, &[
        (jwks, &format!("jwks_url: https://a.example\n    secret: {secret} # HERE\n    algorithms: [RS256]"), "callers[0].secret", "Only one", "`jwks_url`, `secret`"),
        (jwks, "jwks_url: https://a.example\n    algorithms: [HS256] # HERE", "callers[0].algorithms", "only go with `secret`", "RS256"),
        (jwks, "jwks_url: https://a.example\n    algorithms: [RS256, HS256] # HERE", "callers[0].algorithms", "different kinds", ""),
        (jwks, &with_secret("RS256"), "callers[0].algorithms", "`secret` only goes with", "HS256"),
        (jwks, &with_secret("HS256, RS256"), "callers[0].algorithms", "different kinds", ""),
        (jwks, "secret: short # HERE\n    algorithms: [HS256]", "callers[0].secret", "shorter than 32 bytes", "openssl"),
        (jwks, "public_key: nonsense # HERE\n    algorithms: [RS256]", "callers[0].public_key", "no RSA public key", "BEGIN PUBLIC KEY"),
        (jwks, "jwks_file: ../Cargo.toml # HERE\n    algorithms: [RS256]", "callers[0].jwks_file", "no JWKS", ""),
        (jwks, "secret_file: absent # HERE\n    algorithms: [HS256]", "callers[0].secret_file", "doesn't exist", "config/absent"),
    ]);
    let item = "  - issuer: https://auth.example.com/\n    audience: valetkey\n    jwks_url: https://auth.example.com/jwks";
    let without = "  - issuer: https://auth.example.com/ # HERE\n    audience: valetkey";
    check(problems, &[(item, without, "callers[0]", "missing", "`jwks_url`")]);
    assert_eq!(problems(&with(jwks, &with_secret("HS256, HS512"))), []);
    assert_eq!(problems(&with("[RS256]", "[RS256, ES256]")), [], "a JWKS may hold keys of both");
}

#[test]
#[rustfmt::skip]
fn tokens_of_operators() {
    let admin = "admin: { token: hush-hush-hush-hush }";
    check(problems, &[
        (admin, "admin: { read_token: quiet-quiet-quiet-quiet } # HERE", "admin", "missing", "`token`"),
        (admin, "admin: { token: hush-hush-hush-hush, read_token: hush-hush-hush-hush } # HERE", "admin.read_token", "the same as `token`", "openssl"),
        (admin, "admin: { token: hush-hush-hush-hush, read_token_file: absent } # HERE", "admin.read_token_file", "doesn't exist", ""),
    ]);
    assert_eq!(problems(&with(admin, "admin: { token: hush-hush-hush-hush, read_token: quiet-quiet-quiet-quiet }")), []);
}

#[test]
#[rustfmt::skip]
fn connect() {
    check(problems, &[
        ("  binding: link", "  binding: session # HERE", "connect.binding", "needs to know", "`cookie`"),
        ("  binding: link", "  session: { cookie: a, header: b } # HERE", "connect.session.header", "Only one", "`cookie`, `header`"),
        ("  binding: link", "  session: {} # HERE", "connect.session", "missing", "`check_url`"),
        ("  binding: link", "  session: { header: \"a b\" } # HERE", "connect.session.header", "name of a header", ""),
        ("  binding: link", "  session: { check_url: \"http://a.example\" } # HERE", "connect.session.check_url", "loopback", ""),
        ("  binding: link", "  ticket_ttl: 0s # HERE", "connect.ticket_ttl", "more than zero", ""),
        ("shutdown: { delay: 5s }", "refresh: { timeout: 13s } # HERE", "refresh.timeout", "at most 12 s", ""),
    ]);
}

#[test]
#[rustfmt::skip]
fn store_and_vault() {
    let store = "store:\n  embedded: { path: ./valetkey.redb }";
    let key = "    - id: one\n      key: ${VALETKEY_KEY}";
    check(problems, &[
        (store, "store: {} # HERE", "store", "missing", "`redis`, `embedded`"),
        (store, "store:\n  redis: { url: \"rediss://r\" }\n  embedded: { path: x } # HERE", "store.embedded", "Only one", ""),
        (store, "store:\n  redis: {} # HERE", "store.redis.url", "missing", "rediss://"),
        (store, "store:\n  redis: { url: \"http://r\" } # HERE", "store.redis.url", "`rediss://`", ""),
        (store, "store:\n  redis: { url: \"rediss://u:p@r\", password: p } # HERE", "store.redis.url", "given twice", ""),
        (store, "store:\n  redis: { url: \"rediss://r\", prefix: \"vk:{a}\" } # HERE", "store.redis.prefix", "of the form", ""),
        (store, "store:\n  redis: { url: \"rediss://r/main\" } # HERE", "store.redis.url", "number of a database", ""),
        (store, "store:\n  redis: { cluster: { addresses: [r] } } # HERE", "store.redis.cluster.addresses[0]", "`host:port`", ""),
        (store, "store:\n  redis: { url: \"rediss://r\", password: a, password_file: b } # HERE", "store.redis.password_file", "Both", "keep one"),
        (store, "store:\n  redis: { url: \"rediss://r\", tls: { ca_file: ../Cargo.toml } } # HERE", "store.redis.tls.ca_file", "no certificate in PEM", ""),
        (key, "    - id: one # HERE", "vault.keys[0]", "missing", "`key`, `key_file`"),
        (key, "    - id: one\n      key: c2hvcnQ= # HERE", "vault.keys[0].key", "32 bytes", "keys generate"),
        (key, &format!("{key}\n    - id: one # HERE\n      key: {KEY}"), "vault.keys[1].id", "has this id", ""),
        ("vault:\n  keys:\n", "vault:\n  aws_kms: { key_id: a, region: b } # HERE\n  keys:\n", "vault.aws_kms", "unknown", "known here: keys"),
        ("vault:\n  keys:\n", "vault:\n  azure_key_vault: { vault_url: a, key: b } # HERE\n  keys:\n", "vault.azure_key_vault", "unknown", "known here: keys"),
        ("vault:\n  keys:\n", "vault:\n  vault_transit: { address: a, key: b } # HERE\n  keys:\n", "vault.vault_transit", "unknown", "known here: keys"),
        ("vault:\n  keys:\n    - id: one\n      key: ${VALETKEY_KEY}\n", "vault: {} # HERE\n", "vault.keys", "no key", "keys generate"),
    ]);
}

#[test]
fn every_problem_is_told_at_once() {
    let text = with("audience: valetkey", "audiense: valetkey")
        .replace("algorithms: [RS256]", "algorithms: [HS256]")
        .replace("delay: 5s", "delay: soon")
        .replace("${VALETKEY_KEY}", "${ABSENT}")
        .replace("https://connect.example.com", "http://connect.example.com");
    let paths: Vec<String> = problems(&text).into_iter().map(|problem| problem.path).collect();
    assert_eq!(
        paths,
        [
            "public_url",
            "callers[0].audience",
            "callers[0].audiense",
            "callers[0].algorithms",
            "shutdown.delay",
            "vault.keys[0].key",
        ]
    );
}

#[test]
fn no_problem_and_no_warning_tells_a_secret() {
    let secret = "s3cr3t-v4lue";
    let spoilt = [
        format!("admin: {{ token: [{secret}] }}"),
        format!("admin: {{ token: {{ {secret}: {secret} }} }}"),
        format!("admin: {{ tokn: {secret} }}"),
        format!("admin: {secret}"),
        format!("admin: {{ token: \"{secret}"),
    ];
    let texts = spoilt.iter().map(|admin| with("admin: { token: hush-hush-hush-hush }", admin)).chain([
        with("key: ${VALETKEY_KEY}", &format!("key: {secret}")),
        with(
            "store:\n  embedded: { path: ./valetkey.redb }",
            &format!("store:\n  redis: {{ url: \"rediss://u:{secret}@r:x\" }}"),
        ),
        with(
            "store:\n  embedded: { path: ./valetkey.redb }",
            &format!("store:\n  redis: {{ url: \"http://u:{secret}@r\" }}"),
        ),
        with("jwks_url: https://auth.example.com/jwks", &format!("secret: {secret}")),
        with("jwks_url: https://auth.example.com/jwks", &format!("jwks_url: https://u:{secret}@a.example")),
        with("scopes: [repo]", &format!("scopes: {{ a: {secret} }}")),
    ]);
    for text in texts {
        let Err(found) = parsed(&text) else { panic!("{text} should be refused") };
        // A key may be shown; what would be its value never.
        let shown = format!("{found}\n{found:?}").replace(&format!("token.{secret}"), "");
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn problems_are_pleasant_to_read() {
    let Err(found) = parsed(&with("delay: 5s", "delai: 5s")) else { panic!("should be refused") };
    assert_eq!(
        found.to_string(),
        "configuration:17: shutdown.delai: This key is unknown\n    hint: did you mean `delay`?"
    );
}

#[test]
fn warnings_do_not_refuse() {
    let store = "store:\n  embedded: { path: ./valetkey.redb }";
    let cases = [
        (store, "store:\n  redis: { url: \"redis://10.0.0.1\" } # HERE", "store.redis.url"),
        ("serves: [proxy, connect]", "serves: [connect]", "listeners"),
        (
            "admin: { token: hush-hush-hush-hush }",
            "admin: { token: hush-hush-hush-hush, read_token: quiet } # HERE",
            "admin.read_token",
        ),
        (
            "connect:\n",
            "  - issuer: https://auth.example.com/ # HERE\n    audience: other\n    jwks_url: https://b.example\n    algorithms: [RS256]\nconnect:\n",
            "callers[1].issuer",
        ),
    ];
    for (part, other, path) in cases {
        let text = with(part, other);
        let loaded = parsed(&text).unwrap_or_else(|problems| panic!("{other:?}: {problems}"));
        let [warning] = loaded.warnings.as_slice() else { panic!("{other:?}: {:?}", loaded.warnings) };
        assert_eq!(warning.path, path);
        if let Some(line) = marked(&text) {
            assert_eq!(warning.line, Some(line), "{other:?}");
        }
    }
}
