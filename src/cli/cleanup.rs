//! `valetkey keys cleanup`: deletes API keys of services that have retired them, and says first what would go. A grant
//! beside a key stays.

use clap::Args;
use serde_json::json;

use super::{
    ConfigFile, Outcome, census,
    configuration::load_or_complain,
    output::{FAINT, GOOD, WARNING, complain, note, say, styled},
};
use crate::{
    clock::{Clock, Timestamp},
    connection::{Holder, Standing, Unavailable},
    events::{Actor, Cause},
    provider::Services,
    serve::Heart,
};

/// Arguments of `keys cleanup`.
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// This service only.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Delete. Without it, only say what would be deleted.
    #[arg(long)]
    pub yes: bool,
    /// Print `{dry_run, keys, deleted, kept_for_now}` as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is to become of the retired keys.
#[derive(Default)]
struct Found {
    /// They may go now.
    due: Vec<Holder>,
    /// They may go later: how many, and when the first may.
    waiting: usize,
    first: Option<Timestamp>,
}

/// Does it.
pub fn run(args: &CleanupArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config.config) else { return Outcome::Wrong };
    census::with_heart(&loaded, async |heart: &Heart| {
        if args.service.as_deref().is_some_and(|name| loaded.services.get(name).is_none()) {
            complain("There is no service of this name");
            return Outcome::Wrong;
        }
        match clean(args, heart, &loaded.services, Clock::system().now()).await {
            Ok(()) => Outcome::Done,
            Err(unavailable) => {
                complain(format_args!("{unavailable}; what was deleted until then is gone, run it again"));
                Outcome::Failed
            }
        }
    })
}

async fn clean(args: &CleanupArgs, heart: &Heart, services: &Services, now: Timestamp) -> Result<(), Unavailable> {
    let named = args.service.as_deref().and_then(|name| services.get(name)).map(|service| &service.owner);
    let all = census::take(&heart.connections, |name| named.is_none_or(|named| named == name)).await?;
    let found = sort(all, services, now);
    let mut deleted = 0_u64;
    for holder in &found.due {
        if args.yes && heart.connections.api_keys.remove_retired(&holder.id, &Cause::of(Actor::Command)).await? {
            deleted += 1;
        }
        if !args.json {
            tell(holder, args.yes);
        }
    }
    if args.json {
        let keys: Vec<_> = found.due.iter().map(shown).collect();
        say(json!({"dry_run": !args.yes, "keys": keys, "deleted": deleted, "kept_for_now": found.waiting}));
        return Ok(());
    }
    if let Some(first) = found.first {
        let count = found.waiting;
        note(format_args!("{count} retired keys stay for now (`delete_after`), the first until {}", first.date()));
    }
    let count = found.due.len();
    if args.yes {
        say(format_args!("{} deleted", styled(GOOD, deleted)));
    } else {
        say(format_args!("{} would be deleted; run it again with --yes to delete", styled(WARNING, count)));
    }
    Ok(())
}

fn sort(all: Vec<Holder>, services: &Services, now: Timestamp) -> Found {
    let mut found = Found::default();
    for holder in all.into_iter().filter(|holder| holder.key.is_some()) {
        let service = services.get(holder.id.service.as_str());
        match service.and_then(|service| service.api_keys.deletable_from(now)) {
            None => {}
            Some(from) if from.reached(now) => found.due.push(holder),
            Some(from) => {
                found.waiting += 1;
                found.first = Some(found.first.map_or(from, |first| first.min(from)));
            }
        }
    }
    found
}

fn tell(holder: &Holder, deleted: bool) {
    let id = &holder.id;
    let what = if deleted { styled(GOOD, "deleted") } else { styled(WARNING, "would delete") };
    let stays = if holder.standing == Standing::Both {
        "the OAuth connection stays"
    } else {
        "no working connection beside it"
    };
    say(format_args!(
        "{what} {} {} {} {}",
        id.service,
        id.account,
        id.caller.subject.as_str(),
        styled(FAINT, format_args!("({}; {stays})", id.caller.issuer))
    ));
}

fn shown(holder: &Holder) -> serde_json::Value {
    let id = &holder.id;
    json!({
        "service": id.service,
        "issuer": id.caller.issuer,
        "user": id.caller.subject,
        "account": id.account,
        "stored_at": holder.key.and_then(|key| key.stored_at),
        "grant_stays": holder.standing == Standing::Both,
    })
}
