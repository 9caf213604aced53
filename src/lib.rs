//! Valetkey.
#![forbid(unsafe_code)]
pub mod cli;
pub mod clock;
pub mod config;
pub mod events;
pub mod id;
pub mod provider;
pub mod secret;
pub mod vault;
