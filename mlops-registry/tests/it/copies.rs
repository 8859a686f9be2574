//! Versions that are copied within a registry and from one to another.

use std::fs;

use mlops_core::{Digest, ErrorKind};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, NewVersion};

use crate::artifacts::big;
use crate::support::{open, tree};

#[test]
fn a_version_is_copied_with_its_bytes_and_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let (staging, production) =
        (open(&folder.path().join("staging")), open(&folder.path().join("production")));
    let commit = |registry: &Registry, version: NewVersion| {
        let receipt = registry.commit(Draft::new("t", "x").register(version)).unwrap();
        receipt.version().unwrap().clone()
    };
    let base = commit(&staging, NewVersion::new("base").file("m", "base"));
    let version =
        NewVersion::new("shop").file("big.bin", big()).file("small", "s").metric("auc", 0.9).parent(base);
    let id = commit(&staging, version);
    staging
        .commit(Draft::new("t", "x").measure(&id, "psi", 0.1).tag(&id, "market", "eu").approve(&id))
        .unwrap();

    // Within the registry nothing is uploaded, and the copy descends from the original.
    let before = tree(&folder.path().join("staging/blob"));
    let copied = commit(&staging, staging.copy_of(&id, "shop-eu").unwrap());
    assert_eq!(tree(&folder.path().join("staging/blob")), before);
    let state = staging.snapshot();
    let (from, to) = (state.version(&id).unwrap(), state.version(&copied).unwrap());
    assert_eq!(to.record.files, from.record.files);
    assert_eq!((&to.metrics, &to.tags), (&from.metrics, &from.tags));
    assert_eq!(to.approval, mlops_registry::Approval::Pending);
    assert_eq!(to.record.copy_of.as_ref().unwrap().to_string(), "shop/1");
    assert_eq!(state.lineage(&copied).unwrap().ancestors.len(), 2);
    assert!(state.card(&copied).unwrap().to_markdown().contains("| Copy of | shop/1 |"));

    // One that is opened anew, its place written in another way, is the same one.
    let anew = open(&folder.path().join("third/../staging"));
    let again = commit(&anew, staging.copy_of(&id, "shop-eu").unwrap());
    assert_eq!(anew.snapshot().version(&again).unwrap().record.copy_of.as_ref().unwrap().registry, None);

    // To another one the bytes go along, checked; with a key twice is once.
    let draft = || Draft::new("t", "x").key("copy").register(staging.copy_of(&id, "shop").unwrap());
    let receipt = production.commit(draft()).unwrap();
    assert!(production.commit(draft()).unwrap().replayed);
    let there = receipt.version().unwrap();
    assert_eq!(production.read(there, "big.bin").unwrap(), big());
    assert_eq!(production.read(there, "small").unwrap(), "s");
    let state = production.snapshot();
    let origin = state.version(there).unwrap().record.copy_of.clone().unwrap();
    assert_eq!(origin.version, id);
    assert_eq!(origin.registry, Some(folder.path().join("staging").to_str().unwrap().to_owned()));
    assert!(state.lineage(there).unwrap().to_mermaid().contains("copy of shop/1 of"));
    assert!(production.doctor(no_races()).unwrap().is_healthy());

    // Damage does not travel.
    let third = open(&folder.path().join("third"));
    let blobs = folder.path().join("staging/blob");
    let damaged =
        tree(&blobs).into_iter().find(|path| path.starts_with(&Digest::of(big()).to_string())).unwrap();
    let mut bytes = big();
    bytes[9 << 20] ^= 1;
    fs::write(blobs.join(damaged), bytes).unwrap();
    let draft = Draft::new("t", "x").register(staging.copy_of(&id, "shop").unwrap());
    let error = third.commit(draft).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("of the registry that is copied from is damaged"), "{error}");
    assert_eq!(third.snapshot().sequence(), 0);
    // What is gone cannot be copied, and a pickle has to be allowed again.
    staging.commit(Draft::new("t", "x").delete(&copied).purge(&copied)).unwrap();
    assert_eq!(staging.copy_of(&copied, "a").unwrap_err().kind(), ErrorKind::NotFound);
    let pickle = NewVersion::new("p").file("m", &b"\x80\x04\x95\0\0\0\0\0\0\0\0N."[..]).allow_pickle();
    let pickle = commit(&staging, pickle);
    let copy = || staging.copy_of(&pickle, "p").unwrap();
    assert!(third.commit(Draft::new("t", "x").register(copy())).is_err());
    third.commit(Draft::new("t", "x").register(copy().allow_pickle())).unwrap();
}

fn no_races() -> mlops_registry::doctor::Checkup {
    let mut checkup = mlops_registry::doctor::Checkup::default();
    checkup.races = 0;
    checkup
}

#[cfg(feature = "postgres")]
#[test]
fn a_copy_knows_two_postgres_databases_apart() {
    let Some(address) = crate::support::server("MLOPS_TEST_POSTGRES", "PostgreSQL") else { return };
    // Two databases of one cluster, in each the registry that is not named.
    let base = crate::support::fresh();
    let names = ["staging", "production"].map(|name| format!("{name}_{base}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        for name in &names {
            client.batch_execute(&format!("CREATE DATABASE \"{name}\"")).await.unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let server = address.rsplit_once('/').unwrap().0;
    let open = |name: &String| {
        let artifacts = folder.path().join(name);
        let builder = mlops_registry::Registry::builder().artifacts(artifacts.to_str().unwrap());
        Registry::open_with(builder, &format!("{server}/{name}")).unwrap()
    };
    let [staging, production] = [&names[0], &names[1]].map(open);
    let commit = |registry: &Registry, version: NewVersion| {
        let receipt = registry.commit(Draft::new("t", "x").register(version)).unwrap();
        receipt.version().unwrap().clone()
    };
    // Both have a shop/1 of their own, so that one could be taken for the other.
    commit(&production, NewVersion::new("shop").file("m", "other"));
    let id = commit(&staging, NewVersion::new("shop").file("m", "weights"));
    let there = commit(&production, staging.copy_of(&id, "shop").unwrap());
    assert_eq!(there.version, 2);
    assert_eq!(production.read(&there, "m").unwrap(), "weights");
    let state = production.snapshot();
    let origin = state.version(&there).unwrap().record.copy_of.clone().unwrap();
    let host = server.rsplit_once('@').unwrap().1;
    let place = format!("postgres registry `default` of database `{}` on {host}", names[0]);
    assert_eq!((origin.version, origin.registry), (id.clone(), Some(place)));
    assert!(state.lineage(&there).unwrap().ancestors.is_empty());
    // The same database, opened anew and written otherwise, is the same registry.
    let anew = open(&names[0]);
    let copied = commit(&anew, staging.copy_of(&id, "shop-eu").unwrap());
    let state = anew.snapshot();
    assert_eq!(state.version(&copied).unwrap().record.copy_of.as_ref().unwrap().registry, None);
    assert!(state.lineage(&copied).unwrap().ancestors.contains(&id));
}
