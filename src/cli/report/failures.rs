//! `valetkey report failures`: what failed lately, by service and error.

use clap::Args;
use serde_json::json;

use super::printed;
use crate::{
    cli::{
        ConfigFile, Outcome, census,
        configuration::load_or_complain,
        output::{BAD, FAINT, GOOD, complain, say, styled},
    },
    clock::{Clock, Timestamp},
    events::failures::Failure,
    serve::Heart,
};

/// Arguments of `report failures`.
#[derive(Debug, Args)]
pub struct FailuresArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// In how many hours up to now: 1 to 744.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=744))]
    pub hours: u32,
    /// Print JSON, as `GET /admin/failures` answers it.
    #[arg(long)]
    pub json: bool,
}

/// Does it.
pub fn run(args: &FailuresArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config.config) else { return Outcome::Wrong };
    census::with_heart(&loaded, async |heart: &Heart| {
        let services = loaded.services.iter().map(|service| &service.name);
        match heart.failures().failures(services, args.hours, Clock::system().now()).await {
            Ok(failures) if args.json => printed(&json!({ "failures": failures })),
            Ok(failures) => {
                show(&failures);
                Outcome::Done
            }
            Err(error) => {
                complain(error);
                Outcome::Failed
            }
        }
    })
}

fn show(failures: &[Failure]) {
    if failures.is_empty() {
        say(styled(GOOD, "Nothing failed"));
        return;
    }
    let width = |text: &dyn Fn(&Failure) -> &str, heading: &str| {
        failures.iter().map(|failure| text(failure).chars().count()).chain([heading.len()]).max().unwrap_or(0)
    };
    let (service, error) = (width(&|failure| &failure.service, "SERVICE"), width(&|failure| &failure.error, "ERROR"));
    let row = |count: &str, of: &str, what: &str, first: &str, last: &str, request: &str| {
        format!("{count:>8}  {of:service$}  {what:error$}  {first:20}  {last:20}  {request}")
    };
    say(styled(FAINT, row("COUNT", "SERVICE", "ERROR", "FIRST", "LAST", "A REQUEST")));
    for failure in failures {
        let [first, last] = [failure.first_at, failure.last_at].map(Timestamp::rfc3339);
        let request = failure.request_id.as_deref().unwrap_or("-");
        let line = row(&failure.count.to_string(), &failure.service, &failure.error, &first, &last, request);
        say(if failure.alerted { styled(BAD, line) } else { line });
    }
}
