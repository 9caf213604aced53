//! Valetkey: a reverse proxy that calls APIs on behalf of an application's users, so that the application never holds,
//! refreshes or loses a token.
//!
//! # The map, in layer order
//!
//! Each module may use those below it and none above; `tests/layers.rs` holds that.
//!
//! | module | owns |
//! | --- | --- |
//! | [`cli`] | a file a subcommand |
//! | [`serve`] | the composition root: the one place that knows all parts and wires them |
//! | `demo` | `valetkey demo`: a stand-in provider and a walk along it. Only with the feature `demo`, which images lack |
//! | [`proxy`] | Pingora's phases; header rules, rewriting, the way upstream and to the pages |
//! | [`web`] | pages, JSON API, health and metrics |
//! | [`refusal`] | every domain error → status, code, message: the only mapping to HTTP |
//! | [`consent`] | the authorization-code flow: ticket, begin, callback |
//! | [`policy`] | who may make which call |
//! | [`trends`] | how calls and refreshes went, day by day |
//! | [`connection`] | the heart: record, state, credential, refresh |
//! | [`caller`] | JWT → caller |
//! | [`oauth`] | authorize URL, token requests, revocation; every odd answer made regular |
//! | [`provider`] | what is known of vendors and services; scopes, verdicts. No I/O |
//! | [`events`] | what happened, and who is told |
//! | [`vault`] | sealing and opening |
//! | [`store`] | sealed bytes, versions, leases, due times: Redis or a file |
//! | [`outbound`] | the one HTTP client for calls of our own |
//! | [`dns`] | names to addresses, none of which is a metadata service's |
//! | `words` | what pages and mails say, in each language |
//! | [`telemetry`] | logs without secrets, metrics, request ids |
//! | [`operation`] | what a request asks of an API, in every reading |
//! | [`config`], [`secret`], [`id`], [`clock`], [`backoff`] | the configuration, secrets, identifiers, time, waits between attempts |
#![forbid(unsafe_code)]

pub mod backoff;
pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
pub mod consent;
#[cfg(feature = "demo")]
pub mod demo;
pub mod dns;
pub mod events;
pub mod id;
pub mod oauth;
pub mod operation;
pub mod outbound;
pub mod policy;
pub mod provider;
pub mod proxy;
pub mod refusal;
pub mod secret;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod trends;
pub mod vault;
pub mod web;
mod words;
