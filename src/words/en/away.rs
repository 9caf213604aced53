//! English, for jobs that act for people who are away.

use super::English;
use crate::words::Away;

impl Away for English {
    fn away_heading(&self) -> &'static str {
        "Also while I am away"
    }
    fn away_state(&self, on: bool) -> &'static str {
        if on { "Allowed" } else { "Not allowed" }
    }
    fn away_body(&self, application: &str) -> String {
        format!(
            "The people who run {application} have jobs that work without you, at night for instance. If you allow it, all of \
             these jobs may use every account that you connect here, as {application} does while you are there. Which of them did is \
             recorded, day by day. You can take it back at any time, and it then ends within seconds."
        )
    }
    fn away_button(&self, on: bool) -> &'static str {
        if on { "No longer allow it" } else { "Allow it while I am away" }
    }
    fn away_done(&self, on: bool) -> &'static str {
        if on {
            "Jobs may now act for you while you are away."
        } else {
            "Jobs may no longer act for you while you are away."
        }
    }
}
