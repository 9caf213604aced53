//! Valetkey.
#![forbid(unsafe_code)]
pub mod config;
pub mod id;
pub mod outbound;
pub mod secret;
pub mod telemetry;
