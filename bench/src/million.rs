//! What it costs that many connections exist: start, one caller's list and the healer's passes, with 1,000 connections in
//! Redis and with a million. Cost should grow with what is due or asked for, so the two columns should not differ. Counted
//! are CPU time of both processes and the commands that Redis got.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    contestant::{Contestant, Job, VALETKEY},
    failure::Failure,
    fleet::{PROXY, Process, REST, same},
    folder::Folder,
    http::Connection,
    measure,
    progress::Progress,
    redis::Client,
    report::Fact,
    scene::{
        configuration::{Configured, Service},
        servers::{Redis, upstream},
    },
    storm::Provider,
    users::{Signing, jwts, name, since_epoch, upstream_token},
};

/// The store that the large one is compared with.
const FEW: usize = 1000;
/// How many connections are due in the healer's pass that has something to do.
const DUE: usize = 100;
/// The healer renews these about 48 s after they came in: three quarters of this, and at the earliest after 45 s.
const DUE_LIFE: Duration = Duration::from_secs(64);
/// By then all of them are renewed, with a pass of the healer every 10 s.
const HEALED_WITHIN: Duration = Duration::from_secs(70);
/// Two passes of the healer fall into this, wherever it begins.
const TWO_PASSES: Duration = Duration::from_secs(20);
/// How many callers ask for their list.
const LISTS: usize = 200;
/// The costs of two stores may differ so much by the noise of the machine.
const ALIKE: f64 = 1.5;

/// Measures it with [`FEW`] and with `many` connections.
///
/// # Errors
/// Where a part fails.
pub fn run(many: usize, progress: &Progress) -> Result<Vec<Fact>, Failure> {
    let (few, large) = (Findings::of(FEW, progress)?, Findings::of(many, progress)?);
    let mut facts = vec![Fact::plain("connections", format!("{FEW} → {many}"))];
    let kib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    let mut beside = |what: &str, a: String, b: String| facts.push(Fact::plain(what, format!("{a} → {b}")));
    beside("import", few.imported(), large.imported());
    beside("Redis, memory in use", kib(few.redis_kib), kib(large.redis_kib));
    beside("Valetkey, peak memory", kib(few.peak_kib), kib(large.peak_kib));
    let mut compare = |what: &str, of: &dyn Fn(&Findings) -> (f64, f64), unit: &str| {
        let ((a, grain), (b, _)) = (of(&few), of(&large));
        let met = b <= a * ALIKE + grain;
        facts.push(Fact::new(what, format!("{a:.1} → {b:.1} {unit}"), "alike", met));
    };
    compare("start to first answered call", &|found| (found.start.as_secs_f64() * 1000.0, 10.0), "ms");
    compare("… commands to Redis", &|found| (found.at_start.commands as f64, 4.0), "");
    let each = |cost: f64, times: usize| cost / times as f64;
    compare("one caller's list, CPU of Valetkey", &|found| (each(found.lists.cpu_micros, LISTS), 50.0), "µs");
    compare("… CPU of Redis", &|found| (each(found.lists.redis_micros, LISTS), 25.0), "µs");
    compare("… commands to Redis", &|found| (each(found.lists.commands as f64, LISTS), 0.5), "");
    compare("healer's pass, nothing due, CPU of Valetkey", &|found| (found.idle.cpu_micros / 2000.0, 10.0), "ms");
    compare("… CPU of Redis", &|found| (found.idle.redis_micros / 2000.0, 10.0), "ms");
    compare("… commands to Redis", &|found| (found.idle.commands as f64 / 2.0, 30.0), "");
    let due = |what| format!("{what} with {DUE} due and renewed, beyond the idle ones");
    compare(&due("passes"), &|found| (found.busy().cpu_micros / 1000.0, 30.0), "ms CPU of Valetkey");
    compare("… CPU of Redis", &|found| (found.busy().redis_micros / 1000.0, 30.0), "ms");
    compare("… commands to Redis", &|found| (found.busy().commands as f64, 200.0), "");
    let renewed = [few.renewed, large.renewed];
    let value = format!("{} → {} of {DUE}", renewed[0], renewed[1]);
    facts.push(Fact::new("renewed ahead of time", value, "all, once", renewed == [DUE; 2]));
    facts.push(Fact::plain(format!("commands of a pass with {many}"), large.idle_commands.clone()));
    Ok(facts)
}

/// What something cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu_micros: f64,
    redis_micros: f64,
    commands: u64,
}

/// What was found with one store.
struct Findings {
    connections: usize,
    import: Duration,
    redis_kib: u64,
    peak_kib: u64,
    start: Duration,
    at_start: Cost,
    lists: Cost,
    /// Of [`TWO_PASSES`].
    idle: Cost,
    idle_commands: String,
    /// From the end of those to [`HEALED_WITHIN`], with the seconds that this took.
    healing: (Cost, f64),
    renewed: usize,
}

impl Findings {
    fn of(connections: usize, progress: &Progress) -> Result<Self, Failure> {
        progress.begin(format!("{connections} connections in Redis: import"), 5);
        let folder = Folder::make()?;
        let provider = Provider::start(Duration::from_millis(5))?;
        let (address, _upstream) = upstream(FEW, REST, &folder)?;
        let redis = Redis::start(REST, &folder)?;
        let service = [Service { name: "bench", upstream: address, provider: provider.address }];
        let config = Configured::write("valetkey", redis.address, &service, &folder)?;
        let begun = Instant::now();
        config.import(&records(0..connections, Duration::from_secs(30 * 24 * 3600), &folder)?)?;
        let import = begun.elapsed();
        progress.step();
        config.import(&records(connections..connections + DUE, DUE_LIFE, &folder)?)?;
        let imported = Instant::now();
        let jwts: Vec<String> = jwts(LISTS, Signing::Hs256)?.lines().map(str::to_owned).collect();

        let mut meter = Meter { redis: redis.client()?, server: &redis.process };
        let (begun, before) = (Instant::now(), meter.now(None)?);
        let process = config.start(PROXY, &folder, same)?;
        let valetkey =
            Contestant { who: VALETKEY, job: Job::Whole, process, address: config.calls, prefix: "/proxy/bench" };
        measure::ask(&valetkey, &jwts[..1])?;
        let start = begun.elapsed();
        // The first pass of the healer belongs to the start.
        thread::sleep(Duration::from_secs(1));
        let at_start = meter.now(None)?.since(&before);
        progress.step();

        let before = meter.now(Some(&valetkey.process))?;
        let mut connection = Connection::open(valetkey.address)?;
        for jwt in &jwts {
            let (status, body) = connection.get("/connections", jwt)?;
            if status != 200 || !String::from_utf8_lossy(&body).contains("bench") {
                return Err(format!("GET /connections answered {status}").into());
            }
        }
        let lists = meter.now(Some(&valetkey.process))?.since(&before);
        progress.step();

        let (before, commands) = (meter.now(Some(&valetkey.process))?, meter.commands()?);
        thread::sleep(TWO_PASSES);
        let idle = meter.now(Some(&valetkey.process))?.since(&before);
        let idle_commands = meter.difference(&commands)?;
        progress.step();

        let (before, begun) = (meter.now(Some(&valetkey.process))?, Instant::now());
        thread::sleep(HEALED_WITHIN.saturating_sub(imported.elapsed()));
        let healing = (meter.now(Some(&valetkey.process))?.since(&before), begun.elapsed().as_secs_f64());
        let seen = provider.seen();
        progress.step();
        Ok(Self {
            connections,
            import,
            redis_kib: meter.memory()?,
            peak_kib: valetkey.process.peak_kib(),
            start,
            at_start,
            lists,
            idle,
            idle_commands,
            healing,
            renewed: seen.tokens - seen.twice,
        })
    }

    fn imported(&self) -> String {
        format!("{:.0} s ({:.0}/s)", self.import.as_secs_f64(), self.connections as f64 / self.import.as_secs_f64())
    }

    /// What the renewals cost beyond what would have been spent in that time anyway.
    fn busy(&self) -> Cost {
        let (cost, seconds) = self.healing;
        let share = seconds / TWO_PASSES.as_secs_f64();
        Cost {
            cpu_micros: (cost.cpu_micros - self.idle.cpu_micros * share).max(0.0),
            redis_micros: (cost.redis_micros - self.idle.redis_micros * share).max(0.0),
            commands: cost.commands.saturating_sub((self.idle.commands as f64 * share) as u64),
        }
    }
}

impl Cost {
    fn since(&self, before: &Self) -> Self {
        Self {
            cpu_micros: self.cpu_micros - before.cpu_micros,
            redis_micros: self.redis_micros - before.redis_micros,
            commands: self.commands - before.commands,
        }
    }
}

/// Reads the accounts of both processes.
struct Meter<'s> {
    redis: Client,
    server: &'s Process,
}

impl Meter<'_> {
    fn now(&mut self, valetkey: Option<&Process>) -> Result<Cost, Failure> {
        let micros = |process: &Process| process.cpu().map(|time| time.as_secs_f64() * 1e6);
        let commands = self.commands()?.iter().map(|(_, calls)| calls).sum();
        let cpu_micros = valetkey.map(micros).transpose()?.unwrap_or_default();
        Ok(Cost { cpu_micros, redis_micros: micros(self.server)?, commands })
    }

    /// How often each command came, but for the ones that the bench itself sends.
    fn commands(&mut self) -> Result<Vec<(String, u64)>, Failure> {
        let all = self.redis.info("commandstats")?.into_iter().filter_map(|(name, text)| {
            let name = name.strip_prefix("cmdstat_")?.to_owned();
            let calls = text.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
            (name != "info").then_some((name, calls))
        });
        Ok(all.collect())
    }

    fn difference(&mut self, before: &[(String, u64)]) -> Result<String, Failure> {
        let earlier = |name: &str| before.iter().find(|(other, _)| other == name).map_or(0, |(_, calls)| *calls);
        let now = self.commands()?;
        let more = now.iter().map(|(name, calls)| (name, (calls - earlier(name)) / 2)).filter(|(_, more)| *more > 0);
        Ok(more.map(|(name, more)| format!("{more} {name}")).collect::<Vec<_>>().join(", "))
    }

    fn memory(&mut self) -> Result<u64, Failure> {
        let all = self.redis.info("memory")?;
        let used =
            all.iter().find(|(name, _)| name == "used_memory").and_then(|(_, value)| value.trim().parse::<u64>().ok());
        Ok(used.unwrap_or_default() / 1024)
    }
}

/// What `valetkey import` reads.
fn records(users: std::ops::Range<usize>, life: Duration, folder: &Folder) -> Result<PathBuf, Failure> {
    let end = (since_epoch() + life).as_secs();
    let path = folder.path().join("connections.jsonl");
    let mut file = BufWriter::new(File::create(&path)?);
    for user in users {
        let record = json!({
            "issuer": Signing::Hs256.issuer(),
            "user": name(user),
            "service": "bench",
            "access_token": upstream_token(user),
            "refresh_token": Provider::refresh_token(user),
            "expires_at": end,
        });
        writeln!(file, "{record}")?;
    }
    file.flush()?;
    Ok(path)
}
