//! Where Valetkey listens: an address of this machine, or a Unix socket, which has no network before it and no client
//! address behind it.

use std::{fmt, net::SocketAddr, path::PathBuf};

use super::loopback::is_loopback_address;

/// Where Valetkey listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// IP address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Its file.
        path: PathBuf,
        /// The file's permissions: who may connect.
        mode: u32,
    },
}

impl Listen {
    /// Whether only this machine can come in there.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => is_loopback_address(address.ip()),
            Self::Unix { .. } => true,
        }
    }

    /// Whether one takes the other's connections: the same place, or one takes all addresses, the other's among them. (An
    /// IPv6 socket for all takes IPv4, too.)
    pub fn is_in_the_way_of(&self, other: &Self) -> bool {
        let covers =
            |all: &SocketAddr, some: &SocketAddr| all.ip().is_unspecified() && (all.is_ipv6() || some.is_ipv4());
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                one.port() == other.port() && (one == other || covers(one, other) || covers(other, one))
            }
            (Self::Unix { path: one, .. }, Self::Unix { path: other, .. }) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
