//! Constants in files beside the model.

use std::collections::HashSet;

use bytes::Bytes;

use super::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use crate::{Error, Result};

/// [`TensorProto::data_location`] of a constant in another file.
const EXTERNAL: i32 = 1;

impl ModelProto {
    /// The files beside the model that hold constants, as it names them, in order of their first use. Models of more
    /// than 2 GiB keep them so.
    pub fn external_files(&self) -> Vec<&str> {
        let (mut names, mut met) = (Vec::new(), HashSet::new());
        let Some(graph) = &self.graph else { return names };
        let mut graphs = vec![graph];
        while let Some(graph) = graphs.pop() {
            let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
            for tensor in graph.initializer.iter().chain(attributes().filter_map(|one| one.t.as_ref())) {
                if let Some(name) = tensor.external("location").filter(|name| met.insert(*name)) {
                    names.push(name);
                }
            }
            graphs.extend(attributes().filter_map(|attribute| attribute.g.as_deref()));
        }
        names
    }

    /// Takes constants in from the files that hold them, without copying: `file` gives the bytes of one.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use mlops_core::Error;
    /// use mlops_core::onnx::{self, LinearModel};
    ///
    /// let mut model = onnx::read(&LinearModel::new(vec![0.5, -2.0], 0.1).to_bytes()?)?;
    /// assert!(model.external_files().is_empty());
    /// model.take_in(&mut |name| Err(Error::not_found(format!("no `{name}`"))))?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Data` if a file ends before a constant does, or a place is no number; and what `file` gives.
    pub fn take_in(&mut self, file: &mut dyn FnMut(&str) -> Result<Bytes>) -> Result<()> {
        self.graph.as_mut().map_or(Ok(()), |graph| take_in(graph, file))
    }
}

/// Graphs are as deep as the decoder allows, some tens.
fn take_in(graph: &mut GraphProto, file: &mut dyn FnMut(&str) -> Result<Bytes>) -> Result<()> {
    graph.initializer.iter_mut().try_for_each(|tensor| tensor.take_in(file))?;
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        attribute.t.iter_mut().try_for_each(|tensor| tensor.take_in(file))?;
        attribute.g.iter_mut().try_for_each(|graph| take_in(graph, file))?;
    }
    Ok(())
}

impl TensorProto {
    /// Puts its elements into a file of this name, from this byte on: gives the bytes that belong there.
    ///
    /// # Errors
    /// `Unsupported` if they are not raw bytes.
    pub fn take_out(&mut self, location: &str, offset: u64) -> Result<Bytes> {
        if self.data_location == EXTERNAL || self.raw_data.is_empty() {
            return Err(Error::unsupported(format!("constant `{}` holds no raw bytes", self.name)));
        }
        let bytes = std::mem::take(&mut self.raw_data);
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
        self.external_data = vec![
            entry("location", location.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", bytes.len().to_string()),
        ];
        self.data_location = EXTERNAL;
        Ok(bytes)
    }

    fn external(&self, key: &str) -> Option<&str> {
        let mut entries = self.external_data.iter().filter(|_| self.data_location == EXTERNAL);
        entries.find(|entry| entry.key == key).map(|entry| &*entry.value)
    }

    fn take_in(&mut self, file: &mut dyn FnMut(&str) -> Result<Bytes>) -> Result<()> {
        let Some(location) = self.external("location") else { return Ok(()) };
        let place = |key: &str| {
            let number = self.external(key).map(|text| {
                text.parse::<usize>().map_err(|_| {
                    Error::data(format!("constant `{}` has the {key} `{text}` in `{location}`", self.name))
                })
            });
            number.transpose()
        };
        let (start, length) = (place("offset")?.unwrap_or(0), place("length")?);
        let bytes = file(location)?;
        let end = length.map_or(Some(bytes.len()), |length| start.checked_add(length));
        let Some(end) = end.filter(|end| start <= *end && *end <= bytes.len()) else {
            return Err(Error::data(format!(
                "constant `{}` lies at byte {start} of `{location}`, which has {} bytes: too few",
                self.name,
                bytes.len()
            )));
        };
        self.raw_data = bytes.slice(start..end);
        self.external_data.clear();
        self.data_location = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_go_out_and_come_back() {
        let mut weights = TensorProto::of_f32("w", &[2], &[1.0, 2.0]).unwrap();
        let mut file = vec![0; 4];
        file.extend(weights.take_out("w.bin", 4).unwrap());
        let graph = GraphProto { initializer: vec![weights], ..GraphProto::default() };
        let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
        assert_eq!(model.external_files(), ["w.bin"]);
        let tensor = |model: &ModelProto| model.graph.as_ref().unwrap().initializer[0].clone();
        assert!(tensor(&model).to_f32().unwrap_err().to_string().contains("another file"));

        let give = |bytes: Vec<u8>| {
            let mut model = model.clone();
            model.take_in(&mut |_| Ok(bytes.clone().into())).map(|()| model)
        };
        let back = give(file.clone()).unwrap();
        assert_eq!((back.external_files().len(), tensor(&back).to_f32().unwrap()), (0, vec![1.0, 2.0]));
        let error = give(file[..11].to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "constant `w` lies at byte 4 of `w.bin`, which has 11 bytes: too few");
        for (place, value) in [(1, "-1"), (1, "18446744073709551615"), (2, "18446744073709551615"), (2, "x")]
        {
            let mut model = model.clone();
            model.graph.as_mut().unwrap().initializer[0].external_data[place].value = value.to_owned();
            let error = model.take_in(&mut |_| Ok(file.clone().into())).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Data, "{error}");
        }
    }
}
