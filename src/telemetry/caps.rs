//! Which records are never written, whatever the filter says: some of our dependencies print requests with their credentials.

use tracing::{Level, Metadata};

/// Whether a record may be written whatever the filter says.
pub(super) fn within_cap(metadata: &Metadata<'_>) -> bool {
    is_own(metadata.target()) || (*metadata.level() <= Level::WARN && !is_pingora(metadata.target()))
}

/// Whether a record is Valetkey's own, or one that [`Bridge`] has passed.
fn is_own(target: &str) -> bool {
    target == "valetkey" || target.starts_with("valetkey::")
}

/// Whether a record is one of the Pingora crates'.
pub(super) fn is_pingora(target: &str) -> bool {
    target.starts_with("pingora")
}
