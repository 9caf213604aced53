//! Text that is hardly YAML, or none: read or refused, and nothing worse.

use super::{
    super::testing::{GOOD, with},
    parsed,
    problems::problems,
};

#[test]
fn no_text_makes_it_panic() {
    let lines: Vec<&str> = GOOD.lines().collect();
    for at in 0..lines.len() {
        let without: Vec<&str> = lines.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| *line).collect();
        let halved: Vec<&str> =
            lines.iter().enumerate().map(|(n, line)| if n == at { &line[..line.len() / 2] } else { line }).collect();
        for text in [lines[..at].join("\n"), without.join("\n"), halved.join("\n")] {
            let _ = parsed(&text);
            let _ = parsed(&text.replace(['a', 'e'], "[").replace("  ", " - "));
        }
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_breaks_are_no_problem() {
    assert_eq!(problems(&format!("\u{feff}{}", GOOD.replace('\n', "\r\n"))), []);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|[\n\t:{}\\[\\]&*!|>'\"$%#-]){0,80}") {
        let _ = parsed(&text);
        let _ = parsed(&with("name: Acme", &text));
    }
}
