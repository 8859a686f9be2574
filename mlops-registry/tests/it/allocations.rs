//! What a server asks for every request takes nothing from the allocator.

use mlops_core::ModelRef;
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, Expect};

use crate::support::register;

#[test]
fn resolving_an_alias_allocates_nothing() {
    let registry = Registry::open("memory:").unwrap();
    for model in ["fraud", "shop", "team/ranker"] {
        let id = register(&registry, model, model).unwrap();
        registry.commit(Draft::new("ann", "go").alias("champion", &id, Expect::Absent)).unwrap();
    }
    registry.commit(Draft::new("ann", "two shops").rename_model("shop", "shop-eu")).unwrap();
    let asked = ["fraud@champion", "shop-eu@champion", "shop@champion", "team/ranker@champion", "shop/1"];
    let asked = asked.map(|text| text.parse::<ModelRef>().unwrap());
    let resolve = || {
        for model in &asked {
            assert_eq!(registry.state().resolve(model).unwrap().id().version, 1);
        }
        assert!(registry.state().alias("shop", "champion").is_some());
        assert!(registry.state().alias("shop", "challenger").is_none());
    };
    resolve();
    assert_eq!(allocation_counter::measure(|| (0..100).for_each(|_| resolve())).count_total, 0);
}
