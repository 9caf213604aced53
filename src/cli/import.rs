//! `valetkey import`: brings in tokens and API keys that an application held so far. A connection that is already there is
//! left alone, so that an import that broke off can simply be run again, and never puts an old token over one that was
//! renewed since. A bad line is named and skipped.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
    sync::Mutex,
};

use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::{
    ConfigFile, Outcome,
    configuration::load_or_complain,
    output::{BAD, GOOD, complain, note, say, styled},
};
use crate::{
    clock::{Clock, Timestamp},
    connection::{Connections, LABELS_MAX, Unavailable},
    events::{Actor, Cause},
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    oauth,
    provider::{API_KEY_MAX, Services, scopes},
    secret::SecretString,
    serve::Heart,
};

/// How many lines are stored at the same time.
const AT_ONCE: usize = 64;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// JSON lines: `{issuer, user, service, account?, access_token, refresh_token?, expires_at?, scopes?}` or
    /// `{issuer, user, service, account?, api_key}`.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Put what the file says over connections that are already there.
    #[arg(long)]
    pub overwrite: bool,
    /// Print `{imported, skipped, failed}` as JSON.
    #[arg(long)]
    pub json: bool,
}

/// One line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    issuer: Issuer,
    user: Subject,
    service: ServiceName,
    #[serde(default)]
    account: Account,
    access_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    expires_at: Option<Moment>,
    scopes: Option<ScopeList>,
    api_key: Option<SecretString>,
}

/// RFC 3339, or seconds since the epoch.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Moment {
    Seconds(u64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ScopeList {
    List(Vec<String>),
    Text(String),
}

/// What a line asks to be stored.
enum Stored {
    Grant(oauth::Grant),
    Key(SecretString),
}

/// What became of a line.
enum Fate {
    Imported,
    Skipped,
    Bad(String),
    Failed(Unavailable),
}

#[derive(Default)]
struct Tally {
    imported: u64,
    skipped: u64,
    failed: u64,
}

/// Does it.
pub fn run(args: &ImportArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config.config) else { return Outcome::Wrong };
    let file = match File::open(&args.file) {
        Ok(file) => file,
        Err(error) => {
            complain(format_args!("{}: {error}", args.file.display()));
            return Outcome::Wrong;
        }
    };
    let Ok(runtime) = Runtime::new() else {
        complain("The system gives no threads");
        return Outcome::Failed;
    };
    // Nothing may be renewed here: this process ends with the file's last line.
    let heart = match Heart::for_command(&loaded, &runtime) {
        Ok(heart) => heart,
        Err(error) => {
            complain(error);
            return Outcome::Failed;
        }
    };
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("{bar:40.green} {percent:>3} %  {msg}  {elapsed} (left: {eta})") {
        bar.set_style(style);
    }
    let tally = runtime.block_on(import(args, file, (&heart, &loaded.services), &bar));
    bar.finish_and_clear();
    runtime.block_on(heart.close());
    conclude(args, &tally)
}

fn conclude(args: &ImportArgs, tally: &Tally) -> Outcome {
    let Tally { imported, skipped, failed } = tally;
    if args.json {
        say(serde_json::json!({"imported": imported, "skipped": skipped, "failed": failed}));
    } else {
        say(format_args!("{} imported, {skipped} already there, {failed} failed", styled(GOOD, imported)));
    }
    if *failed > 0 { Outcome::Failed } else { Outcome::Done }
}

async fn import(args: &ImportArgs, file: File, (heart, services): (&Heart, &Services), bar: &ProgressBar) -> Tally {
    let tally = Mutex::new(Tally::default());
    let lines = BufReader::new(file).lines().enumerate();
    stream::iter(lines)
        .map(|(index, line)| async move {
            let read = line.as_ref().map_or(0, |line| line.len() as u64 + 1);
            let fate = match line {
                Ok(line) if line.trim().is_empty() => return (index, read, None),
                Ok(line) => store(&line, &heart.connections, services, args.overwrite).await,
                Err(error) => Fate::Bad(format!("can't be read: {error}")),
            };
            (index, read, Some(fate))
        })
        .buffer_unordered(AT_ONCE)
        .for_each(|(index, read, fate)| {
            bar.inc(read);
            if let (Some(fate), Ok(mut tally)) = (fate, tally.lock()) {
                count(&mut tally, fate, index + 1, bar);
            }
            std::future::ready(())
        })
        .await;
    tally.into_inner().unwrap_or_default()
}

fn count(tally: &mut Tally, fate: Fate, number: usize, bar: &ProgressBar) {
    let problem = match fate {
        Fate::Imported => {
            tally.imported += 1;
            None
        }
        Fate::Skipped => {
            tally.skipped += 1;
            None
        }
        Fate::Bad(why) => Some(why),
        Fate::Failed(unavailable) => Some(format!("{unavailable}; run the import again when it is back")),
    };
    if let Some(why) = problem {
        tally.failed += 1;
        bar.suspend(|| note(format_args!("{} line {number}: {why}", styled(BAD, "skipped"))));
    }
    bar.set_message(format!("{} imported", tally.imported));
}

async fn store(text: &str, connections: &Connections, services: &Services, overwrite: bool) -> Fate {
    let (id, stored, scopes) = match read(text, services, Clock::system().now()) {
        Ok(read) => read,
        Err(why) => return Fate::Bad(why),
    };
    if !overwrite {
        match connections.manager.get(&id).await {
            Ok(Some(_)) => return Fate::Skipped,
            Ok(None) => {}
            Err(unavailable) => return Fate::Failed(unavailable),
        }
    }
    match connections.manager.has_room(&id).await {
        Ok(true) => {}
        Ok(false) => {
            return Fate::Bad(format!("the user has {LABELS_MAX} accounts for this service: remove one first"));
        }
        Err(unavailable) => return Fate::Failed(unavailable),
    }
    let cause = Cause::of(Actor::Command);
    let outcome = match stored {
        Stored::Grant(grant) => connections.manager.connect(&id, grant, None, &scopes, &cause).await.map(|_| ()),
        Stored::Key(key) => connections.api_keys.store(&id, &key, &cause).await,
    };
    outcome.map_or_else(Fate::Failed, |()| Fate::Imported)
}

/// Reads a line. The message never repeats what stands in it: it may be a token.
fn read(text: &str, services: &Services, now: Timestamp) -> Result<(ConnectionId, Stored, Vec<String>), String> {
    let line: Line = serde_json::from_str(text).map_err(|error| describe(&error))?;
    let service = services.get(line.service.as_str()).ok_or_else(|| format!("there is no service {}", line.service))?;
    let caller = CallerId { issuer: line.issuer, subject: line.user };
    let id = ConnectionId { caller, service: service.owner.clone(), account: line.account };
    let stored = match (line.access_token, line.api_key) {
        (Some(_), Some(_)) => return Err("has an access_token and an api_key; give each a line".to_owned()),
        (None, None) => return Err("has neither access_token nor api_key".to_owned()),
        (None, Some(_)) if service.api_keys.is_retired(now) => {
            return Err(format!("API keys for {} are retired", service.name));
        }
        (None, Some(key)) => {
            if key.expose().len() > API_KEY_MAX {
                return Err(format!("the api_key is longer than {API_KEY_MAX} bytes"));
            }
            service.api_key.header_value(&key).map_err(|error| error.to_string())?;
            Stored::Key(key)
        }
        (Some(access_token), None) => {
            service.inject.header_value(&access_token).map_err(|error| error.to_string())?;
            let expires_in = line.expires_at.map(|moment| expiry(moment, now)).transpose()?;
            let scopes = line.scopes.map(|scopes| match scopes {
                ScopeList::List(list) => list,
                ScopeList::Text(text) => scopes::words(&text),
            });
            let refresh_token = line.refresh_token.filter(|token| !token.expose().is_empty());
            Stored::Grant(oauth::Grant {
                access_token,
                refresh_token,
                expires_in,
                scopes,
                refresh_expires_in: None,
                id_token_subject: None,
            })
        }
    };
    Ok((id, stored, Vec::new()))
}

fn expiry(moment: Moment, now: Timestamp) -> Result<std::time::Duration, String> {
    let at = match moment {
        Moment::Seconds(seconds) => Some(Timestamp::from_seconds(seconds)),
        Moment::Text(text) => Timestamp::parse_rfc3339(&text),
    };
    at.map(|at| at.until(now)).ok_or_else(|| "expires_at is neither RFC 3339 nor seconds since 1970".to_owned())
}

fn describe(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            // What serde says of names is safe; what it says of values isn't.
            match text.split(" at line").next() {
                Some(about) if about.starts_with("missing field") || about.starts_with("unknown field") => {
                    about.to_owned()
                }
                _ => "a member is not of the form that is expected".to_owned(),
            }
        }
        _ => "is not a JSON object".to_owned(),
    }
}
