//! What an error of the Redis client means for the connection, for the request and for who asked. Messages of the server
//! are never passed on: they can quote arguments.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::Error;

/// An error, judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The connection is gone; what was sent may have been done.
    Dropped(&'static str),
    /// No answer in time; what was sent may still be done.
    Timeout,
    /// A server that can't serve this now and did nothing: a replica, one that loads, a cluster that fails over.
    Unfit(&'static str),
    /// The server lacks a script.
    NoScript,
    /// The server did nothing, and said why. `passing`: it may later.
    Refused { code: &'static str, passing: bool },
}

/// Codes that a script's error text may hold instead of beginning with (Redis before 7).
const INSIDE: [&str; 6] = ["READONLY", "OOM", "MISCONF", "NOREPLICAS", "MASTERDOWN", "NOPERM"];

impl Fault {
    pub(super) fn of(error: &RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match error.kind() {
            ErrorKind::Io if let Some(reason) = tls_reason(error) => Self::Dropped(reason),
            ErrorKind::Io if error.is_connection_refusal() => Self::Dropped("connection refused"),
            ErrorKind::Io => Self::Dropped("connection lost"),
            ErrorKind::ClusterConnectionNotFound => Self::Dropped("no node of the cluster answers"),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Dropped("an answer that makes no sense"),
            ErrorKind::AuthenticationFailed => Self::Refused { code: "authentication failed", passing: false },
            ErrorKind::MasterNameNotFoundBySentinel => {
                Self::Refused { code: "the sentinel does not know that master", passing: false }
            }
            ErrorKind::InvalidClientConfig => {
                Self::Refused { code: "the connection's settings are wrong", passing: false }
            }
            ErrorKind::RESP3NotSupported => Self::Refused { code: "the server does not speak RESP3", passing: false },
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            _ => Self::of_code(error.code().unwrap_or_default(), error.detail().unwrap_or_default()),
        }
    }

    /// What the server's ACL refuses, where it refuses: the command's name, which the server quotes, and nothing else of what
    /// it says.
    pub(super) fn not_permitted(error: &RedisError) -> Option<String> {
        let detail = error.detail().unwrap_or_default();
        if error.code() != Some("NOPERM") && !detail.contains("NOPERM") {
            return None;
        }
        let quoted = detail.split('\'').nth(1).unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'|' | b'-' | b'_');
        let named = detail.contains("run the") && !quoted.is_empty() && quoted.bytes().all(is_name);
        Some(if named { quoted.to_ascii_uppercase() } else { "access to a key or channel".to_owned() })
    }

    fn of_code(code: &str, detail: &str) -> Self {
        let code = match code {
            "ERR" => INSIDE.into_iter().find(|inner| detail.contains(inner)).unwrap_or("ERR"),
            code => code,
        };
        match code {
            "READONLY" => Self::Unfit("READONLY"),
            "MASTERDOWN" => Self::Unfit("MASTERDOWN"),
            "LOADING" => Self::Unfit("LOADING"),
            "CLUSTERDOWN" => Self::Unfit("CLUSTERDOWN"),
            "TRYAGAIN" => Self::Unfit("TRYAGAIN"),
            "MOVED" | "ASK" => Self::Unfit("MOVED"),
            "BUSY" => Self::Unfit("BUSY"),
            "OOM" => Self::Refused { code: "OOM", passing: true },
            "MISCONF" => Self::Refused { code: "MISCONF", passing: true },
            "NOREPLICAS" => Self::Refused { code: "NOREPLICAS", passing: true },
            "NOPERM" => Self::Refused { code: "NOPERM", passing: false },
            "NOAUTH" => Self::Refused { code: "NOAUTH", passing: false },
            "WRONGPASS" => Self::Refused { code: "WRONGPASS", passing: false },
            "CROSSSLOT" => Self::Refused { code: "CROSSSLOT", passing: false },
            "WRONGTYPE" => Self::Refused { code: "WRONGTYPE", passing: false },
            _ => Self::Refused { code: "an error of the server", passing: false },
        }
    }

    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Dropped(reason) => Error::unavailable(reason),
            Self::Timeout => Error::unavailable("no answer in time"),
            Self::Unfit(code) => Error::unavailable(code),
            Self::NoScript => Error::unavailable("NOSCRIPT"),
            Self::Refused { code, passing } => Error::Refused { reason: code.into(), passing },
        }
    }
}

/// What went wrong with TLS, if it did: the one thing an operator can't guess from "connection lost".
fn tls_reason(error: &RedisError) -> Option<&'static str> {
    // The client hands the cause out still inside its own `Arc`.
    let cause = error.source()?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    let cause = cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match cause {
        rustls::Error::InvalidCertificate(_) => "the server's certificate is not trusted, or is for another name",
        rustls::Error::AlertReceived(_) => {
            "the server refused in the TLS handshake (does it accept our client certificate?)"
        }
        _ => "TLS failed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_within_a_scripts_error_are_found() {
        let text = "Error running script (call to f_0): @user_script:1: -READONLY You can't write against a read only replica.";
        assert_eq!(Fault::of_code("ERR", text), Fault::Unfit("READONLY"));
        assert_eq!(Fault::of_code("OOM", ""), Fault::Refused { code: "OOM", passing: true });
    }

    #[test]
    fn full_memory_passes_and_missing_permission_does_not() {
        assert!(Fault::of_code("OOM", "").into_error().is_transient());
        assert!(!Fault::of_code("NOPERM", "").into_error().is_transient());
        assert!(Fault::Timeout.into_error().is_transient());
    }

    #[test]
    fn the_servers_words_are_not_repeated() {
        let told = Fault::of_code("ERR", "unknown command, with args beginning with: 'hush'").into_error().to_string();
        assert!(!told.contains("hush"));
    }
}
