//! The figures, as a table for people or one JSON object for programs. Medians over rounds, so that one disturbed round
//! doesn't tell the story.

use serde_json::{Value, json};

use crate::measure::Sample;

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
}

impl Row {
    fn median(&self, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.samples.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn as_json(&self) -> Value {
        json!({
            "who": self.who,
            "what": self.what,
            "per_second": self.median(|sample| Some(sample.per_second)),
            "cpu_micros": self.median(|sample| Some(sample.cpu_micros)),
            "kilo_instructions": self.median(|sample| sample.kilo_instructions),
            "p50_micros": self.median(|sample| sample.p50_micros),
            "p99_micros": self.median(|sample| sample.p99_micros),
            "peak_kib": self.peak_kib,
            "rounds": self.samples,
        })
    }
}

/// CPU time per request, by which proxies are compared: rps of two proxies on one core say the same, but less precisely.
fn cost(row: &Row) -> Option<f64> {
    row.median(|sample| Some(sample.cpu_micros))
}

/// Prints everything.
pub fn print(rows: &[Row], yardstick: &str, as_json: bool) {
    let base = rows.iter().find(|row| row.who == yardstick && row.what == "hot");
    let ratio = |row: &Row, of: &dyn Fn(&Row) -> Option<f64>| Some(of(row)? / of(base?)?);
    if as_json {
        let rows = rows.iter().map(|row| {
            let mut value = row.as_json();
            value["cpu_ratio"] = json!(ratio(row, &cost));
            value["instructions_ratio"] = json!(ratio(row, &|row| row.median(|sample| sample.kilo_instructions)));
            value
        });
        println!("{}", json!({ "yardstick": yardstick, "rows": rows.collect::<Vec<_>>() }));
        return;
    }
    println!("\n| who | load | requests/s | CPU µs | k instr | p50 ms | p99 ms | peak MiB | CPU, × {yardstick} |");
    println!("| --- | --- | --: | --: | --: | --: | --: | --: | --: |");
    for row in rows {
        let cell = |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| format!("{value:.digits$}"));
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.1} | {} |",
            row.who,
            row.what,
            cell(row.median(|sample| Some(sample.per_second)), 0),
            cell(cost(row), 1),
            cell(row.median(|sample| sample.kilo_instructions), 1),
            cell(row.median(|sample| sample.p50_micros).map(|micros| micros / 1000.0), 2),
            cell(row.median(|sample| sample.p99_micros).map(|micros| micros / 1000.0), 2),
            row.peak_kib as f64 / 1024.0,
            cell(ratio(row, &cost), 2),
        );
    }
    println!();
}

/// Prints instruction counts in thousands a request, each with its ratio to the first.
pub fn print_counts(counts: &[(&str, &str, f64)], as_json: bool) {
    let base = counts.first().map_or(1.0, |first| first.2);
    if as_json {
        let rows = counts.iter().map(|(who, what, count)| {
            json!({ "who": who, "what": what, "kilo_instructions_user": count, "ratio": count / base })
        });
        println!("{}", json!({ "callgrind": rows.collect::<Vec<_>>() }));
        return;
    }
    println!("| who | load | k instr, user | ratio |\n| --- | --- | --: | --: |");
    for (who, what, count) in counts {
        println!("| {who} | {what} | {count:.1} | {:.2} |", count / base);
    }
    println!();
}

/// A figure beside its goal.
pub struct Fact {
    /// What was measured.
    pub what: String,
    /// What came of it, with its unit.
    pub value: String,
    /// What was aimed for.
    pub goal: &'static str,
}

/// Prints figures beside their goals.
pub fn print_facts(facts: &[Fact], as_json: bool) {
    if as_json {
        let rows = facts.iter().map(|fact| json!({ "what": fact.what, "value": fact.value, "goal": fact.goal }));
        println!("{}", json!({ "facts": rows.collect::<Vec<_>>() }));
        return;
    }
    println!("| measure | figure | goal |\n| --- | --: | --- |");
    for Fact { what, value, goal } in facts {
        println!("| {what} | {value} | {goal} |");
    }
    println!();
}
