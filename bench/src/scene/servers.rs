//! What stands behind the proxies: an upstream that refuses unknown tokens, and Redis with a password.

use std::{fmt::Write as _, fs, net::SocketAddr};

use crate::{
    contestant::{BIG, WHO, WORK},
    failure::{Failure, Tried},
    fleet::{Core, Line, Process, needed},
    folder::{Folder, free_address},
    redis::Client,
    users::{name, upstream_token},
};

/// The password of Redis.
pub const REDIS_PASSWORD: &str = "bench-redis-password";

/// The part of nginx's configuration that all of them have: one process in the foreground, no log of accesses, its
/// temporary files in the folder.
pub fn nginx_head(folder: &Folder, name: &str) -> String {
    let path = folder.path().display();
    format!(
        "daemon off; master_process off; pid {path}/{name}.pid; error_log stderr error;\n\
         events {{ worker_connections 4096; }}\n"
    )
}

/// What belongs at the beginning of nginx's `http` block.
pub fn nginx_http(folder: &Folder, name: &str) -> String {
    let path = folder.path().display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds.iter().map(|kind| format!("  {kind}_temp_path {path}/{name}-{kind};\n")).collect();
    format!("  access_log off; keepalive_timeout 300s; keepalive_requests 1000000000;\n{temporary}")
}

/// Starts an nginx with this configuration.
///
/// # Errors
/// Where it doesn't come up.
pub fn nginx(
    name: &'static str,
    config: &str,
    address: SocketAddr,
    core: Core,
    folder: &Folder,
    wrap: impl FnOnce(Line) -> Line,
) -> Result<Process, Failure> {
    let (file, path) = (folder.write(&format!("{name}.conf"), config)?, folder.path().display().to_string());
    let arguments = ["-c", &file.display().to_string(), "-e", "stderr", "-p", &path].map(str::to_owned).to_vec();
    let line = wrap(Line { program: needed("nginx")?, arguments });
    Ok(Process::start(name, core, &line, address, folder)?)
}

/// An upstream that knows each user by their token, as a list.
pub fn upstream(users: usize, core: Core, folder: &Folder) -> Result<(SocketAddr, Process), Failure> {
    let mut known = String::new();
    for user in 0..users {
        writeln!(known, "\"Bearer {}\" \"{}\";", upstream_token(user), name(user))?;
    }
    folder.write("known.map", &known)?;
    upstream_knowing(&format!("include {}/known.map;", folder.path().display()), core, folder)
}

/// An upstream that knows tokens by these lines of nginx's `map`.
///
/// # Errors
/// Where it doesn't come up.
pub fn upstream_knowing(lines: &str, core: Core, folder: &Folder) -> Result<(SocketAddr, Process), Failure> {
    let address = free_address()?;
    let (head, http) = (nginx_head(folder, "upstream"), nginx_http(folder, "upstream"));
    let (path, text) = (folder.path().display(), "0123456789abcde\n".repeat(64));
    let config = format!(
        r#"{head}http {{
{http}  default_type text/plain; map_hash_max_size 262144; map_hash_bucket_size 128;
  map $http_authorization $user {{ default ""; {lines} }}
  server {{
    listen {address} backlog=4096;
    if ($user = "") {{ return 401 "unknown token\n"; }}
    location = {WORK} {{ return 200 "{text}"; }}
    location = {WHO} {{ return 200 "$user"; }}
    location = {BIG} {{ root {path}; }}
  }}
}}
"#
    );
    fs::File::create(folder.path().join("gib")).and_then(|file| file.set_len(1 << 30)).tried("making a big file")?;
    Ok((address, nginx("upstream", &config, address, core, folder, |line| line)?))
}

/// A Redis that keeps everything in memory.
pub struct Redis {
    /// Where it listens.
    pub address: SocketAddr,
    /// It.
    pub process: Process,
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    /// Where it doesn't come up.
    pub fn start(core: Core, folder: &Folder) -> Result<Self, Failure> {
        let address = free_address()?;
        let config = format!(
            "bind 127.0.0.1\nport {}\nrequirepass {REDIS_PASSWORD}\nsave \"\"\nappendonly no\nmaxmemory-policy noeviction\ndir {}\n",
            address.port(),
            folder.path().display(),
        );
        let config = folder.write("redis.conf", &config)?;
        let line = Line { program: needed("redis-server")?, arguments: vec![config.display().to_string()] };
        Ok(Self { address, process: Process::start("redis", core, &line, address, folder)? })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// Where it doesn't answer.
    pub fn client(&self) -> Result<Client, Failure> {
        Ok(Client::open(self.address, REDIS_PASSWORD)?)
    }
}
