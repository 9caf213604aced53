//! 1 GiB each way.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use crate::{
    contestant::{BIG, Contestant, YARDSTICK},
    failure::Failure,
    fleet::{PROXY, same},
    report::Fact,
    scene::Scene,
    users::good_jwt,
};

const GIB: u64 = 1 << 30;
/// Growth up to this is the noise of an allocator.
const FLAT_KIB: u64 = 1024;

/// CPU time a GiB, and whether memory grows.
///
/// # Errors
/// Where a proxy doesn't come up, or a transfer breaks off.
pub fn transfers(scene: &Scene) -> Result<Vec<Fact>, Failure> {
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
        // The kernel rounds its accounts: what is flat may seem to shrink.
        Ok((seconds, proxy.process.peak_kib().saturating_sub(before)))
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
    let mut facts = Vec::new();
    for (what, (plain, _), (ours, grown)) in rows {
        let ratio = ours / plain;
        let value = format!("{ours:.2} s CPU, {ratio:.2} × bare Pingora, memory + {grown} KiB");
        let met = ratio <= 1.05 && grown <= FLAT_KIB;
        facts.push(Fact::new(what, value, "≤ 1.05 ×, memory flat", met));
    }
    Ok(facts)
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
