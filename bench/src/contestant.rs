//! A proxy in the race: where it listens, what it can do, and the proof that it does it.

use std::net::SocketAddr;

use crate::{
    failure::Failure,
    fleet::Process,
    http::Connection,
    users::{bad_jwts, good_jwt, name},
};

/// The name of the yardstick in the table: the bare proxy with Valetkey's allocator.
pub const YARDSTICK: &str = "bare Pingora";
/// The bare proxy with the system's allocator.
pub const WITH_GLIBC: &str = "bare Pingora, glibc";
/// What all this is about.
pub const VALETKEY: &str = "Valetkey";

/// The path that is asked for: 1 KiB of text.
pub const WORK: &str = "/kib";
/// A path that answers with the user whose token came.
pub const WHO: &str = "/who";
/// A path with 1 GiB of zeros.
pub const BIG: &str = "/gib";

/// How much of the job a proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// One fixed credential for whoever comes.
    FixedHeader,
    /// JWTs are verified, but everyone gets the same credential.
    VerifiesJwts,
    /// All of it: JWTs are verified, and each user gets their own token.
    Whole,
}

/// A proxy in the race.
pub struct Contestant {
    /// Its name in the table.
    pub who: &'static str,
    /// How much it does.
    pub job: Job,
    /// It.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// What stands before the upstream's own path.
    pub prefix: &'static str,
}

impl Contestant {
    /// A path of the upstream, as this proxy wants it.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Right before fast: does it do what it is said to do? Users get their own token or all the same one, strangers get
    /// nothing where JWTs are verified.
    ///
    /// # Errors
    /// Where it doesn't.
    pub fn check(&self) -> Result<(), Failure> {
        let (who, path) = (self.who, self.path(WHO));
        let mut connection = Connection::open(self.address)?;
        for user in [0, 1, 2, 3, 0] {
            let owner = name(if self.job == Job::Whole { user } else { 0 });
            let (status, body) = connection.get(&path, &good_jwt(user)?)?;
            if status != 200 || body != owner.as_bytes() {
                let body = String::from_utf8_lossy(&body).into_owned();
                return Err(format!("{who}: user {user} should be served as {owner}, but got {status}: {body}").into());
            }
        }
        if self.job == Job::FixedHeader {
            return Ok(());
        }
        for (why, jwt) in bad_jwts()? {
            let (status, _) = Connection::open(self.address)?.get(&path, &jwt)?;
            if status != 401 {
                return Err(format!("{who}: a JWT with {why} should be refused with 401, but got {status}").into());
            }
        }
        Ok(())
    }
}
