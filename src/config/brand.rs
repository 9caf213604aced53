//! How the pages look like the operator's own: colour, logo, and where people get help.

use url::Url;

/// The operator's brand; all of it may be left out.
#[derive(Debug, Clone, Default)]
pub struct Brand {
    /// The colour of buttons and links.
    pub color: Option<Color>,
    /// Shown beside the application's name.
    pub logo: Option<Logo>,
    /// Where people get help: `https` or `mailto`.
    pub support_url: Option<Url>,
}

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    /// 0 to 255.
    pub red: u8,
    /// 0 to 255.
    pub green: u8,
    /// 0 to 255.
    pub blue: u8,
}

/// An image, as it lies in its file.
#[derive(Debug, Clone)]
pub struct Logo {
    /// What kind.
    pub format: LogoFormat,
    /// The file's bytes.
    pub bytes: Vec<u8>,
}

/// The kinds of images that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoFormat {
    /// Scalable Vector Graphics.
    Svg,
    /// Portable Network Graphics.
    Png,
}

impl Color {
    /// Reads `#rrggbb`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let [_, red, green, blue] = digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())??
            .to_be_bytes();
        Some(Self { red, green, blue })
    }
}

impl LogoFormat {
    /// Tells a file's kind by its content, whatever its name says.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Some(Self::Png);
        }
        let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
        let is_svg = text.starts_with("<svg")
            || (text.starts_with('<') && !text.starts_with("<!doctype html") && text.contains("<svg"));
        is_svg.then_some(Self::Svg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_six_hexadecimal_digits_after_a_hash() {
        assert_eq!(Color::parse("#2F5bd0"), Some(Color { red: 0x2f, green: 0x5b, blue: 0xd0 }));
        for bad in ["", "#", "2f5bd0", "#2f5bd", "#2f5bd00", "#2f5bdg", "#+f5bd0", "red", "#2f5bd0;}", "#éé5b"] {
            assert_eq!(Color::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_logo_is_known_by_its_content() {
        assert_eq!(LogoFormat::of(b"\x89PNG\r\n\x1a\n...."), Some(LogoFormat::Png));
        assert_eq!(LogoFormat::of(b"<?xml version=\"1.0\"?>\n<svg/>"), Some(LogoFormat::Svg));
        assert_eq!(LogoFormat::of(b" <svg xmlns=\"http://www.w3.org/2000/svg\"/>"), Some(LogoFormat::Svg));
        for bad in [&b""[..], b"GIF89a", b"\xff\xd8\xff\xe0", b"<html></html>", b"svg", b"\xff<svg"] {
            assert_eq!(LogoFormat::of(bad), None);
        }
    }
}
