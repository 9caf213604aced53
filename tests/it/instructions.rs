//! What a call costs, in instructions: the same on every machine of a kind and however busy it is, so that a change which
//! makes the hot path dearer is seen at once. Counted by valgrind in user space, in the build that the tests have; the
//! figures of the release build are in docs/PERFORMANCE.md. `UPDATE=1` writes the counts anew.

use std::{path::Path, process::Command};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Rig, Store, jwt};

/// Where the counts are kept.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/instructions.json");
/// How many calls are counted.
const CALLS: usize = 40;
/// Counts may differ by this much: timers and the order in which tasks wake are the machine's.
const TOLERANCE: f64 = 0.10;

#[tokio::test]
async fn a_call_costs_no_more_instructions_than_it_did() {
    let mut rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    rig.valetkey.terminate();
    rig.valetkey.process().exit().await;

    let folder = tempfile::TempDir::new().expect("as these tests lay it out");
    let out = folder.path().join("callgrind");
    let runner =
        ["valgrind", "--tool=callgrind", "--instr-atstart=no", &format!("--callgrind-out-file={}", out.display())];
    rig.valetkey.under(&runner.map(str::to_owned));
    rig.valetkey.run().await;
    rig.valetkey.ready().await;

    let token = jwt::of("ada");
    calls(&rig, &token, 3).await;
    let process = rig.valetkey.process().id();
    control(process, "--instr=on");
    calls(&rig, &token, 3).await;
    control(process, "--dump");
    calls(&rig, &token, CALLS).await;
    control(process, "--dump");
    #[expect(clippy::cast_precision_loss, reason = "counts of a few million")]
    let hot = counted(&out.with_extension("2")) / CALLS as f64;
    compare("hot", hot);
}

async fn calls(rig: &Rig, token: &str, count: usize) {
    for _ in 0..count {
        let answer = rig.send(rig.anonymous(Method::GET, "/proxy/crm/whoami").bearer_auth(token)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Has callgrind count from now on (`--instr=on`), or write its counts since the last time (`--dump`).
fn control(process: u32, what: &str) {
    let control = Command::new("callgrind_control")
        .args([what, &process.to_string()])
        .output()
        .expect("as these tests lay it out");
    assert!(control.status.success(), "{}", String::from_utf8_lossy(&control.stdout));
}

fn counted(file: &Path) -> f64 {
    let text = std::fs::read_to_string(file).expect("as these tests lay it out");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.expect("callgrind has counted").trim().parse().expect("as these tests lay it out")
}

fn compare(what: &str, found: f64) {
    let mut kept: Value = std::fs::read_to_string(KEPT)
        .map_or_else(|_| json!({}), |text| serde_json::from_str(&text).expect("as these tests lay it out"));
    if std::env::var_os("UPDATE").is_some() {
        kept[what] = json!(found.round());
        std::fs::write(KEPT, format!("{kept:#}\n")).expect("as these tests lay it out");
        return;
    }
    let expected = kept[what].as_f64().expect("a count is kept; UPDATE=1 writes it");
    let change = found / expected - 1.0;
    assert!(
        change < TOLERANCE,
        "{what}: {found:.0} instructions a call, {:+.1} % to the {expected:.0} that are kept; if that is meant, UPDATE=1",
        change * 100.0
    );
    assert!(change > -TOLERANCE, "{what}: cheaper by {:.1} %: keep it so with UPDATE=1", -change * 100.0);
}
