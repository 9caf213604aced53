//! What happens in each step, and what must be true then.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;
use valetkey_standin::Happening;

use super::{Broken, Scene, Walk, unanswered};
use crate::{
    clock::Timestamp,
    demo::{
        client::{Exchange, Form, Party},
        ink,
        setup::{CALLER, SERVICE},
    },
};

/// `expires_at` is written to the second, so the moment itself lies less than this after it.
const WRITTEN_TO: Duration = Duration::from_secs(1);
/// How long Valetkey may take to tell the provider of a disconnection.
const REVOCATION: Duration = Duration::from_secs(5);

impl Walk<'_> {
    pub(super) async fn stranger(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let answer = self.get(Party::Stranger, self.through("user")).await?;
        scene.tell(&answer, &["www-authenticate"], &["/status", "/message"]);
        expect(scene, "it answers 401 unauthenticated", &answer, StatusCode::UNAUTHORIZED, "unauthenticated")?;
        let challenge = answer.header("www-authenticate").to_owned();
        scene.check("it says how to come in", challenge.starts_with("Basic realm="), || challenge)
    }

    /// The app calls and is given a link, for one of these reasons.
    pub(super) async fn asks_for_consent(&mut self, scene: &mut Scene, reasons: &[&str]) -> Result<(), Broken> {
        let answer = self.get(Party::App, self.through("user")).await?;
        let shown = ["/status", "/message", "/reason", "/auth_url", "/expires_in"];
        scene.tell(&answer, &["valetkey-status", "www-authenticate"], &shown);
        expect(scene, "it answers 401 auth_required", &answer, StatusCode::UNAUTHORIZED, "auth_required")?;
        let reason = answer.member("reason");
        scene.check("it gives the right reason", reasons.contains(&reason.as_str()), || format!("reason {reason}"))?;
        let link = Url::parse(&answer.member("auth_url")).ok();
        let ours = link.as_ref().is_some_and(|link| link.origin() == self.world.public.origin());
        scene.check("its link is on public_url", ours, || answer.member("auth_url"))?;
        self.link = link;
        Ok(())
    }

    pub(super) async fn open(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let link = self.link.clone().ok_or_else(|| missing("a connect link"))?;
        let page = self.browse(link.clone()).await?;
        scene.tell(&page, &["content-type"], &[]);
        let again = self.browse(link).await?;
        let both = page.status == StatusCode::OK && again.status == StatusCode::OK;
        scene.check("it answers with a page, however often it is looked at", both, || {
            format!("{}, then {}: {}", page.status, again.status, excerpt(&again))
        })?;
        scene.check("the page names who connects", again.body.contains(CALLER), || excerpt(&again))?;
        self.form = Form::of(&again);
        scene.check("the page asks before it goes on", self.form.is_some(), || excerpt(&again))
    }

    pub(super) async fn go_on(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let form = self.form.take().ok_or_else(|| missing("the connect page's form"))?;
        let answer = self.submit(&form).await?;
        scene.tell(&answer, &["location"], &[]);
        let to = redirect(scene, "it sends the browser to the provider", &answer, self.world.standin.origin())?;
        let parameter = |name: &str| to.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let pkce =
            parameter("code_challenge_method").as_deref() == Some("S256") && parameter("code_challenge").is_some();
        scene.check("with PKCE S256 and a one-time state", pkce && parameter("state").is_some(), || ink::url(&to))?;
        let bound = answer.headers.contains_key("set-cookie");
        scene.check("with a cookie that binds this browser", bound, || "no Set-Cookie".into())?;
        self.onward = Some(to);
        Ok(())
    }

    pub(super) async fn consent(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let to = self.onward.take().ok_or_else(|| missing("the provider's URL"))?;
        let page = self.browse(to).await?;
        scene.tell(&page, &["stand-in"], &[]);
        let form = Form::of(&page).ok_or_else(|| missing("the consent form"))?.with("decision", "allow");
        let answer = self.submit(&form).await?;
        scene.tell(&answer, &["location"], &[]);
        let back =
            redirect(scene, "it sends the browser back", &answer, &self.world.public.origin().ascii_serialization())?;
        let iss = back.query_pairs().any(|(name, value)| name == "iss" && value == self.world.standin.origin());
        scene.check("with a code and its issuer (RFC 9207)", iss, || ink::url(&back))?;
        self.onward = Some(back);
        Ok(())
    }

    pub(super) async fn callback(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let bookmark = self.world.standin.journal_len();
        let to = self.onward.take().ok_or_else(|| missing("the callback's URL"))?;
        let answer = self.browse(to.clone()).await?;
        scene.tell(&answer, &["location"], &[]);
        let origin = self.world.public.origin().ascii_serialization();
        let onward = redirect(scene, "it sends the browser to the dashboard", &answer, &origin)?;
        let there = onward.path() == "/dashboard" && onward.query() == Some(&format!("connected={SERVICE}"));
        scene.check("which is told what was connected", there, || ink::url(&onward))?;
        let issued = self.witnessed(bookmark, |what| matches!(what, Happening::Issued { .. }));
        scene.check("the provider has exchanged the code", issued, || "the stand-in issued no token".into())?;
        let replayed = self.browse(to).await?;
        scene.tell(&replayed, &[], &[]);
        let refused = replayed.status == StatusCode::BAD_REQUEST;
        scene.check("the same callback again is refused", refused, || replayed.status.to_string())?;
        let quiet = !self.witnessed(bookmark, |what| matches!(what, Happening::CodeReused));
        scene.check("and reaches no token endpoint", quiet, || "the code was sent twice".into())?;
        self.onward = Some(onward);
        Ok(())
    }

    pub(super) async fn dashboard(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let to = self.onward.take().ok_or_else(|| missing("the dashboard's URL"))?;
        let page = self.browse(to).await?;
        scene.tell(&page, &["content-type"], &[]);
        scene.check("it lets this browser in", page.status == StatusCode::OK, || excerpt(&page))?;
        scene.check("it shows Demo Hub", page.body.contains("Demo Hub"), || excerpt(&page))?;
        let connection = self.connection(scene).await?;
        let status = connection.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        scene.check("the app sees it active", status == "active", || connection.to_string())
    }

    pub(super) async fn works(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        self.first_token = Some(self.call_works(scene).await?);
        Ok(())
    }

    pub(super) async fn pages(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let first = self.get(Party::App, self.through("repos/valetkey/demo/issues?per_page=2")).await?;
        scene.tell(&first, &["link"], &["/0/title", "/1/title"]);
        let links = first.header("link").to_owned();
        let next = links
            .split(',')
            .find(|link| link.contains("rel=\"next\""))
            .and_then(|link| Url::parse(link.split('<').nth(1)?.split('>').next()?).ok());
        let Some(next) = next.filter(|next| next.as_str().starts_with(self.through("").as_str())) else {
            return Err(Broken { claim: "rel=next points into the proxy".into(), found: links });
        };
        let second = self.get(Party::App, next).await?;
        scene.tell(&second, &[], &["/0/title", "/1/title"]);
        let onward = second.status == StatusCode::OK && second.json() != first.json();
        scene.check("following rel=next as it stands gives the next page", onward, || excerpt(&second))
    }

    pub(super) async fn streams(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let (url, body) = (self.through("repos/valetkey/demo/issues"), json!({ "title": "Opened by the walk" }));
        let opened = self.world.parties.call(Party::App, Method::POST, url, Some(&body)).await;
        let opened = opened.map_err(|error| unanswered(&error))?;
        scene.tell(&opened, &[], &["/number", "/title"]);
        let created = opened.status == StatusCode::CREATED && opened.member("title") == "Opened by the walk";
        scene.check("the API got the body", created, || excerpt(&opened))?;
        let stream = self.get(Party::App, self.through("events")).await?;
        scene.tell(&stream, &["content-type"], &[]);
        let events = stream.body.matches("event: tick").count();
        scene.check("all four events came", events == 4, || excerpt(&stream))?;
        scene.check("one by one, not all at the end", stream.pieces > 1, || format!("{} piece(s)", stream.pieces))
    }

    pub(super) async fn expires(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let connection = self.connection(scene).await?;
        let text = connection.get("expires_at").and_then(Value::as_str).unwrap_or_default();
        let Some(expires_at) = Timestamp::parse_rfc3339(text) else {
            return Err(Broken {
                claim: "the connection tells when its token expires".into(),
                found: connection.to_string(),
            });
        };
        let left = expires_at.plus(WRITTEN_TO).until(self.world.clock.now());
        scene.say(&format!("waiting {} for {text} to pass", ink::time(left)));
        tokio::time::sleep(left).await;
        let number = self.call_works(scene).await?;
        let first = self.first_token.unwrap_or_default();
        scene.check("it carried another token than before", number > first, || format!("token no. {number} again"))?;
        scene.say(&format!("the stand-in saw token no. {first} before, no. {number} now"));
        let refreshed = self.witnessed(0, |what| *what == Happening::Refreshed { number });
        scene.check("which the provider gave for the refresh token", refreshed, || "no refresh in its journal".into())
    }

    pub(super) async fn taken_back(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let grants = self.world.standin.revoke_upstream();
        scene.say(&format!("at the provider: {grants} grant(s) taken back; Valetkey isn't told"));
        self.asks_for_consent(scene, &["revoked", "rejected_by_upstream"]).await?;
        let connection = self.connection(scene).await?;
        let status = connection.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        scene.check("the connection is marked invalid", status == "invalid", || connection.to_string())
    }

    pub(super) async fn reconnect(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        self.open(scene).await?;
        self.go_on(scene).await?;
        self.consent(scene).await?;
        self.callback(scene).await
    }

    pub(super) async fn works_again(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        self.call_works(scene).await?;
        let reused = self.witnessed(0, |what| matches!(what, Happening::RefreshTokenReused | Happening::CodeReused));
        scene.check("no refresh token or code was ever used twice", !reused, || "the stand-in saw a reuse".into())
    }

    pub(super) async fn disconnect(&mut self, scene: &mut Scene) -> Result<(), Broken> {
        let bookmark = self.world.standin.journal_len();
        let url = self.at(&format!("/connections/{SERVICE}"));
        let answer = self.world.parties.call(Party::App, Method::DELETE, url, None).await;
        let answer = answer.map_err(|error| unanswered(&error))?;
        scene.tell(&answer, &[], &[]);
        scene.check("it answers 204", answer.status == StatusCode::NO_CONTENT, || excerpt(&answer))?;
        self.asks_for_consent(scene, &["not_connected"]).await?;
        let told = tokio::time::timeout(REVOCATION, async {
            while !self.witnessed(bookmark, |what| *what == Happening::RevokedByClient) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let told = told.await.is_ok();
        scene.check("the provider was told to revoke the grant", told, || "no revocation in its journal".into())?;
        let leaks = self.world.parties.leaks();
        scene.check("in all this, no token ever reached app or browser", leaks == 0, || {
            format!("{leaks} answers had one")
        })
    }

    /// The app's call is answered by the API; gives the number of the token that it carried.
    async fn call_works(&mut self, scene: &mut Scene) -> Result<u64, Broken> {
        let answer = self.get(Party::App, self.through("user")).await?;
        scene.tell(&answer, &[], &["/login", "/name", "/seen_token"]);
        scene.check("the API answers 200", answer.status == StatusCode::OK, || excerpt(&answer))?;
        let own = answer.headers.contains_key("valetkey-status");
        scene.check("and the answer is the API's own", !own && answer.member("login") == "ada", || excerpt(&answer))?;
        self.world.standin.last_called().ok_or_else(|| missing("a call in the stand-in's journal"))
    }

    /// What `GET /connections` says of the demo's service.
    async fn connection(&mut self, scene: &mut Scene) -> Result<Value, Broken> {
        let answer = self.get(Party::App, self.at("/connections")).await?;
        let shown = ["/connections/0/service", "/connections/0/status", "/connections/0/expires_at"];
        scene.tell(&answer, &[], &shown);
        let connections = answer.json();
        let ours = connections.get("connections").and_then(Value::as_array).and_then(|list| {
            list.iter().find(|connection| connection.get("service").is_some_and(|service| service == SERVICE))
        });
        ours.cloned()
            .ok_or_else(|| Broken { claim: format!("GET /connections lists {SERVICE}"), found: excerpt(&answer) })
    }
}

/// Checks a refusal's HTTP status, its JSON `status` and the header of the same meaning.
fn expect(
    scene: &mut Scene,
    claim: &'static str,
    answer: &Exchange,
    http: StatusCode,
    status: &str,
) -> Result<(), Broken> {
    let holds =
        answer.status == http && answer.member("status") == status && answer.header("valetkey-status") == status;
    scene.check(claim, holds, || excerpt(answer))
}

/// Checks that the answer sends the browser to that origin; gives the URL.
fn redirect(scene: &mut Scene, claim: &'static str, answer: &Exchange, origin: &str) -> Result<Url, Broken> {
    let to = answer
        .location()
        .filter(|to| answer.status == StatusCode::SEE_OTHER && to.origin().ascii_serialization() == origin);
    scene.check(claim, to.is_some(), || excerpt(answer))?;
    to.ok_or_else(|| missing(claim))
}

fn missing(what: &str) -> Broken {
    Broken { claim: format!("the step before left {what}"), found: "nothing".into() }
}

/// The beginning of an answer, for people who look for what went wrong.
fn excerpt(answer: &Exchange) -> String {
    let body = answer.body.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{} {} -> {} {}", answer.method, ink::url(&answer.url), answer.status, ink::cut(&body, 400))
}
