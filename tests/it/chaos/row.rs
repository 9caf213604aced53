//! What a test of chaos counted: a line of the table that `make chaos` prints.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use crate::support::chance::Chance;
use crate::support::load::Tally;
use crate::support::process::say;

/// A line of the table.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) calls: u64,
    pub(super) cut: u64,
    pub(super) failed: u64,
    pub(super) steady_calls: u64,
    pub(super) steady_failed: u64,
    pub(super) rotations: u64,
    pub(super) lost_on_the_way: u64,
    pub(super) note: String,
}

impl Row {
    pub(super) fn of(tally: &Tally, steady: Option<&Tally>) -> Self {
        use std::sync::atomic::Ordering::SeqCst;
        Self {
            calls: tally.calls.load(SeqCst),
            cut: tally.cut.load(SeqCst),
            failed: tally.failures(),
            steady_calls: steady.map_or(0, |steady| steady.calls.load(SeqCst)),
            steady_failed: steady.map_or(0, |steady| steady.failures() + steady.cut.load(SeqCst)),
            note: tally.failed().iter().map(|(what, count)| format!("{count} × {what}")).collect::<Vec<_>>().join(", "),
            ..Self::default()
        }
    }

    /// Prints it, and leaves it for scripts/reliability-table.mjs.
    pub(super) fn report(&self, name: &str, faults: u64, chance: &Chance, began: Instant) {
        let row = json!({
            "name": name, "faults": faults, "calls": self.calls, "cut": self.cut, "failed": self.failed,
            "steady_calls": self.steady_calls, "steady_failed": self.steady_failed, "rotations": self.rotations,
            "lost_on_the_way": self.lost_on_the_way, "lost_otherwise": 0, "note": self.note,
            "seed": chance.seed.to_string(), "seconds": began.elapsed().as_secs(),
        });
        say(&format!("{row}\n"));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.json")), row.to_string()).expect("written");
    }
}
