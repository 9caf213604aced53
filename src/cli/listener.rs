//! A running Valetkey's admin listener, as commands ask it: where it is, one plain request over a blocking socket, and what
//! of its readiness counts. Never follows anything, and never tries twice.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{configuration::load_or_complain, output::complain};
use crate::{
    config::{Config, Listen},
    secret::SecretString,
};

/// Enough for the status and the few lines of detail.
const LONGEST_ANSWER: u64 = 16 << 10;

/// Says whom to ask, and what for.
#[derive(Debug, Args)]
pub struct ListenerArgs {
    /// The configuration, for the address of its admin listener.
    #[arg(long, short, value_name = "FILE", conflicts_with = "address")]
    pub config: Option<PathBuf>,
    /// The admin listener's address; with `--expect answering` any listener's.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    pub address: String,
    /// What counts as well.
    #[arg(long, value_enum, default_value_t = Expect::Ready)]
    pub expect: Expect,
}

impl ListenerArgs {
    /// Where to ask. `None` where the configuration is wrong or has no such listener: that has been said then.
    pub fn place(&self) -> Option<Place> {
        let Some(file) = &self.config else { return Some(Place::Named(self.address.clone())) };
        let loaded = load_or_complain(file)?;
        let place = admin_place(&loaded.config);
        if place.is_none() {
            complain("No listener serves `admin` without TLS; name one with --address");
        }
        place
    }
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

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `host:port`. Looked up anew each time: a name may not have an address yet.
    Named(String),
    /// As the configuration has it.
    Configured(Listen),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(address) => f.write_str(address),
            Self::Configured(listen) => listen.fmt(f),
        }
    }
}

impl Place {
    /// What it says of its readiness, if that will do; else what is wrong, in a sentence. `timeout`: for each step of the way.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without its full stop.
    pub fn readiness(&self, expect: Expect, timeout: Duration) -> Result<String, String> {
        match self.ask("GET /readyz", timeout) {
            Ok((status, body)) if expect.is_met(status, &body) => Ok(body),
            Ok((status, body)) => Err(format!("{self} answers {status}: {body}")),
            Err(error) => Err(format!("{self} doesn't answer: {error}")),
        }
    }

    /// Sends a request without a body, such as `GET /readyz`; the status and the body. `timeout`: for each step of the way.
    ///
    /// # Errors
    /// Where nobody is there, or what is there speaks no HTTP or is too slow.
    pub fn ask(&self, what: &str, timeout: Duration) -> io::Result<(u16, String)> {
        self.send(what, None, timeout)
    }

    /// The same with this token.
    ///
    /// # Errors
    /// As [`Place::ask`].
    pub fn ask_as(&self, token: &SecretString, what: &str, timeout: Duration) -> io::Result<(u16, String)> {
        self.send(what, Some(token), timeout)
    }

    /// The address at which this machine reaches it; a Unix socket has none.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Named(name) => resolved(name).ok(),
            Self::Configured(Listen::Tcp(address)) => Some(reachable(*address)),
            Self::Configured(Listen::Unix { .. }) => None,
        }
    }

    fn send(&self, what: &str, token: Option<&SecretString>, timeout: Duration) -> io::Result<(u16, String)> {
        let timeout = timeout.max(Duration::from_millis(1));
        let address = match self {
            Self::Named(name) => resolved(name)?,
            Self::Configured(Listen::Tcp(address)) => *address,
            Self::Configured(Listen::Unix { path, .. }) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return exchange(stream, what, token, "localhost");
            }
        };
        let address = reachable(address);
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        exchange(stream, what, token, &address.to_string())
    }
}

/// The listener of operators, without TLS.
pub fn admin_place(config: &Config) -> Option<Place> {
    admin_address(config).map(Place::Configured)
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
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status and the body. HTTP/1.0, so that the body is never chunked and ends with the connection.
fn exchange(
    mut stream: impl Read + Write,
    what: &str,
    token: Option<&SecretString>,
    host: &str,
) -> io::Result<(u16, String)> {
    let authorization = token.map(|token| format!("Authorization: Bearer {}\r\n", token.expose())).unwrap_or_default();
    let authorization = Zeroizing::new(authorization);
    let length = if what.starts_with("GET ") { "" } else { "Content-Length: 0\r\n" };
    // In one piece: a server that answers before it has read all would reset the connection.
    let request = Zeroizing::new(format!(
        "{what} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n{}{length}Connection: close\r\n\r\n",
        *authorization
    ));
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
pub(super) mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Answers one request for `/readyz` so.
    pub(in crate::cli) fn answering(answer: &'static str) -> SocketAddr {
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

    fn is_well(expect: Expect, address: SocketAddr) -> bool {
        Place::Named(address.to_string()).readiness(expect, Duration::from_secs(5)).is_ok()
    }

    #[test]
    fn listening_asks_for_no_store() {
        let without_store =
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"starting\",\"detail\":{\"store\":\"away\"}}";
        assert!(!is_well(Expect::Ready, answering(without_store)));
        assert!(is_well(Expect::Listening, answering(without_store)));
        let half =
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"starting\",\"detail\":{\"listeners\":\"not yet\"}}";
        assert!(!is_well(Expect::Listening, answering(half)));
        // Whoever says nothing of listeners isn't asked well.
        let other = "HTTP/1.1 404 Not Found\r\n\r\n{\"status\":\"not_found\"}";
        assert!(!is_well(Expect::Listening, answering(other)));
    }

    #[test]
    fn answering_takes_any_http_answer() {
        assert!(is_well(Expect::Answering, answering("HTTP/1.1 404 Not Found\r\n\r\n")));
        assert!(!is_well(Expect::Answering, answering("SSH-2.0-nobody\r\n")));
    }

    #[test]
    fn a_name_is_as_good_as_an_address() {
        assert!(resolved("localhost:9090").is_ok_and(|address| address.ip().is_loopback() && address.port() == 9090));
        let nowhere = Place::Named("no-such-host.invalid:9090".to_owned());
        let why = nowhere.readiness(Expect::Ready, Duration::from_secs(5)).unwrap_err();
        assert!(why.starts_with("no-such-host.invalid:9090 doesn't answer: "), "{why}");
    }

    #[test]
    fn an_address_that_means_all_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:9090".parse().unwrap()), "127.0.0.1:9090".parse().unwrap());
        assert_eq!(reachable("[::]:9090".parse().unwrap()), "[::1]:9090".parse().unwrap());
        assert_eq!(reachable("10.1.2.3:9090".parse().unwrap()), "10.1.2.3:9090".parse().unwrap());
    }
}
