//! End-to-end tests: the real binary between a real Redis (or the embedded store), npm's oidc-provider and upstreams.
//!
//! Each module is about one promise of the contract; `support` holds the parts.

/// The servers, clients and checks that every module uses.
mod support;

/// The tests' own servers do what the tests rely on.
mod servers;
