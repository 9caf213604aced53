//! Instructions in user space, counted under valgrind: slow, but the same every time, so that two commits can be compared on
//! a busy machine.

use std::{fs, path::Path, process::Command};

use crate::{
    contestant::{Contestant, VALETKEY, YARDSTICK},
    failure::{Failure, Tried},
    fleet::{Line, PROXY, program},
    folder::Folder,
    measure::ask,
    progress::Progress,
    report::Count,
    scene::Scene,
    users::Signing,
};

/// How many requests are counted one by one.
const COUNTED: usize = 500;

/// The yardstick, and Valetkey hot and cold with every algorithm that there are JWTs of.
///
/// # Errors
/// Where valgrind isn't here, or a part fails.
pub fn run(scene: &Scene, progress: &Progress) -> Result<Vec<Count>, Failure> {
    let signings: Vec<Signing> = Signing::ALL.into_iter().filter(|signing| scene.jwts_of(*signing).exists()).collect();
    progress.begin("instructions, counted by valgrind", signings.len() + 1);
    let bare = scene.bare(YARDSTICK, scene.upstream, PROXY, under(YARDSTICK, &scene.folder)?)?;
    let [_, base] = counted(YARDSTICK, &bare, &scene.jwts, &scene.folder)?;
    drop(bare);
    progress.step();
    let (mut hot, mut cold) = (Vec::new(), Vec::new());
    for signing in signings {
        let name = signing.name();
        let valetkey = scene.valetkey(PROXY, under(name, &scene.folder)?)?;
        let [first, second] = counted(name, &valetkey, &scene.jwts_of(signing), &scene.folder)?;
        hot.push(Count { who: VALETKEY, what: signing.hot(), kilo: second, goal: Some(1.05) });
        cold.push(Count { who: VALETKEY, what: signing.cold(), kilo: first, goal: Some(signing.cold_goal()) });
        progress.step();
    }
    let base = Count { who: YARDSTICK, what: "hot", kilo: base, goal: None };
    Ok([base].into_iter().chain(hot).chain(cold).collect())
}

/// Thousand instructions in user space per request, counted by valgrind for a proxy that runs [`under`] it by this name.
/// Cold is the first pass over the users, hot the second.
///
/// # Errors
/// Where valgrind doesn't count, or a request fails.
pub fn counted(name: &str, proxy: &Contestant, jwts: &Path, folder: &Folder) -> Result<[f64; 2], Failure> {
    let jwts: Vec<String> = fs::read_to_string(jwts)?.lines().take(COUNTED).map(str::to_owned).collect();
    // Connections of the proxy's pool and whatever is made once are none of a request's business.
    ask(proxy, &jwts[..1])?;
    let mut counts = [0.0; 2];
    dump(proxy)?;
    for (at, count) in counts.iter_mut().enumerate() {
        ask(proxy, &jwts)?;
        dump(proxy)?;
        let file = folder.path().join(format!("{}.{}", callgrind_file(name), at + 2));
        let text = fs::read_to_string(&file).tried("reading callgrind's counts")?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        let total: f64 = total.and_then(|total| total.trim().parse().ok()).ok_or("callgrind has counted nothing")?;
        *count = total / jwts.len() as f64 / 1000.0;
    }
    Ok(counts)
}

/// Puts a program under callgrind.
///
/// # Errors
/// Where valgrind isn't here.
pub fn under(name: &str, folder: &Folder) -> Result<impl FnOnce(Line) -> Line, Failure> {
    let valgrind = program("valgrind").ok_or("valgrind is not here: apt-get install valgrind")?;
    let out = folder.path().join(callgrind_file(name));
    Ok(move |line: Line| {
        line.under(valgrind, &["--tool=callgrind".into(), format!("--callgrind-out-file={}", out.display())])
    })
}

fn callgrind_file(name: &str) -> String {
    format!("callgrind.{}", name.replace(' ', "-"))
}

/// Has callgrind write its counts since the last dump.
fn dump(proxy: &Contestant) -> Result<(), Failure> {
    let id = proxy.process.id().to_string();
    let output = Command::new("callgrind_control").args(["--dump", &id]).output().tried("running callgrind_control")?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stdout).into_owned().into()) }
}
