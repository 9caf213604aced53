//! English, for connections that will end.

use super::English;
use crate::words::Ends;

impl Ends for English {
    fn ends_on(&self, day: &str) -> String {
        format!("Ends on {day} unless you connect again.")
    }
    fn ends_unused(&self, day: &str) -> String {
        format!("Ends on {day} unless it is used before then, or you connect again.")
    }
}
