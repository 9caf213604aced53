//! Valetkey.
#![forbid(unsafe_code)]
pub mod config;
pub mod id;
pub mod provider;
pub mod secret;
pub mod vault;
