//! What everybody needs who gives what was written its meaning, here and in `provider`: the report, the directory that
//! paths begin at, and the checks that recur (URLs, header names, secrets and their files).

use std::{path::PathBuf, time::Duration};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use url::Url;

use super::{
    files::{FilesRead, LARGEST_FILE},
    problem::{Path, Report, finding},
    units::Span,
    urls::{self, UrlRule},
};
use crate::secret::SecretString;

/// What the second pass works with.
pub struct Context<'a> {
    pub(crate) report: &'a mut Report,
    pub(crate) directory: &'a std::path::Path,
    pub(crate) files: &'a mut FilesRead,
}

impl Context<'_> {
    /// Checks that exactly one of some keys is given. A key that the first pass refused counts as given.
    pub(crate) fn require_one(&mut self, path: &Path, keys: &[(&str, bool)]) -> bool {
        let given: Vec<&str> = keys
            .iter()
            .filter(|(key, given)| *given || self.report.is_broken(&path.key(key)))
            .map(|(key, _)| *key)
            .collect();
        let listed =
            |keys: &mut dyn Iterator<Item = &str>| keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        match given.as_slice() {
            [_] => true,
            [] => {
                let all = listed(&mut keys.iter().map(|(key, _)| *key));
                self.report.problem(path, finding("Something is missing here").hint(format!("add one of {all}")));
                false
            }
            [.., last] => {
                let all = listed(&mut given.iter().copied());
                let finding = finding("Only one of these can be given").hint(format!("keep one of {all}"));
                self.report.problem(&path.key(last), finding);
                false
            }
        }
    }

    /// A secret from its key or from the file named by the key with `_file` at its end. Where both are given, or an empty
    /// one, that is a problem; where neither is, `None`.
    pub(crate) fn secret(
        &mut self,
        path: &Path,
        key: &str,
        inline: Option<SecretString>,
        file: Option<PathBuf>,
    ) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        let (secret, path) = match (inline, file) {
            (Some(_), Some(_)) => {
                let finding = finding(format!("Both `{key}` and `{file_key}` are given")).hint("keep one of them");
                self.report.problem(&path.key(&file_key), finding);
                return None;
            }
            (Some(secret), None) => (secret, path.key(key)),
            (None, Some(file)) => {
                let path = path.key(&file_key);
                (self.secret_file(&path, file)?, path)
            }
            (None, None) => return None,
        };
        if secret.expose().is_empty() {
            self.report.problem(&path, finding("This secret is empty"));
            return None;
        }
        Some(secret)
    }

    /// A secret from a file, without the line break that editors leave at its end.
    pub(crate) fn secret_file(&mut self, path: &Path, file: PathBuf) -> Option<SecretString> {
        let mut text = self.file(path, file)?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Some(SecretString::new(text))
    }

    /// The text of a file.
    pub(crate) fn file(&mut self, path: &Path, file: PathBuf) -> Option<String> {
        let shown = from_directory(self.directory, file.clone());
        let text = String::from_utf8(self.bytes(path, file)?);
        if text.is_err() {
            let finding = finding("This file can't be read: it is no UTF-8 text");
            self.report.problem(path, finding.hint(format!("looked at {}", shown.display())));
        }
        text.ok()
    }

    /// A file's place; paths in the configuration begin at its directory.
    pub(crate) fn in_directory(&self, file: PathBuf) -> PathBuf {
        from_directory(self.directory, file)
    }

    /// What a file holds.
    pub(crate) fn bytes(&mut self, path: &Path, file: PathBuf) -> Option<Vec<u8>> {
        let file = from_directory(self.directory, file);
        match self.files.read(&file) {
            Ok(bytes) if bytes.len() as u64 > LARGEST_FILE => {
                self.report.problem(path, finding("This file is larger than 1 MiB").hint("is it the right one?"));
                None
            }
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::NotFound => "it doesn't exist",
                    std::io::ErrorKind::PermissionDenied => "Valetkey may not read it",
                    std::io::ErrorKind::IsADirectory => "it is a directory",
                    _ => "reading failed",
                };
                let finding = finding(format!("This file can't be read: {why}"));
                self.report.problem(path, finding.hint(format!("looked at {}", file.display())));
                None
            }
        }
    }

    /// Certificates in PEM.
    pub(crate) fn certificates(&mut self, path: &Path, file: PathBuf) -> Option<String> {
        let text = self.file(path, file)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        if !certificates.is_ok_and(|certificates| !certificates.is_empty()) {
            self.report.problem(path, finding("This file holds no certificate in PEM"));
            return None;
        }
        Some(text)
    }

    /// Certificates of authorities in PEM, of which at least one can be read.
    pub(crate) fn authorities(&mut self, path: &Path, file: PathBuf) -> Option<String> {
        let text = self.certificates(path, file)?;
        let mut known = rustls::RootCertStore::empty();
        let (readable, _) = known.add_parsable_certificates(CertificateDer::pem_slice_iter(text.as_bytes()).flatten());
        if readable == 0 {
            self.report.problem(path, finding("No certificate in this file can be read"));
            return None;
        }
        Some(text)
    }

    /// Checks that a key is the one of its certificate.
    pub(crate) fn must_match(&mut self, path: &Path, certificate: &str, key: &SecretString) {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes()).flatten().collect();
        let Ok(key) = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()) else { return };
        let provider = rustls::crypto::ring::default_provider();
        match rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let finding = finding("The certificate and the key don't match");
                self.report.problem(path, finding.hint("the key is another one than the certificate was made for"));
            }
            Err(_) => self.report.problem(path, finding("The certificate and the key can't be used for TLS")),
        }
    }

    /// A private key in PEM.
    pub(crate) fn private_key(&mut self, path: &Path, file: PathBuf) -> Option<SecretString> {
        let text = self.secret_file(path, file)?;
        if PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).is_err() {
            self.report.problem(path, finding("This file holds no private key in PEM"));
            return None;
        }
        Some(text)
    }

    /// A listener's certificate and its key.
    pub(crate) fn key_pair(
        &mut self,
        path: &Path,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Option<(String, SecretString)> {
        let certificate = certificate.and_then(|file| self.certificates(&path.key("certificate_file"), file));
        let key = key.and_then(|file| self.private_key(&path.key("key_file"), file));
        let (certificate, key) = (certificate?, key?);
        self.must_match(path, &certificate, &key);
        Some((certificate, key))
    }

    /// A certificate and its key: both or neither.
    pub(crate) fn client_certificate(
        &mut self,
        path: &Path,
        certificate: (&str, Option<PathBuf>),
        key: (&str, Option<PathBuf>),
    ) -> Option<(String, SecretString)> {
        let present =
            |cx: &Self, (name, file): &(&str, Option<PathBuf>)| file.is_some() || cx.report.is_broken(&path.key(name));
        match (present(self, &certificate), present(self, &key)) {
            (true, false) => self.report.problem(&path.key(key.0), finding("The certificate's key is missing")),
            (false, true) => self.report.problem(&path.key(certificate.0), finding("The key's certificate is missing")),
            _ => {}
        }
        let key_name = key.0;
        let pem = certificate.1.and_then(|file| self.certificates(&path.key(certificate.0), file));
        let key = key.1.and_then(|file| self.private_key(&path.key(key.0), file));
        if let (Some(pem), Some(key)) = (&pem, &key) {
            self.must_match(&path.key(key_name), pem, key);
        }
        pem.zip(key)
    }

    /// An absolute `http(s)` URL without user, password and fragment.
    pub(crate) fn url(&mut self, path: &Path, text: &str, rule: UrlRule) -> Option<Url> {
        match urls::parse(text, rule) {
            Ok(url) => Some(url),
            Err(findings) => {
                findings.into_iter().for_each(|finding| self.report.problem(path, finding));
                None
            }
        }
    }

    /// Whether a text is a header's name (RFC 9110 §5.1).
    pub(crate) fn header_name(&mut self, path: &Path, name: &str) -> bool {
        let fine = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        if !fine {
            self.report.problem(path, finding("This is no possible name of a header"));
        }
        fine
    }

    /// A duration above zero.
    pub(crate) fn positive(&mut self, path: &Path, span: Option<Span>, default: Duration) -> Duration {
        if span.is_some_and(|span| span.0.is_zero()) {
            self.report.problem(path, finding("This duration should be more than zero"));
        }
        or(span, default)
    }
}

/// A duration as written, or the default.
pub(crate) fn or(span: Option<Span>, default: Duration) -> Duration {
    span.map_or(default, |span| span.0)
}

/// Paths in the file begin at its directory.
pub(crate) fn from_directory(directory: &std::path::Path, file: PathBuf) -> PathBuf {
    if file.is_absolute() { file } else { directory.join(file) }
}
