//! Measures what Valetkey costs a request, against the least that a proxy on this stack can do: a bare Pingora that sets
//! one fixed header. Both run at the same time on the same core, and take turns under the same load, so that the
//! machine's moods strike both. Before any load it is checked that each user gets their own token and that bad JWTs are
//! refused: a fast wrong answer is no result. The method and the figures are in docs/PERFORMANCE.md.
#![forbid(unsafe_code)]

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;

use crate::{
    fleet::{Core, Process},
    measure::{Failure, Load, Sample},
    report::Row,
    scene::{Scene, WHO, WORK, bad_jwts, good_jwt},
};

mod fleet;
mod http;
mod measure;
mod report;
mod scene;

const YARDSTICK: &str = "bare Pingora";
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
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A proxy in the race.
struct Contestant {
    who: &'static str,
    process: Process,
    base: String,
}

impl Contestant {
    fn new(who: &'static str, (process, base): (Process, String)) -> Self {
        Self { who, process, base }
    }

    /// Where it listens, and the path before the upstream's own.
    fn parts(&self) -> Result<(SocketAddr, &str), Failure> {
        let rest = self.base.strip_prefix("http://").unwrap_or(&self.base);
        let (address, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok((address.parse()?, prefix))
    }
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
    let scene = Scene::set(arguments.users, REST)?;
    let load = Load { connections: arguments.connections, time: Duration::from_secs(arguments.seconds), core: REST };

    let mut cold = Vec::new();
    for _ in 0..arguments.rounds {
        let valetkey = Contestant::new("Valetkey", scene.valetkey(PROXY)?);
        cold.push(pass(&valetkey, &scene, load)?);
    }
    let valetkey = Contestant::new("Valetkey", scene.valetkey(PROXY)?);
    check(&valetkey)?;
    say("each user gets their own token, bad JWTs are refused");
    let contestants = [Contestant::new(YARDSTICK, scene.bare(PROXY)?), valetkey];

    let warm = Load { time: Duration::from_secs(2), ..load };
    for contestant in &contestants {
        measure::hot(&contestant.process, &contestant.base, &scene.jwts, warm)?;
    }
    let mut samples: [Vec<Sample>; 2] = Default::default();
    for round in 1..=arguments.rounds {
        for (contestant, samples) in contestants.iter().zip(&mut samples) {
            let sample = measure::hot(&contestant.process, &contestant.base, &scene.jwts, load)?;
            say(&format!(
                "round {round}: {:<13}{:>8.0} requests/s {:>7.1} µs CPU",
                contestant.who, sample.per_second, sample.cpu_micros
            ));
            samples.push(sample);
        }
    }
    let peak = |who: &str| contestants.iter().find(|one| one.who == who).map_or(0, |one| one.process.peak_kib());
    let mut rows: Vec<Row> = contestants
        .iter()
        .zip(samples)
        .map(|(one, samples)| Row { who: one.who, what: "hot", samples, peak_kib: one.process.peak_kib() })
        .collect();
    rows.push(Row { who: "Valetkey", what: "cold", samples: cold, peak_kib: peak("Valetkey") });
    report::print(&rows, YARDSTICK, arguments.json);
    Ok(())
}

/// One pass over all users, each for the first time.
fn pass(contestant: &Contestant, scene: &Scene, load: Load) -> Result<Sample, Failure> {
    let (address, prefix) = contestant.parts()?;
    measure::cold(&contestant.process, address, &format!("{prefix}{WORK}"), &scene.jwts, load)
}

/// Right before fast: users get their own token, strangers get nothing.
fn check(contestant: &Contestant) -> Result<(), Failure> {
    let (address, prefix) = contestant.parts()?;
    let mut connection = http::Connection::open(address)?;
    let path = format!("{prefix}{WHO}");
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
