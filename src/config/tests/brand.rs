//! What may be wrong with the operator's brand.

use super::{super::testing::check, problems::problems};

#[test]
#[rustfmt::skip]
fn a_brand_that_cannot_be_shown() {
    let good = "application: { name: Acme }";
    let file = |content: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let line = format!("application: {{ name: Acme, logo_file: {} }} # HERE", file.path().display());
        (file, line)
    };
    let (large, other) = (file(&format!("<svg>{}</svg>", " ".repeat(64 << 10))), file("GIF89a"));
    check(problems, &[
        (good, "application: { name: Acme, color: red } # HERE", "application.color", "no colour", "\"#rrggbb\", in quotes"),
        (good, "application: { name: Acme, color: \"#fff\" } # HERE", "application.color", "no colour", "\"#rrggbb\", in quotes"),
        (good, "application: { name: Acme, logo_file: none.svg } # HERE", "application.logo_file", "doesn't exist", "none.svg"),
        (good, &large.1, "application.logo_file", "larger than 64 KiB", "PNG"),
        (good, &other.1, "application.logo_file", "neither an SVG nor a PNG", "convert"),
        (good, "application: { name: Acme, support_url: \"mailto:nobody\" } # HERE", "application.support_url", "no address", "help@example.com"),
        (good, "application: { name: Acme, support_url: \"ftp://a.example\" } # HERE", "application.support_url", "https", ""),
        (good, "application: { name: Acme, support_url: \"javascript:alert(1)\" } # HERE", "application.support_url", "https", ""),
    ]);
}
