//! Where Valetkey listens, and for whom.

use std::path::PathBuf;

use crate::config::{
    Listen, Listener, ListenerTls, Roles,
    context::{Context, from_directory},
    problem::{Path, finding},
    raw::{RawListener, RawRole},
};

/// Who may connect to a Unix socket by default: its owner and their group.
const MODE: u32 = 0o660;
/// A longer path may fit into no socket's address (107 bytes), with the name in a folder of its own that it has at first.
const LONGEST_PATH: usize = 92;

pub(super) fn listeners(
    raw: Option<Vec<RawListener>>,
    with_admin_token: bool,
    path: &Path,
    cx: &mut Context<'_>,
) -> Vec<Listener> {
    let Some(raw) = raw else {
        let at = |port, serves| Listener { listen: Listen::Tcp(([127, 0, 0, 1], port).into()), serves, tls: None };
        return vec![
            at(8080, Roles { proxy: true, connect: true, admin: false }),
            at(9090, Roles { proxy: false, connect: false, admin: true }),
        ];
    };
    let mut listeners: Vec<Listener> = Vec::new();
    for (at, raw) in raw.into_iter().enumerate() {
        let path = path.index(at);
        let has = |role| raw.serves.as_ref().is_some_and(|roles| roles.contains(&role));
        let serves = Roles { proxy: has(RawRole::Proxy), connect: has(RawRole::Connect), admin: has(RawRole::Admin) };
        let has_tls = raw.tls.is_some();
        let tls = raw.tls.and_then(|tls| {
            let path = path.key("tls");
            let (certificate, key) = cx.key_pair(&path, tls.certificate_file, tls.key_file)?;
            Some(ListenerTls { certificate, key })
        });
        if raw.unix.is_some() && has_tls {
            let finding = finding("A Unix socket has no TLS: nobody is on the way").hint("take `tls` away");
            cx.report.problem(&path.key("tls"), finding);
        }
        if raw.unix.is_none() && raw.mode.is_some() {
            let finding = finding("Only a Unix socket has a `mode`").hint("take it away, or write `unix:`");
            cx.report.problem(&path.key("mode"), finding);
        }
        if !cx.require_one(&path, &[("address", raw.address.is_some()), ("unix", raw.unix.is_some())]) {
            continue;
        }
        let listen = match (raw.address, raw.unix) {
            (Some(text), _) => address(&text, &path.key("address"), cx),
            (None, Some(file)) => socket(file, raw.mode.as_deref(), &path.key("unix"), cx),
            (None, None) => None,
        };
        let Some(listen) = listen else { continue };
        let path = path.key(if matches!(listen, Listen::Tcp(_)) { "address" } else { "unix" });
        if listeners.iter().any(|listener| listener.listen == listen) {
            let hint = "write it once; `serves` may hold several roles";
            cx.report.problem(&path, finding("This address is listed twice").hint(hint));
        } else if let Some(other) = listeners.iter().find(|other| other.listen.is_in_the_way_of(&listen)) {
            let finding = finding(format!("{} takes the connections to this address, too", other.listen));
            cx.report.problem(&path, finding.hint("choose another one"));
        }
        if serves.admin && with_admin_token && tls.is_none() && !listen.is_local() {
            let finding = finding("The admin token crosses the network in clear here");
            cx.report.warning(&path, finding.hint("give this listener `tls`, or an address on loopback"));
        }
        listeners.push(Listener { listen, serves, tls });
    }
    if !cx.report.is_broken(path) && !listeners.is_empty() && !listeners.iter().any(|listener| listener.serves.proxy) {
        cx.report.warning(path, finding("No listener serves `proxy`: applications can't reach any service here"));
    }
    listeners
}

fn address(text: &str, path: &Path, cx: &mut Context<'_>) -> Option<Listen> {
    let Ok(address) = text.parse::<std::net::SocketAddr>() else {
        let hint = "such as `127.0.0.1:8080`, `0.0.0.0:8080` for all of IPv4, or `[::]:8080` for all addresses";
        cx.report.problem(path, finding("This should be an IP address and a port").hint(hint));
        return None;
    };
    if address.port() == 0 {
        let finding = finding("Port 0 means another port at each start, which nobody could be told of");
        cx.report.problem(path, finding.hint("write the port that callers use"));
        return None;
    }
    Some(Listen::Tcp(address))
}

fn socket(file: PathBuf, mode: Option<&str>, path: &Path, cx: &mut Context<'_>) -> Option<Listen> {
    let file = from_directory(cx.directory, file);
    if file.as_os_str().len() > LONGEST_PATH {
        let finding = finding(format!("The path of a Unix socket has at most {LONGEST_PATH} bytes"));
        cx.report.problem(path, finding.hint("choose a shorter one"));
        return None;
    }
    // The schema has checked its digits.
    let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(MODE);
    Some(Listen::Unix { path: file, mode })
}
