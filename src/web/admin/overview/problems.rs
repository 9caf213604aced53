//! What is wrong now, in a sentence, and where docs/OPERATIONS.md says what to do about it.

use crate::{
    events::failures::Failure,
    id::ServiceName,
    web::{Readily, Readiness},
};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// What, in a sentence.
    pub what: String,
    /// What to do, in a sentence.
    pub advice: &'static str,
    /// The section of docs/OPERATIONS.md that says more.
    pub runbook: Option<&'static str>,
}

/// What readiness says is wrong.
pub(super) fn of_readiness(readiness: &Readiness) -> Vec<Problem> {
    let draining = (readiness.status == Readily::Draining).then(|| Problem {
        what: "This replica is about to end.".to_owned(),
        advice: "It finishes the calls that it has and takes no new ones.",
        runbook: None,
    });
    let troubles = readiness.detail.iter().map(|(part, detail)| {
        let (name, advice, runbook) = known(part);
        Problem { what: format!("{name}: {detail}."), advice, runbook }
    });
    draining.into_iter().chain(troubles).collect()
}

/// What a part of readiness is called here, what to do, and the section that says more.
fn known(part: &str) -> (&str, &'static str, Option<&'static str>) {
    match part {
        "store" => (
            "The store",
            "Calls go on with what is in memory. See whether Redis runs, and takes connections from here.",
            Some("The store is down"),
        ),
        "vault" => (
            "The vault",
            "Put the key back under `vault.keys` that sealed what is stored. Nothing is lost meanwhile.",
            Some("A sealing key is lost"),
        ),
        "root" => (
            "The root secret",
            "Restore the store from its backup, or restart all replicas to begin anew.",
            Some("Redis came back empty"),
        ),
        "callers" => (
            "Issuers of JWTs",
            "See whether the issuer’s key address answers from here. Keys that are known go on serving.",
            Some("ValetkeyCallersRejected"),
        ),
        "connections" => (
            "Connections",
            "They are used from memory and written once the store takes them. Don’t end this process before that.",
            Some("The store is down"),
        ),
        "configuration" => (
            "The configuration",
            "What was in force before stays in force. Correct the file; it is read again by itself.",
            Some("ValetkeyReloadFailed"),
        ),
        other => (other, "See whether it passes by itself.", None),
    }
}

/// Somebody said nothing, though readiness knows of no trouble.
pub(super) fn of_silence() -> Problem {
    Problem {
        what: "The store: it answers too late, or not at all, so a part of this page is missing.".to_owned(),
        advice: "Load the page again. If it stays so, see whether Redis is busy.",
        runbook: Some("ValetkeyStoreSlow"),
    }
}

/// A token endpoint that nobody asks.
pub(super) fn of_circuit(service: &ServiceName) -> Problem {
    Problem {
        what: format!("{service}: its token endpoint keeps failing, so this replica lets it rest."),
        advice: "Tokens that are good serve on; nobody is disconnected. See whether the provider has an outage.",
        runbook: Some("ValetkeyCircuitOpen"),
    }
}

/// Failures that operators were told of.
pub(super) fn of_failure(failure: &Failure) -> Problem {
    Problem {
        what: format!("{}: {} × {} in the last 24 hours.", failure.service, failure.count, failure.error),
        advice: "More than usual, so an alert was raised.",
        runbook: Some("ValetkeyFailureSpike"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_told_with_what_to_do() {
        let detail = [("store", "does not answer".to_owned())].into();
        let problems = of_readiness(&Readiness { status: Readily::Degraded, detail });
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].what, "The store: does not answer.");
        assert!(problems[0].advice.contains("Redis"));
        assert!(of_readiness(&Readiness { status: Readily::Ready, detail: [].into() }).is_empty());
    }

    #[test]
    fn each_runbook_is_a_section_of_the_operations_manual() {
        let manual = include_str!("../../../../docs/OPERATIONS.md");
        let parts = ["store", "vault", "root", "callers", "connections", "configuration"];
        let named = parts.iter().filter_map(|part| known(part).2).chain([
            "ValetkeyCircuitOpen",
            "ValetkeyFailureSpike",
            "ValetkeyStoreSlow",
        ]);
        for section in named {
            let heading = |line: &str| line.strip_prefix("## ").or(line.strip_prefix("### ")) == Some(section);
            assert!(manual.lines().any(heading), "docs/OPERATIONS.md has no section {section}");
        }
    }
}
