//! A log whose lines strangers can't make without end, and which says how many it left out.

use reqwest::Method;

use crate::support::{Alone, Valetkey, wait};

const PATH: &str = "/proxy/crm/x";
const STORM: usize = 400;

/// How many refusals with this status were written.
fn written(logs: &str, status: &str) -> usize {
    logs.lines().filter(|line| line.contains("refused request_id=") && line.contains(status)).count()
}

/// How many lines like "refused", with this status, the log says that it left out.
fn left_out(logs: &str, status: &str) -> usize {
    logs.lines()
        .filter(|line| line.contains("more lines like this were left out") && line.contains(status))
        .map(|line| {
            let number = line.split("left_out=").nth(1).and_then(|rest| rest.split_whitespace().next());
            number.expect("a count").parse::<usize>().expect("a number")
        })
        .sum()
}

async fn storm(valetkey: &Valetkey) {
    for _ in 0..STORM {
        valetkey.send(valetkey.anonymous(Method::GET, PATH)).await.refusal(401, "unauthenticated");
    }
}

#[tokio::test]
async fn lines_of_one_kind_have_an_end_and_the_log_says_how_many_it_left_out() {
    let valetkey = Alone::start(|config| config).await;
    storm(&valetkey).await;
    // Nothing of that kind is said any more.
    wait::until("each refusal is a line, or counted", || async {
        let logs = valetkey.logs();
        (written(&logs, "unauthenticated") + left_out(&logs, "unauthenticated") == STORM).then_some(())
    })
    .await;
    let lines = written(&valetkey.logs(), "unauthenticated");
    assert!((20..STORM / 2).contains(&lines), "{lines} lines");
    // Another kind has its lines meanwhile.
    valetkey.get("ada", "/proxy/nothing/x").await.refusal(404, "unknown_service");
    assert_eq!(written(&valetkey.logs(), "unknown_service"), 1);
}

#[tokio::test]
async fn a_process_that_ends_says_first_how_many_lines_it_left_out() {
    let mut alone = Alone::start(|config| config).await;
    let valetkey = &mut alone.valetkey;
    storm(valetkey).await;
    valetkey.terminate();
    assert!(valetkey.process().exit().await.success());
    let logs = valetkey.logs();
    let (lines, others) = (written(&logs, "unauthenticated"), left_out(&logs, "unauthenticated"));
    assert_eq!(lines + others, STORM, "{lines} lines and {others} others");
    assert!(others > 0);
}

#[tokio::test]
async fn audit_lines_are_all_written() {
    let valetkey = Alone::start(|config| {
        let crm = config.get("services.crm").clone();
        (0..60).fold(config, |config, at| config.set(&format!("services.crm{at}"), crm.clone()))
    })
    .await;
    for at in 0..60 {
        let path = format!("/connections/crm{at}/api-key");
        let key = serde_json::json!({ "api_key": "k" }).to_string();
        let request = valetkey.request("ada", Method::PUT, &path).header("content-type", "application/json").body(key);
        assert_eq!(valetkey.send(request).await.status, 204);
    }
    let logs = valetkey.logs();
    assert_eq!(
        logs.lines().filter(|line| line.contains("valetkey::audit") && line.contains("api_key_stored")).count(),
        60
    );
}
