//! An encoder and which input of a model each of its parts feeds.

use mlops_core::features::{Encoder, Feed};
use mlops_core::{ElementType, Error, Result};

use super::inputs::{Inputs, Part};

/// An encoder that fits a model.
#[derive(Clone, Debug)]
pub(super) struct Fed {
    encoder: Encoder,
    /// For each input of the model the place of its feed.
    feeds: Vec<usize>,
}

impl Fed {
    /// Looks for the feed of each input.
    ///
    /// # Errors
    /// `Unsupported` if the encoder makes one matrix and the model takes several inputs; `Invalid` if an input and
    /// what is made for it differ in name, width or type.
    pub(super) fn new(encoder: Encoder, inputs: &Inputs) -> Result<Self> {
        let (feeds, parts) = (encoder.feeds(), &inputs.parts);
        let is_matrix = feeds.len() == 1 && feeds[0].input().is_none();
        if is_matrix && parts.len() != 1 {
            return Err(Error::unsupported(format!(
                "it takes {}, its encoder makes one matrix of floats: fit it with `EncoderSpec::floats` and \
                 `EncoderSpec::indices`, which name the inputs",
                list(parts)
            )));
        }
        let feed_of = |part: &Part| {
            let name = part.spec.name.as_str();
            let place = feeds.iter().position(|feed| is_matrix || feed.input() == Some(name));
            let place = place.ok_or_else(|| {
                let fed: Vec<&str> = feeds.iter().filter_map(Feed::input).collect();
                let (spec, fed) = (&part.spec, fed.join("`, `"));
                Error::invalid(format!("input {spec} is fed by nothing, its encoder feeds `{fed}`"))
            })?;
            fits(&feeds[place], part).map(|()| place)
        };
        let places = parts.iter().map(feed_of).collect::<Result<Vec<_>>>()?;
        if let Some((_, feed)) = feeds.iter().enumerate().find(|(place, _)| !places.contains(place)) {
            let input = feed.input().unwrap_or_default();
            let inputs = list(parts);
            return Err(Error::invalid(format!("its encoder feeds input `{input}`, it takes {inputs}")));
        }
        Ok(Self { encoder, feeds: places })
    }

    pub(super) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The feed of each input, in the order of the model.
    pub(super) fn feeds(&self) -> impl Iterator<Item = usize> {
        self.feeds.iter().copied()
    }
}

fn fits(feed: &Feed, part: &Part) -> Result<()> {
    let Part { spec, width, .. } = part;
    let way_out = match (feed.element(), spec.element) {
        (ElementType::F32, ElementType::F16 | ElementType::F32 | ElementType::F64)
        | (ElementType::I64, ElementType::I32 | ElementType::I64) => None,
        (_, ElementType::I32 | ElementType::I64) => Some("fit it with `EncoderSpec::indices` for this input"),
        (_, ElementType::F16 | ElementType::F32 | ElementType::F64) => {
            Some("fit it with `EncoderSpec::floats` for this input")
        }
        _ => Some("no encoder makes what it takes"),
    };
    let made = if feed.element() == ElementType::F32 { "floats" } else { "indices" };
    let got = feed.width();
    match way_out {
        Some(way_out) => Err(Error::invalid(format!("input {spec} is fed {made} by its encoder: {way_out}"))),
        None if got != *width => Err(Error::invalid(format!(
            "input {spec} takes {width} features, its encoder makes {got} {made}"
        ))),
        None => Ok(()),
    }
}

fn list(parts: &[Part]) -> String {
    parts.iter().map(|part| part.spec.to_string()).collect::<Vec<_>>().join(", ")
}
