//! The overview after a month of use: what it says, and how it looks in a real browser.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use tokio::io::AsyncReadExt as _;

use super::{operators::Desk, *};
use crate::{
    config::Admin,
    events::failures::Keeper,
    id::ServiceName,
    secret::SecretString,
    telemetry::metrics::{Census, RefreshOutcome, RequestOutcome, Took},
    vault::Vault,
};

const HOUR: Duration = Duration::from_secs(3600);
const TOKEN: &str = "the operator's own token";

const CONFIG: &str = r#"
public_url: https://connect.example.com
application: { name: Contoso Helpdesk }
listeners: [ { address: "127.0.0.1:8080", serves: [proxy, connect, admin] } ]
callers:
  - { issuer: https://auth.example.com/, audience: valetkey, secret: "a secret of thirty-two bytes, ok", algorithms: [HS256] }
store: { embedded: { path: ./unused.redb } }
vault: { keys: [ { id: one, key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" } ] }
services:
  github:
    title: GitHub
    base_url: https://api.github.example
    authorize_url: https://github.example/authorize
    token_url: https://github.example/token
    client_id: client
    client_secret: secret
    scopes: [repo]
  google:
    title: Google Calendar
    base_url: https://www.google.example
    authorize_url: https://google.example/authorize
    token_url: https://google.example/token
    client_id: client
    client_secret: secret
    scopes: [calendar]
    grant_lifetime: 35d
  hubspot:
    title: HubSpot
    base_url: https://api.hubspot.example
    authorize_url: https://hubspot.example/authorize
    token_url: https://hubspot.example/token
    client_id: client
    client_secret: secret
    scopes: [contacts]
    api_keys: { phase: encouraged }
  slack:
    title: Slack
    base_url: https://slack.example/api
    authorize_url: https://slack.example/authorize
    token_url: https://slack.example/token
    client_id: client
    client_secret: secret
    scopes: [chat]
"#;

/// Nothing is wrong with the process.
struct Well;

impl Health for Well {
    fn readiness(&self) -> Readiness {
        Readiness { status: Readily::Ready, detail: BTreeMap::new() }
    }
}

/// How far a person comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Comes {
    Nowhere,
    ToThePage,
    ToTheProvider,
    BackWithANo,
    BackInVain,
    Home,
}

struct Month {
    site: Site,
    state: Arc<State>,
    people: u32,
}

impl Month {
    fn begin() -> Self {
        let admin = Admin { token: SecretString::from(TOKEN), read_token: None };
        let rig = Rig::configured(CONFIG, |config| config.admin = Some(admin));
        let mut parts = parts(&rig, Readily::Ready);
        parts.health = Arc::new(Well);
        let state = Arc::new(State::new(parts));
        let router = router(Arc::clone(&state), Roles { proxy: true, connect: true, admin: true }, false);
        Self { site: Site { rig, router }, state, people: 0 }
    }

    fn jwt(user: &str) -> String {
        let mut claims = claims(user);
        claims["exp"] = json!(4_000_000_000_u64);
        sign_hmac(SECRET.as_bytes(), Algorithm::HS256, &claims)
    }

    async fn api(&self, user: &str, method: &str, path: &str, body: Value) -> Got {
        let request = Request::builder().method(method).uri(path).header("valetkey-token", Self::jwt(user));
        let got = self.site.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert!(got.status.is_success(), "{}", got.body);
        got
    }

    /// The calls of an hour: more by day than by night, fewer at weekends, and one bad afternoon.
    async fn calls(&self, hour: u32) {
        let (day, of_day) = (hour / 24, hour % 24);
        let busy =
            if (7..19).contains(&of_day) { 40 + day + day * 7 % 5 } else { 12 } / if day % 7 >= 5 { 4 } else { 1 };
        let is_bad = day == 17 && (13..18).contains(&of_day);
        let took = |own| Took { total: HOUR / 36_000, own: Duration::from_micros(own), upstream: HOUR / 40_000 };
        for (name, share) in [("github", 4), ("google", 3), ("slack", 2), ("hubspot", 1)] {
            let service = self.site.rig.metrics.service(&ServiceName::parse(name).unwrap());
            for call in 0_u32..busy * share {
                let outcome = match call % 40 {
                    0..15 if is_bad => RequestOutcome::UpstreamUnreachable,
                    7 => RequestOutcome::AuthRequired,
                    19 if call % 80 == 19 => RequestOutcome::Answered5xx,
                    _ => RequestOutcome::Answered2xx,
                };
                let own = 120
                    + u64::from(day) % 5 * 6
                    + if call % 50 == 3 { 700 + u64::from(day) * 37 % 11 * 60 } else { u64::from(call % 7) * 12 };
                service.call(outcome, &took(own), None);
                if call % 24 == 0 {
                    let refresh = if is_bad { RefreshOutcome::Failed } else { RefreshOutcome::Renewed };
                    service.refresh(refresh, Duration::from_millis(300));
                }
            }
        }
        self.site.rig.clock.advance(HOUR);
        // More often than a day's end, and seldom enough for a test.
        if of_day % 8 == 7 {
            self.state.parts.trends.write().await.unwrap();
        }
    }

    /// Somebody new is offered a link, and takes it so far.
    async fn attempt(&mut self, service: &str, comes: Comes) {
        self.people += 1;
        let user = format!("user-{}", self.people);
        self.site.rig.provider.is(&user);
        let link = self.api(&user, "POST", "/connect-links", json!({ "service": service })).await.json();
        if comes < Comes::ToThePage {
            return;
        }
        let mut browser = Jar::default();
        let page = browser.get(&self.site, link["auth_url"].as_str().unwrap()).await;
        page.assert_page(200);
        if comes < Comes::ToTheProvider {
            return;
        }
        let fields = [("form", page.field("form")), ("ticket", page.field("ticket"))];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let away = browser.post(&self.site, &format!("/connect/{service}"), &fields).await;
        assert_eq!(away.status, 303, "{}", away.body);
        if comes < Comes::BackWithANo {
            return;
        }
        self.site.rig.clock.advance(Duration::from_secs(9 + u64::from(self.people % 5) * 6));
        let state = away.location().query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let how = if comes == Comes::BackWithANo { "error=access_denied" } else { "code=the-code" };
        let granted = r#"{"access_token":"at","refresh_token":"rt","token_type":"Bearer","expires_in":3600}"#;
        match comes {
            Comes::BackInVain => self.site.rig.provider.answer(400, r#"{"error":"invalid_grant"}"#),
            _ => self.site.rig.provider.answer(200, granted),
        }
        browser.get(&self.site, &format!("/oauth/callback/{service}?{how}&state={state}")).await;
    }

    async fn attempts(&mut self, day: u32) {
        use Comes::{BackInVain, BackWithANo, Home, Nowhere, ToThePage, ToTheProvider};
        for (service, all) in [
            ("github", &[Home, Home, Home, ToTheProvider, Home, Nowhere][..]),
            ("google", &[Home, BackInVain, BackWithANo, BackInVain, Home, ToThePage]),
            ("slack", &[Home, Nowhere]),
        ] {
            for comes in all.iter().take(1 + (day % 6) as usize) {
                self.attempt(service, *comes).await;
            }
        }
        let user = format!("key-{day}");
        self.api(&user, "PUT", "/connections/hubspot/api-key", json!({ "api_key": "sk-1" })).await;
        if !day.is_multiple_of(3) {
            self.attempt("hubspot", Home).await;
        }
    }

    async fn pass(&mut self) {
        let rig = &self.site.rig;
        let vault = Arc::new(Vault::new(&rig.config.vault));
        let keeper =
            Keeper::start(rig.failures.clone(), Arc::clone(&rig.store), vault, &tokio::runtime::Handle::current());
        for hour in 0..720 {
            if hour % 24 == 10 {
                self.attempts(hour / 24).await;
            }
            self.calls(hour).await;
        }
        let rig = &self.site.rig;
        rig.consent.funnel.drain(HOUR).await;
        keeper.drain(HOUR).await;
        rig.metrics.counted(rig.connections.survey.census().await.unwrap());
        let hubspot = rig.metrics.service(&ServiceName::parse("hubspot").unwrap());
        hubspot.circuit_open_until(Some(std::time::Instant::now() + HOUR));
    }
}

/// The overview's page.
async fn shown(desk: &mut Desk, site: &Site, query: &str) -> String {
    let page = desk.get(site, &format!("/admin{query}")).await;
    page.assert_page(200);
    page.body
}

/// Its text, without markup.
fn text(page: &str) -> String {
    let mut all: String = page.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text)).collect();
    all.retain(|character| character != '\n');
    all
}

/// The days of the events that are shown.
fn days_of_events(page: &str) -> BTreeSet<String> {
    let events = page.split_once("<section id=\"audit\"").expect("events").1;
    events.split("<time datetime=\"").skip(1).map(|rest| rest[..10].to_owned()).collect()
}

#[tokio::test]
async fn the_overview_says_how_a_month_went() {
    let mut month = Month::begin();
    month.pass().await;
    let mut desk = Desk::signed_in(&month.site, TOKEN).await;
    let page = shown(&mut desk, &month.site, "").await;
    for what in [
        "hubspot: its token endpoint keeps failing",
        "<em>ValetkeyCircuitOpen</em>",
        "Calls a day, by how they ended",
        "Valetkey’s own part, in ms",
        "Tokens renewed a day",
        "Half connect within",
        "exchange_refused",
        "denied",
        "Connections that end, unless somebody does something",
        "aria-label=\"HubSpot: on OAuth\"",
    ] {
        assert!(page.contains(what), "{what} is not on the page");
    }
    assert_eq!(page.matches("<svg ").count(), 4 + 4, "four charts, and four services that people connect to");
    // What the charts show, their tables say.
    let answered: u64 = month.state.parts.metrics.totals().answered;
    let totals = month.state.parts.trends.calls(Trends::days(month.site.rig.clock.now(), 32)).await;
    assert_eq!(totals.unwrap().values().map(|day| day.answered).sum::<u64>(), answered);
    // Looking for somebody finds theirs and nobody else's.
    let found = text(&shown(&mut desk, &month.site, "?user=user-2&service=&type=").await);
    assert!(found.contains("user-2") && !found.contains("user-3"), "{found}");
    // So does looking at what there was until a day, all of it.
    let day = month.site.rig.clock.now().before(24 * 12 * HOUR).date();
    let found = shown(&mut desk, &month.site, &format!("?user=&service=&type=&from=&to={day}")).await;
    assert_eq!(days_of_events(&found).last(), Some(&day));
    let wrong = shown(&mut desk, &month.site, "?type=nothing").await;
    assert!(wrong.contains("type: there is none of this name"), "{wrong}");
    let wrong = shown(&mut desk, &month.site, "?from=soon").await;
    assert!(wrong.contains("From: write a day as 2026-11-23."), "{wrong}");
    // What nobody has used for long is counted, and goes only once that is confirmed.
    for days in ["0", "many", "3651"] {
        desk.post(&month.site, "/admin/unused", &[("days", days)]).await.assert_page(400);
    }
    desk.post(&month.site, "/admin/unused", &[("days", "20"), ("service", "No Such")]).await.assert_page(400);
    let none = desk.post(&month.site, "/admin/unused", &[("days", "300")]).await;
    none.assert_page(200);
    assert!(none.body.contains("There is nothing to disconnect"), "{}", none.body);
    if let Some(images) = std::env::var_os("OVERVIEW_IMAGES") {
        look(&month, &images.into_string().unwrap()).await;
    }
    let held = async || month.site.rig.connections.survey.census().await.unwrap();
    let of_google =
        |census: &Census| census.services[&ServiceName::parse("google").unwrap()].by_state.iter().sum::<u64>();
    let before = held().await;
    let counted = desk.post(&month.site, "/admin/unused", &[("days", "20"), ("service", "google")]).await;
    counted.assert_page(200);
    assert!(counted.body.contains("Google Calendar") && !counted.body.contains("GitHub"), "{}", counted.body);
    assert_eq!(held().await.services, before.services, "counting gives nothing up");
    let confirm = counted.field("confirm");
    let done = desk.post(&month.site, "/admin/unused", &[("confirm", &confirm)]).await;
    done.assert_page(200);
    let gone = of_google(&before) - of_google(&held().await);
    assert!(gone > 5 && done.body.contains(&format!("<h1>{gone} disconnected</h1>")), "{gone}: {}", done.body);
    assert!(counted.body.contains(&format!("<h1>Disconnect {gone} connections?</h1>")), "{}", counted.body);
    desk.post(&month.site, "/admin/unused", &[("confirm", &confirm)]).await.assert_page(400);
}

/// A real browser looks at it, and takes its picture.
async fn look(month: &Month, images: &str) {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let roles = Roles { proxy: false, connect: false, admin: true };
    Routes::new(Arc::clone(&month.state), roles, false).listen(address).await.unwrap();
    let folder = std::env::split_paths(&std::env::var_os("PATH").unwrap()).find(|path| path.join("chromium").is_file());
    let world = json!({
        "url": format!("http://{address}"),
        "token": TOKEN,
        "chromium": folder.expect("no chromium in PATH").join("chromium"),
        "images": images,
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/browser/overview.mjs");
    let mut node = tokio::process::Command::new("node");
    let mut node =
        node.args([script, &world.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    node.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
    node.wait().await.unwrap();
    assert!(said.contains("results") && !said.contains("\"error\""), "{said}");
}
