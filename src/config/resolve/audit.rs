//! The audit log.

use std::time::Duration;

use crate::config::{
    audit::{Audit, AuditFile},
    context::Context,
    problem::{Path, finding},
    raw::RawAudit,
};

/// Less than this is warned of.
const SHORT: Duration = Duration::from_secs(7 * 86_400);
const FILE_SIZE: u64 = 64 << 20;
const FILE_COUNT: u32 = 8;

pub(super) fn audit(raw: RawAudit, path: &Path, cx: &mut Context<'_>) -> Audit {
    let retention = cx.positive(&path.key("retention"), raw.retention, Audit::RETENTION);
    if retention < SHORT {
        let finding = finding("Less than a week is kept: what happened is soon nobody's knowledge");
        cx.report.warning(&path.key("retention"), finding.hint("leave it out for 400 days"));
    }
    let max_entries = raw.max_entries.map_or(Some(Audit::MAX_ENTRIES), |count| count.0).map(u64::from);
    let is_stdout = raw.file.as_deref() == Some("stdout");
    for (key, given) in [("file_size", raw.file_size.is_some()), ("file_count", raw.file_count.is_some())] {
        if given && (raw.file.is_none() || is_stdout) {
            let finding = finding("There is no file that this could be about");
            cx.report.warning(&path.key(key), finding.hint("give `file` a path, or leave this out"));
        }
    }
    let file = raw.file.map(|file| match file.as_str() {
        "stdout" => AuditFile::Stdout,
        _ => AuditFile::Path {
            path: cx.in_directory(file.into()),
            size: raw.file_size.map_or(FILE_SIZE, |size| size.0.unwrap_or(u64::MAX)),
            count: raw.file_count.unwrap_or(FILE_COUNT),
        },
    });
    Audit { retention, max_entries, file }
}
