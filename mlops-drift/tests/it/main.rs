//! Integration tests of `mlops-drift`: one binary, a module a subject.
