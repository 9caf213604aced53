//! The refresh storm: connections that all expire in the same second, over three replicas of the real program with one
//! Redis. Every connection's calls come to all three replicas at the same moment. The provider is a stand-in of the bench:
//! it answers after a set time, rotates refresh tokens and counts how often each came. The access tokens live too short for
//! the healer, so that nothing is renewed ahead of time: that is the worst case.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    arguments::Arguments,
    failure::Failure,
    fleet::{BOTH, Process, same},
    folder::Folder,
    progress::Progress,
    report::Fact,
    scene::{
        configuration::{Configured, Service},
        servers::{Redis, upstream_knowing},
    },
    users::{Signing, jwts, name, since_epoch},
};

mod drive;
mod provider;

pub use provider::Provider;

use drive::{Outcome, drive};

/// How many replicas share the work.
const REPLICAS: usize = 3;
/// From the import's begin to the second in which everything expires: less than the minute from which on the healer
/// renews tokens ahead of time.
const LIFE: Duration = Duration::from_secs(50);
/// What is measured without pauses is for the throughput; a part of the connections is enough.
const FLOOD_SHARE: usize = 4;
/// What a refresh may add to the provider's own latency.
const GOAL: Duration = Duration::from_millis(20);

/// Measures it: calls at a set rate, and then as fast as the replicas answer.
///
/// # Errors
/// Where a part doesn't come up. Failed calls and tokens that were spent twice are figures.
pub fn run(arguments: &Arguments, progress: &Progress) -> Result<Vec<Fact>, Failure> {
    let (calm, latency) = (arguments.storm_connections, Duration::from_millis(arguments.provider_latency));
    let all = calm + calm / FLOOD_SHARE;
    progress.begin(format!("storm: {all} connections imported"), 1);
    let folder = Folder::make()?;
    let provider = Provider::start(latency)?;
    let (upstream, _upstream) = upstream_knowing(Provider::known(), BOTH, &folder)?;
    let redis = Redis::start(BOTH, &folder)?;
    let service = [Service { name: "storm", upstream, provider: provider.address }];
    let files = (0..REPLICAS)
        .map(|number| Configured::write(&format!("replica-{number}"), redis.address, &service, &folder))
        .collect::<Result<Vec<_>, _>>()?;
    let jwts: Vec<String> = jwts(all, Signing::Hs256)?.lines().map(str::to_owned).collect();

    let (begun, now) = (Instant::now(), since_epoch());
    let end = (now + LIFE).as_secs();
    files[0].import(&folder.write("connections.jsonl", &records(all, end)?)?)?;
    let replicas = files.iter().map(|file| file.start(BOTH, &folder, same)).collect::<Result<Vec<Process>, _>>()?;
    let addresses: Vec<_> = files.iter().map(|file| file.calls).collect();
    if begun.elapsed() + Duration::from_secs(1) > LIFE {
        return Err(format!("{all} connections could not be imported within {} s", LIFE.as_secs()).into());
    }
    progress.say(&format!(
        "{all} connections imported in {:.1} s; waiting until all expire",
        begun.elapsed().as_secs_f64()
    ));
    thread::sleep((LIFE + Duration::from_secs(1)).saturating_sub(begun.elapsed()));

    progress.begin(format!("storm: {} calls a second", arguments.storm_rate * REPLICAS), calm * REPLICAS);
    let outcome = drive(&addresses, &jwts[..calm], 0, Some(arguments.storm_rate), progress)?;
    let mut facts = Vec::new();
    let rate = format!("{} connections, {} a second, each at all replicas at once", calm, arguments.storm_rate);
    facts.push(Fact::plain(rate, format!("{} calls", outcome.latencies.len() + outcome.failed.len())));
    tell(&outcome, &provider, calm, latency, progress, &mut facts);

    progress.begin("storm: as fast as it goes", (all - calm) * REPLICAS);
    let flood = drive(&addresses, &jwts[calm..], calm, None, progress)?;
    let value = format!("{:.0} refreshes/s", (all - calm) as f64 / flood.took.as_secs_f64());
    facts.push(Fact::plain(format!("{} connections as fast as it goes", all - calm), value));
    tell(&flood, &provider, all, Duration::MAX, progress, &mut facts);
    let peak = replicas.iter().map(Process::peak_kib).max().unwrap_or(0);
    facts.push(Fact::plain("peak memory of a replica", format!("{:.1} MiB", peak as f64 / 1024.0)));
    Ok(facts)
}

/// What came of a part. `latency`: the provider's; without it, how late answers were is no goal.
fn tell(
    outcome: &Outcome,
    provider: &Provider,
    connections: usize,
    latency: Duration,
    progress: &Progress,
    facts: &mut Vec<Fact>,
) {
    for problem in outcome.failed.iter().take(5) {
        progress.say(problem);
    }
    let seen = provider.seen();
    let all = seen.tokens == connections;
    let value = format!("{} of {connections} refreshed, {} more than once", seen.tokens, seen.twice);
    facts.push(Fact::new("… each refreshed exactly once", value, "all, none twice", all && seen.twice == 0));
    let failed = outcome.failed.len();
    facts.push(Fact::new("… failed calls", failed.to_string(), "none", failed == 0));
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let p99 = outcome.percentile(99);
    facts.push(Fact::plain("… calls, p50 / p99", format!("{} / {}", ms(outcome.percentile(50)), ms(p99))));
    if latency < Duration::MAX {
        let added = p99.saturating_sub(latency);
        let what = format!("… p99 beyond the provider's {} ms", latency.as_millis());
        facts.push(Fact::new(what, ms(added), "≤ 20 ms", added <= GOAL));
        facts
            .push(Fact::plain("… of the stand-in itself, which wakes late, p99", ms(seen.p99.saturating_sub(latency))));
    }
}

/// What `valetkey import` reads: tokens that end in the same second.
fn records(connections: usize, end: u64) -> Result<String, std::fmt::Error> {
    let mut lines = String::new();
    for user in 0..connections {
        let record = json!({
            "issuer": Signing::Hs256.issuer(),
            "user": name(user),
            "service": "storm",
            "access_token": format!("stale-{user:06}"),
            "refresh_token": Provider::refresh_token(user),
            "expires_at": end,
        });
        writeln!(lines, "{record}")?;
    }
    Ok(lines)
}
