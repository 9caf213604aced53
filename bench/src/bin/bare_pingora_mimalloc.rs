//! The yardstick with the allocator that Valetkey has.
#![forbid(unsafe_code)]

#[path = "../bare_pingora.rs"]
mod bare;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    bare::main()
}
