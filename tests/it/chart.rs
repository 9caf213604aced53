//! The Helm chart, rendered by Helm's own engine, takes what it is given and gives this binary a configuration that it takes:
//! tests/helm, in Python, where that engine can be had without a cluster.

use std::path::Path;
use std::process::Command;

#[test]
fn the_chart_holds_what_it_promises() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helm");
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
