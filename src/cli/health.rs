//! `valetkey health`: asks the admin listener for `/readyz`, for probes of container runtimes that have no HTTP client of
//! their own. One plain request over a blocking socket; never follows anything. What counts as well is the caller's to say:
//! a startup probe must not wait for Redis, and a readiness probe must.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::{
    Outcome,
    configuration::load_or_complain,
    output::{complain, say},
};
use crate::config::{Config, Listen};

/// Enough for the status and the few lines of detail.
const LONGEST_ANSWER: u64 = 16 << 10;

/// Arguments of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The configuration, for the address of its admin listener.
    #[arg(long, short, value_name = "FILE", conflicts_with = "address")]
    pub config: Option<PathBuf>,
    /// The admin listener's address; with `--expect answering` any listener's.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    pub address: String,
    /// What counts as well.
    #[arg(long, value_enum, default_value_t = Expect::Ready)]
    pub expect: Expect,
    /// How long the answer may take.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// What counts as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Expect {
    /// Anything speaks HTTP there, whatever it says: for a test through a Service.
    Answering,
    /// Every listener takes connections, though store or issuers may not have answered yet: for startup and liveness probes.
    Listening,
    /// Calls can be served: for readiness probes.
    Ready,
}

impl Expect {
    /// Whether this answer to `/readyz` will do.
    fn is_met(self, status: u16, body: &str) -> bool {
        match self {
            Self::Answering => true,
            Self::Ready => status == 200,
            Self::Listening => {
                let Ok(answer) = serde_json::from_str::<Readiness>(body) else { return false };
                !answer.detail.contains_key("listeners")
            }
        }
    }
}

/// What `/readyz` says, as far as it counts here.
#[derive(Deserialize)]
struct Readiness {
    detail: serde_json::Map<String, serde_json::Value>,
}

/// Asks.
pub fn run(args: &HealthArgs) -> Outcome {
    let address = match &args.config {
        None => match resolved(&args.address) {
            Ok(address) => Listen::Tcp(address),
            Err(error) => {
                complain(format_args!("{} can't be asked: {error}", args.address));
                return Outcome::Failed;
            }
        },
        Some(file) => {
            let Some(loaded) = load_or_complain(file) else { return Outcome::Wrong };
            let Some(address) = admin_address(&loaded.config) else {
                complain("No listener serves `admin` without TLS; name one with --address");
                return Outcome::Wrong;
            };
            address
        }
    };
    match ask(&address, args.timeout.max(Duration::from_millis(1))) {
        Ok((status, body)) if args.expect.is_met(status, &body) => {
            say(body);
            Outcome::Done
        }
        Ok((status, body)) => {
            complain(format_args!("{address} answers {status}: {body}"));
            Outcome::Failed
        }
        Err(error) => {
            complain(format_args!("{address} doesn't answer: {error}"));
            Outcome::Failed
        }
    }
}

fn admin_address(config: &Config) -> Option<Listen> {
    let listener = config.listeners.iter().find(|listener| listener.serves.admin && listener.tls.is_none());
    listener.map(|listener| listener.listen.clone())
}

/// The address of `host:port`; a name's first.
fn resolved(address: &str) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    address.to_socket_addrs()?.next().ok_or_else(none)
}

/// Nobody can be reached at the address that means "all of them".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status and the body. HTTP/1.0, so that the body is never chunked and ends with the connection.
fn ask(listen: &Listen, timeout: Duration) -> io::Result<(u16, String)> {
    match listen {
        Listen::Tcp(address) => {
            let address = reachable(*address);
            let stream = TcpStream::connect_timeout(&address, timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            exchange(stream, &address.to_string())
        }
        Listen::Unix { path, .. } => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            exchange(stream, "localhost")
        }
    }
}

fn exchange(mut stream: impl Read + Write, host: &str) -> io::Result<(u16, String)> {
    // In one piece: a server that answers before it has read all would reset the connection.
    let request =
        format!("GET /readyz HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP answer"))?;
    Ok((status, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /readyz HTTP/1."));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    fn expecting(expect: Expect, address: SocketAddr) -> Outcome {
        run(&HealthArgs { config: None, address: address.to_string(), expect, timeout: Duration::from_secs(5) })
    }

    fn health(address: SocketAddr) -> Outcome {
        expecting(Expect::Ready, address)
    }

    #[test]
    fn ready_is_0_and_everything_else_is_1() {
        let ready = answering("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"status\":\"ok\"}\r\n");
        assert_eq!(health(ready), Outcome::Done);
        let draining = answering("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"draining\"}");
        assert_eq!(health(draining), Outcome::Failed);
        assert_eq!(health(answering("SSH-2.0-nobody\r\n")), Outcome::Failed);
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(health(gone), Outcome::Failed);
    }

    #[test]
    fn listening_asks_for_no_store() {
        let without_store =
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"starting\",\"detail\":{\"store\":\"away\"}}";
        assert_eq!(health(answering(without_store)), Outcome::Failed);
        assert_eq!(expecting(Expect::Listening, answering(without_store)), Outcome::Done);
        let half =
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"starting\",\"detail\":{\"listeners\":\"not yet\"}}";
        assert_eq!(expecting(Expect::Listening, answering(half)), Outcome::Failed);
        // Whoever says nothing of listeners isn't asked well.
        let other = "HTTP/1.1 404 Not Found\r\n\r\n{\"status\":\"not_found\"}";
        assert_eq!(expecting(Expect::Listening, answering(other)), Outcome::Failed);
    }

    #[test]
    fn answering_takes_any_http_answer() {
        assert_eq!(expecting(Expect::Answering, answering("HTTP/1.1 404 Not Found\r\n\r\n")), Outcome::Done);
        assert_eq!(expecting(Expect::Answering, answering("SSH-2.0-nobody\r\n")), Outcome::Failed);
    }

    #[test]
    fn a_name_is_as_good_as_an_address() {
        assert!(resolved("localhost:9090").is_ok_and(|address| address.ip().is_loopback() && address.port() == 9090));
        let address = "no-such-host.invalid:9090".to_owned();
        let timeout = Duration::from_secs(5);
        assert_eq!(run(&HealthArgs { config: None, address, expect: Expect::Ready, timeout }), Outcome::Failed);
    }

    #[test]
    fn an_address_that_means_all_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:9090".parse().unwrap()), "127.0.0.1:9090".parse().unwrap());
        assert_eq!(reachable("[::]:9090".parse().unwrap()), "[::1]:9090".parse().unwrap());
        assert_eq!(reachable("10.1.2.3:9090".parse().unwrap()), "10.1.2.3:9090".parse().unwrap());
    }
}
