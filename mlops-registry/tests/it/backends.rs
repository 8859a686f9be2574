//! Every back end passes the conformance suite. Those that need a server are told where it is by the
//! environment (`cargo xtask test` starts them); without it they say that they were left out.

use mlops_core::Result;
use mlops_registry::blocking::Registry;
use mlops_registry::{Builder, conformance};

#[cfg(any(feature = "aws", feature = "azure", feature = "postgres"))]
use crate::support::{fresh, server};

fn check(builder: impl Fn() -> Builder + Sync, location: &str) {
    conformance::check(|| -> Result<Registry> { Registry::open_with(builder(), location) }).unwrap();
}

#[test]
fn memory() {
    let store = std::sync::Arc::new(object_store::memory::InMemory::new());
    let log = mlops_registry::log::ObjectLog::new(
        store.clone(),
        mlops_registry::log::Capabilities::all(mlops_registry::log::Reach::Process),
    );
    let builder = mlops_registry::Registry::builder;
    conformance::check(|| Registry::open_parts(builder(), std::sync::Arc::new(log.clone()), store.clone()))
        .unwrap();
}

#[test]
fn local() {
    let folder = tempfile::tempdir().unwrap();
    check(mlops_registry::Registry::builder, folder.path().to_str().unwrap());
    let url = format!("file://{}", tempfile::tempdir().unwrap().path().display());
    check(mlops_registry::Registry::builder, &url);
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("sqlite:{}", folder.path().join("deep/registry.db").display());
    check(mlops_registry::Registry::builder, &location);
}

#[cfg(feature = "aws")]
#[test]
fn s3() {
    let Some(endpoint) = server("MLOPS_TEST_S3", "S3") else { return };
    let builder = || {
        mlops_registry::Registry::builder()
            .option("aws_endpoint", &endpoint)
            .option("aws_allow_http", "true")
            .option("aws_region", "us-east-1")
            .option("aws_access_key_id", "test")
            .option("aws_secret_access_key", "test")
    };
    check(builder, &format!("s3://mlops-test/{}", fresh()));
}

#[cfg(feature = "azure")]
#[test]
fn azure() {
    // The name is the one by which the emulator mode of the store itself asks for the server.
    if server("AZURITE_BLOB_STORAGE_URL", "Azure Blob Storage").is_none() {
        return;
    }
    let builder = || mlops_registry::Registry::builder().option("azure_storage_use_emulator", "true");
    check(builder, &format!("az://mlops-test/{}", fresh()));
}

#[cfg(feature = "postgres")]
#[test]
fn postgres() {
    let Some(address) = server("MLOPS_TEST_POSTGRES", "PostgreSQL") else { return };
    let folder = tempfile::tempdir().unwrap();
    let name = fresh();
    let artifacts = folder.path().to_str().unwrap();
    check(|| mlops_registry::Registry::builder().artifacts(artifacts).name(&name), &address);
}

#[cfg(feature = "postgres-tls")]
#[test]
fn postgres_over_tls() {
    use mlops_core::ErrorKind;
    let Some(address) = server("MLOPS_TEST_POSTGRES", "PostgreSQL over TLS") else { return };
    let Some(root) = server("MLOPS_TEST_POSTGRES_ROOT", "PostgreSQL over TLS") else { return };
    let folder = tempfile::tempdir().unwrap();
    let name = fresh();
    let builder =
        || mlops_registry::Registry::builder().artifacts(folder.path().to_str().unwrap()).name(&name);
    let open = |query: &str| Registry::open_with(builder(), &format!("{address}?{query}"));
    check(builder, &format!("{address}?sslmode=require&sslrootcert={root}"));
    // A certificate that nobody vouches for is refused, as are roots that are none and roots without TLS.
    let error = open("sslmode=require").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(format!("{error:#}").contains("certificate"), "{error:#}");
    for (query, part) in [
        ("sslmode=require&sslrootcert=/no/such", "want a PEM file of roots"),
        ("sslrootcert=/no/such", "needs `sslmode=verify-full`"),
    ] {
        let error = open(query).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
}
