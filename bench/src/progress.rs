//! What a run is at: a bar on a terminal, lines elsewhere. Goes to standard error, so that the table can be piped.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// The bar of the part in hand.
pub struct Progress {
    begun: Instant,
    bar: RefCell<ProgressBar>,
}

impl Progress {
    /// Begins to count time.
    pub fn new() -> Self {
        Self { begun: Instant::now(), bar: RefCell::new(ProgressBar::hidden()) }
    }

    /// A new part of so many steps.
    pub fn begin(&self, what: impl Into<String>, steps: usize) {
        let what = what.into();
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30.green} {pos:>4}/{len}  {elapsed:>4}  {msg}") {
            bar.set_style(style);
        }
        if bar.is_hidden() {
            eprintln!("{what} …");
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_secs(1));
        self.bar.replace(bar).finish_and_clear();
    }

    /// One step is done.
    pub fn step(&self) {
        self.bar.borrow().inc(1);
    }

    /// This many steps are done.
    pub fn at(&self, position: usize) {
        self.bar.borrow().set_position(position as u64);
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        self.bar.borrow().suspend(|| eprintln!("{text}"));
    }

    /// The bar goes. How long everything took.
    pub fn end(&self) -> Duration {
        self.bar.borrow().finish_and_clear();
        self.begun.elapsed()
    }
}
