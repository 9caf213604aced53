//! What callers and idle connections take.

use std::{fs, thread, time::Duration};

use crate::{
    contestant::WORK,
    failure::Failure,
    fleet::{PROXY, same},
    http::Connection,
    measure,
    report::Fact,
    scene::Scene,
    users::upstream_token,
};

/// How many connections are left idle.
const IDLE: usize = 1000;

/// Resident memory at the start, with all callers active, a caller, and a connection.
///
/// # Errors
/// Where Valetkey doesn't come up, or a request fails.
pub fn memory(scene: &Scene) -> Result<Vec<Fact>, Failure> {
    let mut facts = Vec::new();
    let jwts: Vec<String> = fs::read_to_string(&scene.jwts)?.lines().map(str::to_owned).collect();
    let valetkey = scene.valetkey(PROXY, same)?;
    // Without pages of files: what of the program is touched for the first time is no caller's.
    let settled = || {
        thread::sleep(Duration::from_secs(2));
        valetkey.process.resident_kib().saturating_sub(valetkey.process.files_kib()) as f64
    };
    let (at_start, files) = (settled(), valetkey.process.files_kib() as f64);
    let few = jwts.len() / 5;
    measure::ask(&valetkey, &jwts[..few])?;
    let before = settled();
    measure::ask(&valetkey, &jwts[few..])?;
    let after = settled();
    let own = jwts[few..].iter().map(String::len).sum::<usize>() as f64 / (jwts.len() - few) as f64;
    let each = (after - before) * 1024.0 / (jwts.len() - few) as f64;
    let value = format!("{:.1} MiB, {:.1} of it pages of files", (at_start + files) / 1024.0, files / 1024.0);
    facts.push(Fact::plain("memory, ready and idle", value));
    let active = format!("memory, {} active callers, one connection", jwts.len());
    let peak = valetkey.process.peak_kib() as f64 / 1024.0;
    facts.push(Fact::new(active, format!("{peak:.1} MiB peak"), "≤ 30 MiB", peak <= 30.0));
    let beside = each - own - upstream_token(0).len() as f64;
    let value = format!("{each:.0} bytes, {beside:.0} beside JWT and credential");
    facts.push(Fact::new("each further cached caller", value, "≤ 700 bytes beside", beside <= 700.0));
    let mut idle = Vec::new();
    let before = settled();
    for jwt in jwts.iter().cycle().take(IDLE) {
        let mut connection = Connection::open(valetkey.address)?;
        connection.get(&valetkey.path(WORK), jwt)?;
        idle.push(connection);
    }
    let each = (settled() - before) / IDLE as f64;
    facts.push(Fact::new("each idle client connection", format!("{each:.1} KiB"), "≤ 16 KiB", each <= 16.0));
    Ok(facts)
}
