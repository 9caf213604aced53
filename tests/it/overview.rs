//! The operators' page of the real binary: a link from the command line, over plain HTTP on the admin listener, and what a read-only
//! token may do.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::authorization_server::http;
use crate::support::config::ADMIN_TOKEN;
use crate::support::valetkey::{printed, run};
use crate::support::{Alone, canary};

const READ_TOKEN: &str = "read-only-token-of-the-tests-0123";

async fn start() -> Alone {
    canary::secret("the read-only token", READ_TOKEN);
    Alone::start(|config| config.set("admin.read_token", READ_TOKEN)).await
}

fn link(valetkey: &Alone, more: &[&str]) -> Value {
    let file = valetkey.config_file();
    let arguments = ["admin-link", "--json", "--config", file.to_str().expect("UTF-8")];
    let output = run(&[&arguments[..], more].concat());
    assert!(output.status.success(), "{}", printed(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Presses the button of the link's page; the cookie that the browser gets.
async fn follow(valetkey: &Alone, url: &str) -> Option<String> {
    let secret = url.split_once("link=").expect("a link").1;
    let request = http().post(format!("{}/admin/sign-in", valetkey.admin)).form(&[("link", secret)]);
    let answer = request
        .header("origin", &valetkey.admin)
        .header("sec-fetch-site", "same-origin")
        .send()
        .await
        .expect("an answer");
    let cookie = answer.headers().get("set-cookie")?.to_str().expect("text").to_owned();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    Some(cookie.split(';').next().expect("a pair").to_owned())
}

async fn page(valetkey: &Alone, cookie: &str) -> (StatusCode, String) {
    let request = http().get(format!("{}/admin", valetkey.admin)).header("cookie", cookie);
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn a_link_from_the_command_line_opens_once() {
    let valetkey = start().await;
    let given = link(&valetkey, &[]);
    assert_eq!((&given["rights"], &given["expires_in"]), (&json!("read"), &json!(600)));
    let url = given["url"].as_str().expect("a URL");
    assert!(url.starts_with(&format!("{}/admin/sign-in?link=", valetkey.admin)), "{url}");
    let cookie = follow(&valetkey, url).await.expect("signed in");
    let (status, body) = page(&valetkey, &cookie).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("You may look") && body.contains("What is wrong now"), "{body}");
    assert_eq!(follow(&valetkey, url).await, None, "it was spent");
    let writing = link(&valetkey, &["--write", "--url", "http://localhost:19090/"]);
    let url = writing["url"].as_str().expect("a URL");
    assert!(url.starts_with("http://localhost:19090/admin/sign-in?link="), "{url}");
    let cookie = follow(&valetkey, url).await.expect("signed in");
    assert!(page(&valetkey, &cookie).await.1.contains("You may change things"));
    canary::secret("an operator's session", cookie.split_once('=').expect("a pair").1);
    valetkey.assert_logs_are_clean();
}

#[tokio::test]
async fn what_cannot_make_a_link_says_why() {
    let valetkey = Alone::start(|config| config.without("admin")).await;
    let file = valetkey.config_file();
    let output = run(&["admin-link", "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(&output).contains("admin.token"), "{}", printed(&output));
    assert_eq!(valetkey.admin_get("/admin").await.status, 404);
    let valetkey = start().await;
    let file = valetkey.config_file();
    for url in
        ["javascript:alert(1)", "http://localhost:1/admin", "http://localhost:1/?x=1", "http://localhost:1/#x", ""]
    {
        let output = run(&["admin-link", "--config", file.to_str().expect("UTF-8"), "--url", url]);
        assert_eq!(output.status.code(), Some(2), "{url}: {}", printed(&output));
        assert!(output.stdout.is_empty(), "{url}: {}", printed(&output));
    }
}

#[tokio::test]
async fn a_read_only_token_reads_all_and_changes_nothing() {
    let valetkey = start().await;
    let ask = async |token: &str, method: Method, path: &str| {
        let request = http().request(method, format!("{}{path}", valetkey.admin)).bearer_auth(token);
        request.send().await.expect("an answer").status().as_u16()
    };
    for path in ["/admin/audit", "/admin/funnel", "/admin/failures", "/admin/connections"] {
        assert_eq!(ask(READ_TOKEN, Method::GET, path).await, 200, "{path}");
    }
    assert_eq!(ask(READ_TOKEN, Method::DELETE, "/admin/users/ada").await, 403);
    assert_eq!(ask(READ_TOKEN, Method::POST, "/admin/connections/disconnect").await, 403);
    assert_eq!(ask(READ_TOKEN, Method::POST, "/admin/links?rights=write").await, 403);
    assert_eq!(ask(READ_TOKEN, Method::POST, "/admin/links").await, 201);
    assert_eq!(ask(ADMIN_TOKEN, Method::DELETE, "/admin/users/ada").await, 204);
}

#[tokio::test]
async fn a_wrong_token_leaves_a_line_in_the_log_and_itself_out_of_it() {
    let valetkey = start().await;
    for path in ["/admin", "/admin/audit", "/admin/connections"] {
        let request = http().get(format!("{}{path}", valetkey.admin)).header("accept", "application/json");
        let answer = request.bearer_auth("hush-hush-a-guess").send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        let id = answer.headers()["valetkey-request-id"].to_str().expect("text");
        let logs = valetkey.logs();
        let line = logs.lines().find(|line| line.contains(id) && line.contains("a wrong token for /admin"));
        assert!(line.is_some_and(|line| line.contains("127.0.0.1")), "{path}: {logs}");
    }
    assert!(!valetkey.logs().contains("hush-hush"));
}
