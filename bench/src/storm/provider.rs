//! A stand-in for a provider's token endpoint: it rotates refresh tokens, takes a set time for each answer, and keeps count
//! of how often each refresh token came. A thread a connection is enough here.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a new access token lives: longer than any run.
const LIFETIME_SECONDS: u32 = 3600;

/// The token endpoint; it answers for as long as the program runs.
pub struct Provider {
    /// Where it listens.
    pub address: SocketAddr,
    uses: Arc<Mutex<Uses>>,
}

#[derive(Default)]
struct Uses {
    /// How often each refresh token came.
    tokens: HashMap<String, u32>,
    /// What each answer really took; a busy machine wakes late.
    took: Vec<Duration>,
}

/// What has come so far.
pub struct Seen {
    /// Different refresh tokens.
    pub tokens: usize,
    /// Of these, how many came more than once.
    pub twice: usize,
    /// 99th percentile of what answers really took.
    pub p99: Duration,
}

impl Provider {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where there is no port.
    pub fn start(latency: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, uses) = (listener.local_addr()?, Arc::new(Mutex::new(Uses::default())));
        let shared = Arc::clone(&uses);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let uses = Arc::clone(&shared);
                thread::spawn(move || answer(stream, &uses, latency));
            }
        });
        Ok(Self { address, uses })
    }

    /// The first refresh token of a user, by number.
    pub fn refresh_token(user: usize) -> String {
        format!("refresh-{user:06}-0")
    }

    /// What nginx's `map` knows the tokens by that this provider gives out: never the first ones, which are over.
    pub fn known() -> &'static str {
        r#""~^Bearer fresh-(?<number>\d{6})$" "user-$number";"#
    }

    /// What has come so far, and begins to count answers' times anew.
    pub fn seen(&self) -> Seen {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let mut took = std::mem::take(&mut uses.took);
        took.sort_unstable();
        let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
        Seen { tokens: uses.tokens.len(), twice: uses.tokens.values().filter(|count| **count > 1).count(), p99 }
    }
}

/// Answers requests of one connection, one after the other.
fn answer(stream: TcpStream, uses: &Mutex<Uses>, latency: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let began = Instant::now();
        let form = String::from_utf8_lossy(&body).into_owned();
        let token = form.split('&').find_map(|pair| pair.strip_prefix("refresh_token=")).unwrap_or_default();
        let count = {
            let mut uses = uses.lock().unwrap_or_else(PoisonError::into_inner);
            let count = uses.tokens.entry(token.to_owned()).or_default();
            *count += 1;
            *count
        };
        thread::sleep(latency);
        let (status, body) = match next(token) {
            // A token that was spent is refused, as by every provider that rotates them (RFC 9700 §4.14).
            Some(body) if count == 1 => ("200 OK", body),
            _ => ("400 Bad Request", r#"{"error":"invalid_grant"}"#.to_owned()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
        stream.get_mut().write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
        uses.lock().unwrap_or_else(PoisonError::into_inner).took.push(began.elapsed());
    }
}

/// The answer to a refresh token that is good.
fn next(token: &str) -> Option<String> {
    let (user, generation) = token.strip_prefix("refresh-")?.split_once('-')?;
    let generation = generation.parse::<u32>().ok()? + 1;
    Some(format!(
        r#"{{"access_token":"fresh-{user}","token_type":"Bearer","expires_in":{LIFETIME_SECONDS},"refresh_token":"refresh-{user}-{generation}"}}"#
    ))
}
