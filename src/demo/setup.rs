//! What a demo needs before it can begin: a private temporary folder, keys and secrets made for this run, free ports, a
//! configuration written as the YAML that a person would write, and a JWT of the demo's own issuer. The folder is
//! removed at the end; nothing made here outlives the run.

use std::{
    fs, io,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::{clock::Timestamp, secret::SecretString};

/// The service that stands on the stand-in.
pub const SERVICE: &str = "demo-hub";
/// Whom the demo's application acts for.
pub const CALLER: &str = "ada@example.com";
/// The OAuth client's id at the stand-in.
pub const CLIENT_ID: &str = "valetkey-demo";
const ISSUER: &str = "https://app.example/";
const AUDIENCE: &str = "valetkey";
/// Longer than anybody looks at a demo.
const JWT_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// A folder that only this user may enter, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a new one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("valetkey-demo-{}", URL_SAFE_NO_PAD.encode(random::<24>()?)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where a file of this name lies.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only this user may read.
    fn write(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.file(name);
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed lies in the system's temporary folder, where it is swept up some day.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Loopback addresses that are free now. The port asked for is taken where it can be had.
///
/// # Errors
/// Where none can be had at all.
pub fn addresses(wanted: Option<u16>) -> io::Result<(SocketAddr, SocketAddr)> {
    let any = || TcpListener::bind(("127.0.0.1", 0));
    let public = match wanted {
        Some(port) => TcpListener::bind(("127.0.0.1", port)).or_else(|_| any())?,
        None => any()?,
    };
    let admin = any()?;
    Ok((public.local_addr()?, admin.local_addr()?))
}

/// Secrets made for this run.
pub struct Secrets {
    /// Signs the callers' JWTs.
    pub issuer: SecretString,
    /// Of the OAuth client at the stand-in.
    pub client: SecretString,
    /// Seals stored connections: 32 bytes in base64.
    pub vault: SecretString,
}

impl Secrets {
    /// New ones.
    ///
    /// # Errors
    /// Where the operating system's random source fails.
    pub fn make() -> io::Result<Self> {
        Ok(Self {
            issuer: URL_SAFE_NO_PAD.encode(random::<32>()?).into(),
            client: URL_SAFE_NO_PAD.encode(random::<32>()?).into(),
            vault: STANDARD.encode(random::<32>()?).into(),
        })
    }

    /// A JWT for the demo's caller, as the application's own sign-in would make it.
    ///
    /// # Errors
    /// Where the signing library fails.
    pub fn mint(&self, now: Timestamp) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": CALLER,
            "iat": now.seconds(),
            "exp": now.plus(JWT_LIFETIME).seconds(),
        });
        let key = EncodingKey::from_secret(self.issuer.expose().as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
    }
}

/// Where everything of a demo is.
pub struct Places<'a> {
    /// Valetkey's listener for applications and browsers.
    pub public: SocketAddr,
    /// Its listener for health and metrics.
    pub admin: SocketAddr,
    /// The stand-in's origin.
    pub standin: &'a str,
    /// The stand-in's API.
    pub api: &'a str,
    /// Whether the environment names a GitHub client.
    pub github: bool,
}

/// Writes the configuration and its secrets; gives the configuration's path.
///
/// # Errors
/// Those of the file system.
pub fn write(folder: &Folder, secrets: &Secrets, places: &Places<'_>) -> io::Result<PathBuf> {
    let issuer = folder.write("issuer.secret", secrets.issuer.expose())?;
    let client = folder.write("client.secret", secrets.client.expose())?;
    let key = folder.write("vault.key", secrets.vault.expose())?;
    let text = yaml(places, &issuer, &client, &key, &folder.file("valetkey.redb"));
    folder.write("valetkey.yaml", &text)
}

fn yaml(places: &Places<'_>, issuer: &Path, client: &Path, key: &Path, database: &Path) -> String {
    let Places { public, admin, standin, api, github } = places;
    let (issuer, client, key, database) = (quoted(issuer), quoted(client), quoted(key), quoted(database));
    let github = if *github { GITHUB } else { "" };
    format!(
        r#"# The whole configuration of this demo. Secrets lie beside it, made for this run; the folder goes when the demo ends.
public_url: http://{public}
application: {{ name: "Acme Helpdesk (demo)" }}
listeners:
  - {{ address: "{public}", serves: [proxy, connect] }}
  - {{ address: "{admin}", serves: [admin] }}
callers:
  - issuer: {ISSUER}
    audience: {AUDIENCE}
    secret_file: {issuer}
    algorithms: [HS256]
shutdown: {{ delay: 0s, grace: 5s }}
store:
  embedded: {{ path: {database} }}
vault:
  keys: [ {{ id: "demo", key_file: {key} }} ]
services:
  {SERVICE}:                                   # a custom provider: STAND-IN, served by the demo itself
    title: "Demo Hub"
    base_url: {api}
    authorize_url: {standin}/authorize
    token_url: {standin}/token
    revoke_url: {standin}/revoke
    userinfo_url: {standin}/userinfo
    issuer: {standin}
    client_id: {CLIENT_ID}
    client_secret_file: {client}
    scopes: [profile, issues]
    scope_titles: {{ profile: "See your name and login", issues: "Read and open issues" }}
{github}"#
    )
}

const GITHUB: &str = "  github:                                      # the real one
    client_id: ${GITHUB_CLIENT_ID}
    client_secret: ${GITHUB_CLIENT_SECRET}
    scopes: [\"read:user\"]
";

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A path as a YAML scalar: JSON's quoting is YAML's too.
fn quoted(path: &Path) -> String {
    json!(path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_goes_with_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::make().unwrap();
        let path = folder.write("a", "secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_port_that_is_taken_gives_way_to_another() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let (public, admin) = addresses(Some(port)).unwrap();
        assert_ne!(public.port(), port);
        assert_ne!(public, admin);
    }

    fn places(github: bool) -> Places<'static> {
        let (public, admin) = addresses(None).unwrap();
        Places { public, admin, standin: "http://127.0.0.1:1", api: "http://127.0.0.1:1/api", github }
    }

    #[test]
    fn the_configuration_is_one_that_valetkey_takes_without_a_warning() {
        let (folder, secrets) = (Folder::make().unwrap(), Secrets::make().unwrap());
        let path = write(&folder, &secrets, &places(false)).unwrap();
        match crate::serve::load(&path, &|_| None) {
            Ok(loaded) => assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings),
            Err(problems) => panic!("{problems}"),
        }
    }

    #[test]
    fn the_configuration_holds_no_secret() {
        let (folder, secrets) = (Folder::make().unwrap(), Secrets::make().unwrap());
        let text = fs::read_to_string(write(&folder, &secrets, &places(true)).unwrap()).unwrap();
        for secret in [&secrets.issuer, &secrets.client, &secrets.vault] {
            assert!(!text.contains(secret.expose().as_str()));
        }
    }
}
