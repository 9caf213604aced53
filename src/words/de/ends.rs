//! German, for connections that will end.

use super::German;
use crate::words::Ends;

impl Ends for German {
    fn ends_on(&self, day: &str) -> String {
        format!("Endet am {day}, wenn Sie nicht vorher neu verbinden.")
    }
    fn ends_unused(&self, day: &str) -> String {
        format!("Endet am {day}, wenn sie bis dahin nicht benutzt wird und Sie nicht neu verbinden.")
    }
}
