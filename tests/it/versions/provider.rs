//! A provider and its API that know tokens by how they are called, so that tokens of a kept store mean something to them.
//! Refresh tokens serve once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::people::{BOB, GUS, HAL};
use crate::support::upstream::{Received, Step};
use crate::support::{Script, Upstream, canary};

/// Whose access tokens end at once, and all others' live for years.
const SHORT: [&str; 3] = [BOB, GUS, HAL];
const YEARS: u64 = 10 * 365 * 86_400;
/// The key that the API takes.
pub(super) const KEY: &str = "an-api-key-of-the-kept-store";

/// What it does when asked, and what it was asked.
#[derive(Default)]
pub(super) struct Mood {
    /// Gus's grant is no longer good.
    pub(super) refuses_gus: bool,
    /// Hal's renewal gets no answer.
    pub(super) hangs_for_hal: bool,
    /// It can't be asked to revoke.
    pub(super) revokes_nothing: bool,
    /// The number of each person's newest tokens.
    newest: HashMap<String, u64>,
    /// What was renewed, by whose token.
    pub(super) renewed: Vec<String>,
    /// Tokens that were presented twice, or that nobody issued.
    pub(super) amiss: Vec<String>,
    pub(super) revoked: Vec<String>,
}

/// A running one.
pub(super) struct Provider {
    upstream: Upstream,
    mood: Arc<Mutex<Mood>>,
}

fn token(kind: &str, user: &str, number: u64) -> String {
    canary::secret("a token of the kept store", format!("kept-{kind}-{user}-{number}"))
}

/// Whose token it is, and its number.
fn read<'t>(kind: &str, token: &'t str) -> Option<(&'t str, u64)> {
    let (user, number) = token.strip_prefix("kept-")?.strip_prefix(kind)?.strip_prefix('-')?.split_once('-')?;
    Some((user, number.parse().ok()?))
}

fn answer(status: u16, body: &serde_json::Value) -> Script {
    Script::answer(status, &[("Content-Type", "application/json")], body.to_string())
}

impl Provider {
    pub(super) async fn start() -> Self {
        let mood = Arc::<Mutex<Mood>>::default();
        let shared = Arc::clone(&mood);
        let upstream = Upstream::start(move |request| {
            let mood = &mut *shared.lock().expect("no panic in here");
            match request.target() {
                "/token" => mood.token(request),
                "/revoke" => mood.revoke(request),
                _ => mood.call(request),
            }
        })
        .await;
        Self { upstream, mood }
    }

    pub(super) fn url(&self) -> String {
        self.upstream.url()
    }

    /// Looks at it, or changes it.
    pub(super) fn mood<T>(&self, look: impl FnOnce(&mut Mood) -> T) -> T {
        look(&mut self.mood.lock().expect("no panic in here"))
    }
}

fn form(request: &Received) -> HashMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

impl Mood {
    fn issue(&mut self, user: &str, number: u64) -> Script {
        self.newest.insert(user.to_owned(), number);
        // Whoever renews gets a token that lives, or each call would renew again.
        let life = if SHORT.contains(&user) && number == 1 { 1 } else { YEARS };
        answer(
            200,
            &json!({
                "access_token": token("access", user, number), "refresh_token": token("refresh", user, number),
                "token_type": "Bearer", "expires_in": life,
            }),
        )
    }

    fn token(&mut self, request: &Received) -> Script {
        let form = form(request);
        if let Some(user) = form.get("code").and_then(|code| code.strip_prefix("code-of-")) {
            return self.issue(user, 1);
        }
        let presented = form.get("refresh_token").cloned().unwrap_or_default();
        let refused = answer(400, &json!({ "error": "invalid_grant" }));
        let Some((user, number)) = read("refresh", &presented) else {
            self.amiss.push(presented);
            return refused;
        };
        if user == HAL && self.hangs_for_hal {
            self.renewed.push(presented);
            return Script(vec![Step::Hang]);
        }
        if user == GUS && self.refuses_gus {
            return refused;
        }
        if self.newest.get(user).is_some_and(|newest| *newest != number) {
            self.amiss.push(presented);
            return refused;
        }
        let user = user.to_owned();
        self.renewed.push(presented);
        self.issue(&user, number + 1)
    }

    fn revoke(&mut self, request: &Received) -> Script {
        if self.revokes_nothing {
            return answer(503, &json!({}));
        }
        self.revoked.extend(form(request).remove("token"));
        answer(200, &json!({}))
    }

    fn call(&mut self, request: &Received) -> Script {
        if request.all("x-key") == [KEY] {
            return answer(200, &json!({ "key": true }));
        }
        let bearer = request.all("authorization").first().and_then(|value| value.strip_prefix("Bearer "));
        let known = bearer.and_then(|token| read("access", token));
        let live = known.filter(|(user, number)| self.newest.get(*user).is_none_or(|newest| newest == number));
        match live {
            Some((user, number)) => answer(200, &json!({ "sub": user, "number": number })),
            None => Script::answer(401, &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")], ""),
        }
    }
}
