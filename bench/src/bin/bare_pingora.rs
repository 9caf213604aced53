//! The yardstick with the system's allocator.
#![forbid(unsafe_code)]

#[path = "../bare_pingora.rs"]
mod bare;

fn main() -> std::process::ExitCode {
    bare::main()
}
