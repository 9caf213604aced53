//! What the kernel knows of this process, under the names that all exporters use. Read from `/proc/self` when asked; what can't be
//! read is left out.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::{
    build::{counter, gauge},
    model::MetricFamily,
};

/// All of it.
pub(super) fn families() -> Vec<MetricFamily> {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let fields = stat.as_deref().and_then(fields).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "the formats know no other numbers")]
    let field = |number: usize| fields.get(number - FIRST).and_then(|text| text.parse::<u64>().ok()).map(|n| n as f64);
    #[expect(clippy::cast_precision_loss, reason = "a hundred or a few thousand")]
    let (ticks, page) = (clock_ticks_per_second() as f64, page_size() as f64);
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    let began = field(22).zip(booted()).map(|(since_boot, boot)| boot + since_boot / ticks);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let open = fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as f64);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand, or as good as endless")]
    let most_open = getrlimit(Resource::Nofile).current.map(|most| most as f64);
    let gauges = [
        ("process_resident_memory_bytes", "Memory in RAM", field(24).map(|pages| pages * page)),
        ("process_virtual_memory_bytes", "Address space", field(23)),
        ("process_start_time_seconds", "When the process began", began),
        ("process_open_fds", "Open file descriptors", open),
        ("process_max_fds", "How many file descriptors may be open", most_open),
        ("process_threads", "Threads", field(20)),
    ];
    let cpu = cpu.map(|seconds| counter("process_cpu_seconds_total", "Time on processors, user and system", seconds));
    cpu.into_iter()
        .chain(gauges.into_iter().filter_map(|(name, help, value)| Some(gauge(name, help, value?))))
        .collect()
}

/// The number of the first field behind the program's name, as proc_pid_stat(5) counts.
const FIRST: usize = 3;

/// The fields behind the program's name, which stands in brackets and may hold anything.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect())
}

/// When the machine began, in seconds since the epoch.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_hold_anything() {
        assert_eq!(fields("7 (a ) b) S 1 2").unwrap(), ["S", "1", "2"]);
    }

    #[test]
    fn this_process_is_described() {
        let families = families();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("{name}"));
            let metric = &family.metric[0];
            metric.gauge.as_ref().or(metric.counter.as_ref()).unwrap().value
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!((3.0..=value("process_max_fds")).contains(&value("process_open_fds")));
        let age = crate::clock::Clock::system().now().seconds() as f64 - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!(value("process_threads") >= 1.0);
    }
}
