//! `valetkey report audit`: what happened, the newest first; whether the log is as it was signed; and what somebody needs who
//! looks at that without Valetkey.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use data_encoding::BASE64URL_NOPAD;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    cli::{
        ConfigFile, Outcome, census,
        configuration::load_or_complain,
        output::{BAD, FAINT, GOOD, WARNING, complain, note, say, styled},
    },
    clock::{Clock, Timestamp},
    connection::Unavailable,
    events::audit::{self, Asked, AuditReader, Filter, ShownEvent, chain::signer},
    id::Issuer,
    serve::Heart,
    store::Shard,
};

/// How many events a table has unless somebody says otherwise.
const TABLE: usize = 50;

/// For how long entries may wait to be signed without a word.
const UNSIGNED: Duration = Duration::from_secs(600);

/// Arguments of `report audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Look at every entry and signature: has anything been changed, removed or put elsewhere?
    #[arg(long, conflicts_with_all = ["raw", "user", "issuer", "service", "account", "kind", "since", "until", "limit", "format"])]
    pub verify: bool,
    /// With --verify: a log with anchors, kept where who can write to the store can't.
    #[arg(long, value_name = "FILE", requires = "verify")]
    pub anchors: Option<PathBuf>,
    /// Print sealed entries and signatures as JSON lines, for tests/audit/verify.py or your own: takes no secret to check.
    #[arg(long, conflicts_with_all = ["user", "issuer", "service", "account", "kind", "since", "until", "limit", "format"])]
    pub raw: bool,
    /// Events of this user only: the subject of their JWT.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Events of this issuer's users only.
    #[arg(long, value_name = "ISSUER")]
    pub issuer: Option<String>,
    /// Events of this service only.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Events of connections with this label only.
    #[arg(long, value_name = "LABEL")]
    pub account: Option<String>,
    /// Events of this type only, such as `connected`.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Events since then: `7d` ago, or a moment such as 2026-11-23T15:04:05Z.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Events before then.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// At most so many. 50 in a table, otherwise all.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// How events are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// A line of JSON each.
    Jsonl,
    /// For spreadsheets.
    Csv,
}

/// Does it.
pub fn run(args: &AuditArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config.config) else { return Outcome::Wrong };
    let anchors = match args.anchors.as_deref().map(read).transpose() {
        Ok(anchors) => anchors.unwrap_or_default(),
        Err(error) => {
            complain(error);
            return Outcome::Wrong;
        }
    };
    let issuers: Vec<Issuer> = loaded.config.callers.iter().map(|caller| caller.issuer.clone()).collect();
    let filter = match asked(args).filter(&issuers, Clock::system().now()) {
        Ok(filter) => filter,
        Err(error) => {
            complain(error);
            return Outcome::Wrong;
        }
    };
    census::with_heart(&loaded, async |heart: &Heart| {
        let done = if args.verify {
            verify(heart, &anchors).await
        } else if args.raw {
            raw(heart).await
        } else {
            list(heart, filter, args).await
        };
        done.unwrap_or_else(|unavailable| {
            complain(unavailable);
            Outcome::Failed
        })
    })
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read(file)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| format!("{}: {error}", file.display()))
}

fn asked(args: &AuditArgs) -> Asked<'_> {
    Asked {
        user: args.user.as_deref(),
        issuer: args.issuer.as_deref(),
        service: args.service.as_deref(),
        account: args.account.as_deref(),
        kind: args.kind.as_deref(),
        since: args.since.as_deref(),
        until: args.until.as_deref(),
    }
}

fn bar(entries: u64) -> ProgressBar {
    let bar = ProgressBar::new(entries);
    if let Ok(style) = ProgressStyle::with_template("{bar:40.green} {percent:>3} %  {pos} entries  (left: {eta})") {
        bar.set_style(style);
    }
    bar
}

async fn verify(heart: &Heart, anchors: &str) -> Result<Outcome, Unavailable> {
    let (reader, root) = (heart.audit(), heart.root().await?);
    let bar = bar(0);
    let report = audit::verify(&reader, &root, anchors, |all| bar.set_length(all), |more| bar.inc(more)).await?;
    bar.finish_and_clear();
    say(format_args!("Public key  {}", report.key));
    let signed_at = report.signed_at.map_or_else(|| "never".to_owned(), Timestamp::rfc3339);
    say(format_args!("Signed      {} entries, last at {signed_at}", report.signed));
    say(format_args!("Not yet     {} entries, which the next minute signs", report.unsigned));
    if !anchors.is_empty() {
        say(format_args!("Anchors     {} heads of shards were held against them", report.anchors));
    }
    let waits = report.unsigned_since.map(|since| Clock::system().now().since(since));
    if waits.is_some_and(|waits| waits > UNSIGNED) {
        let warning = styled(WARNING, "warning:");
        note(format_args!(
            "{warning} entries wait to be signed since long: does a replica run, and is it kept from it?"
        ));
    }
    if report.without_key > 0 {
        let warning = styled(WARNING, "warning:");
        note(format_args!("{warning} {} entries are sealed by a key that is not in vault.keys", report.without_key));
    }
    for finding in &report.findings {
        say(format_args!("{} {finding}", styled(BAD, "wrong:")));
    }
    if report.findings.is_empty() {
        say(styled(GOOD, "The log is as it was signed"));
        return Ok(Outcome::Done);
    }
    complain(format_args!("{} things are wrong with the log", report.findings.len()));
    Ok(Outcome::Failed)
}

async fn raw(heart: &Heart) -> Result<Outcome, Unavailable> {
    let (reader, key) = (heart.audit(), signer(&heart.root().await?).public_key());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    say(json!({ "format": "valetkey audit 1", "public_key": key.to_string() }));
    let heads = reader.signed(None).await?;
    if let Some(heads) = &heads {
        say(json!({ "heads": text(heads.clone()) }));
    }
    let bar = bar(0);
    for shard in Shard::all() {
        let name = format!("{:02x}", shard.0);
        if let Some(head) = reader.signed(Some(shard)).await? {
            say(json!({ "shard": name, "head": text(head) }));
        }
        let mut behind = None;
        loop {
            let page = reader.stored(shard, behind).await?;
            for logged in &page {
                say(json!({
                    "shard": name,
                    "position": format!("{}-{}", logged.position.at_ms, logged.position.nth),
                    "id": logged.id.to_string(),
                    "sealed": BASE64URL_NOPAD.encode(&logged.sealed),
                }));
            }
            bar.inc(page.len() as u64);
            match page.last() {
                Some(last) => behind = Some(last.position),
                None => break,
            }
        }
    }
    bar.finish_and_clear();
    Ok(Outcome::Done)
}

async fn list(
    heart: &Heart,
    (mut filter, callers): (Filter, Vec<crate::id::CallerId>),
    args: &AuditArgs,
) -> Result<Outcome, Unavailable> {
    if filter.user.is_some() {
        filter.owners = Some(heart.owners(&callers).await?);
    }
    let reader: AuditReader = heart.audit();
    let mut left = args.limit.unwrap_or(if args.format == Format::Table { TABLE } else { usize::MAX });
    let mut scan = reader.scan(&filter, None).await?;
    let (bar, mut rows) = (bar(0), Vec::new());
    if args.format == Format::Csv {
        say(ShownEvent::CSV_HEAD);
    }
    while left > 0 {
        let Some(event) = scan.next().await? else { break };
        left -= 1;
        bar.set_position(scan.looked_at);
        let event = ShownEvent::from(event);
        match args.format {
            Format::Csv => say(event.csv()),
            Format::Jsonl => say(event.json()),
            Format::Table => rows.push(event),
        }
    }
    bar.finish_and_clear();
    if args.format == Format::Table {
        table(&rows);
    }
    if scan.unreadable > 0 {
        let warning = styled(WARNING, "warning:");
        note(format_args!("{warning} {} entries can't be read: see `--verify`", scan.unreadable));
    }
    Ok(Outcome::Done)
}

fn table(events: &[ShownEvent]) {
    if events.is_empty() {
        say("No such events");
        return;
    }
    let head = ["TIME", "TYPE", "USER", "SERVICE", "ACCOUNT", "ACTOR", "WHY"].map(str::to_owned);
    let rows: Vec<[String; 7]> = events.iter().map(row).collect();
    let widths = rows.iter().fold(head.each_ref().map(String::len), |widths, row| {
        std::array::from_fn(|at| widths[at].max(row[at].chars().count()))
    });
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    say(styled(FAINT, line(&head)));
    for row in &rows {
        say(line(row));
    }
}

fn row(event: &ShownEvent) -> [String; 7] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let word = |name: &str| event.metadata.get(name).and_then(|value| value.as_str().map(str::to_owned));
    let scopes = event.metadata.get("scopes").and_then(|scopes| scopes.as_array());
    let scopes = scopes.map(|all| all.iter().filter_map(|one| one.as_str()).collect::<Vec<_>>().join(" "));
    let count = event.metadata.get("count").map(ToString::to_string);
    let why = [word("reason"), word("provider_error"), scopes, count].into_iter().flatten().collect::<Vec<_>>();
    let user = if event.service.is_some() {
        event.user.clone().unwrap_or_else(|| "(erased)".to_owned())
    } else {
        "-".to_owned()
    };
    [
        event.time.rfc3339(),
        event.kind.clone(),
        user,
        or_dash(&event.service),
        or_dash(&event.account),
        event.actor.clone(),
        why.join(", "),
    ]
}
