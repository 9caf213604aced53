//! What is known of providers and services: the embedded catalogue, the configuration's services made whole from it, what
//! scopes mean, and what an upstream's answer says of a credential. Facts and pure functions; no provider is known by name
//! outside `config/providers/`. Never does I/O, and holds no secret but OAuth clients' own.

mod base_url;
pub mod catalogue;
pub mod coding;
mod header;
mod inject;
mod live;
mod loaded;
mod notice;
mod overlay;
mod resolve;
mod scan;
pub mod scopes;
mod service;
mod services;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod upstream;
pub mod verdict;

pub use base_url::BaseUrl;
pub use inject::{Inject, Unsendable};
pub use live::Live;
pub use loaded::Loaded;
pub use scan::texts;
pub use scopes::{ScopeFacts, ScopeSet};
pub use service::{API_KEY_MAX, Lifetimes, OAuth, Service};
pub use services::{Difference, Services};
pub use upstream::Upstream;
pub use verdict::{Verdict, is_open_without_body, sign, verdict, wants_body};
