//! Measures what Valetkey costs a request, against the least that a proxy on this stack can do: a bare Pingora that sets
//! one fixed header. Both run at the same time on the same core, and take turns under the same load, so that the
//! machine's moods strike both. Before any load it is checked that each user gets their own token and that bad JWTs are
//! refused: a fast wrong answer is no result. The method and the figures are in docs/PERFORMANCE.md.
#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use crate::{
    fleet::{Core, Line},
    measure::{Failure, Load, Sample},
    report::Row,
    scene::{Contestant, Scene, Signing, WHO, WITH_GLIBC, YARDSTICK, bad_jwts, good_jwt},
};

mod fleet;
mod full;
mod http;
mod measure;
mod report;
mod scene;

/// The core of the proxies; upstream, Redis and driver share the other.
const PROXY: Core = Core(1);
const REST: Core = Core(0);

/// Measures Valetkey against a bare Pingora proxy
#[derive(Debug, Parser)]
struct Arguments {
    /// Users, each with a JWT, a connection in Redis and an upstream token of their own
    #[arg(long, default_value_t = 10_000)]
    users: usize,
    /// Rounds; each proxy has its turn in each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a turn
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// All rows: latency, transfers, memory, start, size, every JWT algorithm
    #[arg(long)]
    full: bool,
    /// Count instructions in user space too, under valgrind
    #[arg(long)]
    callgrind: bool,
    /// Keep callgrind's files in this folder, for `callgrind_annotate`
    #[arg(long)]
    keep: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("valetkey-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let say = |text: &str| eprintln!("{text}");
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err("two cores are needed: one for the proxy, one for everything else".into());
    }
    say(&format!("upstream, Redis, {} connections imported …", arguments.users));
    let signings = if arguments.full { &Signing::ALL[..] } else { &Signing::ALL[..1] };
    let scene = Scene::set(arguments.users, signings, REST)?;
    let load = Load { connections: arguments.connections, time: Duration::from_secs(arguments.seconds), core: REST };

    let mut cold: Vec<Vec<Sample>> = vec![Vec::new(); signings.len()];
    for _ in 0..arguments.rounds {
        for (signing, samples) in signings.iter().zip(&mut cold) {
            samples.push(measure::cold(&scene.valetkey(PROXY, same)?, &scene.jwts_of(*signing), load)?);
        }
    }
    let contestants = [
        scene.bare(YARDSTICK, scene.upstream, PROXY, same)?,
        scene.bare(WITH_GLIBC, scene.upstream, PROXY, same)?,
        scene.valetkey(PROXY, same)?,
    ];
    let valetkey = &contestants[2];
    check(valetkey)?;
    say("each user gets their own token, bad JWTs are refused");

    let warm = Load { time: Duration::from_secs(2), ..load };
    for contestant in &contestants {
        measure::hot(contestant, &scene.jwts, warm)?;
    }
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for round in 1..=arguments.rounds {
        for (contestant, samples) in contestants.iter().zip(&mut samples) {
            let sample = measure::hot(contestant, &scene.jwts, load)?;
            let Sample { per_second, cpu_micros, .. } = sample;
            say(&format!("round {round}: {:<20}{per_second:>8.0} requests/s {cpu_micros:>7.1} µs CPU", contestant.who));
            samples.push(sample);
        }
    }
    let mut rows: Vec<Row> = contestants
        .iter()
        .zip(samples)
        .map(|(one, samples)| Row { who: one.who, what: "hot", samples, peak_kib: one.process.peak_kib() })
        .collect();
    let peak_kib = valetkey.process.peak_kib();
    for (signing, samples) in signings.iter().zip(cold) {
        rows.push(Row { who: valetkey.who, what: signing.cold(), samples, peak_kib });
    }
    drop(contestants);
    report::print(&rows, YARDSTICK, arguments.json);
    if arguments.full {
        report::print_facts(&full::run(&scene, load)?, arguments.json);
    }
    if arguments.callgrind {
        count(&scene, arguments.json)?;
        if let Some(folder) = &arguments.keep {
            scene.folder.keep("callgrind.", folder)?;
        }
    }
    Ok(())
}

/// The program as it is.
fn same(line: Line) -> Line {
    line
}

/// The second table: instructions in user space, the same every time.
fn count(scene: &Scene, as_json: bool) -> Result<(), Failure> {
    let bare = scene.bare(YARDSTICK, scene.upstream, PROXY, measure::under_callgrind(YARDSTICK, &scene.folder)?)?;
    let [_, base] = measure::counted(&bare, &scene.jwts, &scene.folder)?;
    drop(bare);
    let valetkey = scene.valetkey(PROXY, measure::under_callgrind("Valetkey", &scene.folder)?)?;
    let [cold, hot] = measure::counted(&valetkey, &scene.jwts, &scene.folder)?;
    drop(valetkey);
    let mut counts = vec![(YARDSTICK, "hot", base), ("Valetkey", "hot", hot), ("Valetkey", "cold HS256", cold)];
    for signing in Signing::ALL.into_iter().skip(1).filter(|signing| scene.jwts_of(*signing).exists()) {
        let valetkey = scene.valetkey(PROXY, measure::under_callgrind(signing.name(), &scene.folder)?)?;
        let [cold, _] = measure::counted_as(signing.name(), &valetkey, &scene.jwts_of(signing), &scene.folder)?;
        counts.push(("Valetkey", signing.cold(), cold));
    }
    report::print_counts(&counts, as_json);
    Ok(())
}

/// Right before fast: users get their own token, strangers get nothing.
fn check(contestant: &Contestant) -> Result<(), Failure> {
    let (address, path) = (contestant.address, contestant.path(WHO));
    let mut connection = http::Connection::open(address)?;
    for user in [0, 1, 2, 3, 0] {
        let (status, body) = connection.get(&path, &good_jwt(user)?)?;
        if status != 200 || body != format!("user-{user:06}").as_bytes() {
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(format!("user {user} should have got their own token, but got {status}: {body}").into());
        }
    }
    for (why, jwt) in bad_jwts()? {
        let (status, _) = http::Connection::open(address)?.get(&path, &jwt)?;
        if status != 401 {
            return Err(format!("a JWT with {why} should be refused with 401, but got {status}").into());
        }
    }
    Ok(())
}
