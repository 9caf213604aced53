//! Another configuration takes the place of the one in force, while calls go on: whole, or not at all.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::authorization_server::http;
use crate::support::config::ADMIN_TOKEN;
use crate::support::reloads::{Traffic, WELL, metric, refused, service, taken};
use crate::support::{Alone, Answer, Valetkey, canary};

const RELOADS: usize = 20;
/// 500 calls a second.
const PACE: Duration = Duration::from_millis(2);

/// Writes another configuration, and has it read.
fn ask(valetkey: &Valetkey, text: &str) {
    let file = valetkey.config_file();
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, &file).expect("renamed");
    valetkey.reload();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_under_load_lose_no_call_and_leave_nothing_old() {
    let traffic = Traffic::start(PACE, |_, _| {}).await;
    for number in 1..=RELOADS {
        traffic.reload(number, |valetkey, config| ask(valetkey, &config.text())).await;
    }
    traffic.end(RELOADS).await;
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_as_a_whole_and_shown() {
    let alone = Alone::start(|config| config).await;
    assert!((metric(&alone, WELL).await - 1.0).abs() < f64::EPSILON, "the start counts");
    let wrong = alone.config.clone().set("application.name", "Changed").set("services.crm.scopes.0", "a b");
    refused(&alone, || ask(&alone, &wrong.text())).await;
    let ready = alone.admin_get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")));
    assert!(ready.json()["detail"]["configuration"].as_str().is_some_and(|text| text.contains("refused (1 problem)")));
    let line = wrong.text().lines().position(|line| line.contains("\"a b\"")).expect("it is there") + 1;
    let told = format!("valetkey.yaml:{line}: services.crm.scopes[0]: This is no possible scope");
    assert!(alone.logs().contains(&told), "{told} in {}", alone.logs());
    // The one before serves on.
    alone.get("ada", "/proxy/crm/x").await.refusal(401, "auth_required");

    taken(&alone, || ask(&alone, &alone.config.text())).await;
    assert_eq!(alone.admin_get("/readyz").await.json(), json!({ "status": "ready", "detail": {} }));
}

#[tokio::test]
async fn what_cannot_change_while_it_runs_is_refused_by_name() {
    let alone = Alone::start(|config| config).await;
    let other = alone
        .config
        .clone()
        .set("store.embedded.path", "elsewhere.redb")
        .set("listeners.0.address", "127.0.0.1:1")
        .set("services.new", service("http://127.0.0.1:9", "x-key"));
    refused(&alone, || ask(&alone, &other.text())).await;
    let logs = alone.logs();
    for key in ["listeners", "store"] {
        assert!(logs.contains(&format!("{key}: This can't change while Valetkey runs")), "{key} in {logs}");
    }
    alone.get("ada", "/proxy/new/x").await.refusal(404, "unknown_service");
}

#[tokio::test]
async fn secrets_in_files_are_read_again_at_once_when_asked() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("admin-token");
    std::fs::write(&file, ADMIN_TOKEN).expect("written");
    let alone =
        Alone::start(|config| config.without("admin").set("admin.token_file", file.display().to_string())).await;
    let erase = async |token: &str| {
        let request = http().delete(format!("{}/admin/users/nobody", alone.admin)).bearer_auth(token);
        Answer::read(request.send().await.expect("an answer")).await.status
    };
    let other = "another-admin-token-of-the-tests-012345";
    canary::secret("another admin token", other);
    let (old_before, new_before) = (erase(ADMIN_TOKEN).await, erase(other).await);
    assert_ne!(old_before, 401);
    assert_eq!(new_before, 401);
    let write_and_ask = || {
        std::fs::write(&file, other).expect("written");
        alone.reload();
    };
    taken(&alone, write_and_ask).await;
    assert_eq!(erase(ADMIN_TOKEN).await, 401);
    assert_eq!(erase(other).await, old_before);
}
