//! Another clock for a process: libfaketime, which reads the offset from a file.

use std::path::Path;

use super::Valetkey;

/// Where Debian puts libfaketime.
pub(crate) fn faketime() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH)
}

/// From its next start on, the process's clock is off by what this file says (`+0s`, `-3600s`).
pub(crate) fn set_clock_by(valetkey: &mut Valetkey, file: &Path) {
    for (name, value) in [
        ("LD_PRELOAD", faketime().as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().expect("UTF-8")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        valetkey.environment(name, value);
    }
}
