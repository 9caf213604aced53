//! The rows beside requests per second: latency of a lone call, big transfers, memory, start and size.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    contestant::{WORK, YARDSTICK},
    failure::Failure,
    fleet::{PROXY, program, same},
    measure::{self, Load},
    progress::Progress,
    report::Fact,
    scene::Scene,
    users::good_jwt,
};

mod memory;
mod transfers;

pub use memory::memory;

/// Measures them all.
///
/// # Errors
/// Where a part fails.
pub fn run(scene: &Scene, load: Load, progress: &Progress) -> Result<Vec<Fact>, Failure> {
    progress.begin("start, latency, transfers, memory", 4);
    let mut facts = Vec::new();
    start(scene, &mut facts)?;
    progress.step();
    latency(scene, load, &mut facts)?;
    progress.step();
    transfers::transfers(scene, &mut facts)?;
    progress.step();
    facts.extend(memory(scene)?);
    progress.step();
    let size = fs::metadata(program("valetkey").ok_or("valetkey is not here")?)?.len() as f64 / 1e6;
    facts.push(Fact::new("binary, stripped", format!("{size:.1} MB"), "≤ 25 MB", size <= 25.0));
    Ok(facts)
}

/// From `exec` to the first call that was answered 200.
fn start(scene: &Scene, facts: &mut Vec<Fact>) -> Result<(), Failure> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let valetkey = scene.valetkey(PROXY, same)?;
        measure::ask(&valetkey, &[good_jwt(0)?])?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let value = times[2].as_millis();
    facts.push(Fact::new("process start to first answered call", format!("{value} ms"), "≤ 100 ms", value <= 100));
    Ok(())
}

fn latency(scene: &Scene, load: Load, facts: &mut Vec<Fact>) -> Result<(), Failure> {
    let (bare, valetkey) = (scene.bare(YARDSTICK, scene.upstream, PROXY, same)?, scene.valetkey(PROXY, same)?);
    let load = Load { time: load.time.min(Duration::from_secs(4)), ..load };
    let url = |address: SocketAddr, path: &str| format!("http://{address}{path}");
    let (mut direct, mut plain, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        direct.push(measure::latency(&url(scene.upstream, WORK), &scene.tokens(), load)?);
        plain.push(measure::latency(&url(bare.address, &bare.path(WORK)), &scene.jwts, load)?);
        ours.push(measure::latency(&url(valetkey.address, &valetkey.path(WORK)), &scene.jwts, load)?);
    }
    for (at, name, goal, most) in [(0, "p50", "≤ 60 µs", 60.0), (1, "p99", "≤ 150 µs", 150.0)] {
        let median = |all: &[[f64; 2]]| {
            let mut values: Vec<f64> = all.iter().map(|pair| pair[at]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (direct, plain, ours) = (median(&direct), median(&plain), median(&ours));
        let what = format!("latency added to a direct call, one connection, {name}");
        let added = ours - direct;
        facts.push(Fact::new(what, format!("{added:.0} µs"), goal, added <= most));
        let beyond = ours - plain;
        let what = format!("… beyond bare Pingora's {:.0} µs, {name}", plain - direct);
        facts.push(Fact::new(what, format!("{beyond:.0} µs"), "≤ 15 µs", beyond <= 15.0));
    }
    Ok(())
}
