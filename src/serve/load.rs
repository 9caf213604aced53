//! The one way from a configuration file to a configuration that everything can be made from: all that is wrong with it is
//! told at once, whichever part finds it. Starts and opens nothing.

use std::path::Path as FilePath;

use crate::{
    caller::Callers,
    config::{self, Config, Draft, Env, Listener, Path, Problems, finding},
    provider::Loaded,
};

/// Reads a configuration file, and what it names.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(file: &FilePath, env: Env<'_>) -> Result<Loaded, Problems> {
    settle(config::load(file, env))
}

/// The same of a text; paths in it begin at `directory`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, directory: &FilePath, env: Env<'_>) -> Result<Loaded, Problems> {
    settle(config::parse(text, directory, env))
}

/// Reads a configuration file again, to take the place of the one that is in force.
///
/// # Errors
/// Everything that is wrong with it, and whatever changes something that can't change while Valetkey runs.
pub fn reload(file: &FilePath, env: Env<'_>, running: &Config) -> Result<Loaded, Problems> {
    let mut draft = config::load(file, env);
    for key in draft.config().map(|config| changed_for_good(running, config)).unwrap_or_default() {
        let finding = finding("This can't change while Valetkey runs");
        let path = key.split('.').fold(Path::default(), |path, step| path.key(step));
        draft.problem(&path, finding.hint("restart Valetkey for it, or put it back as it was"));
    }
    settle(draft)
}

/// The keys that differ and that everything was made with at start: listeners are open (what they show as certificates may
/// change), the store is, and caches have their size.
fn changed_for_good(running: &Config, new: &Config) -> Vec<&'static str> {
    let differ = [
        ("public_url", running.public_url != new.public_url),
        ("listeners", !listen_alike(&running.listeners, &new.listeners)),
        ("store", running.store != new.store),
        ("vault", running.vault != new.vault),
        ("cache", running.cache != new.cache),
        ("refresh", running.refresh != new.refresh),
        ("notifications", running.notifications != new.notifications),
        ("telemetry.census", running.telemetry.census != new.telemetry.census),
        ("alerts", running.alerts != new.alerts),
    ];
    differ.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn listen_alike(running: &[Listener], new: &[Listener]) -> bool {
    let door = |listener: &Listener| (listener.listen.clone(), listener.serves, listener.tls.is_some());
    running.iter().map(door).eq(new.iter().map(door))
}

fn settle(mut draft: Draft) -> Result<Loaded, Problems> {
    let issuers = draft.config().map(|config| Callers::check(&config.callers)).unwrap_or_default();
    for found in issuers {
        draft.problem(&Path::default().key("callers").index(found.index), finding(found.problem.to_string()));
    }
    Loaded::settle(draft)
}
