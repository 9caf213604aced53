//! Tests in Python, where what they need can be had there and not here: the Helm chart, rendered by Helm's own engine
//! (tests/helm), the examples, with the SDKs that they are about (tests/examples), the documentation's links and commands
//! (tests/docs), the image, as far as it is one with a debug binary (tests/dist), and dashboard and rules, with a real
//! Prometheus (tests/monitoring).

use std::path::Path;
use std::process::Command;

/// Runs the tests of a folder with this binary.
fn pass(folder: &str) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let python = tests.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/install-python-test-deps.sh", python.display());
    let output = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .env("VALETKEY", env!("CARGO_BIN_EXE_valetkey"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(tests)
        .output()
        .expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_chart_holds_what_it_promises() {
    pass("helm");
}

#[test]
fn the_examples_run() {
    pass("examples");
}

#[test]
fn the_documentation_holds_together_and_its_commands_run() {
    pass("docs");
}

#[test]
fn prometheus_has_data_for_every_query_of_dashboard_and_rules() {
    pass("monitoring");
}

#[test]
fn the_image_runs_read_only_as_its_user() {
    pass("dist");
}
