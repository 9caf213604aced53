//! Valetkey.
#![forbid(unsafe_code)]
