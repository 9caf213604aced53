//! Style sheet, icon and the operator's own files, under names that change with their content, so that browsers may keep
//! them for good.

use std::{borrow::Cow, sync::LazyLock};

use axum::{
    Extension,
    extract::Path,
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, Method, header};
use sha2::{Digest, Sha256};

use super::State;
use crate::id::RequestId;

/// One file.
pub(super) struct Asset {
    kind: &'static str,
    bytes: Cow<'static, [u8]>,
    name: String,
}

impl Asset {
    /// Its name below `/connect/-/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file that was read or made when the process started.
    pub fn made(stem: &str, extension: &str, kind: &'static str, bytes: Vec<u8>) -> Self {
        Self::new(stem, extension, kind, Cow::Owned(bytes))
    }

    fn new(stem: &str, extension: &str, kind: &'static str, bytes: Cow<'static, [u8]>) -> Self {
        let hash = Sha256::digest(&bytes);
        let name = format!("{stem}.{}.{extension}", HEXLOWER.encode(&hash[..8]));
        Self { kind, bytes, name }
    }
}

/// The one style sheet.
pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("assets/style.css");
    Asset::new("style", "css", "text/css; charset=utf-8", Cow::Borrowed(bytes))
});

/// The pages' icon.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", Cow::Borrowed(include_bytes!("assets/icon.svg"))));

/// `GET /connect/-/{name}`.
pub(super) async fn asset(
    axum::extract::State(state): axum::extract::State<std::sync::Arc<State>>,
    Path(name): Path<String>,
    id: Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let own = [&state.brand.style, &state.brand.logo].into_iter().flatten();
    let Some(asset) = [&*STYLE, &*ICON].into_iter().chain(own).find(|asset| asset.name() == name) else {
        return super::not_found(Method::GET, id, headers).await;
    };
    let mut response = asset.bytes.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // An SVG that is opened by itself is a document: it may do nothing there.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}
