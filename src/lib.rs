//! Valetkey.
#![forbid(unsafe_code)]
pub mod caller;
pub mod config;
pub mod id;
pub mod outbound;
pub mod secret;
pub mod telemetry;
