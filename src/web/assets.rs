//! Style sheet and icon, under names that change with their content, so that browsers may keep them for good.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    Extension,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, header};
use sha2::{Digest, Sha256};

use crate::id::RequestId;

/// One embedded file.
pub(super) struct Asset {
    stem: &'static str,
    extension: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    name: LazyLock<String, fn() -> String>,
}

impl Asset {
    /// Its name below `/connect/-/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn named(&self) -> String {
        let mut name = self.stem.to_owned();
        name.push('.');
        for byte in Sha256::digest(self.bytes).iter().take(8) {
            let _ = write!(name, "{byte:02x}");
        }
        name.push('.');
        name.push_str(self.extension);
        name
    }
}

/// The one style sheet.
pub(super) static STYLE: Asset = Asset {
    stem: "style",
    extension: "css",
    kind: "text/css; charset=utf-8",
    bytes: include_bytes!("assets/style.css"),
    name: LazyLock::new(|| STYLE.named()),
};

/// The pages' icon.
pub(super) static ICON: Asset = Asset {
    stem: "icon",
    extension: "svg",
    kind: "image/svg+xml",
    bytes: include_bytes!("assets/icon.svg"),
    name: LazyLock::new(|| ICON.named()),
};

/// `GET /connect/-/{name}`.
pub(super) async fn asset(Path(name): Path<String>, id: Extension<RequestId>, headers: HeaderMap) -> Response {
    let Some(asset) = [&STYLE, &ICON].into_iter().find(|asset| asset.name() == name) else {
        return super::not_found(Method::GET, id, headers).await;
    };
    let mut response = asset.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}
