//! From an artifact back to everything that it was made of.

use super::{Run, StepRecord};
use crate::Digest;

impl Run {
    /// The steps that the artifact with this digest was made by, in the order in which they ran: the step
    /// that gave it last, everything it took before. Empty if no step of this run gave it.
    ///
    /// Cost: linear in the number of inputs of all steps.
    ///
    /// ```
    /// use mlops_core::pipeline::{Pipeline, Runner};
    /// use mlops_core::SystemClock;
    ///
    /// let mut p = Pipeline::new("lineage");
    /// let a = p.step("a", || Ok(1_u32), ());
    /// let _b = p.step("b", || Ok(2_u32), ());
    /// let c = p.step("c", |a: &u32| Ok(a + 10), a);
    /// let done = Runner::new(SystemClock::new()).run(&p, "1")?;
    /// let names: Vec<_> = done.run.lineage(&done.digest(c)?).iter().map(|step| &*step.name).collect();
    /// assert_eq!(names, ["a", "c"]);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn lineage(&self, artifact: &Digest) -> Vec<&StepRecord> {
        let Some(last) =
            self.steps.iter().rposition(|step| step.outputs.iter().any(|output| output.digest == *artifact))
        else {
            return Vec::new();
        };
        let mut wanted = std::collections::BTreeSet::new();
        let mut found = Vec::new();
        for (index, step) in self.steps[..=last].iter().enumerate().rev() {
            if index == last || step.outputs.iter().any(|output| wanted.contains(&output.name)) {
                wanted.extend(step.inputs.iter().map(|input| &input.name));
                found.push(step);
            }
        }
        found.reverse();
        found
    }
}
