//! The rows beside requests per second: latency of a lone call, big transfers, memory, start and size.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    PROXY,
    fleet::program,
    http::Connection,
    measure::{self, Failure, Load},
    report::Fact,
    same,
    scene::{BIG, Contestant, Scene, WORK, YARDSTICK, good_jwt},
};

const GIB: u64 = 1 << 30;
/// So many connections are left idle.
const IDLE: usize = 1000;

/// Measures them all.
///
/// # Errors
/// Where a part fails.
pub fn run(scene: &Scene, load: Load) -> Result<Vec<Fact>, Failure> {
    let mut facts = Vec::new();
    start(scene, &mut facts)?;
    latency(scene, load, &mut facts)?;
    transfers(scene, &mut facts)?;
    memory(scene, &mut facts)?;
    let size = fs::metadata(program("valetkey").ok_or("valetkey is not here")?)?.len();
    facts.push(fact("binary, stripped", format!("{:.1} MB", size as f64 / 1e6), "≤ 25 MB"));
    Ok(facts)
}

fn fact(what: impl Into<String>, value: String, goal: &'static str) -> Fact {
    Fact { what: what.into(), value, goal }
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
    facts.push(fact("process start to first answered call", format!("{} ms", times[2].as_millis()), "≤ 100 ms"));
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
    for (at, name, goal) in [(0, "p50", "≤ 60 µs, and 15 µs over bare Pingora"), (1, "p99", "≤ 150 µs")] {
        let median = |all: &[[f64; 2]]| {
            let mut values: Vec<f64> = all.iter().map(|pair| pair[at]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (direct, plain, ours) = (median(&direct), median(&plain), median(&ours));
        let value = format!("{:.0} µs (bare Pingora {:.0} µs)", ours - direct, plain - direct);
        facts.push(fact(format!("latency added to a direct call, one connection, {name}"), value, goal));
    }
    Ok(())
}

fn transfers(scene: &Scene, facts: &mut Vec<Fact>) -> Result<(), Failure> {
    let listener = TcpListener::bind(scene.sink)?;
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(thread::spawn(|| swallow(stream)))));
    let token = good_jwt(0)?;
    let cost = |proxy: &Contestant, work: &dyn Fn() -> io::Result<()>| -> Result<(f64, u64), Failure> {
        work()?;
        let (cpu, before) = (proxy.process.cpu()?, proxy.process.peak_kib());
        for _ in 0..2 {
            work()?;
        }
        let seconds = proxy.process.cpu()?.saturating_sub(cpu).as_secs_f64() / 2.0;
        Ok((seconds, proxy.process.peak_kib() - before))
    };
    let valetkey = scene.valetkey(PROXY, same)?;
    let to_nginx = scene.bare(YARDSTICK, scene.upstream, PROXY, same)?;
    let to_sink = scene.bare(YARDSTICK, scene.sink, PROXY, same)?;
    let down = |proxy: &Contestant| cost(proxy, &|| download(proxy.address, &proxy.path(BIG), &token));
    let up = |proxy: &Contestant, path: &str| cost(proxy, &|| upload(proxy.address, path, &token));
    let rows = [
        ("1 GiB download", down(&to_nginx)?, down(&valetkey)?),
        ("1 GiB upload", up(&to_sink, "/")?, up(&valetkey, "/proxy/sink/")?),
    ];
    for (what, (plain, _), (ours, grown)) in rows {
        let value = format!("{ours:.2} s CPU, {:.2} × bare Pingora, memory + {grown} KiB", ours / plain);
        facts.push(fact(what, value, "≤ 1.05 ×, memory flat"));
    }
    Ok(())
}

/// Takes requests' bodies by their `Content-Length`.
fn swallow(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let mut head = Vec::new();
        let mut left = loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            head.extend_from_slice(&buffer[..count]);
            let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&head[..end]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<u64>().ok());
            break length.unwrap_or(0).saturating_sub((head.len() - end - 4) as u64);
        };
        while left > 0 {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            left = left.saturating_sub(count as u64);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

fn download(address: SocketAddr, path: &str, token: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")?;
    let (mut buffer, mut read) = (vec![0; 256 * 1024], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => read += count as u64,
        }
    }
    if read < GIB { Err(io::Error::other(format!("only {read} bytes came"))) } else { Ok(()) }
}

fn upload(address: SocketAddr, path: &str, token: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nContent-Length: {GIB}\r\n\r\n"
    )?;
    let piece = vec![b'x'; 256 * 1024];
    for _ in 0..GIB / piece.len() as u64 {
        stream.write_all(&piece)?;
    }
    let mut answer = [0; 15];
    stream.read_exact(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(io::Error::other("the upload was refused")) }
}

fn memory(scene: &Scene, facts: &mut Vec<Fact>) -> Result<(), Failure> {
    let jwts: Vec<String> = fs::read_to_string(&scene.jwts)?.lines().map(str::to_owned).collect();
    let valetkey = scene.valetkey(PROXY, same)?;
    let settled = || {
        thread::sleep(Duration::from_secs(2));
        valetkey.process.resident_kib() as f64
    };
    let at_start = settled();
    let few = jwts.len() / 5;
    measure::ask(&valetkey, &jwts[..few])?;
    let before = settled();
    measure::ask(&valetkey, &jwts[few..])?;
    let after = settled();
    let own = jwts[few..].iter().map(String::len).sum::<usize>() as f64 / (jwts.len() - few) as f64;
    let each = (after - before) * 1024.0 / (jwts.len() - few) as f64;
    facts.push(fact("memory, ready and idle", format!("{:.1} MiB", at_start / 1024.0), ""));
    let active = format!("memory, {} active callers, one connection", jwts.len());
    facts.push(fact(active, format!("{:.1} MiB peak", valetkey.process.peak_kib() as f64 / 1024.0), "≤ 30 MiB"));
    let value = format!("{each:.0} bytes, {:.0} beside JWT and credential", each - own - 36.0);
    facts.push(fact("each further cached caller", value, "≤ 700 bytes beside"));
    let mut idle = Vec::new();
    let before = settled();
    for jwt in jwts.iter().cycle().take(IDLE) {
        let mut connection = Connection::open(valetkey.address)?;
        connection.get(&valetkey.path(WORK), jwt)?;
        idle.push(connection);
    }
    let each = (settled() - before) / IDLE as f64;
    facts.push(fact("each idle client connection", format!("{each:.1} KiB"), "≤ 16 KiB"));
    Ok(())
}
