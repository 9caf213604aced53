//! One measurement: load on a proxy while the kernel's accounts of its process are read before and after. Hot is `wrk`
//! for some seconds; cold is one pass over all users, each seen for the first time.

use std::{
    fs, io,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    contestant::{Contestant, WORK},
    failure::{Failure, Tried},
    fleet::{Core, Process, program},
    http::Connection,
};

/// How the load is made.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Keep-alive connections at the same time.
    pub connections: usize,
    /// For so long.
    pub time: Duration,
    /// On this core, beside upstream and Redis.
    pub core: Core,
    /// A nanosecond of CPU time is an instruction: so it is in the machine that `scripts/count-instructions.sh` emulates.
    pub emulated: bool,
}

impl Load {
    /// Thousand instructions a request, where `cpu_micros` of CPU time tell.
    fn kilo_instructions(&self, cpu_micros: f64) -> Option<f64> {
        self.emulated.then_some(cpu_micros)
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// Answers per second.
    pub per_second: f64,
    /// CPU time of the proxy's process per request, in µs.
    pub cpu_micros: f64,
    /// Thousand instructions per request, in user and kernel; none where the machine doesn't count them.
    pub kilo_instructions: Option<f64>,
    /// Median latency under this load, in µs; none for the one-pass driver.
    pub p50_micros: Option<f64>,
    /// 99th percentile, in µs.
    pub p99_micros: Option<f64>,
}

#[derive(Deserialize)]
struct Wrk {
    requests: u64,
    microseconds: u64,
    refused: u64,
    broken: u64,
    p50: f64,
    p99: f64,
}

fn wrk(url: &str, tokens: &Path, load: Load) -> Result<Wrk, Failure> {
    let script = tokens.with_file_name("wrk.lua");
    fs::write(&script, include_str!("wrk.lua")).tried("writing wrk.lua")?;
    let output = Command::new("taskset")
        .args(["-c", load.core.0, "wrk", "-t1", "--timeout", "10s"])
        .args([format!("-c{}", load.connections), format!("-d{}s", load.time.as_secs())])
        .arg("-s")
        .arg(&script)
        .arg(url)
        .arg("--")
        .arg(tokens)
        .output()
        .tried("running wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let result = result.ok_or_else(|| format!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(serde_json::from_str(result)?)
}

/// Hot: `wrk`, all users in turn, again and again.
///
/// # Errors
/// Where `wrk` fails, or any request was refused or broke.
pub fn hot(proxy: &Contestant, jwts: &Path, load: Load) -> Result<Sample, Failure> {
    let Contestant { who, process, address, .. } = proxy;
    let counter = if load.emulated { None } else { Instructions::count(process, load.time) };
    let cpu = process.cpu()?;
    let result = wrk(&format!("http://{address}{}", proxy.path(WORK)), jwts, load)?;
    let cpu = process.cpu()?.saturating_sub(cpu);
    let Wrk { requests, microseconds, refused, broken, p50, p99 } = result;
    if refused + broken > 0 {
        return Err(format!("{refused} requests to {who} were refused, {broken} broke").into());
    }
    let count = requests as f64;
    let cpu_micros = cpu.as_secs_f64() * 1e6 / count;
    let counted = counter.and_then(|counter| counter.per_request(count));
    Ok(Sample {
        per_second: count * 1e6 / microseconds as f64,
        cpu_micros,
        kilo_instructions: counted.or(load.kilo_instructions(cpu_micros)),
        p50_micros: Some(p50),
        p99_micros: Some(p99),
    })
}

/// Cold: each JWT once, over as many connections.
///
/// # Errors
/// Where a request fails or isn't answered 200.
pub fn cold(proxy: &Contestant, jwts: &Path, load: Load) -> Result<Sample, Failure> {
    let jwts: Vec<String> = fs::read_to_string(jwts)?.lines().map(str::to_owned).collect();
    let (cpu, begun) = (proxy.process.cpu()?, Instant::now());
    thread::scope(|scope| {
        let share = jwts.len().div_ceil(load.connections).max(1);
        let shares: Vec<_> = jwts.chunks(share).map(|share| scope.spawn(|| ask(proxy, share))).collect();
        let panicked = |_| Err(io::Error::other("a driver panicked"));
        shares.into_iter().try_for_each(|share| share.join().unwrap_or_else(panicked))
    })?;
    let (count, took) = (jwts.len() as f64, begun.elapsed());
    let cpu_micros = proxy.process.cpu()?.saturating_sub(cpu).as_secs_f64() * 1e6 / count;
    Ok(Sample {
        per_second: count / took.as_secs_f64(),
        cpu_micros,
        kilo_instructions: load.kilo_instructions(cpu_micros),
        p50_micros: None,
        p99_micros: None,
    })
}

/// Latency with one connection and no other load, in µs: median and 99th percentile.
///
/// # Errors
/// Where `wrk` fails.
pub fn latency(url: &str, tokens: &Path, load: Load) -> Result<[f64; 2], Failure> {
    let result = wrk(url, tokens, Load { connections: 1, ..load })?;
    Ok([result.p50, result.p99])
}

/// One connection asks once with each token.
pub fn ask(proxy: &Contestant, tokens: &[String]) -> io::Result<()> {
    let (mut connection, path) = (Connection::open(proxy.address)?, proxy.path(WORK));
    for token in tokens {
        let (status, _) = connection.get(&path, token)?;
        if status != 200 {
            return Err(io::Error::other(format!("{} answered {status}", proxy.who)));
        }
    }
    Ok(())
}

/// `perf stat` on the process, where the machine has counters.
struct Instructions(Child);

impl Instructions {
    fn count(proxy: &Process, time: Duration) -> Option<Self> {
        let child = Command::new(program("perf")?)
            .args(["stat", "-x", ",", "-e", "instructions", "-p", &proxy.id().to_string(), "--", "sleep"])
            // A little longer than the load, so that none of it is missed; an idle proxy retires next to nothing.
            .arg(format!("{:.1}", time.as_secs_f64() + 0.5))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        child.ok().map(Self)
    }

    fn per_request(self, requests: f64) -> Option<f64> {
        let output = self.0.wait_with_output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find(|line| line.contains("instructions"))?;
        let count: f64 = line.split(',').next()?.parse().ok()?;
        Some(count / requests / 1000.0)
    }
}
