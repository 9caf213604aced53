//! Valetkey.
#![forbid(unsafe_code)]
pub mod config;
pub mod id;
pub mod secret;
pub mod store;
