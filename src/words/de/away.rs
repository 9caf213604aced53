//! German, for jobs that act for people who are away.

use super::German;
use crate::words::Away;

impl Away for German {
    fn away_heading(&self) -> &'static str {
        "Auch in meiner Abwesenheit"
    }
    fn away_state(&self, on: bool) -> &'static str {
        if on { "Erlaubt" } else { "Nicht erlaubt" }
    }
    fn away_body(&self, application: &str) -> String {
        format!(
            "Die Betreiber von {application} haben Aufgaben, die ohne Sie laufen, zum Beispiel nachts. Wenn Sie es erlauben, \
             dürfen alle diese Aufgaben jedes Konto nutzen, das Sie hier verbinden, so wie {application} es tut, wenn Sie da \
             sind. Welche es war, wird Tag für Tag festgehalten. Sie können die Erlaubnis jederzeit zurücknehmen; sie endet dann binnen \
             Sekunden."
        )
    }
    fn away_button(&self, on: bool) -> &'static str {
        if on { "Nicht länger erlauben" } else { "In meiner Abwesenheit erlauben" }
    }
    fn away_done(&self, on: bool) -> &'static str {
        if on {
            "Aufgaben dürfen jetzt in Ihrer Abwesenheit für Sie handeln."
        } else {
            "Aufgaben dürfen nicht mehr in Ihrer Abwesenheit für Sie handeln."
        }
    }
}
