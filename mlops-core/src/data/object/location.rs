//! The URLs of tables.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme as Scheme, parse_url_opts};
use url::Url;

use crate::{Error, Result};

const EXAMPLES: &str = "`s3://bucket/table.parquet`, `gs://bucket/table.parquet`, `az://container/table.parquet`, \
                        `https://host/table.csv` or `file:///folder/table.arrow`";

/// Where a table is, and the store that holds it.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    /// Whether the path is a folder of tables.
    pub(super) folder: bool,
    /// What messages call it: no secret is in it.
    pub(super) name: String,
}

impl Location {
    pub(super) fn parse(url: &str, options: &[(String, String)]) -> Result<Self> {
        let invalid = |why: &str| Error::invalid(format!("`{}` {why}: want {EXAMPLES}", shown(url)));
        let parsed = Url::parse(url).map_err(|error| invalid("is no URL").with_source(error))?;
        if parsed.query().is_some() || parsed.fragment().is_some() || parsed.password().is_some() {
            return Err(invalid(
                "holds a password, a query or a fragment, which the store would not see: pass what it needs as options",
            ));
        }
        let (scheme, _) = Scheme::parse(&parsed).map_err(|error| {
            let why = match parsed.scheme() {
                "file" | "memory" => "has a host, which such a URL cannot have",
                "s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss" => "names no bucket",
                _ => "has a scheme that no store has",
            };
            invalid(why).with_source(error)
        })?;
        built_in(&scheme, url)?;
        check_options(&scheme, url, options)?;
        let wrong = |error| {
            Error::invalid(format!("cannot open `{url}`: check its address and its options"))
                .with_source(error)
        };
        let (store, path) = parse_url_opts(&parsed, options.iter().cloned()).map_err(wrong)?;
        let folder = parsed.path().ends_with('/') || parsed.path().is_empty();
        Ok(Self { store: store.into(), path, folder, name: url.to_owned() })
    }
}

/// A URL up to what may be secret.
fn shown(url: &str) -> &str {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let plain = &url[..end];
    // `scheme://user:password@host`: nothing is shown of the part that holds a password.
    match plain.split_once("://").and_then(|(_, rest)| rest.split('/').next()) {
        Some(host) if host.split_once('@').is_some_and(|(user, _)| user.contains(':')) => "the URL",
        _ => plain,
    }
}

fn built_in(scheme: &Scheme, url: &str) -> Result<()> {
    let (built_in, feature) = match scheme {
        Scheme::Local => (true, "object-store"),
        Scheme::AmazonS3 => (cfg!(feature = "aws"), "aws"),
        Scheme::GoogleCloudStorage => (cfg!(feature = "gcp"), "gcp"),
        Scheme::MicrosoftAzure => (cfg!(feature = "azure"), "azure"),
        Scheme::Http => (cfg!(feature = "http"), "http"),
        Scheme::Memory => {
            return Err(Error::invalid(format!(
                "`{url}` would name a new store without any table: pass yours to `StoredTable::new`"
            )));
        }
        _ => {
            return Err(Error::unsupported(format!(
                "`{url}`: no feature of mlops-core reads from such a store"
            )));
        }
    };
    if built_in {
        return Ok(());
    }
    Err(Error::unsupported(format!("`{url}`: turn on the feature `{feature}` of mlops-core")))
}

/// The store itself would ignore an option that it does not know.
fn check_options(scheme: &Scheme, url: &str, options: &[(String, String)]) -> Result<()> {
    let known = |key: &str| {
        let key = key.to_ascii_lowercase();
        match scheme {
            #[cfg(feature = "aws")]
            Scheme::AmazonS3 => key.parse::<object_store::aws::AmazonS3ConfigKey>().is_ok(),
            #[cfg(feature = "gcp")]
            Scheme::GoogleCloudStorage => key.parse::<object_store::gcp::GoogleConfigKey>().is_ok(),
            #[cfg(feature = "azure")]
            Scheme::MicrosoftAzure => key.parse::<object_store::azure::AzureConfigKey>().is_ok(),
            #[cfg(feature = "http")]
            Scheme::Http => key.parse::<object_store::ClientConfigKey>().is_ok(),
            _ => {
                drop(key);
                false
            }
        }
    };
    match options.iter().find(|(key, _)| !known(key)) {
        None => Ok(()),
        Some((key, _)) => Err(Error::invalid(format!(
            "the store of `{url}` has no option `{key}`: the options are those of the crate object_store, such as `aws_region`"
        ))),
    }
}
