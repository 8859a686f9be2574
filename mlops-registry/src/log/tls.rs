//! TLS to a PostgreSQL server.

use std::error::Error as StdError;
use std::sync::Arc;

use mlops_core::{Error, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Connects to servers whose certificate a root in a PEM file signed, or one of the system's.
pub(super) fn connector(root: Option<&str>) -> Result<MakeRustlsConnect> {
    let failed = |error: Box<dyn StdError + Send + Sync>| {
        Error::invalid(match root {
            Some(path) => format!("the certificates in `{path}` cannot be used: want a PEM file of roots"),
            None => "the system's certificates cannot be used: name a PEM file of roots by `sslrootcert`"
                .to_owned(),
        })
        .with_source(error)
    };
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.into()))?;
    let builder = match root {
        None => builder.with_platform_verifier().map_err(|error| failed(error.into()))?,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.into()))? {
                let certificate = certificate.map_err(|error| failed(error.into()))?;
                roots.add(certificate).map_err(|error| failed(error.into()))?;
            }
            if roots.is_empty() {
                return Err(failed("it holds no certificate".into()));
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}
