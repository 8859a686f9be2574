//! A linearizable, auditable model registry without a server, on any storage.
//!
//! ```
//! use mlops_core::ModelRef;
//! use mlops_registry::{At, Draft, Expect, NewVersion, blocking::Registry};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let registry = Registry::open(folder.path().to_str().unwrap())?;
//!
//! // A version: its files and what is known of it. The key makes a second try harmless.
//! let may = NewVersion::new("shop").file("model.bin", "weights of May").metric("auc", 0.93);
//! let receipt = registry.commit(Draft::new("trainer", "nightly").key("may").register(may))?;
//! let may = receipt.version().unwrap();
//!
//! // Approved and promoted in one commit, if nobody else was faster.
//! let champion: ModelRef = "shop@champion".parse()?;
//! registry.commit(Draft::new("ann", "looks right").approve(may).alias("champion", may, Expect::Absent))?;
//!
//! // Resolved without I/O; its bytes are checked before they are handed out.
//! assert_eq!(registry.state().resolve(&champion)?.id().to_string(), "shop/1");
//! assert_eq!(registry.fetch(may)?.read("model.bin")?, "weights of May");
//!
//! // The next one turns out bad: back to what was after the second commit.
//! let june = NewVersion::new("shop").file("model.bin", "weights of June").metric("auc", 0.95);
//! let receipt = registry.commit(Draft::new("trainer", "nightly").key("june").register(june))?;
//! let june = receipt.version().unwrap();
//! registry.commit(Draft::new("ann", "better").approve(june).alias("champion", june, Expect::Version(1)))?;
//! registry.commit(Draft::new("bob", "complaints").reject(june).roll_back("shop", At::Sequence(2)))?;
//! assert_eq!(registry.state().resolve(&champion)?.id(), may);
//! assert_eq!(registry.history(5, 1)?[0].reason, "complaints");
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! The same without blocking, on any executor:
//!
//! ```
//! use mlops_registry::{At, Draft, Expect, NewVersion, Registry};
//!
//! # mlops_core::driver::Driver::new()?.wait(async {
//! let registry = Registry::open("memory:").await?;
//! let version = NewVersion::new("shop").file("model.bin", "weights");
//! let receipt = registry.commit(Draft::new("trainer", "nightly").register(version)).await?;
//! let version = receipt.version().unwrap();
//! let promote = Draft::new("ann", "looks right").approve(version).alias("champion", version, Expect::Absent);
//! registry.commit(promote).await?;
//! assert_eq!(registry.state().resolve(&"shop@champion".parse()?)?.id(), version);
//! assert_eq!(registry.read(version, "model.bin").await?, "weights");
//! registry.commit(Draft::new("ann", "too early").roll_back("shop", At::Sequence(1))).await?;
//! assert!(registry.state().alias("shop", "champion").is_none());
//! # Ok::<(), mlops_core::Error>(()) })?;
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! ```text
//!  Draft --validate--> Commit --append if absent--> log/00000000000000000007.json --apply--> Snapshot
//!    files ----------> blob/<sha256>/<upload>                                        readers share it
//! ```
//!
//! # What is where
//! - [`Registry`]: open, commit, refresh, fetch; [`blocking::Registry`] without futures.
//! - [`Draft`], [`NewVersion`], [`Receipt`], [`LeftBehind`]: ask for a commit, and what came of it.
//! - [`Snapshot`]: the state as of one commit, and the pure core (`validate`, `apply`).
//! - [`Query`], [`Lineage`], [`ModelCard`]: find versions, see where they come from, tell people.
//! - [`Draft::delete_model`], [`Draft::restore_model`], [`Draft::rename_model`]: models come and go, their past stays.
//! - [`Registry::copy_of`]: a version for another model or registry, its origin recorded.
//! - [`Policy`], [`Gate`], [`Stages`]: rules as data, checked inside the commit.
//! - [`Follower`]: refresh in the background; [`Watch`]: read the log as a feed; [`Registry::sweep`] removes what nobody needs.
//! - [`Commit`], [`Change`], [`CommitQuery`]: the log that is the truth and the audit, and who did what.
//! - [`log`]: the trait of a back end and what there is of them; [`doctor`] finds out whether one keeps its
//!   promises and whether anything is damaged.
//!
//! # How it keeps its promises
//! The registry is an append-only log of numbered entries on a storage that can create what is absent. A writer
//! uploads its files under fresh names, reads the log to its end, checks its draft against the state, and
//! creates the next entry. Whoever creates it has won; the others look at the new state and try again or give
//! up with a `Conflict`. An answer that got lost is found by reading the entry back. No clock, lock or lease is
//! part of it. Each entry holds the digest of the one before it, so [`Snapshot::head`], noted elsewhere, proves
//! the whole log. Opening starts at a checkpoint, which saves the reading; only one whose digest the next entry of
//! the log states is believed, so whoever forges it has to forge the log. That a writer stated the digest of a false
//! state is found by [`doctor`] alone, since finding it takes the whole log.
//!
//! An entry that gets lost with later ones behind it is a hole, which no reader can pass. Opening and sweeping list
//! the log and refuse with `Data` before anything is served, written or removed; restore the entry from a backup.
//!
//! # A release with rules
//! ```
//! use mlops_registry::{At, Draft, Expect, Gate, NewVersion, Policy, Stages, blocking::Registry};
//!
//! let registry = Registry::open("memory:")?;
//! let rules = Policy::default()
//!     .four_eyes()
//!     .gate("champion", Gate::Approved)
//!     .gate("champion", Gate::better("auc", "champion", 0.0))
//!     .stages(Stages::new("dev").allow("dev", "production"));
//! registry.commit(Draft::new("lead", "house rules").policy("shop", rules))?;
//!
//! let version = NewVersion::new("shop").file("model.bin", "weights").metric("auc", 0.93);
//! let receipt = registry.commit(Draft::new("trainer", "nightly").register(version))?;
//! let id = receipt.version().unwrap();
//! let release = Draft::new("trainer", "mine").approve(id).alias("champion", id, Expect::Absent);
//! assert!(registry.commit(release).unwrap_err().to_string().contains("four eyes"));
//! let release = Draft::new("ann", "looks right").approve(id).stage(id, "dev", "production");
//! registry.commit(release.alias("champion", id, Expect::Absent))?;
//!
//! let state = registry.snapshot();
//! assert_eq!(state.served_at("shop", "champion", At::Sequence(3))?.unwrap().id(), id);
//! registry.commit(Draft::new("bob", "complaints").roll_back_alias("shop", "champion", At::Sequence(2)))?;
//! assert!(registry.state().alias("shop", "champion").is_none());
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! # In a cloud
//! A bucket holds all of a registry, and its store does the compare-and-set: nothing else runs. The program needs the
//! feature `aws` (`gcp`, `azure`), and the right to read, write, list and delete below the prefix.
//!
//! ```no_run
//! use mlops_core::Result;
//! use mlops_registry::{Draft, Expect, NewVersion, blocking::Registry};
//!
//! fn main() -> Result<()> {
//!     let secret = std::env::var("AWS_SECRET_ACCESS_KEY").expect("the secret is in the environment");
//!     // No `AWS_...` variable is read but by the program: what is not given here, the bucket does not find there.
//!     let builder = Registry::builder()
//!         .option("aws_region", "eu-central-1")
//!         .option("aws_access_key_id", "AKIA...")
//!         .option("aws_secret_access_key", secret)
//!         .cache("/var/cache/models", 10 << 30);
//!     let registry = Registry::open_with(builder, "s3://company-models/registry")?;
//!     let version = NewVersion::new("shop").file_at("model.onnx", "target/model.onnx").metric("auc", 0.93);
//!     let receipt = registry.commit(Draft::new("trainer", "nightly").key("2026-11-22").register(version))?;
//!     let id = receipt.version().expect("a version was registered");
//!     registry.commit(Draft::new("ann", "looks right").approve(id).alias("champion", id, Expect::Any))
//!         .map(drop)
//! }
//! ```
//!
//! On a machine of the cloud leave the keys out: the store asks the machine's metadata. What speaks S3's protocol
//! elsewhere is named by `aws_endpoint`, with `aws_allow_http` if it has no TLS. Without blocking, on tokio, which the
//! network back ends need:
//!
//! ```no_run
//! use mlops_core::ModelSource as _;
//! use mlops_registry::Registry;
//!
//! #[tokio::main]
//! async fn main() -> mlops_core::Result<()> {
//!     let builder = Registry::builder().option("aws_region", "eu-central-1").existing();
//!     let registry = builder.open("s3://company-models/registry").await?;
//!     let champion = registry.resolve(&"shop@champion".parse()?).await?;
//!     let package = registry.fetch(&champion).await?;
//!     println!("{champion} has {} files", package.files.len());
//!     Ok(())
//! }
//! ```
//!
//! With PostgreSQL (features `postgres-tls`, and `aws` for this bucket) the log is a table of the database, and the
//! files lie in a bucket or a folder that all who read them can reach:
//!
//! ```no_run
//! use mlops_registry::blocking::Registry;
//!
//! fn main() -> mlops_core::Result<()> {
//!     let password = std::env::var("REGISTRY_PASSWORD").expect("the password is in the environment");
//!     let builder = Registry::builder()
//!         .name("team-a")
//!         .artifacts("s3://company-models/artifacts")
//!         .option("aws_region", "eu-central-1");
//!     let database = format!("postgres://registry:{password}@db.company.example/models?sslmode=verify-full");
//!     let registry = Registry::open_with(builder, &database)?;
//!     println!("{} commits", registry.snapshot().sequence());
//!     Ok(())
//! }
//! ```
//!
//! # Crate features
//! | feature | what it adds |
//! |---|---|
//! | `conformance` | checks for a back end of your own |
//! | `local` (default) | folders on a local disk |
//! | `aws`, `azure`, `gcp` | cloud stores |
//! | `postgres`, `postgres-tls` | the log in PostgreSQL, and TLS to it |
//! | `runtime` | a thread for the I/O of the blocking face; the network back ends turn it on |
//! | `sqlite` | the log in SQLite, built in |
//! | `telemetry` | spans by `tracing` and counters by `metrics`, see below |
//!
//! Folders, SQLite, PostgreSQL, moto (S3) and Azurite (Azure) pass the conformance suite in the tests. Google Cloud
//! Storage takes the same path through `object_store`, but was never tested against a server: no emulator has both its
//! XML interface and conditional puts. Ask [`doctor`] about your bucket before you rely on it.
//!
//! # Telemetry
//! With the feature `telemetry` a registry tells the facades `metrics` and `tracing` what it does; the host chooses the
//! exporters. The label `registry` is the location, without user or password. Resolving an alias from
//! [`Registry::state`] tells nothing and costs nothing.
//!
//! | name | labels | what |
//! |---|---|---|
//! | `mlops_registry_opens_total`, `mlops_registry_open_seconds` | `registry`, `outcome` | openings, and how long each took from the connected storage to the whole state |
//! | `mlops_registry_refreshes_total`, `mlops_registry_refresh_seconds` | `registry`, `outcome` | readings of what others committed, also by followers and within the other calls |
//! | `mlops_registry_commits_read_total` | `registry` | commits that a refresh brought |
//! | `mlops_registry_sequence` | `registry` | the place of the last known commit, a gauge: two processes that stay apart do not refresh |
//! | `mlops_registry_commits_total`, `mlops_registry_commit_seconds` | `registry`, `outcome` | commits: `committed`, `replayed` for one whose key was done before, `conflict` for an expectation or a gate that did not hold |
//! | `mlops_registry_races_lost_total` | `registry` | tries of a commit at a place that another writer took; each is tried again |
//! | `mlops_registry_uploaded_bytes_total` | `registry` | bytes of files that commits uploaded |
//! | `mlops_registry_fetches_total`, `mlops_registry_fetch_seconds` | `registry`, `outcome` | versions and files that were fetched or read |
//! | `mlops_registry_fetched_bytes_total` | `registry` | their bytes, those that the cache had too |
//! | `mlops_registry_sweeps_total`, `mlops_registry_sweep_seconds` | `registry`, `outcome` | sweeps |
//! | `mlops_registry_swept_bytes_total` | `registry` | bytes that sweeps removed |
//! | `mlops_registry_checkups_total`, `mlops_registry_checkup_seconds` | `registry`, `outcome` | runs of the doctor: `healthy` or `unhealthy` |
//!
//! Names that end in `_seconds` are histograms, by `registry` alone. Each name is described to the exporter whenever a
//! registry is opened, for those that show such texts. `outcome` is `ok` if nothing else is
//! said, or the kind of the error: `conflict`, `not_found`, `unavailable`, `invalid`, `data`, `unsupported`, `internal`.
//!
//! The spans are `registry_open`, `registry_commit` (with `actor`, and `attempts` if one was not enough), `registry_fetch`
//! (with `version`), `registry_sweep` and `registry_doctor` of level INFO, and `registry_refresh` of level DEBUG, each with
//! `registry`.
#![forbid(unsafe_code)]

pub mod blocking;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod doctor;
pub mod log;
pub mod name;
pub mod onnx;
pub mod state;

mod blobs;
mod builder;
mod cache;
mod card;
mod change;
mod cloud;
mod commit;
mod commit_query;
mod content;
mod copy;
mod download;
mod draft;
mod follow;
mod format;
mod gate;
mod ids;
mod lineage;
mod many;
mod measure;
mod new_version;
mod pickle;
mod policy;
mod prepare;
mod registry;
mod roll_back;
mod search;
mod source;
mod store;
mod sweep;
mod tagged;
mod telemetry;
mod watch;
mod write;

pub use builder::Builder;
pub use card::{CardFile, CardService, ModelCard};
pub use change::{Approval, Change, CopyOf, Expect, FileRecord, VersionRecord};
pub use commit::Commit;
pub use commit_query::CommitQuery;
pub use draft::{Draft, Receipt};
pub use follow::Follower;
pub use format::Format;
pub use gate::{Gate, GateResult};
pub use ids::UploadId;
pub use lineage::{Lineage, Origin};
pub use mlops_core::{Error, ErrorKind, Result};
pub use new_version::NewVersion;
pub use policy::{Policy, Stages};
pub use registry::Registry;
pub use roll_back::LeftBehind;
pub use search::Query;
pub use state::{At, Model, Snapshot, Version};
pub use sweep::Swept;
pub use watch::Watch;
