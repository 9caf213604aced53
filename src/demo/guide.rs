//! The demo as a person meets it: what is running, the first call and its answer, the link to click, and then whatever
//! happens, as it happens, with the next line to try. Watches the connection as an application would, over HTTP.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;
use valetkey_standin::StandIn;

use super::{
    client::{Parties, Party},
    ink::{self, ASKS, FAINT, GOOD, Inked, STRONG, TRY},
    setup::{CALLER, SERVICE},
};

/// How often the connection is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// What the guide shows around.
pub struct Sights<'a> {
    /// The application.
    pub parties: Parties,
    /// The provider.
    pub standin: &'a StandIn,
    /// Valetkey's `public_url`.
    pub public: Url,
    /// Where health and metrics are.
    pub admin: String,
    /// The configuration's path.
    pub config: String,
    /// Whether the real GitHub is configured too.
    pub github: bool,
    /// Lifetime of the stand-in's access tokens.
    pub lifetime: Duration,
}

/// What the connection last was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Absent,
    Active,
    Invalid,
}

impl Sights<'_> {
    /// Shows the beginning, then goes along until the task is dropped.
    ///
    /// # Errors
    /// Where Valetkey doesn't answer the first call.
    pub async fn show(mut self) -> reqwest::Result<()> {
        self.welcome();
        self.first_call().await?;
        self.next_steps();
        self.go_along().await;
        Ok(())
    }

    fn welcome(&self) {
        let line = |name: &str, value: &dyn std::fmt::Display| {
            ink::line(format_args!("  {} {value}", Inked(FAINT, format!("{name:<14}"))));
        };
        ink::line(format_args!(
            "\n{}\n",
            Inked(STRONG, "Valetkey demo: your app calls APIs as its users and never sees a token.")
        ));
        line("Valetkey", &self.public.origin().ascii_serialization());
        line("health", &format_args!("{}/readyz and /metrics", self.admin));
        line("configuration", &format_args!("{} {}", self.config, Inked(FAINT, "(goes when the demo ends)")));
        let seconds = self.lifetime.as_secs();
        line(
            "provider",
            &format_args!("Demo Hub at {}, a {} on this machine", self.standin.origin(), Inked(ASKS, "STAND-IN")),
        );
        line("", &format_args!("its access tokens live {seconds} s, its refresh tokens rotate"));
    }

    /// The application's first call: shown as the line that a person can run, with the answer it gets.
    async fn first_call(&mut self) -> reqwest::Result<()> {
        heading(1, &format!("Your app calls the API for {CALLER}. All it has is her JWT:"));
        ink::line(format_args!("{}\n", Inked(TRY, self.curl("-i", &format!("/proxy/{SERVICE}/user")))));
        let url = self.at(&format!("/proxy/{SERVICE}/user"));
        let answer = self.parties.call(Party::App, Method::GET, url, None).await?;
        heading(2, "She hasn't connected Demo Hub yet, so Valetkey answers:");
        ink::line(format_args!("     {}", ink::status(answer.status)));
        ink::line(ink::json(&answer.json(), "     "));
        heading(3, "Your app shows her the link. Open it, go on, and allow:");
        ink::line(format_args!("     {}", Inked(TRY.underline(), answer.member("auth_url"))));
        Ok(())
    }

    fn next_steps(&self) {
        heading(4, "Run the line of step 1 again. Waiting here for you to connect; Ctrl-C ends the demo.");
        if self.github {
            ink::line(format_args!(
                "\n     The real GitHub is configured too. Its OAuth app needs the callback {}, then:",
                self.at("/oauth/callback/github"),
            ));
            ink::line(Inked(TRY, self.curl("-i", "/proxy/github/user")));
        } else {
            ink::line(Inked(
                FAINT,
                "     (With GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET set, the demo offers the real GitHub too.)",
            ));
        }
        ink::line("");
    }

    /// Tells what happens, as it happens.
    async fn go_along(&mut self) {
        let (mut seen, mut told) = (Seen::Absent, self.standin.journal_len());
        let mut clock = tokio::time::interval(EVERY);
        loop {
            clock.tick().await;
            let news = self.standin.journal_since(told);
            told += news.len();
            for happening in news {
                ink::line(format_args!("     {}", Inked(FAINT, format!("stand-in: {happening}"))));
            }
            // While Valetkey drains or is busy there is nothing to tell.
            let Some(now) = self.look().await else { continue };
            if now != seen {
                self.tell(now);
                seen = now;
            }
        }
    }

    async fn look(&mut self) -> Option<Seen> {
        let url = self.at("/connections");
        let answer = self.parties.call(Party::App, Method::GET, url, None).await.ok()?;
        if answer.status != StatusCode::OK {
            return None;
        }
        let list = answer.json();
        let ours =
            list.get("connections")?.as_array()?.iter().find(|one| one.get("service").is_some_and(|s| s == SERVICE));
        Some(match ours.and_then(|connection| connection.get("status")).and_then(Value::as_str) {
            Some("active") => Seen::Active,
            Some("invalid") => Seen::Invalid,
            _ => Seen::Absent,
        })
    }

    fn tell(&self, now: Seen) {
        match now {
            Seen::Active => self.connected(),
            Seen::Invalid => ink::line(format_args!(
                "\n  {} Demo Hub took its grant back. Run the line of step 1 again: it answers with a fresh link.\n",
                Inked(ASKS.bold(), "Disconnected by the provider."),
            )),
            Seen::Absent => ink::line(format_args!(
                "\n  {} The line of step 1 asks for consent again.\n",
                Inked(ASKS.bold(), "Disconnected.")
            )),
        }
    }

    fn connected(&self) {
        ink::line(format_args!(
            "\n  {} {CALLER} has connected Demo Hub: the line of step 1 now gives the API's own answer. More to try:",
            Inked(GOOD.bold(), "✓ Connected.")
        ));
        let show = |what: &str, line: &str| {
            ink::line(format_args!("\n  {} {what}", Inked(STRONG, "·")));
            ink::line(format_args!("    {}", Inked(TRY, line)));
        };
        let origin = self.public.origin().ascii_serialization();
        let curl =
            |options: &str, path: &str| format!("curl -s {options} '{origin}{path}' -H \"Authorization: Bearer $JWT\"");
        let api = format!("/proxy/{SERVICE}");
        show("The lines below use this:", &format!("JWT='{}'", self.parties.jwt()));
        let seconds = self.lifetime.as_secs();
        show(
            &format!("Call, wait {seconds} s, call again: \"seen_token\" changes, Valetkey has refreshed in between."),
            &curl("-i", &format!("{api}/user")),
        );
        show(
            "Pagination: the Link header points back into the proxy.",
            &curl("-i", &format!("{api}/repos/valetkey/demo/issues?per_page=2")),
        );
        show("A stream, passed on as it comes:", &curl("-N", &format!("{api}/events")));
        show("What the browser that connected may see and do:", &format!("{origin}/dashboard"));
        show(
            "Take the grant back at the provider, then call again: auth_required, reason \"revoked\".",
            &format!("curl -s -o /dev/null -X POST {}/settings/revoke", self.standin.origin()),
        );
        show(
            "Or disconnect from the app's side; the provider is told.",
            &curl("-i -X DELETE", &format!("/connections/{SERVICE}")),
        );
        ink::line("");
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.public.clone();
        url.set_path(path);
        url
    }

    /// A complete line for a shell.
    fn curl(&self, options: &str, path: &str) -> String {
        let origin = self.public.origin().ascii_serialization();
        let jwt = self.parties.jwt();
        format!("     curl -s {options} '{origin}{path}' \\\n       -H 'Authorization: Bearer {jwt}'")
    }
}

fn heading(number: u32, text: &str) {
    ink::line(format_args!("\n  {} {}", Inked(ASKS.bold(), number), Inked(STRONG, text)));
}
