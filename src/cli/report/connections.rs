//! `valetkey report connections`: what ends before long, and what nobody uses.

use std::{str::FromStr, time::Duration};

use clap::Args;
use serde_json::json;

use crate::{
    cli::{
        ConfigFile, Outcome, census,
        configuration::load_or_complain,
        output::{BAD, FAINT, GOOD, WARNING, complain, note, say, styled},
    },
    clock::{Clock, Timestamp},
    config::units::Span,
    connection::{Filter, Status, Survey, SurveyError, Surveyed},
    id::ServiceName,
    serve::Heart,
};

/// How many connections a page has.
const PAGE: usize = 500;
/// An end this near is shown in red.
const NEAR: Duration = Duration::from_secs(3 * 86_400);

/// Arguments of `report connections`.
#[derive(Debug, Args)]
pub struct ConnectionsArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// This service only.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Those that end within this time, unless somebody does something: `30d`.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub ending: Option<Duration>,
    /// Those that no call has used for this long: `90d`.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub unused: Option<Duration>,
    /// Print `{connections}` as JSON, each as `GET /admin/connections` has it.
    #[arg(long)]
    pub json: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    Span::from_str(text).map(|span| span.0).map_err(|_| "a span such as 30d or 12h".to_owned())
}

/// Does it.
pub fn run(args: &ConnectionsArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config.config) else { return Outcome::Wrong };
    census::with_heart(&loaded, async |heart: &Heart| {
        let service = match args.service.as_deref().map(ServiceName::parse).transpose() {
            Ok(service) => service,
            Err(_) => {
                complain("There is no service of this name");
                return Outcome::Wrong;
            }
        };
        let now = Clock::system().now();
        let filter = Filter {
            service,
            ends_before: args.ending.map(|span| now.plus(span)),
            unused_since: args.unused.map(|span| now.before(span)),
            ..Filter::default()
        };
        match all(&heart.connections.survey, &filter).await {
            Ok((found, unreadable)) => {
                if unreadable > 0 {
                    let warning = styled(WARNING, "warning:");
                    note(format_args!(
                        "{warning} {unreadable} records are opened by no key of the vault, and not listed"
                    ));
                }
                show(&found, args.json, now)
            }
            Err(error) => {
                complain(error);
                Outcome::Failed
            }
        }
    })
}

/// All that are meant, those that end first first, and how many records can't be read.
async fn all(survey: &Survey, filter: &Filter) -> Result<(Vec<Surveyed>, usize), SurveyError> {
    let (mut found, mut unreadable, mut cursor) = (Vec::new(), 0, None::<String>);
    loop {
        let page = survey.page(filter, cursor.as_deref(), PAGE).await?;
        found.extend(page.connections);
        unreadable += page.unreadable;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let never = Timestamp::from_millis(u64::MAX);
    found.sort_by_key(|one| (one.connection.expected_end.unwrap_or(never), one.id.clone()));
    found.dedup_by(|one, other| one.id == other.id);
    Ok((found, unreadable))
}

fn show(found: &[Surveyed], as_json: bool, now: Timestamp) -> Outcome {
    if as_json {
        say(json!({ "connections": found }));
        return Outcome::Done;
    }
    let lines: Vec<[String; 6]> = found.iter().map(|one| line(one, now)).collect();
    let head = ["SERVICE", "USER", "ACCOUNT", "STATUS", "LAST USED", "ENDS"].map(str::to_owned);
    let widths = lines
        .iter()
        .chain([&head])
        .fold([0; 6], |widths: [usize; 6], line| std::array::from_fn(|at| widths[at].max(line[at].chars().count())));
    let row = |line: &[String; 6]| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    if !lines.is_empty() {
        say(styled(FAINT, row(&head)));
    }
    for (one, line) in found.iter().zip(&lines) {
        let soon = one.connection.expected_end.is_some_and(|end| end.until(now) <= NEAR);
        let style = match one.connection.status {
            Status::Invalid => BAD,
            _ if soon => BAD,
            Status::Pending => WARNING,
            Status::Active => GOOD,
        };
        say(styled(style, row(line)));
    }
    say(format_args!("{} connections", lines.len()));
    Outcome::Done
}

fn line(one: &Surveyed, now: Timestamp) -> [String; 6] {
    let (id, connection) = (&one.id, &one.connection);
    let status = match connection.status {
        Status::Active => "active",
        Status::Pending => "pending",
        Status::Invalid => "invalid",
    };
    let day = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), Timestamp::date);
    let ends = match connection.expected_end {
        Some(end) if end.reached(now) => format!("{} (past)", end.date()),
        end => day(end),
    };
    [
        id.service.to_string(),
        id.caller.subject.as_str().to_owned(),
        id.account.to_string(),
        status.to_owned(),
        day(connection.last_used_at),
        ends,
    ]
}
