//! The operator's colour and logo, as files beside the style sheet. The colour itself fills buttons; where it is text or
//! an outline, it is darkened or lightened until it can be read (WCAG 2.2 §1.4.3, AA: 4.5 to 1) on our own papers.

use crate::config::{
    Brand,
    brand::{Color, LogoFormat},
};

use super::assets::Asset;

/// What light pages are written on: `--card` and `--paper` of the style sheet, …
const LIGHT: [Color; 2] = [rgb(0xff, 0xff, 0xff), rgb(0xf5, 0xf6, 0xf8)];
/// … and what dark ones are.
const DARK: [Color; 2] = [rgb(0x1a, 0x1d, 0x21), rgb(0x11, 0x13, 0x16)];
const WHITE: Color = rgb(0xff, 0xff, 0xff);
const BLACK: Color = rgb(0, 0, 0);
/// WCAG 2.2 §1.4.3, AA, for text of any size.
const READABLE: f64 = 4.5;

/// The files that a brand needs.
#[derive(Default)]
pub(super) struct BrandAssets {
    /// Sets the style sheet's colours.
    pub style: Option<Asset>,
    /// The logo.
    pub logo: Option<Asset>,
}

impl BrandAssets {
    /// Makes them.
    pub fn new(brand: &Brand) -> Self {
        let style =
            brand.color.map(|color| Asset::made("brand", "css", "text/css; charset=utf-8", sheet(color).into_bytes()));
        let logo = brand.logo.as_ref().map(|logo| {
            let (extension, kind) = match logo.format {
                LogoFormat::Svg => ("svg", "image/svg+xml"),
                LogoFormat::Png => ("png", "image/png"),
            };
            Asset::made("logo", extension, kind, logo.bytes.clone())
        });
        Self { style, logo }
    }
}

fn sheet(color: Color) -> String {
    let on = if contrast(color, WHITE) >= READABLE { WHITE } else { BLACK };
    // Under the pointer a button moves away from its text's colour: the contrast grows.
    let deep = mix(color, if on == WHITE { BLACK } else { WHITE }, 15);
    let set = |accent: Color| {
        format!("--accent:{};--button:{};--button-deep:{};--on-button:{}", hex(accent), hex(color), hex(deep), hex(on))
    };
    let (light, dark) = (readable(color, &LIGHT, BLACK), readable(color, &DARK, WHITE));
    format!(":root{{{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n", set(light), set(dark))
}

/// The nearest colour on the way to `end` that can be read on all of these.
fn readable(color: Color, papers: &[Color], end: Color) -> Color {
    let fine = |color: &Color| papers.iter().all(|paper| contrast(*color, *paper) >= READABLE);
    (0..=100).map(|percent| mix(color, end, percent)).find(fine).unwrap_or(end)
}

const fn rgb(red: u8, green: u8, blue: u8) -> Color {
    Color { red, green, blue }
}

fn hex(Color { red, green, blue }: Color) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// This many hundredths of the way from one colour to another.
fn mix(from: Color, to: Color, percent: u16) -> Color {
    let channel = |from: u8, to: u8| {
        let sum = u16::from(from) * (100 - percent) + u16::from(to) * percent;
        u8::try_from(sum / 100).unwrap_or(u8::MAX)
    };
    rgb(channel(from.red, to.red), channel(from.green, to.green), channel(from.blue, to.blue))
}

/// WCAG 2.2's contrast ratio, from 1 to 21.
fn contrast(one: Color, other: Color) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// WCAG 2.2's relative luminance, from 0 to 1.
fn luminance(Color { red, green, blue }: Color) -> f64 {
    let linear = |channel: u8| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(sheet: &str, name: &str) -> Color {
        let (_, rest) = sheet.split_once(&format!("{name}:")).unwrap();
        Color::parse(&rest[..7]).unwrap()
    }

    #[test]
    fn contrast_is_as_the_guidelines_compute_it() {
        for (one, other, expected) in
            [("#000000", "#ffffff", 21.0), ("#777777", "#ffffff", 4.48), ("#0000ff", "#ffffff", 8.59)]
        {
            let ratio = contrast(Color::parse(one).unwrap(), Color::parse(other).unwrap());
            assert!((ratio - expected).abs() < 0.01, "{one} on {other}: {ratio}");
        }
    }

    #[test]
    fn whatever_the_colour_its_texts_can_be_read_in_light_and_dark() {
        for step in 0..=0xff_u32 {
            // Through all channels in coprime steps, and the corners of the cube.
            let corner = |bit: u32| if step >> bit & 1 == 1 { 0xff } else { 0 };
            let some = [(step * 7) % 256, (step * 31) % 256, (step * 101) % 256].map(|c| u8::try_from(c).unwrap());
            for color in [rgb(some[0], some[1], some[2]), rgb(corner(0), corner(1), corner(2))] {
                let sheet = sheet(color);
                let (light, dark) = sheet.split_once("@media").unwrap();
                for (part, papers) in [(light, LIGHT), (dark, DARK)] {
                    for paper in papers {
                        assert!(contrast(value(part, "--accent"), paper) >= READABLE, "{}", hex(color));
                    }
                    for button in ["--button", "--button-deep"] {
                        assert!(
                            contrast(value(part, button), value(part, "--on-button")) >= READABLE,
                            "{}",
                            hex(color)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_papers_are_those_of_the_style_sheet() {
        let style = include_str!("assets/style.css");
        let (light, dark) = style.split_once("prefers-color-scheme: dark").unwrap();
        for (part, [card, paper]) in [(light, LIGHT), (dark, DARK)] {
            assert!(part.contains(&format!("--card: {};", hex(card))), "{}", hex(card));
            assert!(part.contains(&format!("--paper: {};", hex(paper))), "{}", hex(paper));
        }
    }
}
