//! Latency of a lone call: what a proxy adds to a direct one. Between two steps of a lone call every core would be idle,
//! and a virtual core that is idle is given away: to have it back takes longer than all that is measured here. So a
//! spinner of the scheduler's lowest class keeps each core; it yields to anything else at once.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    contestant::{WORK, YARDSTICK},
    failure::{Failure, Tried},
    fleet::{Core, PROXY, REST, same},
    measure::{self, Load},
    report::Fact,
    scene::Scene,
};

/// What direct calls, bare Pingora and Valetkey take, in turns.
const ROUNDS: usize = 5;

/// Median and 99th percentile, beyond a direct call and beyond bare Pingora.
///
/// # Errors
/// Where a proxy doesn't come up, or `wrk` fails.
pub fn latency(scene: &Scene, load: Load) -> Result<Vec<Fact>, Failure> {
    let (bare, valetkey) = (scene.bare(YARDSTICK, scene.upstream, REST, same)?, scene.valetkey(REST, same)?);
    let load = Load { time: load.time.min(Duration::from_secs(4)), ..load };
    let url = |address: SocketAddr, path: &str| format!("http://{address}{path}");
    let _awake = [Awake::keep(PROXY)?, Awake::keep(REST)?];
    let (mut direct, mut plain, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        direct.push(measure::latency(&url(scene.upstream, WORK), &scene.tokens(), load)?);
        plain.push(measure::latency(&url(bare.address, &bare.path(WORK)), &scene.jwts, load)?);
        ours.push(measure::latency(&url(valetkey.address, &valetkey.path(WORK)), &scene.jwts, load)?);
    }
    let mut facts = Vec::new();
    for (at, name, goal, most) in [(0, "p50", "≤ 60 µs", 60.0), (1, "p99", "≤ 150 µs", 150.0)] {
        let median = |all: &[[f64; 2]]| {
            let mut values: Vec<f64> = all.iter().map(|pair| pair[at]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (direct, plain, ours) = (median(&direct), median(&plain), median(&ours));
        let what = format!("latency added to a direct call of {direct:.0} µs, one connection, {name}");
        let added = ours - direct;
        facts.push(Fact::new(what, format!("{added:.0} µs"), goal, added <= most));
        let beyond = ours - plain;
        let what = format!("… beyond bare Pingora's {:.0} µs, {name}", plain - direct);
        facts.push(Fact::new(what, format!("{beyond:.0} µs"), "≤ 15 µs", beyond <= 15.0));
    }
    Ok(facts)
}

/// A spinner of class `SCHED_IDLE` on one core.
struct Awake(Child);

impl Awake {
    fn keep(core: Core) -> Result<Self, Failure> {
        let mut spinner = Command::new("taskset");
        spinner.args(["-c", core.0, "chrt", "--idle", "0", "sh", "-c", "while :; do :; done"]);
        Ok(Self(spinner.stdin(Stdio::null()).spawn().tried("keeping a core awake")?))
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
