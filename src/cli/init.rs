//! `valetkey init`: a working configuration for a newcomer, with its keys as files that only their owner may read. Writes
//! all or nothing, and never over anything that is there.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Outcome,
    output::{FAINT, GOOD, complain, say, styled},
};
use crate::{
    clock::{Clock, Timestamp},
    config::nearest,
    id::ServiceName,
    oauth::redirect_uri,
    provider::catalogue,
    secret::SecretString,
};

/// Where keys lie, beside the configuration.
const SECRETS: &str = "secrets";
/// What stands where the operator's own client belongs.
const PLACEHOLDER: &str = "put-yours-here";

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The services to begin with, by the name of their provider; `valetkey providers` lists them.
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// The folder to write to; it is made where it doesn't exist.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// The port for applications and browsers, on loopback.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// The port for health, metrics and /admin, on loopback.
    #[arg(long, default_value_t = 9090)]
    pub admin_port: u16,
    /// Print what was written, the callback URLs and the next commands as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("There is no provider {0:?}{1}; `valetkey providers` lists them")]
    Unknown(String, String),
    #[error("{0:?} has several APIs; name the ones you need: {1}")]
    SeveralApis(String, String),
    #[error("{0:?} is named twice")]
    Twice(String),
    #[error("--port and --admin-port must be two different ports, and not 0")]
    Ports,
    #[error("{} is there already; nothing was written. Choose another folder with --out, or move it away", .0.display())]
    Exists(PathBuf),
    #[error("{} can't be written: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("The system has no random numbers to give")]
    Random,
}

impl InitError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Unknown(..) | Self::SeveralApis(..) | Self::Twice(_) | Self::Ports => Outcome::Wrong,
            Self::Exists(_) | Self::Write { .. } | Self::Random => Outcome::Failed,
        }
    }
}

/// A file to be written, by its path below the folder.
struct NewFile {
    path: PathBuf,
    content: SecretString,
}

/// Writes a configuration.
pub fn run(args: &InitArgs) -> Outcome {
    match services(args).and_then(|services| {
        let files = files(args, &services, Clock::system().now())?;
        write(&args.out, &files)?;
        Ok((services, files))
    }) {
        Ok((services, files)) => {
            tell(args, &services, &files);
            Outcome::Done
        }
        Err(error) => {
            complain(&error);
            error.outcome()
        }
    }
}

/// The services that are asked for.
fn services(args: &InitArgs) -> Result<Vec<ServiceName>, InitError> {
    if args.port == 0 || args.admin_port == 0 || args.port == args.admin_port {
        return Err(InitError::Ports);
    }
    let mut services: Vec<ServiceName> = Vec::new();
    for name in &args.services {
        let (Some(fields), Ok(service)) = (catalogue::fields(name), ServiceName::parse(name)) else {
            let meant = nearest(name, catalogue::names()).map(|near| format!(", did you mean {near:?}?"));
            return Err(InitError::Unknown(name.clone(), meant.unwrap_or_default()));
        };
        if fields.base_url.is_none() {
            let apis: Vec<&str> = catalogue::presets(name).collect();
            return Err(InitError::SeveralApis(name.clone(), apis.join(", ")));
        }
        if services.contains(&service) {
            return Err(InitError::Twice(name.clone()));
        }
        services.push(service);
    }
    Ok(services)
}

fn files(args: &InitArgs, services: &[ServiceName], now: Timestamp) -> Result<Vec<NewFile>, InitError> {
    let secret = |name: &str, content: SecretString| NewFile { path: Path::new(SECRETS).join(name), content };
    let mut files = vec![
        NewFile { path: "valetkey.yaml".into(), content: SecretString::new(configuration(args, services, now)) },
        secret("vault-key", random()?),
        secret("development-issuer", random()?),
        secret("admin-token", random()?),
        // Whoever keeps the configuration in a repository doesn't put the keys there by mistake.
        secret(".gitignore", SecretString::from("*\n")),
    ];
    let clients = services.iter().map(|service| secret(&client_secret(service), SecretString::from(PLACEHOLDER)));
    files.extend(clients);
    Ok(files)
}

/// The file of a service's client secret.
fn client_secret(service: &ServiceName) -> String {
    format!("{service}-client-secret")
}

/// 32 random bytes in base64.
fn random() -> Result<SecretString, InitError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| InitError::Random)?;
    Ok(SecretString::new(STANDARD.encode(bytes.as_slice())))
}

fn configuration(args: &InitArgs, services: &[ServiceName], now: Timestamp) -> String {
    let InitArgs { port, admin_port, .. } = args;
    let mut text = format!(
        "# Made by `valetkey init`: one process on this machine, and a development issuer whose tokens `valetkey mint` makes.
# Before others use it: your own issuer under `callers`, https under `public_url`, Redis under `store` for several
# replicas. docs/CONFIGURATION.md has every key; `valetkey check --config valetkey.yaml` finds what is wrong.
public_url: http://localhost:{port}
application: {{ name: My app }} # shown to the people who connect
listeners:
  - {{ address: \"127.0.0.1:{port}\", serves: [proxy, connect] }}
  - {{ address: \"127.0.0.1:{admin_port}\", serves: [admin] }}
admin: {{ token_file: {SECRETS}/admin-token }}
callers:
  - issuer: development
    audience: valetkey
    secret_file: {SECRETS}/development-issuer
    algorithms: [HS256]
store:
  embedded: {{ path: valetkey.redb }}
vault:
  keys: [{{ id: \"{date}\", key_file: {SECRETS}/vault-key }}]
",
        date = now.date(),
    );
    if services.is_empty() {
        text.push_str(
            "services: {} # take `{}` away when the first comes, such as:
  # github:
  #   client_id: …
  #   client_secret_file: …
",
        );
        return text;
    }
    text.push_str("services:\n");
    for service in services {
        text.push_str(&format!(
            "  {service}:
    client_id: {PLACEHOLDER}
    client_secret_file: {SECRETS}/{}
    # scopes: [] # what your application needs; `valetkey providers {service}` lists what there is
",
            client_secret(service)
        ));
    }
    text
}

/// Writes all files or none: what was begun and can't be finished is taken away again.
fn write(folder: &Path, files: &[NewFile]) -> Result<(), InitError> {
    if let Some(there) = files.iter().map(|file| folder.join(&file.path)).find(|path| path.symlink_metadata().is_ok()) {
        return Err(InitError::Exists(there));
    }
    let secrets = folder.join(SECRETS);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&secrets)
        .map_err(|error| InitError::Write { path: secrets, error })?;
    let mut written = Vec::new();
    for file in files {
        let path = folder.join(&file.path);
        if let Err(error) = write_one(&path, &file.content) {
            for path in &written {
                // What is left is named by the error's own path: the next attempt says so.
                let _ = fs::remove_file(path);
            }
            return Err(InitError::Write { path, error });
        }
        written.push(path);
    }
    Ok(())
}

fn write_one(path: &Path, content: &SecretString) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.expose().as_bytes())?;
    file.sync_all()
}

fn tell(args: &InitArgs, services: &[ServiceName], files: &[NewFile]) {
    let public_url = url::Url::parse(&format!("http://localhost:{}", args.port)).expect("a port makes a URL");
    let callbacks: Vec<(&ServiceName, String)> =
        services.iter().map(|service| (service, redirect_uri(&public_url, service).to_string())).collect();
    let next = next_commands(args, services);
    let paths: Vec<String> = files.iter().map(|file| args.out.join(&file.path).display().to_string()).collect();
    if args.json {
        let callbacks: serde_json::Map<_, _> =
            callbacks.iter().map(|(service, url)| (service.to_string(), url.as_str().into())).collect();
        say(format_args!("{:#}", json!({"written": paths, "callback_urls": callbacks, "next": next})));
        return;
    }
    for path in &paths {
        say(format_args!("{} {path}", styled(GOOD, "wrote")));
    }
    for (service, url) in &callbacks {
        let title = catalogue::fields(service.as_str()).and_then(|fields| fields.title.as_deref());
        say(format_args!(
            "\nRegister an application at {} with this callback URL:\n  {url}\nThen put its client ID into {} and its client \
             secret into {}.",
            title.unwrap_or(service.as_str()),
            args.out.join("valetkey.yaml").display(),
            args.out.join(SECRETS).join(client_secret(service)).display(),
        ));
    }
    say(format_args!("\n{}", styled(FAINT, "Next:")));
    for command in next {
        say(format_args!("  {command}"));
    }
}

/// To be typed as they are, from the folder in which this one was.
fn next_commands(args: &InitArgs, services: &[ServiceName]) -> [String; 2] {
    let config = args.out.join("valetkey.yaml");
    let config = config.strip_prefix(".").unwrap_or(&config).display();
    let path = services.first().map_or_else(|| "/connections".to_owned(), |service| format!("/proxy/{service}/"));
    [
        format!("valetkey serve --config {config}"),
        format!(
            "curl -H \"Authorization: Bearer $(valetkey mint --user ada --config {config})\" http://127.0.0.1:{}{path}",
            args.port
        ),
    ]
}
