//! `valetkey env`: the variables by which SDKs and tools that know nothing of Valetkey call a service through it. Says only
//! what follows from the configuration: where the proxy listens, and which variables the provider's SDKs are known to read.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Outcome,
    configuration::load_or_complain,
    listener::reachable,
    output::{complain, say},
};
use crate::{
    config::{Config, Listen},
    id::ServiceName,
    provider::catalogue,
};

/// Arguments of `env`.
#[derive(Debug, Args)]
pub struct EnvArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// The configuration, for the proxy's listeners and what the service is built on.
    #[arg(long, short, value_name = "FILE", conflicts_with = "address")]
    pub config: Option<PathBuf>,
    /// The proxy's address, where the configuration isn't at hand. The service is then built on the provider of its name.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub address: String,
    /// Print `{service, base_url, socket, variables}` as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The way to a service.
struct Way {
    /// In front of `/proxy/`.
    origin: String,
    /// The Unix socket, where there is one.
    socket: Option<String>,
    /// Whether the origin can be reached without the socket.
    by_network: bool,
    /// What SDKs read.
    known: Vec<String>,
}

/// Prints them.
pub fn run(args: &EnvArgs) -> Outcome {
    let Ok(service) = ServiceName::parse(&args.service) else {
        complain(format_args!("{:?} can't be the name of a service", args.service));
        return Outcome::Wrong;
    };
    let way = match &args.config {
        None => unconfigured(&service, &args.address),
        Some(file) => {
            let Some(loaded) = load_or_complain(file) else { return Outcome::Wrong };
            match loaded.services.get(service.as_str()) {
                Some(found) => configured(&loaded.config, found.base_url_env.clone()),
                None => Err(format!("There is no service {service} in {}", file.display())),
            }
        }
    };
    let way = match way {
        Ok(way) => way,
        Err(why) => {
            complain(why);
            return Outcome::Wrong;
        }
    };
    let base_url = format!("{}/proxy/{service}", way.origin);
    let variables = variables(&service, &base_url, &way);
    if args.json {
        let variables: Map<String, Value> = variables.into_iter().map(|(name, value)| (name, value.into())).collect();
        let shown = json!({ "service": service, "base_url": base_url, "socket": way.socket, "variables": variables });
        say(format_args!("{shown:#}"));
    } else {
        for (name, value) in variables {
            say(format_args!("export {name}='{}'", value.replace('\'', r"'\''")));
        }
    }
    Outcome::Done
}

fn variables(service: &ServiceName, base_url: &str, way: &Way) -> Vec<(String, String)> {
    let own = service.as_str().to_ascii_uppercase().replace('-', "_");
    let mut variables = vec![(format!("VALETKEY_{own}_URL"), base_url.to_owned())];
    // Whoever reads these knows nothing of sockets.
    let known = way.known.iter().filter(|_| way.by_network);
    variables.extend(known.map(|name| (name.clone(), base_url.to_owned())));
    variables.extend(way.socket.iter().map(|path| ("VALETKEY_SOCKET".to_owned(), path.clone())));
    variables
}

fn unconfigured(service: &ServiceName, address: &str) -> Result<Way, String> {
    let origin = format!("http://{address}");
    let is_origin = Url::parse(&origin).is_ok_and(|url| url.path() == "/" && url.username().is_empty());
    if !is_origin || address.ends_with('/') {
        return Err(format!("{address:?} is no host and port"));
    }
    let known = catalogue::fields(service.as_str()).and_then(|fields| fields.base_url_env.clone());
    Ok(Way { origin, socket: None, by_network: true, known: known.unwrap_or_default() })
}

/// The first listener of each kind that serves the proxy.
fn configured(config: &Config, known: Vec<String>) -> Result<Way, String> {
    let serving = || config.listeners.iter().filter(|listener| listener.serves.proxy);
    let origin = serving().find_map(|listener| match listener.listen {
        Listen::Tcp(address) => {
            let scheme = if listener.tls.is_some() { "https" } else { "http" };
            Some(format!("{scheme}://{}", reachable(address)))
        }
        Listen::Unix { .. } => None,
    });
    let socket = serving().find_map(|listener| match &listener.listen {
        Listen::Tcp(_) => None,
        Listen::Unix { path, .. } => Some(path.display().to_string()),
    });
    match (origin, socket) {
        (None, None) => Err("No listener serves `proxy`".to_owned()),
        (Some(origin), socket) => Ok(Way { origin, socket, by_network: true, known }),
        // Over a socket the host is anybody's.
        (None, socket) => Ok(Way { origin: "http://localhost".to_owned(), socket, by_network: false, known }),
    }
}
