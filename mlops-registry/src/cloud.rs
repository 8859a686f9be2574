//! Buckets: the stores behind `s3:`, `gs:` and `az:`, and which options they know.

use std::sync::Arc;

use mlops_core::{Error, Result};
use object_store::ObjectStore;

/// A kind of bucket.
struct Kind {
    scheme: &'static str,
    feature: &'static str,
    built_in: bool,
    /// The options that most programs need, for messages.
    #[cfg_attr(
        not(any(feature = "aws", feature = "azure", feature = "gcp")),
        expect(dead_code, reason = "not asked")
    )]
    options: &'static [&'static str],
}

const KINDS: [Kind; 3] = [
    Kind {
        scheme: "s3",
        feature: "aws",
        built_in: cfg!(feature = "aws"),
        options: &[
            "aws_region",
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_session_token",
            "aws_web_identity_token_file",
            "aws_role_arn",
            "aws_endpoint",
            "aws_allow_http",
            "aws_virtual_hosted_style_request",
            "aws_server_side_encryption",
            "aws_sse_kms_key_id",
            "timeout",
            "proxy_url",
        ],
    },
    Kind {
        scheme: "gs",
        feature: "gcp",
        built_in: cfg!(feature = "gcp"),
        options: &[
            "google_service_account",
            "google_service_account_key",
            "google_application_credentials",
            "google_base_url",
            "timeout",
            "proxy_url",
        ],
    },
    Kind {
        scheme: "az",
        feature: "azure",
        built_in: cfg!(feature = "azure"),
        options: &[
            "azure_storage_account_name",
            "azure_storage_account_key",
            "azure_storage_sas_token",
            "azure_client_id",
            "azure_client_secret",
            "azure_tenant_id",
            "azure_federated_token_file",
            "azure_endpoint",
            "azure_allow_http",
            "timeout",
            "proxy_url",
        ],
    },
];

/// The store at an address of a bucket; `None` if no kind of bucket has this scheme.
pub(crate) fn open(
    scheme: &str,
    location: &str,
    options: &[(String, String)],
) -> Option<Result<Arc<dyn ObjectStore>>> {
    let kind = KINDS.iter().find(|kind| kind.scheme == scheme)?;
    if kind.built_in {
        return Some(kind.open(location, options));
    }
    Some(Err(Error::unsupported(format!(
        "`{location}`: build mlops-registry with its feature `{}`",
        kind.feature
    ))))
}

impl Kind {
    #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
    fn open(&self, location: &str, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
        use object_store::prefix::PrefixStore;
        type Cause = Box<dyn std::error::Error + Send + Sync>;
        let wrong = |error: Cause| {
            Error::invalid(format!("cannot open `{location}`: check its address and its options"))
                .with_source(error)
        };
        let url = url::Url::parse(location).map_err(|error| wrong(error.into()))?;
        if !url.username().is_empty() || url.password().is_some() {
            // The location is shown in errors and spans, and written into the logs of other registries.
            return Err(Error::invalid(format!(
                "the address of a bucket of `{}:` holds a user or a key: give it by `Builder::option`",
                self.scheme
            )));
        }
        // The store itself would ignore an option that it does not know.
        if let Some((unknown, _)) = options.iter().find(|(name, _)| !self.knows(name)) {
            let known: Vec<_> = self.options.iter().map(|name| format!("`{name}`")).collect();
            return Err(Error::invalid(format!(
                "a bucket of `{}:` has no option `{}`: want {}, or another one that `object_store` lists for it",
                self.scheme,
                unknown.escape_debug(),
                known.join(", ")
            )));
        }
        let opened = object_store::parse_url_opts(&url, options.iter().cloned());
        let (store, prefix) = opened.map_err(|error| wrong(error.into()))?;
        Ok(Arc::new(PrefixStore::new(store, prefix)))
    }

    #[cfg(not(any(feature = "aws", feature = "azure", feature = "gcp")))]
    fn open(&self, location: &str, _: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
        Err(Error::unsupported(format!(
            "`{location}`: build mlops-registry with its feature `{}`",
            self.feature
        )))
    }

    #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
    fn knows(&self, option: &str) -> bool {
        let option = option.to_ascii_lowercase();
        match self.scheme {
            #[cfg(feature = "aws")]
            "s3" => option.parse::<object_store::aws::AmazonS3ConfigKey>().is_ok(),
            #[cfg(feature = "gcp")]
            "gs" => option.parse::<object_store::gcp::GoogleConfigKey>().is_ok(),
            #[cfg(feature = "azure")]
            "az" => option.parse::<object_store::azure::AzureConfigKey>().is_ok(),
            _ => false,
        }
    }
}

#[cfg(all(test, any(feature = "aws", feature = "azure", feature = "gcp")))]
mod tests {
    use super::*;

    #[test]
    fn options_that_a_bucket_does_not_know_are_refused_with_those_that_it_knows() {
        for kind in KINDS.iter().filter(|kind| kind.built_in) {
            let location = format!("{}://bucket/models", kind.scheme);
            for option in kind.options {
                assert!(kind.knows(option) && kind.knows(&option.to_uppercase()), "{option}");
            }
            for option in ["aws_acess_key_id", "endpont", "", "Region "] {
                let options = [(option.to_owned(), "hunter2".to_owned())];
                let error = open(kind.scheme, &location, &options).unwrap().unwrap_err();
                assert_eq!(error.kind(), mlops_core::ErrorKind::Invalid);
                let text = format!("{error:#}");
                let known = format!("has no option `{option}`: want `{}`", kind.options[0]);
                assert!(text.contains(&known) && !text.contains("hunter2"), "{text}");
            }
        }
    }

    #[cfg(feature = "aws")]
    #[test]
    fn options_that_a_bucket_knows_open_it() {
        let options =
            [("region", "eu-central-1"), ("AWS_ENDPOINT", "http://localhost:1"), ("allow_http", "true")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        open("s3", "s3://bucket/models", &options).unwrap().unwrap();
        let wrong = [("aws_allow_http".to_owned(), "perhaps".to_owned())];
        assert!(open("s3", "s3://bucket/models", &wrong).unwrap().is_err());
        assert!(open("ftp", "ftp://bucket/models", &[]).is_none());
    }
}
