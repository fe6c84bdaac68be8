//! Writes GGUF files, right and wrong ones.

/// The numbers of the types that the tests use.
pub(crate) mod kind {
    pub(crate) const U8: u32 = 0;
    pub(crate) const U32: u32 = 4;
    pub(crate) const F32: u32 = 6;
    pub(crate) const BOOL: u32 = 7;
    pub(crate) const STRING: u32 = 8;
    pub(crate) const ARRAY: u32 = 9;
    pub(crate) const U64: u32 = 10;
}

/// Collects metadata and tensors.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) version: u32,
    alignment: usize,
    entries: Vec<Vec<u8>>,
    infos: Vec<Vec<u8>>,
    data: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            version: 3,
            alignment: 32,
            entries: Vec::new(),
            infos: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Any value, given as its bytes.
    pub(crate) fn raw(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.entries
            .push([text(key), kind.to_le_bytes().to_vec(), value.to_vec()].concat());
        self
    }

    pub(crate) fn string(self, key: &str, value: &str) -> Self {
        self.raw(key, kind::STRING, &text(value))
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, kind::U32, &value.to_le_bytes())
    }

    pub(crate) fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, kind::F32, &value.to_le_bytes())
    }

    pub(crate) fn boolean(self, key: &str, value: bool) -> Self {
        self.raw(key, kind::BOOL, &[value.into()])
    }

    pub(crate) fn strings<S: AsRef<str>>(self, key: &str, values: &[S]) -> Self {
        let texts: Vec<u8> = values
            .iter()
            .flat_map(|value| text(value.as_ref()))
            .collect();
        self.raw(
            key,
            kind::ARRAY,
            &array(kind::STRING, values.len() as u64, &texts),
        )
    }

    /// A tensor with its dimensions in the order of the file and its place aligned.
    pub(crate) fn tensor(
        mut self,
        name: &str,
        dimensions: &[u64],
        kind: u32,
        bytes: &[u8],
    ) -> Self {
        self.data
            .resize(self.data.len().next_multiple_of(self.alignment), 0);
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        self.info(name, dimensions, kind, offset)
    }

    /// The description of a tensor without data of its own.
    pub(crate) fn info(mut self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let mut info = text(name);
        info.extend((dimensions.len() as u32).to_le_bytes());
        info.extend(dimensions.iter().flat_map(|d| d.to_le_bytes()));
        info.extend(kind.to_le_bytes());
        info.extend(offset.to_le_bytes());
        self.infos.push(info);
        self
    }

    pub(crate) fn floats(self, name: &str, dimensions: &[u64], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.tensor(name, dimensions, 0, &bytes)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_with_counts(self.infos.len() as u64, self.entries.len() as u64)
    }

    /// The file with other numbers of tensors and entries than it has.
    pub(crate) fn bytes_with_counts(&self, tensors: u64, entries: u64) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes.extend(self.entries.concat());
        bytes.extend(self.infos.concat());
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend(&self.data);
        bytes
    }
}

/// A length and bytes.
pub(crate) fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

/// The value of an array, whose elements are given as their bytes.
pub(crate) fn array(kind: u32, length: u64, elements: &[u8]) -> Vec<u8> {
    [
        &kind.to_le_bytes(),
        length.to_le_bytes().as_slice(),
        elements,
    ]
    .concat()
}
