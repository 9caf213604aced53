//! Writing to the terminal: colours where there is one, and a reader that went away (`valetkey schema | head`) is no error.

use std::{fmt::Display, io::Write};

use anstyle::{AnsiColor, Style};

/// For what went well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// For what is worth a second look.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// For what is wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// For what matters less.
pub const FAINT: Style = Style::new().dimmed();

/// A text in a style.
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes a line to standard output.
pub fn say(line: impl Display) {
    write_line(&mut anstream::stdout().lock(), &line);
}

/// Writes a line to standard error.
pub fn note(line: impl Display) {
    write_line(&mut anstream::stderr().lock(), &line);
}

/// Writes what is wrong to standard error.
pub fn complain(message: impl Display) {
    note(format_args!("{} {message}", styled(BAD, "error:")));
}

fn write_line(to: &mut dyn Write, line: &dyn Display) {
    // Nobody is left to be told: the reader of this stream has gone.
    let _ = writeln!(to, "{line}").and_then(|()| to.flush());
}
