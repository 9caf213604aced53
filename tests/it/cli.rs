//! The command line: what each subcommand prints, and its exit code.

use std::path::Path;
use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::authorization_server::CLIENT_ID;
use crate::support::valetkey::{command, printed, run};
use crate::support::{Alone, Rig, Store, canary};

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", printed(output));
    assert!(!printed(output).contains("panicked"), "{}", printed(output));
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn wrong_usage_is_a_2_and_help_is_a_0() {
    for arguments in [
        &["serve"][..],
        &["frobnicate"],
        &["check"],
        &["mint", "--user", "ada"],
        &["check", "--config", "/nowhere/valetkey.yaml"],
    ] {
        let output = run(arguments);
        assert_exit(&output, 2);
        assert!(!output.stderr.is_empty(), "{arguments:?} says nothing");
    }
    assert_exit(&run(&["--help"]), 0);
    assert_exit(&run(&["--version"]), 0);
}

#[test]
fn check_tells_every_problem_at_once_with_its_line_and_never_a_value() {
    let folder = TempDir::new().expect("a folder");
    let config = file(
        &folder,
        "valetkey.yaml",
        "public_url: http://connect.example.com\n\
         listeners:\n\
         \x20 - { address: \"not-an-address\", serves: [proxy, connect] }\n\
         callers:\n\
         \x20 - issuer: https://auth.example.com/\n\
         \x20   audience: valetkey\n\
         \x20   secret: too-short-S3CRET\n\
         \x20   algorithms: [none]\n\
         store:\n\
         \x20 embedded: { path: ./x.redb, colour: blue }\n\
         vault:\n\
         \x20 keys: [ { id: one, key: \"bm90LTMyLWJ5dGVz\" } ]\n\
         services:\n\
         \x20 crm:\n\
         \x20   base_url: http://crm.example.com\n\
         \x20   authorize_url: https://crm.example.com/authorize\n\
         \x20   token_url: https://crm.example.com/token\n\
         \x20   client_id: ${NO_SUCH_VARIABLE}\n\
         \x20   client_secret: x\n\
         \x20   scopez: [contacts]\n",
    );
    let output = run(&["check", "--config", &config]);
    assert_exit(&output, 2);
    let printed = printed(&output);
    for (line, about) in [
        (1, "public_url"),
        (3, "address"),
        (7, "secret"),
        (8, "algorithms"),
        (10, "colour"),
        (12, "key"),
        (15, "base_url"),
        (18, "NO_SUCH_VARIABLE"),
        (20, "scopez"),
    ] {
        let named = printed.lines().any(|text| {
            text.contains(&format!(":{line}:"))
                || text.contains(&format!(":{line} "))
                || text.contains(&format!("line {line}"))
        });
        assert!(named, "no problem named on line {line}:\n{printed}");
        assert!(printed.contains(about), "nothing about {about}:\n{printed}");
    }
    for value in ["too-short-S3CRET", "bm90LTMyLWJ5dGVz"] {
        assert!(!printed.contains(value), "a value is printed:\n{printed}");
    }
    let serve = run(&["serve", "--config", &config]);
    assert_exit(&serve, 2);
}

#[test]
fn check_accepts_a_right_configuration_and_the_contracts_own_shape() {
    let folder = TempDir::new().expect("a folder");
    let right = file(&folder, "right.yaml", &Alone::config(&folder).text());
    assert_exit(&run(&["check", "--config", &right]), 0);

    let key = STANDARD.encode([7; 32]);
    let jwks = file(&folder, "jwks.json", include_str!("fixtures/jwks.json"));
    let admin = file(&folder, "admin-token", "admin-token-0123456789-0123456789\n");
    let whole = file(
        &folder,
        "whole.yaml",
        &format!(
            "public_url: https://connect.example.com\n\
             application: {{ name: \"Acme Helpdesk\" }}\n\
             listeners:\n\
             \x20 - {{ address: \"127.0.0.1:8080\", serves: [proxy, connect] }}\n\
             \x20 - {{ address: \"127.0.0.1:9090\", serves: [admin] }}\n\
             admin: {{ token_file: {admin} }}\n\
             callers:\n\
             \x20 - issuer: https://auth.example.com/\n\
             \x20   audience: valetkey\n\
             \x20   jwks_file: {jwks}\n\
             \x20   algorithms: [RS256]\n\
             \x20   user_claim: sub\n\
             connect: {{ binding: link, confirm: true, return_to: [\"https://app.example.com/\"], ticket_ttl: 10m }}\n\
             shutdown: {{ delay: 5s, grace: 30s }}\n\
             cache: {{ offline_max: 1h }}\n\
             store:\n\
             \x20 redis: {{ url: \"rediss://valetkey@redis:6379/0\", password_file: {admin} }}\n\
             vault:\n\
             \x20 keys: [ {{ id: \"2026-11\", key: \"${{VALETKEY_KEY}}\" }} ]\n\
             services:\n\
             \x20 github:\n\
             \x20   client_id: ${{GITHUB_CLIENT_ID:-a-default}}\n\
             \x20   client_secret: ${{GITHUB_CLIENT_SECRET}}\n\
             \x20   scopes: [repo, \"user:email\"]\n\
             \x20 gmail: {{ provider: google, client_id: x, client_secret: y, scopes: [\"https://www.googleapis.com/auth/gmail.readonly\"] }}\n\
             \x20 internal-crm:\n\
             \x20   title: \"CRM\"\n\
             \x20   base_url: https://crm.internal.example/api\n\
             \x20   authorize_url: https://crm.internal.example/oauth/authorize\n\
             \x20   token_url: https://crm.internal.example/oauth/token\n\
             \x20   client_id: crm-client\n\
             \x20   client_secret_file: {admin}\n\
             \x20   scopes: [contacts]\n"
        ),
    );
    let check = |variables: &[(&str, &str)]| {
        command().args(["check", "--config", &whole]).envs(variables.iter().copied()).output().expect("runs")
    };
    assert_exit(&check(&[("VALETKEY_KEY", &key), ("GITHUB_CLIENT_SECRET", "# not: yaml, [ { \" at all")]), 0);
    let output = check(&[("VALETKEY_KEY", &key)]);
    assert_exit(&output, 2);
    assert!(printed(&output).contains("GITHUB_CLIENT_SECRET"), "{}", printed(&output));
}

#[test]
fn schema_is_a_json_schema_that_the_tests_own_configuration_satisfies() {
    let output = run(&["schema"]);
    assert_exit(&output, 0);
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(schema["$schema"].as_str().is_some_and(|id| id.contains("json-schema.org")), "{schema}");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let folder = TempDir::new().expect("a folder");
    let config: Value = serde_json::from_str(&Alone::config(&folder).text()).expect("JSON");
    let errors: Vec<_> = validator.iter_errors(&config).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert!(!validator.is_valid(&json!({ "public_urll": "https://x" })));
}

#[test]
fn keys_generate_prints_another_key_of_32_bytes_each_time() {
    let keys: Vec<_> = (0..2)
        .map(|_| {
            let output = run(&["keys", "generate"]);
            assert_exit(&output, 0);
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        })
        .collect();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(STANDARD.decode(&keys[0]).expect("base64").len(), 32);
}

#[tokio::test]
async fn a_minted_jwt_is_accepted() {
    let valetkey = Alone::start(|config| config).await;
    let output = run(&["mint", "--user", "ada", "--config", text(&valetkey.config_file())]);
    assert_exit(&output, 0);
    let token = String::from_utf8(output.stdout).expect("text").trim().to_owned();
    let answer = valetkey.send(valetkey.anonymous(reqwest::Method::GET, "/proxy/crm/x").bearer_auth(token)).await;
    answer.auth_required("crm", "not_connected");
}

#[test]
fn mint_needs_an_issuer_with_a_secret() {
    let folder = TempDir::new().expect("a folder");
    let issuer = json!([{ "issuer": "https://auth.example.com/", "audience": "valetkey", "algorithms": ["RS256"], "public_key": include_str!("fixtures/rsa.pub.pem") }]);
    let config = file(&folder, "valetkey.yaml", &Alone::config(&folder).set("callers", issuer).text());
    let output = run(&["mint", "--user", "ada", "--config", &config]);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}", printed(&output));
    assert!(output.stdout.is_empty());
}

async fn import(rig: &Rig, lines: &str) -> Output {
    let path = rig.data().join("import.jsonl");
    std::fs::write(&path, lines).expect("written");
    let config = rig.valetkey.config_file();
    tokio::task::spawn_blocking(move || run(&["import", text(&path), "--config", text(&config)]))
        .await
        .expect("no panic")
}

fn line(user: &str, access: &str, refresh: Option<&str>) -> String {
    let mut line = json!({ "issuer": crate::support::jwt::ISSUER, "user": user, "service": "crm", "access_token": access, "scopes": ["contacts"] });
    if let Some(refresh) = refresh {
        line["refresh_token"] = refresh.into();
        line["expires_at"] = "2020-01-01T00:00:00Z".into();
    }
    format!("{line}\n")
}

#[tokio::test]
async fn import_stores_good_lines_names_bad_ones_and_leaves_the_file_usable_again() {
    // Nothing runs yet: the embedded file can have one owner only.
    let mut rig = Rig::prepare(Store::Embedded, |config, _| config).await;
    let (access, _) = rig.server.mint(CLIENT_ID, "ada", "contacts").await;
    let (old, refresh) = rig.server.mint(CLIENT_ID, "bob", "contacts").await;
    let lines =
        format!("{}not json\n{}{{\"issuer\":\"x\"}}\n", line("ada", &access, None), line("bob", &old, Some(&refresh)));
    let output = import(&rig, &lines).await;
    assert_exit(&output, 1);
    let said = printed(&output);
    for number in ["2", "4"] {
        assert!(
            said.contains(&format!("line {number}")) || said.contains(&format!(":{number}")),
            "line {number} is not named: {said}"
        );
    }
    assert_eq!(canary::found_in(&said), Vec::<String>::new());

    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    assert_eq!(rig.get("bob", "/proxy/crm/whoami").await.upstream(200)["sub"], "bob");
    assert_eq!(rig.server.count("refreshed").await, 1, "bob's access token was over");
    // The file belongs to the running process now.
    let output = import(&rig, &line("eve", &access, None)).await;
    assert_exit(&output, 1);
    rig.get("eve", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
}

#[tokio::test]
async fn import_works_beside_a_running_replica_on_redis() {
    let rig = Rig::start(Store::Redis).await;
    let (access, refresh) = rig.server.mint(CLIENT_ID, "ada", "contacts").await;
    rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
    let output = import(&rig, &line("ada", &access, Some(&refresh))).await;
    assert_exit(&output, 0);
    crate::support::wait::until("the import is seen", || async {
        (rig.get("ada", "/proxy/crm/whoami").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn health_asks_the_running_process() {
    let mut valetkey = Alone::start(|config| config).await;
    let config = valetkey.config_file();
    assert_exit(&run(&["health", "--config", text(&config)]), 0);
    valetkey.valetkey.kill();
    assert_exit(&run(&["health", "--config", text(&config)]), 1);
}

#[test]
fn providers_lists_the_catalogue_and_shows_one() {
    let output = run(&["providers"]);
    assert_exit(&output, 0);
    for name in ["github", "google", "slack"] {
        assert!(printed(&output).contains(name), "{}", printed(&output));
    }
    let one = run(&["providers", "github"]);
    assert_exit(&one, 0);
    assert!(printed(&one).contains("https://github.com/login/oauth/access_token"), "{}", printed(&one));
    assert_ne!(run(&["providers", "no-such-provider"]).status.code(), Some(0));
}

#[cfg(feature = "demo")]
#[tokio::test]
async fn the_demo_walks_the_whole_way_by_itself() {
    let output = tokio::task::spawn_blocking(|| run(&["demo", "--walk"])).await.expect("no panic");
    assert_exit(&output, 0);
    let said = printed(&output);
    for word in ["auth_required", "200", "stand-in"] {
        assert!(said.contains(word), "the walk does not show {word}: {said}");
    }
}
