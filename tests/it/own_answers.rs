//! Whoever refuses a request inside the process (a parser, a router, a phase), the answer is one of Valetkey's own.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::raw::{Raw, RawAnswer, values};
use crate::support::{Alone, Answer, Script, Upstream, jwt, wait};

/// Asserts a refusal with all that every refusal has, read from the bytes, and gives its body.
#[track_caller]
fn assert_own(answer: &RawAnswer, http: u16, status: &str) -> Value {
    let one = |name: &str| {
        let all = values(&answer.head, name);
        assert_eq!(all.len(), 1, "{name}: {answer:?}");
        all[0].to_owned()
    };
    assert_eq!(answer.status, http, "{answer:?}");
    assert_eq!(one("valetkey-status"), status);
    assert_eq!(one("cache-control"), "no-store");
    assert_eq!(one("x-content-type-options"), "nosniff");
    assert_eq!(one("content-type"), "application/json");
    assert_eq!(one("content-length"), answer.body.len().to_string());
    assert_eq!(values(&answer.head, "server"), Vec::<&str>::new(), "{answer:?}");
    let body = answer.json();
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"], one("valetkey-request-id"));
    assert!(one("valetkey-request-id").len() > 10 && body["request_id"] != "not-assigned", "{body}");
    body
}

/// Sends bytes on a connection of their own. The answer must be there, and be the last.
async fn refused(url: &str, bytes: &str) -> RawAnswer {
    let mut raw = Raw::connect(url).await;
    raw.send(bytes).await;
    raw.answer().await.unwrap_or_else(|| panic!("no answer to {bytes:.60}"))
}

fn many_headers(target: &str, count: usize) -> String {
    let headers: String = (0..count).map(|number| format!("X-{number}: y\r\n")).collect();
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n")
}

/// Requests that are none.
fn malformed() -> Vec<String> {
    [
        "GET /proxy/crm/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST /proxy/crm/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /proxy/crm/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /proxy/crm/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET /proxy/crm/x HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
        "what is this\r\n\r\n",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[tokio::test]
async fn what_no_parser_takes_is_refused_in_valetkeys_own_words() {
    let valetkey = Alone::start(|config| config).await;
    for bytes in malformed() {
        assert_own(&refused(&valetkey.url, &bytes).await, 400, "bad_request");
    }
    assert_own(&refused(&valetkey.url, &many_headers("/proxy/crm/x", 300)).await, 400, "bad_request");
    // The second request of a connection, too.
    let mut raw = Raw::connect(&valetkey.url).await;
    raw.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_own(&raw.answer().await.expect("an answer"), 404, "not_found");
    raw.send(&malformed()[0]).await;
    assert_own(&raw.answer().await.expect("an answer"), 400, "bad_request");
    assert!(raw.answer().await.is_none(), "the connection goes on");
    assert!(valetkey.logs().contains("bad_request"), "{}", valetkey.logs());
}

#[tokio::test]
async fn a_head_that_is_far_too_long_is_too_large() {
    let valetkey = Alone::start(|config| config).await;
    let mut raw = Raw::connect(&valetkey.url).await;
    let long = format!("GET /proxy/crm/x HTTP/1.1\r\nHost: a\r\nX: {}\r\n", "y".repeat(2 << 20));
    raw.try_send(long).await;
    if let Some(answer) = raw.answer().await {
        assert_own(&answer, 431, "too_large");
    }
}

#[tokio::test]
async fn the_admin_listener_refuses_what_no_parser_takes_in_the_same_words() {
    let valetkey = Alone::start(|config| config).await;
    for bytes in ["what is this\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n"] {
        assert_own(&refused(&valetkey.admin, bytes).await, 400, "bad_request");
    }
    assert_own(&refused(&valetkey.admin, &many_headers("/healthz", 2000)).await, 431, "too_large");
    let long = format!("GET /healthz?{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(70_000));
    assert_own(&refused(&valetkey.admin, &long).await, 414, "too_large");
    assert_eq!(refused(&valetkey.admin, &many_headers("/healthz", 200)).await.status, 200);
}

#[tokio::test]
async fn own_routes_take_as_many_headers_as_calls_do() {
    let valetkey = Alone::start(|config| config).await;
    let answer = refused(&valetkey.url, &many_headers("/connections", 200)).await;
    assert_eq!((answer.status, values(&answer.head, "valetkey-status")), (401, vec!["unauthenticated"]), "{answer:?}");
}

#[tokio::test]
async fn what_the_router_refuses_is_refused_in_valetkeys_own_words() {
    let valetkey = Alone::start(|config| config).await;
    for path in ["/connections/%ff", "/connect/%ff", "/oauth/callback/%ff"] {
        valetkey.get("ada", path).await.refusal(400, "bad_request");
    }
    let erase = crate::admin::erase(&valetkey, "%ff").await;
    erase.refusal(400, "bad_request");
    let json = |method: Method, path: &str, kind: &str, body: String| {
        valetkey.send(valetkey.request("ada", method, path).header("content-type", kind.to_owned()).body(body))
    };
    json(Method::POST, "/connect-links", "application/json", "{".into()).await.refusal(400, "bad_request");
    json(Method::POST, "/connect-links", "text/plain", "{}".into()).await.refusal(400, "bad_request");
    json(Method::POST, "/connect-links", "application/json", " ".repeat(70_000)).await.refusal(413, "too_large");
    json(Method::PATCH, "/connect-links", "application/json", "{}".into()).await.refusal(405, "method_not_allowed");
    json(Method::GET, "/nothing", "application/json", String::new()).await.refusal(404, "not_found");
    // A person gets a page.
    let page = valetkey.request("ada", Method::GET, "/connect/%ff").header("accept", "text/html");
    let page = valetkey.send(page).await;
    assert_eq!((page.status, page.header("valetkey-status")), (400, Some("bad_request")));
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
}

#[tokio::test]
async fn a_refusal_of_head_over_http2_has_an_end() {
    let valetkey = Alone::start(|config| config).await;
    let key = valetkey
        .request("ada", Method::PUT, "/connections/crm/api-key")
        .header("content-type", "application/json")
        .body(json!({"api_key": "k-0123456789"}).to_string());
    assert_eq!(valetkey.send(key).await.status, 204);
    #[expect(clippy::disallowed_methods, reason = "a client of HTTP/2 alone")]
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let head = client.head(format!("{}/proxy/crm/x", valetkey.url)).bearer_auth(jwt::of("ada"));
    let answer = Answer::read(head.send().await.expect("an answer")).await;
    assert_eq!((answer.status, answer.header("valetkey-status")), (502, Some("upstream_unreachable")));
    let head = client.head(format!("{}/proxy/crm/x", valetkey.url));
    let answer = Answer::read(head.send().await.expect("an answer")).await;
    assert_eq!((answer.status, answer.header("valetkey-status")), (401, Some("unauthenticated")));
}

#[tokio::test]
async fn one_connection_too_many_is_refused_as_everything_else() {
    let valetkey = Alone::start(|config| config.set("limits.connections_per_client", 3)).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(Raw::connect(&valetkey.url).await);
    }
    let mut refused = None;
    for raw in &mut held {
        if raw.try_send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await
            && let Some(answer) = raw.answer().await
            && answer.status == 429
        {
            refused = Some(answer);
        }
    }
    let answer = refused.expect("one of eight is refused");
    assert_own(&answer, 429, "rate_limited");
    assert_eq!(values(&answer.head, "retry-after"), ["1"]);
}

fn challenges(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().expect("text")).collect()
}

#[tokio::test]
async fn who_presents_nothing_is_asked_for_basic_or_bearer_and_who_presents_something_bad_is_told_so() {
    let valetkey = Alone::start(|config| config).await;
    for path in ["/proxy/crm/x", "/connections"] {
        let nothing = valetkey.send(valetkey.anonymous(Method::GET, path)).await;
        nothing.refusal(401, "unauthenticated");
        assert_eq!(challenges(&nothing), ["Basic realm=\"valetkey\"", "Bearer"], "{path}");
        let bad = valetkey.send(valetkey.anonymous(Method::GET, path).bearer_auth("nonsense")).await;
        bad.refusal(401, "unauthenticated");
        assert_eq!(challenges(&bad), ["Bearer error=\"invalid_token\""], "{path}");
        // A browser would ask the person for a name and a password.
        let page = valetkey.send(valetkey.anonymous(Method::GET, path).header("accept", "text/html")).await;
        assert!(page.status == 401 && challenges(&page).iter().all(|text| !text.starts_with("Basic")), "{page:?}");
    }
    let dashboard = valetkey.send(valetkey.anonymous(Method::GET, "/dashboard")).await;
    assert!(dashboard.status == 401 && challenges(&dashboard).iter().all(|text| !text.starts_with("Basic")));
    let mut admin = crate::support::authorization_server::http().delete(format!("{}/admin/users/ada", valetkey.admin));
    let nothing = Answer::read(admin.send().await.expect("an answer")).await;
    assert!(challenges(&nothing).iter().all(|text| text.starts_with("Bearer")), "{:?}", challenges(&nothing));
    admin = crate::support::authorization_server::http()
        .delete(format!("{}/admin/users/ada", valetkey.admin))
        .bearer_auth("wrong");
    assert_eq!(Answer::read(admin.send().await.expect("an answer")).await.status, 401);
}

/// A service with an API key, so that a call needs no consent.
async fn with_api_key(script: fn(&str) -> Script) -> (Alone, Upstream) {
    let upstream = Upstream::start(move |request| script(request.target())).await;
    let url = upstream.url();
    let valetkey = Alone::start(|config| config.set("services.crm.base_url", url)).await;
    let key = valetkey
        .request("ada", Method::PUT, "/connections/crm/api-key")
        .header("content-type", "application/json")
        .body(json!({"api_key": "k-0123456789"}).to_string());
    assert_eq!(valetkey.send(key).await.status, 204);
    (valetkey, upstream)
}

async fn output(mut command: std::process::Command) -> String {
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
    let output = wait::within("the program's end", output).await.expect("no panic");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn git_with_the_jwt_as_its_password_reads_a_repository() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let (valetkey, _upstream) = with_api_key(|target| {
        assert!(target.starts_with("/o/r.git/info/refs?service=git-upload-pack"), "{target}");
        let line = |text: String| format!("{:04x}{text}", text.len() + 4);
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let body = format!(
            "{}0000{}0000",
            line("# service=git-upload-pack\n".into()),
            line(format!("{commit} refs/heads/main\0agent=git/2\n"))
        );
        Script::answer(200, &[("Content-Type", "application/x-git-upload-pack-advertisement")], body)
    })
    .await;
    let address = valetkey.url.trim_start_matches("http://");
    let mut git = std::process::Command::new("git");
    git.args(["-c", "protocol.version=0", "-c", "credential.helper=", "ls-remote"]);
    git.arg(format!("http://x:{}@{address}/proxy/crm/o/r.git", jwt::of("ada")));
    let said = output(git).await;
    assert!(said.contains(&format!("{commit}\trefs/heads/main")), "{said}");
}

#[tokio::test]
async fn wget_with_the_jwt_as_its_password_gets_the_upstreams_answer() {
    let (valetkey, _upstream) = with_api_key(|_| Script::text("the upstream's words")).await;
    let mut wget = std::process::Command::new("wget");
    wget.args(["-q", "-O-", "--no-config", "--tries=1", "--user=x"]).arg(format!("--password={}", jwt::of("ada")));
    wget.arg(format!("{}/proxy/crm/x", valetkey.url));
    let said = output(wget).await;
    assert_eq!(said, "the upstream's words");
}
