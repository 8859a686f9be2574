//! The one command that checks the workspace.
fn main() {}
