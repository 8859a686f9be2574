use examples::canary::run;
use mlops_core::ModelVersion;

fn told(weights: [f64; 2]) -> (ModelVersion, Vec<String>) {
    let mut lines = Vec::new();
    let champion = run(weights, &mut |line| lines.push(line)).unwrap();
    (champion, lines)
}

#[test]
fn a_better_challenger_is_promoted_by_its_alias_through_a_kill() {
    let (champion, lines) = told([0.8, -1.5]);
    let [advanced, promoted, end] = &lines[..] else { panic!("{lines:?}") };
    assert!(advanced.contains("advance: no guardrail objects: step 2 gives 0.5"), "{advanced}");
    assert!(
        promoted.contains("promote: all steps are done and every metric is shown to be better"),
        "{promoted}"
    );
    assert_eq!(end, "shop/2 answers, alias champion is shop/2");
    assert_eq!(champion, ModelVersion::new("shop", 2));
}

#[test]
fn a_worse_challenger_is_rolled_back_and_rejected() {
    let (champion, lines) = told([-0.8, 1.5]);
    let [.., rolled_back, end] = &lines[..] else { panic!("{lines:?}") };
    assert!(rolled_back.contains("roll_back: squared_error of the challenger is worse"), "{rolled_back}");
    assert_eq!(end, "shop/1 answers, alias champion is shop/1");
    assert_eq!(champion, ModelVersion::new("shop", 1));
}
