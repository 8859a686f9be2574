//! The URLs of tables.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme as Scheme, parse_url_opts};
use url::Url;

use crate::{Error, Result};

const EXAMPLES: &str = "`s3://bucket/table.parquet`, `gs://bucket/table.parquet`, `az://container/table.parquet`, \
                        `https://host/table.csv` or `file:///folder/table.arrow`";

/// Where a table is, and the store that holds it.
#[derive(Clone)]
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
        let has_user = !parsed.username().is_empty() && !takes_user(parsed.scheme());
        if parsed.query().is_some() || parsed.fragment().is_some() || parsed.password().is_some() || has_user
        {
            return Err(invalid(
                "holds a password, a query, a fragment or a user, which the store would not see: pass what it needs as \
                 options",
            ));
        }
        // What the store says of it shows the whole URL.
        let (scheme, _) = Scheme::parse(&parsed).map_err(|_| {
            let why = match parsed.scheme() {
                _ if Path::from_url_path(parsed.path()).is_err() => {
                    "has a path that no store takes, with an empty part (`//`), a part `..` or a byte that is no text"
                }
                "file" | "memory" => "has a host, which such a URL cannot have",
                "s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss" => "names no bucket",
                _ => "has a scheme that no store has",
            };
            invalid(why)
        })?;
        built_in(&scheme, url)?;
        check_options(&scheme, url, options)?;
        let open = |options: &[(String, String)]| parse_url_opts(&parsed, options.iter().cloned());
        let (store, path) = open(options).map_err(|error| refused(url, options, error, open))?;
        let folder = parsed.path().ends_with('/') || parsed.path().is_empty();
        Ok(Self { store: store.into(), path, folder, name: url.to_owned() })
    }
}

/// A URL, whether or not it parses, without what may be secret.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else { return url.to_owned() };
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    let host = plain.trim_start_matches('/').split('/').next().unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|c| c.is_ascii_digit());
    // A password may hold any sign, as `/` or `?`; where its `@` is missing it looks like a port.
    let has_password = host.split_once(':').is_some_and(|(_, port)| !is_port(port))
        || rest.matches('@').count() > host.matches('@').count();
    let has_user = host.contains('@') && !takes_user(scheme);
    if has_password || has_user { format!("{scheme}:...") } else { format!("{scheme}:{plain}") }
}

/// Whether the part before the `@` of an address is no user but a container.
fn takes_user(scheme: &str) -> bool {
    matches!(scheme, "az" | "abfs" | "abfss")
}

/// Why the store does not open: which option it does not take, and no secret.
fn refused<T>(
    url: &str,
    options: &[(String, String)],
    error: object_store::Error,
    open: impl Fn(&[(String, String)]) -> object_store::Result<T>,
) -> Error {
    let cause = error.to_string();
    let is_unread = |value: &str| cause.contains(&format!("failed to parse \"{value}\" as"));
    let unread: Vec<_> = (0..options.len()).filter(|place| is_unread(&options[*place].1)).collect();
    let opens_without = |place: &&usize| {
        let mut others = options.to_vec();
        others.remove(**place);
        open(&others).is_ok()
    };
    // Another option may have the same value.
    let guilty = if let [only] = &unread[..] { Some(only) } else { unread.iter().find(opens_without) };
    let wrong = match guilty.map(|place| &options[*place]) {
        Some((key, value)) => format!("the store of `{url}` does not take `{value}` for its option `{key}`"),
        None => format!("cannot open `{url}`: check its address and its options"),
    };
    let is_told = |(key, value): &(String, String)| {
        !value.is_empty() && cause.contains(value) && (is_secret(key) || shown(value) != *value)
    };
    let wrong = Error::invalid(wrong);
    if options.iter().any(is_told) { wrong } else { wrong.with_source(error) }
}

/// Whether the values of an option are secrets.
fn is_secret(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    let is_name = ["_id", "_file", "_enabled"].iter().any(|end| option.ends_with(end));
    !is_name && ["key", "secret", "token", "password", "sas"].iter().any(|part| option.contains(part))
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
