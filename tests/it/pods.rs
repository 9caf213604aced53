//! Callers that are pods, by the projected tokens of their ServiceAccounts, and pods that act for people.

use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::authorization_server::http;
use crate::support::config::ADMIN_TOKEN;
use crate::support::html::Form;
use crate::support::{Alone, Answer, Browser, Cluster, Config, Page, Rig, Store, Valetkey, cluster, jwt, wait};

const PATH: &str = "/proxy/crm/whoami";

async fn with_token(valetkey: &Valetkey, token: &str) -> Answer {
    valetkey.send(valetkey.anonymous(Method::GET, PATH).bearer_auth(token)).await
}

/// People's issuer, and these pods of the cluster.
fn and_pods(config: Config, cluster: &Cluster, accounts: &[&str]) -> Config {
    let people = config.get("callers.0").clone();
    config.set("callers", json!([people, cluster.callers(accounts)]))
}

#[tokio::test]
async fn a_pod_is_a_caller_of_its_own_by_the_token_that_it_is_given() {
    let cluster = Cluster::start(&["rsa", "ec"]).await;
    let valetkey = Alone::start(|config| and_pods(config, &cluster, &["jobs/nightly", "web/*"])).await;
    for account in ["jobs:nightly", "web:front", "web:back.v2"] {
        with_token(&valetkey, &cluster::token(account)).await.auth_required("crm", "not_connected");
    }
    with_token(&valetkey, &jwt::asymmetric(Algorithm::ES256, Some("ec"), &cluster::claims("jobs:nightly")))
        .await
        .auth_required("crm", "not_connected");
    // What is one pod's is not another's, nor a person's of that name.
    let subject = "system:serviceaccount:jobs:nightly";
    let key = |token: &str| {
        let request = valetkey.anonymous(Method::PUT, "/connections/crm/api-key").bearer_auth(token);
        valetkey.send(request.header("content-type", "application/json").body(r#"{"api_key":"k-0123456789"}"#))
    };
    assert_eq!(key(&cluster::token("jobs:nightly")).await.status, 204);
    let connections = async |token: &str| {
        let request = valetkey.anonymous(Method::GET, "/connections").bearer_auth(token);
        valetkey.send(request).await.own()["connections"].as_array().expect("a list").len()
    };
    assert_eq!(connections(&cluster::token("jobs:nightly")).await, 1);
    assert_eq!(connections(&cluster::token("web:front")).await, 0);
    assert_eq!(connections(&jwt::of(subject)).await, 0);

    let but = |name: &str, value: Value| {
        let mut claims = cluster::claims("jobs:nightly");
        claims[name] = value;
        jwt::asymmetric(Algorithm::RS256, Some("rsa"), &claims)
    };
    let before = valetkey.logs().len();
    for (check, token) in [
        ("audience", but("aud", json!(["https://kubernetes.default.svc.cluster.local"]))),
        ("service account", cluster::token("jobs:weekly")),
        ("service account", cluster::token("job:nightly")),
        ("service account", but("sub", "ada".into())),
        ("service account", but("sub", "jobs/nightly".into())),
        ("exp", but("exp", Value::Null)),
        ("exp", but("exp", (jwt::now() - 120).into())),
        ("issuer", but("iss", "kubernetes/serviceaccount".into())),
        ("algorithm", jwt::hs256(&cluster::claims("jobs:nightly"))),
    ] {
        with_token(&valetkey, &token).await.refusal(401, "unauthenticated");
        let log = valetkey.logs()[before..].to_owned();
        let line = log.lines().rfind(|line| line.contains("a JWT was refused")).unwrap_or_default().to_owned();
        assert!(line.contains(check), "{check}: {line}");
    }
    let logs = valetkey.logs();
    assert!(
        logs.contains("jobs:weekly") && logs.contains("jobs/nightly, web/*"),
        "the log says who, and who may: {logs}"
    );
}

#[tokio::test]
async fn the_key_set_is_fetched_with_the_token_that_is_mounted_then() {
    let cluster = Cluster::start(&["rsa"]).await;
    let valetkey = Alone::start(|config| and_pods(config, &cluster, &["jobs/*"])).await;
    with_token(&valetkey, &cluster::token("jobs:nightly")).await.auth_required("crm", "not_connected");
    cluster.rotate("the second token of Valetkeys own pod");
    cluster.serve(&["rsa", "ec"]);
    let with_new_key = jwt::asymmetric(Algorithm::ES256, Some("ec"), &cluster::claims("jobs:nightly"));
    with_token(&valetkey, &with_new_key).await.auth_required("crm", "not_connected");
    assert_eq!(cluster.heads().len(), 2, "one fetch at start, one for the new key: {:?}", cluster.heads());
}

#[tokio::test]
async fn a_server_by_another_authority_is_shown_nothing() {
    let (cluster, other) = (Cluster::start(&["rsa"]).await, Cluster::start(&["rsa"]).await);
    let folder = tempfile::TempDir::new().expect("a folder");
    let config = and_pods(Alone::config(&folder), &cluster, &["jobs/*"])
        .set("callers.1.kubernetes.ca_file", other.mounted("ca.crt").display().to_string());
    let mut valetkey = Valetkey::prepare(&config);
    valetkey.run().await;
    with_token(&valetkey, &cluster::token("jobs:nightly")).await.refusal(503, "unavailable");
    assert_eq!(cluster.heads(), Vec::<String>::new());
    assert!(valetkey.logs().contains("the TLS handshake failed"), "{}", valetkey.logs());
    // People's issuer is none of it.
    valetkey.get("ada", PATH).await.auth_required("crm", "not_connected");
}

#[tokio::test]
async fn a_key_set_in_a_file_needs_no_cluster() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, jwt::jwks().to_string()).expect("written");
    let pods = json!({ "kubernetes": {
        "audience": jwt::AUDIENCE,
        "service_accounts": ["jobs/nightly"],
        "issuer": "https://oidc.example/cluster",
        "jwks_file": file.display().to_string(),
    }});
    let valetkey = Alone::start(|config| config.set("callers", json!([pods]))).await;
    let mut claims = cluster::claims("jobs:nightly");
    with_token(&valetkey, &jwt::asymmetric(Algorithm::RS256, Some("rsa"), &claims))
        .await
        .refusal(401, "unauthenticated");
    claims["iss"] = "https://oidc.example/cluster".into();
    with_token(&valetkey, &jwt::asymmetric(Algorithm::RS256, Some("rsa"), &claims))
        .await
        .auth_required("crm", "not_connected");
}

/// Two replicas that believe the same pods, with `ada` and `bob` connected to `crm`; the pods of `jobs` may act for people.
async fn with_jobs(cluster: &Cluster) -> (Rig, Valetkey) {
    let rig = Rig::with(Store::Redis, |config, _| {
        and_pods(config, cluster, &["jobs/*"])
            .set("callers.1.kubernetes.on_behalf_of", true)
            .set("services.crm.rate_limit", json!({ "requests": 1, "per": "1h", "burst": 100 }))
    })
    .await;
    for person in ["ada", "bob"] {
        rig.connect(person).await;
    }
    let replica = rig.replica().await;
    (rig, replica)
}

/// A call by a pod of the cluster in this person's name.
async fn for_person(valetkey: &Valetkey, person: &str) -> Answer {
    call_for(valetkey, &cluster::token("jobs:nightly"), &format!("{}|{person}", jwt::ISSUER)).await
}

async fn call_for(valetkey: &Valetkey, token: &str, person: &str) -> Answer {
    let request = valetkey.anonymous(Method::GET, PATH).bearer_auth(token);
    valetkey.send(request.header("valetkey-user", person)).await
}

/// A browser that shows whose it is.
fn browser_of(person: &str) -> Browser {
    let mut browser = Browser::new();
    browser.headers.push(("authorization".into(), format!("Bearer {}", jwt::of(person))));
    browser
}

fn switch(page: &Page) -> Option<Form> {
    page.forms().into_iter().find(|form| form.action.ends_with("/dashboard/away"))
}

/// Presses the switch on the dashboard, whichever way it stands.
async fn press(valetkey: &Valetkey, person: &str) -> Page {
    let mut browser = browser_of(person);
    let page = browser.open(format!("{}/dashboard", valetkey.url)).await;
    page.assert_is_a_safe_page();
    let form = switch(&page).unwrap_or_else(|| panic!("no switch: {}", page.text()));
    let pressed = browser.submit(&page, &form, &[]).await;
    browser.follow(pressed, |_| false).await
}

async fn says(valetkey: &Valetkey, person: &str) -> Value {
    valetkey.get(person, "/connections").await.own()["away"].clone()
}

#[tokio::test]
async fn a_listed_pod_acts_for_whoever_allows_it_and_for_nobody_else() {
    let cluster = Cluster::start(&["rsa"]).await;
    let (rig, replica) = with_jobs(&cluster).await;
    let refused = for_person(&rig, "ada").await.refusal(403, "forbidden");
    assert!(refused["message"].as_str().expect("text").contains("dashboard"), "it says what to do: {refused}");
    assert_eq!(says(&rig, "ada").await, false);

    let page = press(&rig, "ada").await;
    assert!(page.text().contains("Jobs may now act for you while you are away"), "{}", page.text());
    assert!(page.text().contains("Which of them did is recorded"), "in plain words: {}", page.text());
    assert_eq!(says(&rig, "ada").await, true);

    let seen = for_person(&rig, "ada").await.upstream(200);
    assert_eq!(seen["sub"], "ada");
    let headers = seen["headers"].to_string().to_lowercase();
    assert!(!headers.contains("valetkey") && !headers.contains("serviceaccount"), "{headers}");
    // One person's word is one person's, whoever asked before.
    for _ in 0..2 {
        for_person(&rig, "bob").await.refusal(403, "forbidden");
        assert_eq!(for_person(&rig, "ada").await.upstream(200)["sub"], "ada");
    }
    assert_eq!(rig.get("bob", PATH).await.upstream(200)["sub"], "bob");
    // Without the header the pod is itself, which has connected nothing.
    with_token(&rig, &cluster::token("jobs:nightly")).await.auth_required("crm", "not_connected");
    press(&rig, "bob").await;
    assert_eq!(for_person(&rig, "bob").await.upstream(200)["sub"], "bob");
    assert_eq!(for_person(&rig, "ada").await.upstream(200)["sub"], "ada");

    let vary = for_person(&rig, "ada").await.header("vary").expect("it varies").to_owned();
    assert!(vary.contains("Valetkey-User"), "a cache of the pod's own must tell people apart: {vary}");

    // Both names stand in the audit, once a day.
    let acted = || {
        let logs = rig.logs();
        logs.lines().filter(|line| line.contains("acted_for")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(acted().len(), 2, "{:?}", acted());
    let of_ada = acted().into_iter().find(|line| line.contains("ada")).expect("ada's");
    assert!(of_ada.contains("system:serviceaccount:jobs:nightly") && of_ada.contains("crm"), "{of_ada}");
    assert!(rig.logs().lines().any(|line| line.contains("away_allowed") && line.contains("ada")));

    // Another replica knows it, too, and learns within seconds that it is over.
    assert_eq!(for_person(&replica, "ada").await.upstream(200)["sub"], "ada");
    let page = press(&rig, "ada").await;
    assert!(page.text().contains("Jobs may no longer act for you"), "{}", page.text());
    for_person(&rig, "ada").await.refusal(403, "forbidden");
    assert_eq!(says(&rig, "ada").await, false);
    let since = std::time::Instant::now();
    wait::until("the other replica has heard of it", || async {
        (for_person(&replica, "ada").await.status == 403).then_some(())
    })
    .await;
    assert!(since.elapsed() < std::time::Duration::from_secs(7), "{:?}", since.elapsed());
    assert_eq!(for_person(&replica, "bob").await.upstream(200)["sub"], "bob");
}

#[tokio::test]
async fn what_the_header_may_say_and_who_may_send_it() {
    let cluster = Cluster::start(&["rsa"]).await;
    let (rig, _) = with_jobs(&cluster).await;
    press(&rig, "ada").await;
    let (ada, pod) = (format!("{}|ada", jwt::ISSUER), cluster::token("jobs:nightly"));
    assert_eq!(call_for(&rig, &pod, &ada).await.status, 200);
    for person in ["", "ada", "|ada", &format!("{}|", jwt::ISSUER), "https://elsewhere.example/|ada"] {
        call_for(&rig, &pod, person).await.refusal(400, "bad_request");
    }
    let twice =
        rig.anonymous(Method::GET, PATH).bearer_auth(&pod).header("valetkey-user", &ada).header("valetkey-user", &ada);
    rig.send(twice).await.refusal(400, "bad_request");
    // A person may not, not even for themself; nor may a pod act for a pod.
    call_for(&rig, &jwt::of("bob"), &ada).await.refusal(403, "forbidden");
    call_for(&rig, &jwt::of("ada"), &ada).await.refusal(403, "forbidden");
    call_for(&rig, &pod, &format!("{}|system:serviceaccount:jobs:nightly", cluster::ISSUER))
        .await
        .refusal(403, "forbidden");
    call_for(&rig, &cluster::token("web:front"), &ada).await.refusal(401, "unauthenticated");
    // It is for calls alone: a pod gets no link of a person's, sees no connections and ends none.
    for (method, path) in [
        (Method::GET, "/connections"),
        (Method::DELETE, "/connections/crm"),
        (Method::POST, "/connect-links"),
        (Method::POST, "/dashboard-links"),
        (Method::POST, "/preflight"),
    ] {
        let request = rig.anonymous(method, path).bearer_auth(&pod).header("valetkey-user", &ada);
        let request = request.header("content-type", "application/json").body(r#"{"service":"crm","services":[]}"#);
        rig.send(request).await.refusal(400, "bad_request");
    }
    assert_eq!(rig.get("ada", "/connections/crm").await.status, 200);

    let alone = Alone::start(|config| and_pods(config, &cluster, &["jobs/*"])).await;
    call_for(&alone, &pod, &ada).await.refusal(403, "forbidden");
    let page = browser_of("ada").open(format!("{}/dashboard", alone.url)).await;
    assert!(switch(&page).is_none(), "there is nothing to allow: {}", page.text());
    assert_eq!(says(&alone, "ada").await, false);
}

#[tokio::test]
async fn a_link_for_a_person_who_is_away_carries_no_ticket() {
    let cluster = Cluster::start(&["rsa"]).await;
    let (rig, _) = with_jobs(&cluster).await;
    press(&rig, "eve").await;
    let link = for_person(&rig, "eve").await.auth_required("crm", "not_connected");
    assert_eq!(link, format!("{}/connect/crm?account=default", rig.url));
    let stranger = Browser::new().open(&link).await;
    assert!(stranger.answer.status == 400 && stranger.forms().is_empty(), "{}", stranger.text());
    let mut eve = browser_of("eve");
    let page = eve.connect(&link, "eve").await;
    assert_eq!(page.answer.status, 200, "{}", page.text());
    assert_eq!(for_person(&rig, "eve").await.upstream(200)["sub"], "eve");
}

#[tokio::test]
async fn only_the_persons_own_whole_dashboard_has_the_switch() {
    let cluster = Cluster::start(&["rsa"]).await;
    let (rig, _) = with_jobs(&cluster).await;
    // Whoever followed a link manages the connection that they made, and decides nothing else.
    let link = rig.link("eve", "crm").await;
    let mut holder = Browser::new();
    let page = holder.connect(&link, "mallory").await;
    assert!(page.answer.status == 200 && switch(&page).is_none(), "{}", page.text());
    let mut eve = browser_of("eve");
    let own = eve.open(format!("{}/dashboard", rig.url)).await;
    let form = switch(&own).expect("a switch");
    // The form with its own token, from its own page.
    let mut forged = form.clone();
    let mine = page.forms().into_iter().find(|form| form.method == "post").expect("a form of the dashboard");
    let token = mine.fields.iter().find(|(name, _)| name == "form").expect("a token").1.clone();
    forged.fields = vec![("form".to_owned(), token), ("away".to_owned(), "on".to_owned())];
    assert_eq!(holder.submit(&page, &forged, &[]).await.answer.status, 403);
    // Nor does a form of another page's count.
    for changes in [&[("form", "x")][..], &[("away", "perhaps")]] {
        let status = eve.submit(&own, &form, changes).await.answer.status;
        assert!(status == 403 || status == 400, "{status}");
    }
    let elsewhere = Page { url: "https://elsewhere.example/".parse().expect("a URL"), answer: own.answer.clone() };
    let mut absolute = form.clone();
    absolute.action = format!("{}/dashboard/away", rig.url);
    assert_eq!(eve.submit(&elsewhere, &absolute, &[]).await.answer.status, 403);
    for_person(&rig, "eve").await.refusal(403, "forbidden");
    assert_eq!(says(&rig, "eve").await, false);
}

#[tokio::test]
async fn an_erased_persons_word_is_gone_and_the_rate_is_theirs() {
    let cluster = Cluster::start(&["rsa"]).await;
    let (rig, _) = with_jobs(&cluster).await;
    press(&rig, "ada").await;
    press(&rig, "bob").await;
    // The hundred calls of the hour are a person's, whoever makes them; one asked for the link to connect.
    for _ in 0..49 {
        assert_eq!(for_person(&rig, "ada").await.status, 200);
        assert_eq!(rig.get("ada", PATH).await.status, 200);
    }
    assert_eq!(for_person(&rig, "ada").await.status, 200);
    for_person(&rig, "ada").await.refusal(429, "rate_limited");
    rig.get("ada", PATH).await.refusal(429, "rate_limited");
    assert_eq!(for_person(&rig, "bob").await.status, 200);

    let erase = format!("{}/admin/users/bob?issuer={}", rig.admin, jwt::ISSUER);
    let answer = http().delete(erase).bearer_auth(ADMIN_TOKEN).send().await.expect("an answer");
    assert_eq!(answer.status(), 204);
    for_person(&rig, "bob").await.refusal(403, "forbidden");
    assert_eq!(says(&rig, "bob").await, false);
}
