//! What a request asks of a service's API, as everybody reads it who judges it: by which methods, and under which path.
//! Policy, scope rules, `/preflight` and the proxy share this one reading, so no two of them can take a request for
//! different things. Pure: knows neither HTTP nor who asks, and decides nothing.
//!
//! - `path`: a path in every reading that a server could have; `pattern`: what rules say of paths

mod path;
mod pattern;

pub use path::{NeverSent, Path, ways};
pub use pattern::{PathPattern, never_sent};

/// An operation of an API: methods on a path.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// The methods as which the request is judged, in upper case and with a space between them: `GET` also for `HEAD`.
    pub methods: &'a str,
    /// The path below `base_url`.
    pub path: &'a Path,
}

impl<'a> Operation<'a> {
    /// Each of its methods.
    pub fn each_method(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.methods.split(' ')
    }
}
