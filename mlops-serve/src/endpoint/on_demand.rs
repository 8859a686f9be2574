//! Models that are in memory only while somebody asks for them.

use std::sync::Arc;

use mlops_core::{ModelSignature, ModelVersion, Result};

use super::{Model, ModelCache};
use crate::batch::Call;
use crate::runtime::{Capabilities, Runtime};
use crate::tensor::{TensorBuf, TensorView};

impl ModelCache {
    /// A model of this version for an [`Endpoint`](super::Endpoint) that does not keep it in memory: the cache may
    /// unload it when nobody asks, and it is loaded again by the first request that comes. It is loaded now, to be
    /// checked and to learn its inputs; encoder, head and calibration stay.
    ///
    /// A request for a model that is loaded costs a look into the cache, some 100 ns. One for a model that is not
    /// waits for the load, as do those that come meanwhile; if the memory is in use by others it is turned away
    /// ([`Overloaded`](crate::Overloaded)). In latencies, and guardrails on them, loads are slow requests.
    ///
    /// # Errors
    /// As [`model`](Self::model).
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use mlops_core::onnx::LinearModel;
    /// # use mlops_core::{BoxFuture, Digest, Error, ModelFile, ModelPackage, ModelRef, ModelSignature, ModelSource};
    /// # #[derive(Debug)]
    /// # struct Registry;
    /// # impl ModelSource for Registry {
    /// #     fn resolve<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion, Error>> {
    /// #         Box::pin(async { Ok(ModelVersion::new("shop", 3)) })
    /// #     }
    /// #     fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage, Error>> {
    /// #         Box::pin(async {
    /// #             let bytes = LinearModel::new(vec![1.0], 0.0).to_bytes()?;
    /// #             let file = (Digest::of(&bytes), ModelFile::Bytes(bytes));
    /// #             let files = BTreeMap::from([("model.onnx".into(), file)]);
    /// #             Ok(ModelPackage::new(version.clone(), ModelSignature::default(), files))
    /// #         })
    /// #     }
    /// # }
    /// # let registry = std::sync::Arc::new(Registry);
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use mlops_core::{ModelVersion, RequestId, SystemClock};
    /// use mlops_serve::endpoint::{Endpoint, Loader, ModelCache};
    ///
    /// let loader = Loader::auto(SystemClock::new());
    /// let cache = Arc::new(ModelCache::new(loader, registry, 2 << 30, SystemClock::new()));
    /// let endpoint = Endpoint::new("shop", SystemClock::new());
    /// endpoint.deploy(cache.on_demand(&ModelVersion::new("shop", 3))?)?;
    ///
    /// // A quiet night.
    /// cache.unload_idle(Duration::ZERO);
    /// assert_eq!(cache.stats().loaded_bytes, 0);
    /// assert_eq!(endpoint.score(RequestId::from_key("visit-1"), &[2.0.into()])?.score, 2.0);
    /// # Ok::<(), mlops_serve::Error>(())
    /// ```
    pub fn on_demand(self: &Arc<Self>, version: &ModelVersion) -> Result<Arc<Model>> {
        let model = self.model(version)?;
        let runtime = OnDemand {
            cache: Arc::clone(self),
            version: version.clone(),
            engine: model.runtime().engine().to_owned(),
            signature: model.runtime().signature().clone(),
            capabilities: model.runtime().capabilities(),
        };
        Ok(Arc::new(model.computed_by(Arc::new(runtime))))
    }
}

/// What a runtime says of itself, and where it is when it is asked to compute.
#[derive(Debug)]
struct OnDemand {
    cache: Arc<ModelCache>,
    version: ModelVersion,
    engine: String,
    signature: ModelSignature,
    capabilities: Capabilities,
}

#[deny(clippy::missing_trait_methods)]
impl Runtime for OnDemand {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What it takes now: nothing while it is not loaded.
    fn memory_usage(&self) -> usize {
        self.cache.loaded_bytes(&self.version)
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.cache.model(&self.version)?.runtime().run(inputs, outputs)
    }

    fn run_call(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf], call: Call<'_>) -> Result<()> {
        self.cache.model(&self.version)?.runtime().run_call(inputs, outputs, call)
    }
}
