//! Measures what Valetkey costs a request, against the least that a proxy on this stack can do: a bare Pingora that sets
//! one fixed header. Beside them run what others build for the same job. All run at the same time on the same core, and
//! take turns under the same load, so that the machine's moods strike all. Before any load it is checked that each user
//! gets their own token and that bad JWTs are refused: a fast wrong answer is no result. The method and the figures are in
//! docs/PERFORMANCE.md.
#![forbid(unsafe_code)]

use std::{process::ExitCode, sync::atomic::Ordering, time::Duration};

use clap::Parser;

use crate::{
    arguments::Arguments,
    failure::Failure,
    fleet::REST,
    measure::Load,
    peers::Peer,
    progress::Progress,
    race::Race,
    report::{Fact, Report},
    scene::{Scene, configuration::TELLING},
    users::Signing,
};

mod arguments;
mod callgrind;
mod contestant;
mod failure;
mod fleet;
mod folder;
mod full;
mod http;
mod measure;
mod million;
mod peers;
mod progress;
mod race;
mod redis;
mod report;
mod scene;
mod storm;
mod users;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("valetkey-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.emulated && std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err("two cores are needed: one for the proxy, one for everything else".into());
    }
    TELLING.store(arguments.telling, Ordering::Relaxed);
    let (progress, mut report) = (Progress::new(), Report::default());
    if arguments.races() {
        race(arguments, &progress, &mut report)?;
    }
    if arguments.rows() && !arguments.full {
        report.facts.push(("measure", rows(arguments, &progress)?));
    }
    if arguments.full || arguments.storm {
        let facts = storm::run(arguments, &progress)?;
        report.facts.push(("refresh storm, three replicas", facts));
    }
    if arguments.full || arguments.million {
        let facts = million::run(arguments.connections_in_store, &progress)?;
        report.facts.push(("connections in Redis", facts));
    }
    report.print(progress.end(), arguments.json);
    Ok(())
}

/// The single rows that are asked for.
fn rows(arguments: &Arguments, progress: &Progress) -> Result<Vec<Fact>, Failure> {
    progress.begin("single rows", 1);
    let scene = Scene::set(arguments.users, &Signing::ALL[..1], REST)?;
    let mut facts = Vec::new();
    if arguments.latency {
        facts.extend(full::latency(&scene, load(arguments))?);
    }
    if arguments.transfers {
        facts.extend(full::transfers(&scene)?);
    }
    if arguments.memory {
        facts.extend(full::memory(&scene)?);
    }
    Ok(facts)
}

fn load(arguments: &Arguments) -> Load {
    Load {
        connections: arguments.connections,
        time: Duration::from_secs(arguments.seconds),
        core: REST,
        emulated: arguments.emulated,
    }
}

fn race(arguments: &Arguments, progress: &Progress, report: &mut Report) -> Result<(), Failure> {
    let signings = if arguments.full || arguments.emulated { &Signing::ALL[..] } else { &Signing::ALL[..1] };
    progress.begin(format!("upstream, Redis, {} connections imported", arguments.users), 1);
    let scene = Scene::set(arguments.users, signings, REST)?;
    let load = load(arguments);
    let peers = peers(arguments, progress, report);
    Race { scene: &scene, load, rounds: arguments.rounds, signings, peers }.run(progress, report)?;
    if arguments.full {
        report.facts.push(("measure", full::run(&scene, load, progress)?));
    }
    if arguments.callgrind {
        report.counts = callgrind::run(&scene, progress)?;
        if let Some(folder) = &arguments.keep {
            scene.folder.keep("callgrind.", folder)?;
        }
    }
    Ok(())
}

/// Those that are here; the others are named.
fn peers(arguments: &Arguments, progress: &Progress, report: &mut Report) -> Vec<Peer> {
    if arguments.no_peers {
        return Vec::new();
    }
    let (here, missing): (Vec<Peer>, Vec<Peer>) = Peer::ALL.iter().partition(|peer| peer.missing().is_none());
    for peer in missing {
        let note = format!("{} is left out: {} is not here", peer.who(), peer.missing().unwrap_or_default());
        progress.say(&note);
        report.notes.push(note);
    }
    if here.contains(&Peer::Envoy) {
        report.notes.push("Envoy and nginx without Lua can't give each user their own token: all get one.".to_owned());
    }
    if here.contains(&Peer::NginxLua) {
        report.notes.push("nginx + Lua keeps tokens in Redis in the clear, and refreshes none.".to_owned());
    }
    here
}
