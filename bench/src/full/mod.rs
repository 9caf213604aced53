//! The rows beside requests per second: latency of a lone call, big transfers, memory, start and size.

use std::{fs, time::Instant};

use crate::{
    failure::Failure,
    fleet::{PROXY, program, same},
    measure::{self, Load},
    progress::Progress,
    report::Fact,
    scene::Scene,
    users::good_jwt,
};

mod latency;
mod memory;
mod transfers;

pub use latency::latency;
pub use memory::memory;
pub use transfers::transfers;

/// Measures them all.
///
/// # Errors
/// Where a part fails.
pub fn run(scene: &Scene, load: Load, progress: &Progress) -> Result<Vec<Fact>, Failure> {
    progress.begin("start, latency, transfers, memory", 4);
    let mut facts = Vec::new();
    start(scene, &mut facts)?;
    progress.step();
    facts.extend(latency(scene, load)?);
    progress.step();
    facts.extend(transfers(scene)?);
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
