//! Real headless Chromium on the pages of the real binary, with oidc-provider's real login and consent. Each test starts an
//! installation and one Chromium, and a script of tests/node/browser drives it; what the script saw is one line of JSON.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::config::ADMIN_TOKEN;
use crate::support::process::Process;
use crate::support::{Config, Rig, Store, jwt, wait};

/// Longest that a script may take: many walks, each of many pages.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(330);

/// The operator's logo in these tests.
const LOGO: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#7a5c00" d="M4 28 16 4l12 24z"/></svg>"##;

/// A provider that tells who granted access, so that accounts can be told apart.
pub(crate) fn identified(config: Config, issuer: &str) -> Config {
    let scopes = json!(["openid", "email", "contacts"]);
    config
        .set("services.crm.userinfo_url", format!("{issuer}/me"))
        .set("services.crm.scopes", scopes)
        .set(
            "services.crm.scope_titles",
            json!({ "contacts": "See your contacts", "email": "See your e-mail address" }),
        )
        // Who is on a key is asked to connect.
        .set("services.calendar.api_keys.phase", "encouraged")
        // Nothing is asked of the application's own home: the browsers have no network.
        .set("connect.return_to", json!([]))
}

async fn start(change: impl FnOnce(Config) -> Config) -> Rig {
    Rig::with(Store::Embedded, |config, server| change(identified(config, &server.issuer))).await
}

/// What a script is told.
fn world(rig: &Rig, more: &Value) -> Value {
    let mut world = json!({
        "url": rig.url,
        "issuer": rig.server.issuer,
        "control": rig.server.control_url(),
        "chromium": chromium(),
        "callers": { "issuer": jwt::ISSUER, "audience": jwt::AUDIENCE, "secret": jwt::SECRET },
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        world[name] = value.clone();
    }
    world
}

fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|file| file.is_file());
    found.expect("no `chromium` in PATH: `make test` installs it")
}

/// Runs a script to its end and fails with all that it found wrong.
async fn run(script: &str, world: &Value) {
    let folder = TempDir::new().expect("a folder");
    let mut command = Command::new("node");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node/browser").join(script);
    command.arg(path).arg(world.to_string()).stdin(Stdio::piped()).env("TMPDIR", folder.path());
    let mut process = Process::start("browser", command, folder.path());
    let line = tokio::time::timeout(DEADLINE, async {
        loop {
            let ended = process.ended();
            let line = process.stdout();
            if line.ends_with('\n') {
                return line;
            }
            assert!(ended.is_none(), "{script} ended with {ended:?}: {}", process.output());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let Ok(line) = line.await else { panic!("{script} took too long: {}", process.output()) };
    let report: Value = serde_json::from_str(&line).expect("one line of JSON");
    let results = report["results"].as_array().expect("a list");
    let failed: Vec<String> = results
        .iter()
        .filter_map(|result| Some(format!("{}:\n{}", result["name"].as_str()?, result["error"].as_str()?)))
        .collect();
    assert!(failed.is_empty(), "{} of {} failed\n{}", failed.len(), results.len(), failed.join("\n\n"));
    assert!(!results.is_empty(), "{script} checked nothing");
    wait::within("the browser's end", process.exit()).await;
}

#[tokio::test]
async fn every_walk_works_with_and_without_javascript_on_a_phone_and_a_large_screen() {
    let rig = start(|config| config).await;
    run("walks.mjs", &world(&rig, &json!({}))).await;
    rig.server.assert_sound().await;
}

#[tokio::test]
async fn axe_finds_nothing_on_any_page_in_light_and_dark_in_each_language() {
    let rig = Rig::with(Store::Embedded, |config, server| {
        // Its token requests can be made to fail by themselves.
        identified(config, &server.issuer).set("services.calendar.token_url", server.token_url("calendar"))
    })
    .await;
    run("accessibility.mjs", &world(&rig, &json!({}))).await;
}

#[tokio::test]
async fn axe_finds_nothing_in_the_operators_brand_nor_on_what_waits_for_the_application() {
    let folder = TempDir::new().expect("a folder");
    let logo = folder.path().join("logo.svg");
    std::fs::write(&logo, LOGO).expect("the logo is written");
    let rig = start(|config| {
        config
            .set("connect.binding", "confirm")
            .set("application.color", "#ffd34e")
            .set("application.logo_file", logo.display().to_string())
            .set("application.support_url", "https://help.example.com/")
    })
    .await;
    run("accessibility.mjs", &world(&rig, &json!({ "binding": "confirm" }))).await;
}

#[tokio::test]
async fn the_keyboard_alone_is_enough() {
    let rig = start(|config| config).await;
    run("keyboard.mjs", &world(&rig, &json!({}))).await;
}

#[tokio::test]
async fn operators_need_no_pointer_and_axe_finds_nothing_on_their_pages() {
    let rig = start(|config| config.set("telemetry.census", "1s")).await;
    let answer = rig.get("ada", "/proxy/crm/whoami").await;
    answer.auth_required("crm", "not_connected");
    // The page of the admin listener, which has nothing of the provider's.
    run("overview.mjs", &json!({ "url": rig.admin, "token": ADMIN_TOKEN, "chromium": chromium() })).await;
    rig.assert_logs_are_clean();
}

/// Pictures for the documentation: `make screenshots`.
#[tokio::test]
#[ignore = "writes docs/images: make screenshots"]
async fn screenshots() {
    let rig = Rig::with(Store::Embedded, |config, server| {
        let github = json!({
            "openid": "See who you are",
            "repo": "Read and write your repositories",
            "read:org": "See your organisations",
            "user:email": "See your e-mail addresses",
        });
        identified(config, &server.issuer)
            .set("services.crm.title", "Contoso CRM")
            .set("services.crm.scope_titles.openid", "See who you are")
            .service("github", "GitHub", &["openid", "repo", "read:org", "user:email"], server)
            .set("services.github.userinfo_url", format!("{}/me", server.issuer))
            .set("services.github.identity", json!({ "id": "/sub", "label": ["/sub"] }))
            .set("services.github.scope_titles", github)
    })
    .await;
    let images = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    run("screenshots.mjs", &world(&rig, &json!({ "images": images }))).await;
}
