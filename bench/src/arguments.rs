//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures what Valetkey costs, beside a bare Pingora proxy and what others build for the same job.
///
/// Without options: the race, hot and cold, in some minutes. Every figure is of this machine and this run; compare the
/// ratios. Method and goals: docs/PERFORMANCE.md.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120)]
pub struct Arguments {
    /// Users, each with a JWT, a connection in Redis and an upstream token of their own
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub users: usize,
    /// Rounds; each proxy has its turn in each
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub rounds: usize,
    /// Seconds a turn
    #[arg(long, default_value_t = 6, value_name = "S")]
    pub seconds: u64,
    /// Keep-alive connections of the driver
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub connections: usize,
    /// Leave out nginx, nginx with Lua, and Envoy
    #[arg(long)]
    pub no_peers: bool,
    /// Everything: beside the race latency, transfers, memory, start, size, every JWT algorithm, the storm and the million
    #[arg(long)]
    pub full: bool,
    /// Only the refresh storm: connections that expire in the same second, over three replicas
    #[arg(long)]
    pub storm: bool,
    /// Connections in the storm
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub storm_connections: usize,
    /// Connections in a second whose calls arrive, at each of the three replicas, after they have expired
    #[arg(long, default_value_t = 150, value_name = "N")]
    pub storm_rate: usize,
    /// What the stand-in token endpoint takes for an answer, in milliseconds
    #[arg(long, default_value_t = 50, value_name = "MS")]
    pub provider_latency: u64,
    /// Only what callers and idle connections take in memory
    #[arg(long)]
    pub memory: bool,
    /// Only what a proxy adds to a lone call's latency
    #[arg(long)]
    pub latency: bool,
    /// Only 1 GiB each way
    #[arg(long)]
    pub transfers: bool,
    /// Only the million: what start, healer and lists cost with that many connections in Redis
    #[arg(long)]
    pub million: bool,
    /// How many connections that is
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub connections_in_store: usize,
    /// Count instructions in user space too, under valgrind: slow, but the same every time
    #[arg(long)]
    pub callgrind: bool,
    /// In an emulated machine, where a nanosecond is an instruction: all share its one core, cold calls with every JWT
    /// algorithm (scripts/count-instructions.sh)
    #[arg(long)]
    pub emulated: bool,
    /// Valetkey tells all that it can: how long what took, in each answer; of one call in a hundred a trace and a line in the log;
    /// trace context to the upstream, alerts by webhook, events to a file
    #[arg(long)]
    pub telling: bool,
    /// Keep callgrind's files in this folder, for `callgrind_annotate`
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// Whether proxies race.
    pub fn races(&self) -> bool {
        self.full || !(self.storm || self.million || self.rows())
    }

    /// Whether single rows are asked for.
    pub fn rows(&self) -> bool {
        self.memory || self.latency || self.transfers
    }
}
