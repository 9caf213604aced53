//! Valetkey's configuration for a measurement.

use std::{fmt::Write as _, net::SocketAddr};

use super::servers::REDIS_PASSWORD;
use crate::{
    failure::Failure,
    fleet::{Core, Line, Process, needed},
    folder::{Folder, free_address},
    http::Connection,
    users::Signing,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::failure::Tried;

/// How long Valetkey may take to be ready; under valgrind everything takes long.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// 32 bytes in base64; seals nothing but made-up tokens.
const VAULT_KEY: &str = "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMTI=";

/// Whether what is measured tells all that it can (`--telling`).
pub static TELLING: AtomicBool = AtomicBool::new(false);

/// A service that Valetkey proxies to.
pub struct Service {
    /// Its name, the first part of the path.
    pub name: &'static str,
    /// Where it listens.
    pub upstream: SocketAddr,
    /// Where its token endpoint listens.
    pub provider: SocketAddr,
}

/// One instance of Valetkey: its file, and where it listens.
pub struct Configured {
    /// The file.
    pub file: PathBuf,
    /// Where calls go.
    pub calls: SocketAddr,
    admin: SocketAddr,
}

impl Configured {
    /// Writes the configuration of one instance on free ports.
    ///
    /// # Errors
    /// Where there are no ports or the file can't be written.
    pub fn write(name: &str, redis: SocketAddr, services: &[Service], folder: &Folder) -> Result<Self, Failure> {
        let (calls, admin) = (free_address()?, free_address()?);
        let callers: String = Signing::ALL.iter().map(|signing| signing.as_config()).collect();
        let mut text = format!(
            r#"public_url: http://{calls}
application: {{ name: "Bench" }}
listeners:
  - {{ address: "{calls}", serves: [proxy, connect] }}
  - {{ address: "{admin}", serves: [admin] }}
callers:
{callers}store:
  redis: {{ url: "redis://{redis}/0", password: "{REDIS_PASSWORD}" }}
vault:
  keys: [ {{ id: "bench", key: "{VAULT_KEY}" }} ]
services:
"#
        );
        for Service { name, upstream, provider } in services {
            write!(
                text,
                r#"  {name}:
    title: "{name}"
    base_url: http://{upstream}
    authorize_url: http://{provider}/authorize
    token_url: http://{provider}/token
    client_id: bench
    client_secret: bench-client-secret
    scopes: []
"#
            )?;
            if TELLING.load(Ordering::Relaxed) {
                text.push_str("    trace_context: true\n");
            }
        }
        // Counting connections is rare work, and the more there are the longer: no part of what is compared here.
        text.push_str("telemetry:\n  census: none\n");
        if let (true, Some(service)) = (TELLING.load(Ordering::Relaxed), services.first()) {
            // The upstream knows no such caller, and refuses: delivering costs the same.
            let collector = service.upstream;
            let audit = folder.path().join(format!("{name}.audit"));
            write!(
                text,
                r#"  server_timing: true
  sample: 0.01
  otlp: {{ endpoint: "http://{collector}" }}
alerts:
  webhook: {{ url: "http://{collector}/alerts", secret: "whsec_{VAULT_KEY}" }}
  digest: daily
audit: {{ file: "{}" }}
"#,
                audit.display()
            )?;
        }
        Ok(Self { file: folder.write(&format!("{name}.yaml"), &text)?, calls, admin })
    }

    /// Starts Valetkey, and waits until it is ready. `wrap` may put the program under another.
    ///
    /// # Errors
    /// Where it doesn't come up.
    pub fn start(&self, core: Core, folder: &Folder, wrap: impl FnOnce(Line) -> Line) -> Result<Process, Failure> {
        let arguments = vec!["serve".into(), "--config".into(), self.file.display().to_string()];
        let line = wrap(Line { program: needed("valetkey")?, arguments });
        let process = Process::start("valetkey", core, &line, self.calls, folder)?;
        let begun = Instant::now();
        while !matches!(Connection::open(self.admin).and_then(|mut admin| admin.get("/readyz", "")), Ok((200, _))) {
            if begun.elapsed() > READY_WITHIN {
                return Err("valetkey didn't get ready".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    /// `valetkey import`, with its own progress bar where there is a terminal.
    ///
    /// # Errors
    /// Where it fails, even for one line.
    pub fn import(&self, records: &Path) -> Result<(), Failure> {
        let mut command = Command::new(needed("valetkey")?);
        command.arg("import").arg(records).arg("--config").arg(&self.file);
        let output = command.stderr(std::process::Stdio::inherit()).output().tried("running valetkey import")?;
        if output.status.success() {
            return Ok(());
        }
        let lines = fs::read_to_string(&self.file).unwrap_or_default();
        Err(format!("valetkey import failed: {}\n{lines}", String::from_utf8_lossy(&output.stdout)).into())
    }
}
