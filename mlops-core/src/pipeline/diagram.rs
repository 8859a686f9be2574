//! Pipelines as pictures.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::handle::Source;
use super::node::{Node, Work};
use super::pipeline::Pipeline;

impl Pipeline {
    /// The pipeline as a Mermaid flow chart. Parameters and inputs are round, gates are diamonds, approvals are
    /// hexagons, and the ways of a branch meet in a circle; dotted arrows come from conditions.
    ///
    /// ```
    /// use mlops_core::pipeline::Pipeline;
    ///
    /// let mut p = Pipeline::new("shop");
    /// let path = p.param("path", "sessions.csv".to_owned());
    /// p.step("read", |path: &str| Ok(path.len()), path);
    /// assert_eq!(p.to_mermaid(), "flowchart TD\n    n0([\"path\"])\n    n1[\"read\"]\n    n0 --> n1\n");
    /// ```
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart TD\n".to_owned();
        for (index, node) in self.nodes.iter().enumerate() {
            let (open, close) = match node.work {
                Work::Param(_) | Work::Input => ("([", "])"),
                Work::Call(_) => ("[", "]"),
                Work::Each(_) => ("[[", "]]"),
                Work::Join(_) => ("((", "))"),
                Work::Require(_) => ("{", "}"),
                Work::Approval => ("{{", "}}"),
            };
            let label = node.name.replace('&', "&amp;").replace('"', "&quot;").replace(['\n', '\r'], " ");
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "    n{index}{open}\"{label}\"{close}");
        }
        for (from, to, label) in self.edges() {
            let _ = match label {
                None => writeln!(text, "    n{from} --> n{to}"),
                Some(label) => writeln!(text, "    n{from} -. {label} .-> n{to}"),
            };
        }
        text
    }

    /// The pipeline as a graph in DOT, the language of Graphviz.
    ///
    /// ```
    /// use mlops_core::pipeline::Pipeline;
    ///
    /// let mut p = Pipeline::new("shop");
    /// p.step("read \"it\"", || Ok(1), ());
    /// assert_eq!(p.to_dot(), "digraph \"shop\" {\n    n0 [label=\"read \\\"it\\\"\", shape=box];\n}\n");
    /// ```
    pub fn to_dot(&self) -> String {
        let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        let mut text = format!("digraph \"{}\" {{\n", quote(&self.name));
        for (index, node) in self.nodes.iter().enumerate() {
            let shape = match node.work {
                Work::Param(_) | Work::Input => "ellipse",
                Work::Call(_) => "box",
                Work::Each(_) => "box3d",
                Work::Join(_) => "circle",
                Work::Require(_) => "diamond",
                Work::Approval => "hexagon",
            };
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "    n{index} [label=\"{}\", shape={shape}];", quote(&node.name));
        }
        for (from, to, label) in self.edges() {
            let _ = match label {
                None => writeln!(text, "    n{from} -> n{to};"),
                Some(label) => writeln!(text, "    n{from} -> n{to} [label=\"{label}\", style=dotted];"),
            };
        }
        text.push_str("}\n");
        text
    }

    /// From node to node, with `yes` or `no` where a condition decides.
    fn edges(&self) -> BTreeSet<(usize, usize, Option<&'static str>)> {
        let mut edges = BTreeSet::new();
        for (to, node) in self.nodes.iter().enumerate() {
            let slots = node.sources.iter().flat_map(Source::slots);
            edges.extend(slots.map(|slot| (self.slots[*slot].0, to, None)));
            edges.extend(node.guards.iter().filter(|guard| !self.is_behind(node, guard.slot)).map(|guard| {
                let from = guard.gate.unwrap_or(self.slots[guard.slot].0);
                (from, to, Some(if guard.wanted { "yes" } else { "no" }))
            }));
        }
        edges
    }

    /// Whether a value that the node takes is behind this condition too, so that the picture shows it there.
    fn is_behind(&self, node: &Node, condition: usize) -> bool {
        let mut slots = node.sources.iter().flat_map(Source::slots);
        slots.any(|slot| {
            let from = &self.nodes[self.slots[*slot].0];
            from.guards.iter().any(|guard| guard.slot == condition)
        })
    }
}
