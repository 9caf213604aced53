//! The figures, as tables for people or one JSON object for programs. Medians over rounds, so that one disturbed round
//! doesn't tell the story. Goals stand beside figures: green where met, red where missed.

use std::time::Duration;

use anstream::println;
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::{contestant::YARDSTICK, measure::Sample};

/// All rounds of one contestant in one discipline.
pub struct Row {
    /// Who.
    pub who: &'static str,
    /// `hot` or `cold`.
    pub what: &'static str,
    /// One a round.
    pub samples: Vec<Sample>,
    /// Peak memory of the process, in KiB.
    pub peak_kib: u64,
    /// The most that its instructions may be of the yardstick's.
    pub goal: Option<f64>,
}

/// Thousand instructions a request, in user space.
pub struct Count {
    /// Who.
    pub who: &'static str,
    /// `hot` or `cold`.
    pub what: &'static str,
    /// How many thousand.
    pub kilo: f64,
    /// The most that they may be of the yardstick's.
    pub goal: Option<f64>,
}

/// A figure beside its goal.
pub struct Fact {
    what: String,
    value: String,
    goal: &'static str,
    met: Option<bool>,
}

impl Fact {
    /// A figure with a goal that is met or not.
    pub fn new(what: impl Into<String>, value: impl Into<String>, goal: &'static str, met: bool) -> Self {
        Self { what: what.into(), value: value.into(), goal, met: Some(met) }
    }

    /// A figure that nobody has set a goal for.
    pub fn plain(what: impl Into<String>, value: impl Into<String>) -> Self {
        Self { what: what.into(), value: value.into(), goal: "", met: None }
    }
}

/// All that a run has found.
#[derive(Default)]
pub struct Report {
    /// Load, a row for each contestant and discipline.
    pub rows: Vec<Row>,
    /// Counts under valgrind; the yardstick's is the first.
    pub counts: Vec<Count>,
    /// Figures beside goals, under a heading each.
    pub facts: Vec<(&'static str, Vec<Fact>)>,
    /// What should be known beside the figures.
    pub notes: Vec<String>,
}

impl Row {
    fn median(&self, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.samples.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// CPU time per request, by which proxies are compared: rps of two proxies on one core say the same, but less
    /// precisely.
    fn cpu(&self) -> Option<f64> {
        self.median(|sample| Some(sample.cpu_micros))
    }

    fn instructions(&self) -> Option<f64> {
        self.median(|sample| sample.kilo_instructions)
    }
}

impl Report {
    /// Prints everything.
    pub fn print(&self, took: Duration, as_json: bool) {
        if as_json {
            println!("{}", self.as_json(took));
            return;
        }
        self.print_rows();
        self.print_counts();
        for (heading, facts) in &self.facts {
            println!("\n| {heading} | figure | goal |\n| --- | --: | --- |");
            for Fact { what, value, goal, met } in facts {
                println!("| {what} | {} | {goal} |", coloured(value, *met));
            }
        }
        println!();
        self.notes.iter().for_each(|note| println!("{note}"));
        println!("{} min {} s in all", took.as_secs() / 60, took.as_secs() % 60);
    }

    fn ratio(&self, row: &Row, of: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
        let base = self.rows.iter().find(|row| row.who == YARDSTICK && row.what == "hot")?;
        Some(of(row)? / of(base)?)
    }

    fn print_rows(&self) {
        if self.rows.is_empty() {
            return;
        }
        let cell = |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| format!("{value:.digits$}"));
        let micros = |value: Option<f64>| cell(value.map(|micros| micros / 1000.0), 2);
        let width = self.rows.iter().map(|row| row.who.len()).max().unwrap_or(0);
        let who = format!("{:width$}", "who");
        println!(
            "\n| {who} | load       | requests/s | CPU µs | k instr | p50 ms | p99 ms | peak MiB | CPU × | instr × | goal, instr × |"
        );
        println!("| {:-<width$} | ---------- | --: | --: | --: | --: | --: | --: | --: | --: | --: |", "");
        for row in &self.rows {
            let ratio = self.ratio(row, Row::instructions);
            println!(
                "| {:width$} | {:10} | {:>10} | {:>6} | {:>7} | {:>6} | {:>6} | {:>8.1} | {:>5} | {:>7} | {:>13} |",
                row.who,
                row.what,
                cell(row.median(|sample| Some(sample.per_second)), 0),
                cell(row.cpu(), 1),
                cell(row.instructions(), 1),
                micros(row.median(|sample| sample.p50_micros)),
                micros(row.median(|sample| sample.p99_micros)),
                row.peak_kib as f64 / 1024.0,
                cell(self.ratio(row, Row::cpu), 2),
                coloured(&cell(ratio, 2), met(ratio, row.goal)),
                row.goal.map(|goal| format!("≤ {goal:.2}")).unwrap_or_default(),
            );
        }
        println!("\n× is against {YARDSTICK}, hot.");
    }

    fn print_counts(&self) {
        let Some(base) = self.counts.first() else { return };
        println!("\n| who | load | k instr, user | × {YARDSTICK} | goal (user and kernel) |");
        println!("| --- | --- | --: | --: | --: |");
        for Count { who, what, kilo, goal } in &self.counts {
            let ratio = kilo / base.kilo;
            let shown = coloured(&format!("{ratio:.2}"), met(Some(ratio), *goal));
            let goal = goal.map(|goal| format!("≤ {goal:.2}")).unwrap_or_default();
            println!("| {who} | {what} | {kilo:.1} | {shown} | {goal} |");
        }
    }

    fn as_json(&self, took: Duration) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "who": row.who,
                "what": row.what,
                "per_second": row.median(|sample| Some(sample.per_second)),
                "cpu_micros": row.cpu(),
                "cpu_ratio": self.ratio(row, Row::cpu),
                "kilo_instructions": row.instructions(),
                "instructions_ratio": self.ratio(row, Row::instructions),
                "goal": row.goal,
                "p50_micros": row.median(|sample| sample.p50_micros),
                "p99_micros": row.median(|sample| sample.p99_micros),
                "peak_kib": row.peak_kib,
                "rounds": row.samples,
            })
        });
        let base = self.counts.first().map_or(1.0, |first| first.kilo);
        let counts = self.counts.iter().map(|Count { who, what, kilo, goal }| {
            json!({ "who": who, "what": what, "kilo_instructions_user": kilo, "ratio": kilo / base, "goal": goal })
        });
        let facts = self.facts.iter().flat_map(|(heading, facts)| {
            facts.iter().map(move |Fact { what, value, goal, met }| {
                json!({ "about": heading, "what": what, "value": value, "goal": goal, "met": met })
            })
        });
        json!({
            "yardstick": YARDSTICK,
            "rows": rows.collect::<Vec<_>>(),
            "callgrind": counts.collect::<Vec<_>>(),
            "facts": facts.collect::<Vec<_>>(),
            "notes": self.notes,
            "seconds": took.as_secs(),
        })
    }
}

fn met(ratio: Option<f64>, goal: Option<f64>) -> Option<bool> {
    Some(ratio? <= goal?)
}

/// Green where a goal is met, red where it is missed.
fn coloured(text: &str, met: Option<bool>) -> String {
    let colour = match met {
        None => return text.to_owned(),
        Some(true) => AnsiColor::Green,
        Some(false) => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{text}{style:#}")
}
