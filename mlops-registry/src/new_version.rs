//! A version in the making.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mlops_core::evaluation::Evaluation;
use mlops_core::{Digest, Error, ModelFile, ModelSignature, ModelVersion, Result};

use crate::content::Content;
use crate::copy::Original;
use crate::store::io_failed;

/// A version to be registered: its files and what is known of it.
///
/// ```
/// use mlops_core::{Digest, ElementType, ModelSignature, TensorSpec};
/// use mlops_registry::NewVersion;
///
/// let version = NewVersion::new("shop")
///     .file("model.bin", &b"weights"[..])
///     .file_at("baseline.json", "state/baseline.json")
///     .signature(ModelSignature {
///         inputs: vec![TensorSpec::batch("features", ElementType::F32, 17)],
///         outputs: vec![TensorSpec::batch("score", ElementType::F32, 1)],
///     })
///     .metric("auc", 0.93)
///     .data("train", Digest::of("the rows"))
///     .run("2026-05")
///     .baseline("baseline.json");
/// # let _ = version;
/// ```
#[derive(Clone, Debug)]
pub struct NewVersion {
    pub(crate) model: String,
    pub(crate) files: BTreeMap<String, Content>,
    pub(crate) signature: ModelSignature,
    pub(crate) framework: Option<String>,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) description: String,
    pub(crate) parents: Vec<ModelVersion>,
    pub(crate) run: Option<String>,
    pub(crate) data: BTreeMap<String, Digest>,
    pub(crate) code: Option<String>,
    pub(crate) baseline: Option<String>,
    pub(crate) evaluation: Option<Arc<Evaluation>>,
    /// What it is a copy of, and the registry that holds that.
    pub(crate) copy_of: Option<Original>,
    pub(crate) pickle: bool,
    /// A file that was given twice, which is refused when it is registered.
    pub(crate) twice: Option<String>,
}

impl NewVersion {
    /// The next version of a model, of which nothing is known yet.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            files: BTreeMap::new(),
            signature: ModelSignature::default(),
            framework: None,
            metrics: BTreeMap::new(),
            tags: BTreeMap::new(),
            description: String::new(),
            parents: Vec::new(),
            run: None,
            data: BTreeMap::new(),
            code: None,
            baseline: None,
            evaluation: None,
            copy_of: None,
            pickle: false,
            twice: None,
        }
    }

    /// A file from memory.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        self.add(name.into(), Content::File(ModelFile::Bytes(bytes.into())));
        self
    }

    /// A file from a local disk. It is read when the draft is committed and must not change meanwhile.
    #[must_use]
    pub fn file_at(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.add(name.into(), Content::File(ModelFile::Path(path.into())));
        self
    }

    fn add(&mut self, name: String, content: Content) {
        if self.files.insert(name.clone(), content).is_some() {
            self.twice = Some(name);
        }
    }

    /// All files of a folder, by their names relative to it.
    ///
    /// # Errors
    /// `Invalid` if it holds a link, something that is no file, or a name that is not UTF-8; `NotFound` or
    /// `Unavailable` if it cannot be read.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Result<Self> {
        let mut left = vec![(String::new(), folder.as_ref().to_owned())];
        while let Some((prefix, folder)) = left.pop() {
            let cannot =
                |error| io_failed(&error, &format!("cannot read `{}`", folder.display())).with_source(error);
            for entry in std::fs::read_dir(&folder).map_err(cannot)? {
                let entry = entry.map_err(cannot)?;
                let path = entry.path();
                let refuse =
                    |why| Error::invalid(format!("`{}` cannot be registered: {why}", path.display()));
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| refuse("its name is not UTF-8"))?;
                let name = format!("{prefix}{name}");
                // The type of the entry itself: a link is not followed.
                let kind = entry.file_type().map_err(cannot)?;
                if kind.is_dir() {
                    left.push((format!("{name}/"), path));
                } else if kind.is_file() {
                    self.add(name, Content::File(ModelFile::Path(path)));
                } else {
                    return Err(refuse("it is a link or no file; copy what it points at"));
                }
            }
        }
        Ok(self)
    }

    /// Lets files in that run code when they are loaded, Python's pickle, and compressed ones that may hide it.
    #[must_use]
    pub fn allow_pickle(mut self) -> Self {
        self.pickle = true;
        self
    }

    /// What the model takes and gives.
    #[must_use]
    pub fn signature(mut self, signature: ModelSignature) -> Self {
        self.signature = signature;
        self
    }

    /// What wrote it: `onnx`, `mlops-native`, ...
    #[must_use]
    pub fn framework(mut self, framework: impl Into<String>) -> Self {
        self.framework = Some(framework.into());
        self
    }

    /// One number of its quality. It has to be finite.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }

    /// A word to find it by.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// What it is, for people.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// A version that it was made from.
    #[must_use]
    pub fn parent(mut self, parent: ModelVersion) -> Self {
        self.parents.push(parent);
        self
    }

    /// The run that made it.
    #[must_use]
    pub fn run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(run.into());
        self
    }

    /// The fingerprint of data that made it, by role: `train`, `test`, ...
    #[must_use]
    pub fn data(mut self, role: impl Into<String>, fingerprint: Digest) -> Self {
        self.data.insert(role.into(), fingerprint);
        self
    }

    /// The code that made it: a commit or a digest.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Where the profile lies that its inputs are compared with: a file of the version or any address.
    #[must_use]
    pub fn baseline(mut self, baseline: impl Into<String>) -> Self {
        self.baseline = Some(baseline.into());
        self
    }

    /// How it did on rows that it had not seen, with slices and standard errors: what
    /// [`Gate::Evaluation`](crate::Gate::Evaluation) judges. Search and [`Gate::Metric`](crate::Gate::Metric) look at
    /// what is given by [`metric`](Self::metric) alone.
    #[must_use]
    pub fn evaluation(mut self, evaluation: Evaluation) -> Self {
        self.evaluation = Some(Arc::new(evaluation));
        self
    }
}
