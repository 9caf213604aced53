//! `application`: its name, and how its pages look.

use url::Url;

use crate::config::{
    brand::{Brand, Color, Logo, LogoFormat},
    context::Context,
    problem::{Path, finding},
    raw::RawBrandedApplication,
    urls::{PlainHttp, UrlRule},
};

/// The largest logo.
const LOGO_MAX: u64 = 64 << 10;

/// The name, where one is given, and the brand.
pub(super) fn application(
    raw: Option<RawBrandedApplication>,
    path: &Path,
    cx: &mut Context<'_>,
) -> (Option<String>, Brand) {
    let Some(raw) = raw else { return (None, Brand::default()) };
    let color = raw.color.and_then(|text| color(&text, &path.key("color"), cx));
    let logo = raw.logo_file.and_then(|file| logo(file, &path.key("logo_file"), cx));
    let support_url = raw.support_url.and_then(|text| support(&text, &path.key("support_url"), cx));
    (raw.name, Brand { color, logo, support_url })
}

fn color(text: &str, path: &Path, cx: &mut Context<'_>) -> Option<Color> {
    let color = Color::parse(text);
    if color.is_none() {
        let hint = "write it as \"#rrggbb\", in quotes: YAML takes a bare # for a comment";
        cx.report.problem(path, finding("This is no colour").hint(hint));
    }
    color
}

fn logo(file: std::path::PathBuf, path: &Path, cx: &mut Context<'_>) -> Option<Logo> {
    let bytes = cx.bytes(path, file)?;
    if bytes.len() as u64 > LOGO_MAX {
        let hint = "an SVG, or a PNG of 128 pixels in height, is enough";
        cx.report.problem(path, finding("This logo is larger than 64 KiB").hint(hint));
        return None;
    }
    let Some(format) = LogoFormat::of(&bytes) else {
        cx.report
            .problem(path, finding("This file is neither an SVG nor a PNG image").hint("convert it to one of them"));
        return None;
    };
    Some(Logo { format, bytes })
}

/// A page, or an address for mail.
fn support(text: &str, path: &Path, cx: &mut Context<'_>) -> Option<Url> {
    if text.starts_with("mailto:") {
        return match Url::parse(text) {
            Ok(url) if url.path().contains('@') => Some(url),
            _ => {
                cx.report
                    .problem(path, finding("This is no address for mail").hint("such as `mailto:help@example.com`"));
                None
            }
        };
    }
    cx.url(path, text, UrlRule { plain_http: PlainHttp::Loopback, query: true })
}
