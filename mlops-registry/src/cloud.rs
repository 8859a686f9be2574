//! Buckets: the stores behind `s3:`, `gs:` and `az:`, and which options they know.

use std::sync::Arc;

use mlops_core::{Error, Result};
use object_store::ObjectStore;

use crate::store::shown;

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
        "`{}`: build mlops-registry with its feature `{}`",
        shown(location),
        kind.feature
    ))))
}

impl Kind {
    #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
    fn open(&self, location: &str, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
        use object_store::prefix::PrefixStore;
        let url = url::Url::parse(location).map_err(|error| {
            let shown = shown(location);
            Error::invalid(format!(
                "`{shown}` is no address of a bucket: want `{}://bucket/prefix`",
                self.scheme
            ))
            .with_source(error)
        })?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            // The location is shown in errors and spans, and written into the logs of other registries.
            return Err(Error::invalid(format!(
                "the address of a bucket of `{}:` holds a user, a key or a query: give what the store needs by \
                 `Builder::option`",
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
        let open = |options: &[(String, String)]| object_store::parse_url_opts(&url, options.iter().cloned());
        let (store, prefix) = open(options).map_err(|error| refused(location, options, error, open))?;
        Ok(Arc::new(PrefixStore::new(store, prefix)))
    }

    #[cfg(not(any(feature = "aws", feature = "azure", feature = "gcp")))]
    fn open(&self, location: &str, _: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
        Err(Error::unsupported(format!(
            "`{}`: build mlops-registry with its feature `{}`",
            shown(location),
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

/// Why a store cannot be opened: it names the option without which it can.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
#[cold]
fn refused<T>(
    location: &str,
    options: &[(String, String)],
    error: object_store::Error,
    open: impl Fn(&[(String, String)]) -> object_store::Result<T>,
) -> Error {
    let cause = error.to_string();
    let opens_without = |left_out: usize| {
        let mut others = options.to_vec();
        others.remove(left_out);
        open(&others).is_ok()
    };
    let is_named = |value: &str| cause.contains(&format!("\"{value}\""));
    let guilty = (0..options.len())
        .find(|place| opens_without(*place))
        .or_else(|| options.iter().position(|(_, value)| is_named(value)));
    let holds_secret =
        options.iter().any(|(name, value)| is_secret(name) && !value.is_empty() && cause.contains(value));
    let of = shown(location);
    let (what, may_show) = match guilty.map(|place| &options[place]) {
        None => (format!("cannot open `{of}`: check its address and its options"), true),
        Some((name, value)) => {
            let wanted = [
                ("as boolean", "want `true` or `false`"),
                ("as Duration", "want a time with its unit, such as `30 seconds`"),
                ("as usize", "want a whole number"),
                ("as u32", "want a whole number"),
                ("Missing AccessKeyId", "give `aws_access_key_id` too"),
                ("Missing SecretAccessKey", "give `aws_secret_access_key` too"),
            ];
            let wanted = wanted.iter().find(|(kind, _)| cause.ends_with(kind));
            let wanted = wanted.map_or("mend it, or leave it out", |(_, wanted)| wanted);
            // Values of URLs may hold a password, as that of a proxy.
            let value =
                if is_secret(name) { "not shown here".to_owned() } else { format!("`{}`", shown(value)) };
            (format!("`{of}` does not open with its option `{name}`, {value}: {wanted}"), !is_secret(name))
        }
    };
    let refused = Error::invalid(what);
    if may_show && !holds_secret { refused.with_source(error) } else { refused }
}

/// Whether the values of an option are secrets.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
fn is_secret(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    let is_name = ["_id", "_file", "_enabled"].iter().any(|end| option.ends_with(end));
    !is_name && ["key", "secret", "token", "password", "sas"].iter().any(|part| option.contains(part))
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
        assert!(open("ftp", "ftp://bucket/models", &[]).is_none());
    }

    #[test]
    fn a_value_that_is_refused_is_told_with_its_option_unless_it_is_secret() {
        let cases = [
            ("s3", "aws_allow_http", "perhaps", "option `aws_allow_http`, `perhaps`: want `true` or `false`"),
            ("s3", "timeout", "soon", "option `timeout`, `soon`: want a time with its unit"),
            ("s3", "pool_max_idle_per_host", "-1", "`-1`: want a whole number"),
            (
                "s3",
                "aws_secret_access_key",
                "hunter2",
                "`aws_secret_access_key`, not shown here: give `aws_access_key_id` too",
            ),
            (
                "s3",
                "aws_access_key_id",
                "AKIA",
                "`aws_access_key_id`, `AKIA`: give `aws_secret_access_key` too",
            ),
            ("s3", "proxy_url", "http://ann:hunter2@", "option `proxy_url`, `http:...`"),
            ("az", "azure_allow_http", "perhaps", "option `azure_allow_http`, `perhaps`: want"),
            ("az", "azure_storage_account_key", "hunter2!", "`azure_storage_account_key`, not shown here"),
            ("gs", "google_service_account_key", "\"hunter2\"", "`google_service_account_key`, not shown"),
        ];
        let is_built_in = |scheme| KINDS.iter().any(|kind| kind.scheme == scheme && kind.built_in);
        for (scheme, name, value, part) in cases.into_iter().filter(|(scheme, ..)| is_built_in(*scheme)) {
            let mut options = vec![(name.to_owned(), value.to_owned())];
            if scheme == "az" {
                options.insert(0, ("azure_storage_account_name".to_owned(), "ann".to_owned()));
            }
            let error = open(scheme, &format!("{scheme}://bucket/models"), &options).unwrap().unwrap_err();
            assert_eq!(error.kind(), mlops_core::ErrorKind::Invalid);
            let text = format!("{error:#} {error:?}");
            assert!(text.contains(part) && !text.contains("hunter2"), "{text}");
        }
        for kind in KINDS.iter().filter(|kind| kind.built_in) {
            for location in ["ann:hunter2/models", "bucket/models?sig=hunter2", "ann:hunter2@bucket"] {
                let location = format!("{}://{location}", kind.scheme);
                let error = open(kind.scheme, &location, &[]).unwrap().unwrap_err();
                assert!(!format!("{error:#} {error:?}").contains("hunter2"), "{error:#}");
            }
        }
    }

    #[cfg(feature = "azure")]
    #[test]
    fn no_credential_is_in_what_is_printed_for_debugging() {
        use crate::builder::Builder;
        use futures_util::FutureExt as _;
        // The Base64 of `hunter2`, which the store holds as bytes.
        for (name, secret) in [
            ("azure_storage_account_key", "aHVudGVyMg=="),
            ("azure_storage_sas_key", "sig=hunter2"),
            ("azure_storage_token", "hunter2"),
        ] {
            let builder = || Builder::new().option("azure_storage_account_name", "ann").option(name, secret);
            let opened = builder().unread("az://bucket/models").now_or_never().unwrap().unwrap();
            let mut told = format!("{:?} {opened:?} {:?}", builder(), opened.blobs());
            assert!(told.contains(name) && told.contains("ObjectLog") && told.contains("Blobs"), "{told}");
            told.retain(|c| !c.is_whitespace());
            for secret in ["hunter2", "aHVudGVyMg", "104,117,110"] {
                assert!(!told.contains(secret), "{told}");
            }
        }
    }
}
