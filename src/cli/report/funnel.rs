//! `valetkey report funnel`: how far attempts to connect come, and where people are lost.

use anstyle::Style;
use clap::Args;

use super::{chosen, printed};
use crate::{
    cli::{
        ConfigFile, Outcome, census,
        configuration::load_or_complain,
        output::{BAD, FAINT, GOOD, WARNING, complain, say, styled},
    },
    clock::Clock,
    consent::Report,
    provider::Service,
    serve::Heart,
};

/// The longest bar.
const WIDTH: u64 = 30;

/// Arguments of `report funnel`.
#[derive(Debug, Args)]
pub struct FunnelArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// This service only.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Over how many days up to now: 1 to 400.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=400))]
    pub days: u32,
    /// Print JSON, as `GET /admin/funnel` answers it.
    #[arg(long)]
    pub json: bool,
}

/// Does it.
pub fn run(args: &FunnelArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config.config) else { return Outcome::Wrong };
    census::with_heart(&loaded, async |heart: &Heart| {
        let wanted = match chosen(&loaded.services, args.service.as_deref()) {
            Ok(wanted) => wanted,
            Err(why) => {
                complain(why);
                return Outcome::Wrong;
            }
        };
        let (funnel, now) = (heart.funnel(), Clock::system().now());
        let mut reports = Vec::new();
        for service in wanted.into_iter().filter(|service| args.service.is_some() || service.oauth.is_some()) {
            match funnel.report(service, args.days, now).await {
                Ok(report) => reports.push((service, report)),
                Err(unavailable) => {
                    complain(unavailable);
                    return Outcome::Failed;
                }
            }
        }
        show(&reports, args)
    })
}

fn show(reports: &[(&Service, Report)], args: &FunnelArgs) -> Outcome {
    if args.json {
        return match (reports, &args.service) {
            ([(_, report)], Some(_)) => printed(report),
            (all, _) => {
                let all: Vec<&Report> = all.iter().map(|(_, report)| report).collect();
                printed(&serde_json::json!({ "services": all }))
            }
        };
    }
    if reports.is_empty() {
        say("No service has an OAuth client");
    }
    for (at, (service, report)) in reports.iter().enumerate() {
        if at > 0 {
            say("");
        }
        show_service(service, report);
    }
    Outcome::Done
}

fn show_service(service: &Service, report: &Report) {
    let title = styled(Style::new().bold(), format_args!("{} ({})", service.title, service.name));
    let span = if report.days == 1 { "the last day".to_owned() } else { format!("the last {} days", report.days) };
    say(format_args!("{title}  {}", styled(FAINT, span)));
    let stages = [
        ("offered", report.offered),
        ("opened", report.opened),
        ("initiated", report.initiated),
        ("authorized", report.authorized),
        ("completed", report.completed),
    ];
    let most = stages.iter().map(|(_, count)| *count).max().unwrap_or(0);
    if most == 0 {
        say(format_args!("  {}", styled(FAINT, "nobody has been offered a link")));
        return;
    }
    let mut before = None;
    for (name, count) in stages {
        say(format_args!("  {name:10} {count:>7}  {}  {}", bar(count, most), lost(before, count)));
        before = Some(count);
    }
    say(format_args!("  {:10} {:>7}", "failed", report.failed));
    let style = if report.conversion_rate < 70.0 { WARNING } else { GOOD };
    let rate = styled(style, format_args!("{} %", report.conversion_rate));
    let took = match (report.median_seconds, report.p90_seconds) {
        (Some(median), Some(p90)) => format!("; half of them within {median} s, nine in ten within {p90} s"),
        _ => String::new(),
    };
    say(format_args!("  {rate} of those sent to the provider were completed{took}"));
    for error in &report.errors {
        say(format_args!("  {:>7}  {}", error.count, error.error));
    }
    for insight in &report.insights {
        say(format_args!("  {} {insight}", styled(WARNING, "!")));
    }
}

/// As long as the count is large, of `most`.
fn bar(count: u64, most: u64) -> String {
    // Whoever is there is seen.
    let length = if count == 0 { 0 } else { (count.saturating_mul(WIDTH) / most.max(1)).max(1) };
    let of = |text: &str, times: u64| text.repeat(usize::try_from(times).unwrap_or(0));
    format!("{}{}", styled(GOOD, of("█", length)), styled(FAINT, of("░", WIDTH.saturating_sub(length))))
}

/// How many were lost since the stage before.
fn lost(before: Option<u64>, count: u64) -> String {
    match before {
        Some(before) if before > count => {
            let share = (before - count).saturating_mul(100) / before;
            let text = format!("−{} ({share} %)", before - count);
            if share > 30 { styled(BAD, text) } else { styled(FAINT, text) }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_and_nobody_is_hidden() {
        let filled = |count, most| plain(&bar(count, most)).chars().filter(|c| *c == '█').count();
        assert_eq!([filled(0, 9), filled(1, 900), filled(450, 900), filled(900, 900)], [0, 1, 15, 30]);
        assert_eq!(plain(&bar(1, 3)).chars().count(), 30);
    }

    #[test]
    fn what_was_lost_is_told_with_its_share() {
        assert_eq!(plain(&lost(Some(10), 4)), "−6 (60 %)");
        assert_eq!(lost(Some(4), 4), "");
        assert_eq!(lost(None, 4), "");
    }
}
