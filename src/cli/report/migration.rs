//! `valetkey report migration`: how many connections still rest on API keys, by service and caller.

use anstyle::{AnsiColor, Style};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::{chosen, printed};
use crate::{
    cli::{
        ConfigFile, Outcome, census,
        configuration::load_or_complain,
        output::{BAD, FAINT, GOOD, WARNING, complain, say, styled},
    },
    clock::{Clock, Timestamp},
    config::ApiKeyPhase,
    connection::{Connections, Holder, Standing, Unavailable},
    provider::Service,
    serve::Heart,
};

/// How many last uses are looked up at the same time.
const AT_ONCE: usize = 32;
/// The bar's width.
const WIDTH: usize = 30;

/// Arguments of `report migration`.
#[derive(Debug, Args)]
pub struct MigrationArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// This service only.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The whole report.
#[derive(Debug, Serialize)]
struct Report {
    services: Vec<Progress>,
}

/// One service's way.
#[derive(Debug, Serialize)]
struct Progress {
    service: String,
    title: String,
    phase: ApiKeyPhase,
    retire_on: Option<String>,
    connections: usize,
    on_key: usize,
    both: usize,
    oauth: usize,
    /// Of its connections those that no longer rest on a key, in percent; 100 where there are none.
    percent: f64,
    callers: Vec<Line>,
}

/// One connection.
#[derive(Debug, Serialize)]
struct Line {
    issuer: String,
    user: String,
    account: String,
    standing: &'static str,
    since: Option<Timestamp>,
    key_stored_at: Option<Timestamp>,
    key_last_used_at: Option<Timestamp>,
    key_refused: bool,
}

/// Does it.
pub fn run(args: &MigrationArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config.config) else { return Outcome::Wrong };
    census::with_heart(&loaded, async |heart: &Heart| {
        let wanted = match chosen(&loaded.services, args.service.as_deref()) {
            Ok(wanted) => wanted,
            Err(why) => {
                complain(why);
                return Outcome::Wrong;
            }
        };
        match report(&heart.connections, &wanted, Clock::system().now()).await {
            Ok(report) => show(&report, args.json),
            Err(unavailable) => {
                complain(unavailable);
                Outcome::Failed
            }
        }
    })
}

async fn report(connections: &Connections, wanted: &[&Service], now: Timestamp) -> Result<Report, Unavailable> {
    let all = census::take(connections, |name| wanted.iter().any(|service| service.name == *name)).await?;
    let lines: Vec<(Holder, Line)> = stream::iter(all)
        .map(|holder| async move {
            let line = line(connections, &holder).await?;
            Ok::<_, Unavailable>((holder, line))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut services: Vec<Progress> = wanted.iter().map(|service| nothing_yet(service, now)).collect();
    for (holder, line) in lines {
        let Some(progress) = services.iter_mut().find(|one| one.service == holder.id.service.as_str()) else {
            continue;
        };
        progress.connections += 1;
        *match holder.standing {
            Standing::OnKey => &mut progress.on_key,
            Standing::Both => &mut progress.both,
            Standing::OAuth => &mut progress.oauth,
        } += 1;
        progress.callers.push(line);
    }
    for progress in &mut services {
        progress.percent = percent(progress.connections - progress.on_key, progress.connections);
        progress.callers.sort_by_key(|line| std::cmp::Reverse(line.standing == name(Standing::OnKey)));
    }
    Ok(Report { services })
}

fn nothing_yet(service: &Service, now: Timestamp) -> Progress {
    Progress {
        service: service.name.to_string(),
        title: service.title.clone(),
        phase: service.api_keys.phase_at(now),
        retire_on: service.api_keys.retire_on.map(Timestamp::date),
        connections: 0,
        on_key: 0,
        both: 0,
        oauth: 0,
        percent: 100.0,
        callers: Vec::new(),
    }
}

async fn line(connections: &Connections, holder: &Holder) -> Result<Line, Unavailable> {
    let id = &holder.id;
    let used = match holder.key {
        Some(_) => connections.api_keys.last_used(id).await?,
        None => None,
    };
    Ok(Line {
        issuer: id.caller.issuer.to_string(),
        user: id.caller.subject.as_str().to_owned(),
        account: id.account.to_string(),
        standing: name(holder.standing),
        since: holder.since,
        key_stored_at: holder.key.and_then(|key| key.stored_at),
        key_last_used_at: used,
        key_refused: holder.key.is_some_and(|key| key.refused),
    })
}

const fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::OnKey => "on_key",
        Standing::Both => "both",
        Standing::OAuth => "oauth",
    }
}

/// One digit after the point.
#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 connections")]
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 100.0 } else { (part as f64 * 1000.0 / whole as f64).round() / 10.0 }
}

fn show(report: &Report, json: bool) -> Outcome {
    if json {
        return printed(report);
    }
    if report.services.is_empty() {
        say("No services are configured");
    }
    for (at, progress) in report.services.iter().enumerate() {
        if at > 0 {
            say("");
        }
        show_service(progress);
    }
    Outcome::Done
}

fn show_service(progress: &Progress) {
    let bold = Style::new().bold();
    let phase = match (progress.phase, &progress.retire_on) {
        (ApiKeyPhase::Allowed, _) => styled(FAINT, "allowed"),
        (ApiKeyPhase::Encouraged, _) => styled(WARNING, "encouraged"),
        (ApiKeyPhase::Deprecated, Some(day)) => {
            format!("{}, keys end on {day}", styled(WARNING, "deprecated"))
        }
        (ApiKeyPhase::Deprecated, None) => styled(WARNING, "deprecated"),
        (ApiKeyPhase::Retired, Some(day)) => format!("{} since {day}", styled(BAD, "retired")),
        (ApiKeyPhase::Retired, None) => styled(BAD, "retired"),
    };
    say(format_args!("{}  {}", styled(bold, format_args!("{} ({})", progress.title, progress.service)), phase));
    if progress.connections == 0 {
        say(format_args!("  {}", styled(FAINT, "no connections")));
        return;
    }
    say(format_args!(
        "  {} {:>5} %  {} on a key, {} both, {} OAuth",
        bar(progress),
        progress.percent,
        progress.on_key,
        progress.both,
        progress.oauth
    ));
    let widths = ["USER", "ACCOUNT", "ISSUER"].map(str::len);
    let widths = progress.callers.iter().fold(widths, |[user, account, issuer], line| {
        let width = |text: &str, known: usize| known.max(text.chars().count());
        [width(&line.user, user), width(&line.account, account), width(&line.issuer, issuer)]
    });
    let row = |user: &str, account: &str, issuer: &str, standing: &str, since: &str, used: &str| {
        let [u, a, i] = widths;
        format!("  {user:u$}  {account:a$}  {issuer:i$}  {standing:8}  {since:10}  {used}")
    };
    say(styled(FAINT, row("USER", "ACCOUNT", "ISSUER", "USES", "SINCE", "KEY LAST USED")));
    for line in &progress.callers {
        let day = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), Timestamp::date);
        let (style, standing) = match line.standing {
            "on_key" if line.key_refused => (BAD, "bad key"),
            "on_key" => (WARNING, "key"),
            "both" => (GOOD, "both"),
            _ => (Style::new(), "OAuth"),
        };
        let text =
            row(&line.user, &line.account, &line.issuer, standing, &day(line.since), &day(line.key_last_used_at));
        say(styled(style, text));
    }
}

/// Green for OAuth alone, cyan for both, the rest is on a key.
fn bar(progress: &Progress) -> String {
    let part = |count: usize| count * WIDTH / progress.connections.max(1);
    let (oauth, moved) = (part(progress.oauth), part(progress.oauth + progress.both));
    let both = AnsiColor::Cyan.on_default();
    format!(
        "{}{}{}",
        styled(GOOD, "█".repeat(oauth)),
        styled(both, "▓".repeat(moved - oauth)),
        styled(FAINT, "░".repeat(WIDTH - moved))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_one_digit_after_the_point_and_nothing_of_nothing_is_all() {
        assert_eq!(percent(0, 0), 100.0);
        assert_eq!(percent(2, 3), 66.7);
        assert_eq!(percent(3, 3), 100.0);
    }
}
