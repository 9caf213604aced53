//! The `valetkey` program: the library does everything.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

/// An eighth fewer instructions a call than with glibc's (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two crates bring a TLS provider each; without a choice, rustls panics at the first handshake.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nothing ran before");
    valetkey::cli::run(valetkey::cli::Cli::parse()).into()
}
