//! `valetkey admin-link`: asks the running Valetkey for a link that lets one browser into `/admin`, and prints it. The link is
//! all that is on standard output.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde::Deserialize;
use url::Url;

use super::{
    Outcome,
    configuration::load_or_complain,
    listener::{Place, admin_place},
    output::{complain, note, say},
};

/// One step of the way to the listener.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `admin-link`.
#[derive(Debug, Args)]
pub struct AdminLinkArgs {
    /// The configuration, for the admin listener's address and the token.
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
    /// Where the browser reaches that listener, if not at its own address: http://localhost:19090 behind a port-forward.
    #[arg(long, value_name = "URL")]
    pub url: Option<Url>,
    /// Let the browser change things, too.
    #[arg(long)]
    pub write: bool,
    /// Print `{url, rights, expires_in}` as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What the listener answers.
#[derive(Deserialize)]
struct Answer {
    path: String,
    rights: String,
    expires_in: u64,
}

/// Does it.
pub fn run(args: &AdminLinkArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config) else { return Outcome::Wrong };
    let Some(admin) = &loaded.config.admin else {
        complain("The configuration has no `admin.token`, and without one there is nothing under /admin");
        return Outcome::Wrong;
    };
    let Some(place) = admin_place(&loaded.config) else {
        complain(
            "No listener serves `admin` without TLS: open /admin on the one that does, and sign in with the token",
        );
        return Outcome::Wrong;
    };
    let base = match (&args.url, place.url()) {
        (Some(url), _) if !is_a_place(url) => {
            complain(format_args!(
                "--url: write where the listener is, such as http://localhost:19090, and nothing behind it"
            ));
            return Outcome::Wrong;
        }
        (Some(url), _) => url.as_str().to_owned(),
        (None, Some(own)) => own,
        (None, None) => {
            complain("That listener is a Unix socket, which no browser reaches; say with --url where one does");
            return Outcome::Wrong;
        }
    };
    let rights = if args.write { "write" } else { "read" };
    let answer = match place.ask_as(&admin.token, &format!("POST /admin/links?rights={rights}"), TIMEOUT) {
        Ok((201, body)) => serde_json::from_str::<Answer>(&body),
        Ok((status, body)) => {
            complain(format_args!("{place} answers {status}: {body}"));
            return Outcome::Failed;
        }
        Err(error) => {
            complain(format_args!("{place} doesn't answer: {error}. Is Valetkey running?"));
            return Outcome::Failed;
        }
    };
    let Ok(answer) = answer else {
        complain(format_args!("{place} answers something else than a link"));
        return Outcome::Failed;
    };
    let url = format!("{}{}", base.trim_end_matches('/'), answer.path);
    if args.json {
        say(serde_json::json!({ "url": url, "rights": answer.rights, "expires_in": answer.expires_in }));
    } else {
        say(&url);
        note(format_args!("It opens once, within {} minutes.", answer.expires_in / 60));
    }
    Outcome::Done
}

/// Whether it says where a listener is, and no more.
fn is_a_place(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

impl Place {
    /// Where a browser on this machine reaches it.
    fn url(&self) -> Option<String> {
        self.address().map(|address| format!("http://{address}"))
    }
}
