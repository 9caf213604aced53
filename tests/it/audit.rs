//! The audit log from outside: what is asked for, what is missing from it (nothing), what it says of the erased (nothing), and
//! that whoever tampers with it is found, by the command and by a verifier in another language.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin::erase;
use crate::support::config::ADMIN_TOKEN;
use crate::support::valetkey::{printed, run};
use crate::support::{Answer, Config, Rig, Store, Valetkey, authorization_server, canary, on_both_stores, wait};

/// Asks for events: what stands behind `/admin/audit?`.
async fn ask(valetkey: &Valetkey, query: &str, accept: &str) -> Answer {
    let request = authorization_server::http().get(format!("{}/admin/audit?{query}", valetkey.admin));
    let request = request.bearer_auth(ADMIN_TOKEN).header("accept", accept);
    Answer::read(request.send().await.expect("an answer")).await
}

async fn events(valetkey: &Valetkey, query: &str) -> Vec<Value> {
    let answer = ask(valetkey, query, "application/json").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["events"].as_array().expect("a list").clone()
}

fn field<'e>(events: &'e [Value], name: &str) -> Vec<&'e str> {
    events.iter().map(|event| event[name].as_str().unwrap_or("-")).collect()
}

async fn put_key(valetkey: &Valetkey, user: &str) -> u16 {
    canary::secret("an API key", "sk-key-of-the-audit-tests");
    let request = valetkey.request(user, Method::PUT, "/connections/crm/api-key?account=keyed");
    let body = json!({ "api_key": "sk-key-of-the-audit-tests" }).to_string();
    valetkey.send(request.header("content-type", "application/json").body(body)).await.status
}

/// Runs `report audit` with these words on a configuration.
async fn report(config: &Config, words: &[&str]) -> Output {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("valetkey.yaml");
    std::fs::write(&file, config.text()).expect("written");
    let mut words: Vec<String> = ["report", "audit"].iter().chain(words).map(|word| (*word).to_owned()).collect();
    words.extend(["--config".to_owned(), file.display().to_string()]);
    let output = tokio::task::spawn_blocking(move || run(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    let output = output.await.expect("no panic");
    drop(folder);
    output
}

fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", printed(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ends a process in order: what it wrote is signed then.
async fn end(valetkey: &mut Valetkey) {
    valetkey.terminate();
    assert!(valetkey.process().exit().await.success());
}

on_both_stores! {
    async fn what_happened_is_listed_with_who_did_it_and_from_where(store) {
        let rig = Rig::start(store).await;
        rig.connect("ada").await;
        rig.connect("bob").await;
        assert_eq!(put_key(&rig, "ada").await, 204);
        let removed = rig.send(rig.request("ada", Method::DELETE, "/connections/crm?account=default")).await;
        assert_eq!(removed.status, 204);
        let all = events(&rig, "").await;
        assert_eq!(field(&all, "type"), ["revoked", "api_key_stored", "connected", "connected"], "{all:#?}");
        assert_eq!(field(&all, "user"), ["ada", "ada", "bob", "ada"]);
        assert_eq!(field(&all, "account"), ["default", "keyed", "default", "default"]);
        let revoked = &all[0];
        assert_eq!((&revoked["service"], &revoked["actor"], &revoked["ip"]), (&json!("crm"), &json!("caller"), &json!("127.0.0.1")));
        assert_eq!(revoked["request_id"], removed.header("valetkey-request-id").expect("an id"));
        assert_eq!(revoked["id"].as_str().map(str::len), Some(32));
        for (query, count) in [
            ("user=ada", 3), ("user=ada&type=connected", 1), ("user=carol", 0), ("service=crm", 4), ("service=calendar", 0),
            ("account=keyed", 1), ("since=1h", 4), ("until=1h", 0), ("type=erased", 0), ("issuer=https://nobody.example/", 0),
        ] {
            assert_eq!(events(&rig, query).await.len(), count, "{query}");
        }
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ask(&rig, &format!("limit=1&cursor={cursor}"), "application/json").await.json();
            paged.extend(page["events"].as_array().expect("a list").clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = next.to_owned();
        }
        assert_eq!(paged, all);
        let lines = ask(&rig, "", "application/x-ndjson").await.text();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines, all);
        let csv = ask(&rig, "", "text/csv").await;
        assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
        assert_eq!(csv.text().lines().count(), 5, "{}", csv.text());
    }

    async fn who_is_erased_is_nobody_in_the_log_and_nowhere_in_the_store(store) {
        let mut rig = Rig::start(store).await;
        rig.connect("ada-lovelace").await;
        rig.connect("bob").await;
        assert_eq!(erase(&rig, "ada-lovelace").await.status, 204);
        let all = events(&rig, "").await;
        assert_eq!(field(&all, "type"), ["erased", "connected", "connected"]);
        assert_eq!(field(&all, "user"), ["-", "bob", "-"], "{all:#?}");
        for name in ["issuer", "account", "ip"] {
            assert!(all[0][name].is_null() && all[2][name].is_null(), "{name}: {all:#?}");
        }
        assert_eq!((&all[2]["service"], &all[0]["actor"]), (&json!("crm"), &json!("operator")));
        assert_eq!(events(&rig, "user=ada-lovelace").await, Vec::<Value>::new());
        // Who comes back begins anew.
        assert_eq!(put_key(&rig, "ada-lovelace").await, 204);
        assert_eq!(field(&events(&rig, "").await, "user"), ["ada-lovelace", "-", "bob", "-"]);
        if let Some(redis) = &rig.redis {
            assert!(!redis.dump().await.contains("lovelace"));
        }
        end(&mut rig.valetkey).await;
        let report = said(&report(&rig.config, &["--verify"]).await, 0);
        assert!(report.contains("The log is as it was signed") && report.contains("Signed      4 entries"), "{report}");
    }
}

#[tokio::test]
async fn only_the_operator_may_ask_and_what_is_asked_must_mean_something() {
    let rig = Rig::start(Store::Embedded).await;
    let bare = authorization_server::http().get(format!("{}/admin/audit", rig.admin));
    for request in [bare.try_clone().expect("no body"), bare.bearer_auth("another")] {
        Answer::read(request.send().await.expect("an answer")).await.refusal(401, "unauthenticated");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "cursor=x",
        "type=conected",
        "since=yesterday",
        "service=CRM",
        "usr=ada",
        "user=a&user=b",
    ] {
        ask(&rig, query, "application/json").await.refusal(400, "bad_request");
    }
}

#[tokio::test]
async fn the_report_has_a_table_lines_and_a_file_for_spreadsheets() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    rig.connect("=cmd()").await;
    let table = said(&report(&rig.config, &[]).await, 0);
    for part in ["TIME", "connected", "ada", "=cmd()", "crm", "caller"] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    let lines = said(&report(&rig.config, &["--format", "jsonl", "--user", "ada"]).await, 0);
    let event: Value = serde_json::from_str(&lines).expect("one line of JSON");
    assert_eq!((&event["user"], &event["type"]), (&json!("ada"), &json!("connected")));
    let csv = said(&report(&rig.config, &["--format", "csv", "--since", "1h"]).await, 0);
    assert!(csv.starts_with("id,time,type,") && csv.contains(",\"'=cmd()\","), "{csv}");
    assert!(said(&report(&rig.config, &["--service", "none"]).await, 0).contains("No such events"));
    said(&report(&rig.config, &["--type", "nonsense"]).await, 2);
}

#[tokio::test]
async fn the_audit_file_has_a_line_for_each_event_and_is_given_up_to_collectors() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("audit.jsonl");
    let path = file.display().to_string();
    let mut rig = Rig::with(Store::Embedded, |config, _| config.set("audit.file", path)).await;
    rig.connect("ada").await;
    wait::until("the event is written", || async {
        lines(&file).iter().any(|line| line["type"] == "connected").then_some(())
    })
    .await;
    std::fs::rename(&file, folder.path().join("collected")).expect("moved");
    rig.connect_account("ada", "crm", "work", "ada").await;
    end(&mut rig.valetkey).await;
    let [before, after] = [&folder.path().join("collected"), &file].map(|file| lines(file));
    assert_eq!((before[0]["user"].as_str(), before[0]["account"].as_str()), (Some("ada"), Some("default")));
    assert_eq!(after[0]["account"], "work");
    let anchors = [before, after].concat().iter().filter(|line| line["anchor"].is_string()).count();
    assert!(anchors >= 1, "what was signed at the end");
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Thirty people's events in a Redis, signed; and where the anchors are.
async fn signed() -> (Rig, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("audit.jsonl").display().to_string();
    let mut rig = Rig::with(Store::Redis, |config, _| config.set("audit.file", path)).await;
    for number in 0..30 {
        assert_eq!(put_key(&rig, &format!("user-{}", number % 20)).await, 204);
    }
    end(&mut rig.valetkey).await;
    (rig, folder)
}

/// What a Redis script does to the longest of the log's streams, `k`, whose entries are `e`.
async fn tamper(rig: &Rig, script: &str) {
    let script = format!(
        "local k local most = 0 for _, one in ipairs(redis.call('KEYS', '*:a:audit')) do local n = redis.call('XLEN', one) \
         if n > most then k, most = one, n end end local e = redis.call('XRANGE', k, '-', '+') {script} return 'OK'"
    );
    rig.redis.as_ref().expect("Redis").say(&["EVAL", &script, "0"]).await;
}

/// Writes the stream anew from `e`.
const REBUILD: &str =
    "redis.call('DEL', k) for _, one in ipairs(e) do redis.call('XADD', k, one[1], 'e', one[2][2]) end";

#[tokio::test]
async fn whoever_tampers_with_the_store_is_found_by_the_command() {
    let changed = format!(
        "local b = e[1][2][2] e[1][2][2] = b:sub(1, 90) .. string.char((b:byte(91) + 1) % 256) .. b:sub(92) {REBUILD}"
    );
    let swapped = format!("e[1][2], e[2][2] = e[2][2], e[1][2] {REBUILD}");
    let of_the_head = "local h = redis.call('KEYS', '*:o:audit-head-*')[1] local v = redis.call('GET', h) \
                       redis.call('SET', h, v:sub(1, 40) .. '1' .. v:sub(42) .. ' ')";
    for (script, says) in [
        ("", None),
        ("redis.call('XDEL', k, e[1][1])", Some("entries are missing")),
        ("redis.call('DEL', k)", Some("entries are missing")),
        (changed.as_str(), Some("it doesn't open")),
        (swapped.as_str(), Some("stand in another order")),
        (of_the_head, Some("was changed, or signed by somebody else")),
        ("redis.call('DEL', redis.call('KEYS', '*:o:audit-heads')[1])", Some("nothing is signed over all shards")),
    ] {
        let (rig, _folder) = signed().await;
        tamper(&rig, script).await;
        let report = said(&report(&rig.config, &["--verify"]).await, i32::from(says.is_some()));
        assert!(report.contains(says.unwrap_or("The log is as it was signed")), "{script}: {report}");
        assert!(says.is_none() || report.contains("wrong:"), "{script}: {report}");
        assert!(report.contains("Public key  "), "{report}");
    }
}

#[tokio::test]
async fn a_store_that_was_emptied_is_found_by_anchors_that_lie_elsewhere() {
    let (rig, folder) = signed().await;
    let anchors = folder.path().join("audit.jsonl").display().to_string();
    assert!(said(&report(&rig.config, &["--verify", "--anchors", &anchors]).await, 0).contains("Anchors     "));
    let empty = "for _, one in ipairs(redis.call('KEYS', '*audit*')) do redis.call('DEL', one) end";
    tamper(&rig, empty).await;
    said(&report(&rig.config, &["--verify"]).await, 0);
    let found = said(&report(&rig.config, &["--verify", "--anchors", &anchors]).await, 1);
    assert!(
        found.contains("knows of 1 entries, and there were only 0") && found.contains("it was put back"),
        "{found}"
    );
}

#[tokio::test]
async fn a_verifier_in_another_language_finds_ten_thousand_ways_of_tampering() {
    let (rig, folder) = signed().await;
    let export = folder.path().join("export.jsonl");
    std::fs::write(&export, said(&report(&rig.config, &["--raw"]).await, 0)).expect("written");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit");
    let python = tests.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/install-python-test-deps.sh", python.display());
    let mut command = Command::new(python);
    command
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .env("VALETKEY_AUDIT_EXPORT", &export)
        .env("VALETKEY_AUDIT_ANCHORS", folder.path().join("audit.jsonl"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&tests);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    assert!(output.status.success(), "{}", printed(&output));
}

/// How many operations three replicas are given: `VALETKEY_AUDIT_OPERATIONS`.
#[expect(clippy::disallowed_methods, reason = "asks whoever runs the tests")]
fn operations() -> usize {
    std::env::var("VALETKEY_AUDIT_OPERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(1500)
}

#[tokio::test]
async fn of_three_replicas_one_of_which_is_killed_nothing_that_was_acknowledged_is_missing() {
    let mut rig = Rig::start(Store::Redis).await;
    let mut others = [rig.replica().await, rig.replica().await];
    canary::secret("an API key", "sk-key-of-the-audit-tests");
    let (people, total, doomed) = (60, operations(), others[1].process().id());
    // By person: how often a key was certainly stored and removed, and how often nobody knows.
    let mut certain: BTreeMap<(String, &str), (usize, usize)> = BTreeMap::new();
    for begin in (0..total).step_by(people) {
        let killed = begin <= total / 2 && total / 2 < begin + people;
        let round = (begin..total.min(begin + people)).map(|number| {
            let replicas = [&rig.valetkey, &others[0], &others[1]];
            let gone = begin > total / 2;
            let replica = replicas[if gone { number % 2 } else { number % 3 }];
            let (user, removes) = (format!("user-{}", number % people), (number / people) % 2 == 1);
            async move {
                let status = if removes {
                    let path = "/connections/crm/api-key?account=keyed";
                    replica.request(&user, Method::DELETE, path).send().await.map(|answer| answer.status().as_u16())
                } else {
                    let request = replica.request(&user, Method::PUT, "/connections/crm/api-key?account=keyed");
                    let body = json!({ "api_key": "sk-key-of-the-audit-tests" }).to_string();
                    let sent = request.header("content-type", "application/json").body(body).send().await;
                    sent.map(|answer| answer.status().as_u16())
                };
                ((user, if removes { "api_key_removed" } else { "api_key_stored" }), status)
            }
        });
        let answers = futures_util::future::join_all(round);
        let answers = if killed {
            let kill = async {
                tokio::task::yield_now().await;
                crate::support::process::signal(doomed, "KILL");
            };
            tokio::join!(answers, kill).0
        } else {
            answers.await
        };
        for (what, status) in answers {
            let (done, unknown) = certain.entry(what).or_default();
            match status {
                Ok(204) => *done += 1,
                // There was none, as the key before it was not stored.
                Ok(404) => {}
                Ok(_) | Err(_) => *unknown += 1,
            }
        }
    }
    let mut logged: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for event in ask(&rig, "", "application/x-ndjson").await.text().lines() {
        let event: Value = serde_json::from_str(event).expect("JSON");
        let kind = if event["type"] == "api_key_stored" { "api_key_stored" } else { "api_key_removed" };
        assert_eq!(event["type"], kind);
        *logged.entry((event["user"].as_str().expect("a user").to_owned(), kind)).or_default() += 1;
    }
    for (what, (done, unknown)) in &certain {
        let entries = logged.get(what).copied().unwrap_or(0);
        assert!(
            (*done..=done + unknown).contains(&entries),
            "{what:?}: {done} done, {unknown} unknown, {entries} entries"
        );
    }
    let done: usize = certain.values().map(|(done, _)| done).sum();
    assert!(done > total * 3 / 4, "only {done} of {total} were done");
    let [mut second, _] = others;
    for valetkey in [&mut rig.valetkey, &mut second] {
        end(valetkey).await;
    }
    assert!(said(&report(&rig.config, &["--verify"]).await, 0).contains("The log is as it was signed"));
}
