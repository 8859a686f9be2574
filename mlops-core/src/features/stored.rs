//! What is written of an encoder: with a version, and checked when it is read.

use serde::{Deserialize, Serialize};

use super::Encoder;
use super::feed::{Feed, Step};
use super::spec::Kind;
use crate::data::Column;
use crate::{Error, Result};

/// The newest form. An encoder of one matrix is written in the first form, which every build reads.
pub(super) const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    version: u32,
    inputs: Vec<Column>,
    /// Version 1: one matrix of floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<Step>>,
    /// Version 2: what each input of the model is fed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    feeds: Option<Vec<Feed>>,
}

impl From<Encoder> for Stored {
    fn from(Encoder { inputs, mut feeds }: Encoder) -> Self {
        match &mut feeds[..] {
            [Feed { input: None, kind: Kind::Floats, steps }] => {
                Self { version: 1, inputs, steps: Some(std::mem::take(steps)), feeds: None }
            }
            _ => Self { version: VERSION, inputs, steps: None, feeds: Some(feeds) },
        }
    }
}

impl TryFrom<Stored> for Encoder {
    type Error = Error;

    fn try_from(Stored { version, inputs, steps, feeds }: Stored) -> Result<Self> {
        let feeds = match (version, steps, feeds) {
            (1, Some(steps), None) => vec![Feed { input: None, kind: Kind::Floats, steps }],
            (2, None, Some(feeds)) if feeds.is_empty() => {
                return Err(Error::data("the encoder has `feeds: []`, which feeds no input: fit it again"));
            }
            (2, None, Some(feeds)) if feeds.iter().all(|feed| feed.input.is_some()) => feeds,
            (1 | 2, ..) => {
                return Err(Error::data(format!("the encoder has not the parts of its version {version}")));
            }
            _ => {
                return Err(Error::unsupported(format!(
                    "the encoder has version {version}, this build reads up to {VERSION}: update mlops-core"
                )));
            }
        };
        super::spec::check_inputs(feeds.iter().map(Feed::input))
            .map_err(|error| Error::data(format!("the encoder is damaged: {error}")))?;
        feeds.iter().try_for_each(|feed| feed.check(&inputs))?;
        Ok(Self { inputs, feeds })
    }
}
