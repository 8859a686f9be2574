//! Any detector as one type: to choose by name, to store, to keep in a list.

use serde::{Deserialize, Serialize};

use super::{
    Adwin, Cusum, Ddm, Detector, Ecdd, Eddm, Fhddm, Gma, HddmA, HddmW, Kswin, PageHinkley, Rddm, Reason,
    Signal, Stepd,
};
use crate::{Error, Result};

macro_rules! any_detector {
    ($($kind:ident),+ $(,)?) => {
        /// One of the detectors. Its stored form carries a version; later builds read what earlier ones wrote.
        ///
        /// ```
        /// use mlops_drift::detector::{AnyDetector, Ddm, DdmSettings, Detector};
        ///
        /// let mut detector = AnyDetector::from(Ddm::new(DdmSettings::default())?);
        /// detector.update(0.0)?;
        /// let json = serde_json::to_string(&detector)?;
        /// assert!(json.starts_with(r#"{"version":1,"ddm":{"#));
        /// let again: AnyDetector = serde_json::from_str(&json)?;
        /// assert_eq!(again, detector);
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(try_from = "Stored", into = "Stored")]
        #[non_exhaustive]
        pub enum AnyDetector {
            $(#[doc = concat!("[`", stringify!($kind), "`].")] $kind($kind),)+
        }

        #[derive(Serialize, Deserialize)]
        struct Stored {
            version: u32,
            #[serde(flatten)]
            detector: Kinds,
        }

        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kinds {
            $($kind($kind),)+
        }

        impl TryFrom<Stored> for AnyDetector {
            type Error = Error;

            fn try_from(Stored { version, detector }: Stored) -> Result<Self> {
                if version != VERSION {
                    return Err(Error::unsupported(format!(
                        "the stored detector has version {version}, this build reads {VERSION}"
                    )));
                }
                Ok(match detector {
                    $(Kinds::$kind(detector) => Self::$kind(detector),)+
                })
            }
        }

        impl From<AnyDetector> for Stored {
            fn from(detector: AnyDetector) -> Self {
                let detector = match detector {
                    $(AnyDetector::$kind(detector) => Kinds::$kind(detector),)+
                };
                Self { version: VERSION, detector }
            }
        }

        $(impl From<$kind> for AnyDetector {
            fn from(detector: $kind) -> Self {
                Self::$kind(detector)
            }
        })+

        impl Detector for AnyDetector {
            fn check(&self, value: f64) -> Result<()> {
                match self {
                    $(Self::$kind(detector) => detector.check(value),)+
                }
            }

            fn update(&mut self, value: f64) -> Result<Signal> {
                match self {
                    $(Self::$kind(detector) => detector.update(value),)+
                }
            }

            fn signal(&self) -> Signal {
                match self {
                    $(Self::$kind(detector) => detector.signal(),)+
                }
            }

            fn reason(&self) -> Option<Reason> {
                match self {
                    $(Self::$kind(detector) => detector.reason(),)+
                }
            }

            fn reset(&mut self) {
                match self {
                    $(Self::$kind(detector) => detector.reset(),)+
                }
            }
        }
    };
}

any_detector!(Adwin, Cusum, Ddm, Ecdd, Eddm, Fhddm, Gma, HddmA, HddmW, Kswin, PageHinkley, Rddm, Stepd,);

const VERSION: u32 = 1;
