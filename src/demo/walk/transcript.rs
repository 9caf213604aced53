//! The walk as it is told: for people a transcript that is printed while it happens, for scripts one JSON line a step.
//! Keeps what each step did and whether its checks held; judges nothing itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::demo::{
    client::Exchange,
    ink::{self, ASKS, BAD, FAINT, GOOD, Inked, STRONG},
    setup::CALLER,
};

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A person at a terminal.
    Person,
    /// A program.
    Program,
}

/// A check that did not hold, or a request that got no answer: the walk ends here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What should have been.
    pub claim: String,
    /// What was instead.
    pub found: String,
}

/// One step while it happens, and afterwards.
pub struct Scene {
    reader: Reader,
    /// Valetkey's origin.
    home: String,
    number: usize,
    title: &'static str,
    begun: Instant,
    took: Duration,
    exchanges: Vec<Value>,
    checks: Vec<&'static str>,
    broken: Option<Broken>,
}

impl Scene {
    /// Begins a step.
    pub fn begin(reader: Reader, home: String, number: usize, title: &'static str) -> Self {
        if reader == Reader::Person {
            ink::line(format_args!("\n{} {}", Inked(ASKS.bold(), format!("{number:>3}")), Inked(STRONG, title)));
        }
        Self {
            reader,
            home,
            number,
            title,
            begun: Instant::now(),
            took: Duration::ZERO,
            exchanges: Vec::new(),
            checks: Vec::new(),
            broken: None,
        }
    }

    /// Tells of a request and its answer, with those members of its JSON and those headers that matter here.
    pub fn tell(&mut self, exchange: &Exchange, headers: &[&str], members: &[&str]) {
        let Exchange { party, method, url, status, took, .. } = exchange;
        self.exchanges.push(json!({
            "party": party.name(),
            "method": method.as_str(),
            "url": ink::url(url),
            "status": status.as_u16(),
            "milliseconds": milliseconds(*took),
        }));
        if self.reader == Reader::Program {
            return;
        }
        let (who, how) = (format!("{:<9}", party.name()), method.as_str());
        let asked = ink::cut(&self.near(url), 96);
        let (status, took) = (ink::status(*status), Inked(FAINT, ink::time(*took)));
        ink::line(format_args!(
            "    {}{} {asked} {} {status} {took}",
            Inked(FAINT, who),
            Inked(STRONG, how),
            Inked(FAINT, "→")
        ));
        for name in headers.iter().filter(|name| exchange.headers.contains_key(**name)) {
            let target = exchange.location().filter(|_| *name == "location").map(|url| self.near(&url));
            self.detail(name, &target.unwrap_or_else(|| exchange.header(name).replace(&self.home, "")));
        }
        let body = exchange.json();
        for name in members {
            if let Some(value) = body.pointer(name) {
                let text = match value.as_str() {
                    Some(text) => url::Url::parse(text).map_or_else(|_| text.to_owned(), |url| ink::url(&url)),
                    None => value.to_string(),
                };
                self.detail(name.rsplit('/').next().unwrap_or(name), &text);
            }
        }
    }

    /// A URL as this transcript shows it: what is Valetkey's own needs no host.
    fn near(&self, url: &url::Url) -> String {
        ink::url(url).replacen(&self.home, "", 1)
    }

    fn detail(&self, name: &str, value: &str) {
        ink::line(format_args!("             {} {}", Inked(FAINT, format!("{name:<17}")), ink::cut(value, 140)));
    }

    /// Says something that is not an exchange.
    pub fn say(&self, text: &str) {
        if self.reader == Reader::Person {
            ink::line(format_args!("             {}", Inked(FAINT, text)));
        }
    }

    /// Holds the walk to a claim; `found` tells what was there instead.
    ///
    /// # Errors
    /// Where it doesn't hold.
    pub fn check(&mut self, claim: &'static str, holds: bool, found: impl FnOnce() -> String) -> Result<(), Broken> {
        if !holds {
            return Err(Broken { claim: claim.to_owned(), found: found() });
        }
        self.checks.push(claim);
        if self.reader == Reader::Person {
            ink::line(format_args!("             {} {claim}", Inked(GOOD, "✓")));
        }
        Ok(())
    }

    /// Ends the step.
    pub fn end(mut self, outcome: Result<(), Broken>) -> Self {
        self.took = self.begun.elapsed();
        self.broken = outcome.err();
        match (self.reader, &self.broken) {
            (Reader::Program, _) => ink::line(self.as_json()),
            (Reader::Person, Some(Broken { claim, found })) => {
                ink::line(format_args!("             {} {claim}", Inked(BAD, "✗")));
                ink::line(format_args!("               found: {}", Inked(BAD, found)));
            }
            (Reader::Person, None) => {}
        }
        self
    }

    /// Whether everything in it held.
    pub fn held(&self) -> bool {
        self.broken.is_none()
    }

    fn as_json(&self) -> Value {
        let mut line = json!({
            "step": self.number,
            "title": self.title,
            "held": self.held(),
            "milliseconds": milliseconds(self.took),
            "exchanges": self.exchanges,
            "checks": self.checks,
        });
        if let Some(Broken { claim, found }) = &self.broken {
            line["broken"] = json!({ "claim": claim, "found": found });
        }
        line
    }
}

/// The beginning of the story: who takes part.
pub fn open(reader: Reader, valetkey: &str, provider: &str) {
    if reader == Reader::Person {
        ink::line(format_args!("\n{}", Inked(STRONG, "The life of one connection, from the first call to the last.")));
        ink::line(format_args!("  {} {valetkey}", Inked(FAINT, "Valetkey   ")));
        ink::line(format_args!(
            "  {} {provider}, a {} on this machine",
            Inked(FAINT, "Demo Hub   "),
            Inked(ASKS, "STAND-IN")
        ));
        ink::line(format_args!("  {} {CALLER}: an app acts for her, a browser is hers", Inked(FAINT, "Ada        ")));
    }
}

/// The end of the story: a table, and the one sentence that counts. `unreached` are the titles of steps that never began.
pub fn close(reader: Reader, scenes: &[Scene], unreached: &[&str], took: Duration) {
    let held = scenes.iter().all(Scene::held) && unreached.is_empty();
    let (checks, exchanges) = scenes
        .iter()
        .fold((0, 0), |(checks, exchanges), scene| (checks + scene.checks.len(), exchanges + scene.exchanges.len()));
    if reader == Reader::Program {
        ink::line(json!({
            "walk": if held { "held" } else { "broken" },
            "steps": scenes.len(),
            "unreached": unreached,
            "checks": checks,
            "exchanges": exchanges,
            "milliseconds": milliseconds(took),
        }));
        return;
    }
    ink::line(format_args!(
        "\n{}",
        Inked(STRONG, "    step                                                    checks  requests      time")
    ));
    for scene in scenes {
        let mark = if scene.held() { Inked(GOOD, "✓") } else { Inked(BAD, "✗") };
        let (checks, exchanges, time) = (scene.checks.len(), scene.exchanges.len(), ink::time(scene.took));
        ink::line(format_args!("  {mark} {:<58}{checks:>4}{exchanges:>10}{time:>10}", scene.title));
    }
    for title in unreached {
        ink::line(format_args!("  {} {}", Inked(FAINT, "·"), Inked(FAINT, format!("{title:<58} not reached"))));
    }
    let total = scenes.len() + unreached.len();
    match scenes.iter().find_map(|scene| scene.broken.as_ref().map(|broken| (scene, broken))) {
        None => ink::line(format_args!(
            "\n  {} {total} steps, {checks} checks, {exchanges} requests over real HTTP, {}.\n",
            Inked(GOOD.bold(), "The whole walk held:"),
            ink::time(took),
        )),
        Some((scene, Broken { claim, found })) => ink::line(format_args!(
            "\n  {} in step {}, \"{}\".\n  Expected: {claim}.\n  Found:    {found}\n",
            Inked(BAD, "The walk broke"),
            scene.number,
            scene.title,
        )),
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_says_which_claim_broke_and_what_was_found() {
        let mut scene = Scene::begin(Reader::Program, String::new(), 3, "A step");
        assert!(scene.check("two is two", true, String::new).is_ok());
        let outcome = scene.check("one is two", false, || "one".into());
        let scene = scene.end(outcome);
        assert!(!scene.held());
        let line = scene.as_json();
        assert_eq!(line["checks"], json!(["two is two"]));
        assert_eq!(line["broken"], json!({ "claim": "one is two", "found": "one" }));
    }
}
