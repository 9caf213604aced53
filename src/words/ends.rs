//! The texts about connections that will end by themselves.

/// Why a connection will end, as far as people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The provider grants access for so long only.
    Granted,
    /// Nobody has used it for long.
    Unused,
}

/// A language's.
pub trait Ends: Sync {
    /// On the dashboard: it ends on this day, whatever is done with it.
    fn ends_on(&self, day: &str) -> String;
    /// On the dashboard: it ends on this day where it isn't used before.
    fn ends_unused(&self, day: &str) -> String;
}
