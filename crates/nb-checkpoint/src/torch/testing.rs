//! Writers of `torch.save`'s formats, for tests: pickles opcode by opcode, archives and files of the older format.

/// A pickle of protocol 2 in the making.
#[derive(Debug, Clone)]
pub(crate) struct Pickler(pub(crate) Vec<u8>);

/// A tensor of f32 as a test describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) name: &'a str,
    /// The key and the number of elements of its storage.
    pub(crate) storage: (&'a str, i64),
    pub(crate) start: i64,
    pub(crate) size: &'a [i64],
    pub(crate) strides: &'a [i64],
}

impl Pickler {
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub(crate) fn op(mut self, opcode: u8) -> Self {
        self.0.push(opcode);
        self
    }

    pub(crate) fn ops(mut self, opcodes: &[u8]) -> Self {
        self.0.extend_from_slice(opcodes);
        self
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.ops(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn str(self, text: &str) -> Self {
        self.op(b'X').ops(&(text.len() as u32).to_le_bytes()).ops(text.as_bytes())
    }

    pub(crate) fn int(self, number: i64) -> Self {
        self.ops(&[0x8a, 8]).ops(&number.to_le_bytes())
    }

    pub(crate) fn tuple(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self.op(b'('), |pickler, number| pickler.int(*number)).op(b't')
    }

    /// A storage of `class`.
    pub(crate) fn storage(self, class: &str, key: &str, numel: i64) -> Self {
        self.op(b'(').str("storage").global("torch", class).str(key).str("cpu").int(numel).ops(b"tQ")
    }

    /// A tensor of `_rebuild_tensor_v2`.
    pub(crate) fn tensor(self, saved: &Saved<'_>) -> Self {
        let (key, numel) = saved.storage;
        let pickler = self.global("torch._utils", "_rebuild_tensor_v2").op(b'(').storage("FloatStorage", key, numel);
        let pickler = pickler.int(saved.start).tuple(saved.size).tuple(saved.strides).op(0x89);
        pickler.global("collections", "OrderedDict").ops(b")RtR")
    }

    /// A dict of tensors, and the end of the pickle.
    pub(crate) fn state(self, tensors: &[Saved<'_>]) -> Vec<u8> {
        let all = tensors.iter().fold(self.ops(b"}("), |pickler, saved| pickler.str(saved.name).tensor(saved));
        all.ops(b"u.").0
    }
}

/// Writes a zip archive of stored files.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let (size, start) = ((content.len() as u32).to_le_bytes(), (out.len() as u32).to_le_bytes());
        let lengths = [(name.len() as u16).to_le_bytes(), [0, 0]].concat();
        let common = [&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..2], &[0; 12], &size, &size].concat();
        // Version, flags, method, time and date, checksum: all 0; the sizes; the lengths of name and extra field.
        out.extend([b"PK\x03\x04", &common[..], &lengths, name.as_bytes(), content].concat());
        let central = [b"PK\x01\x02", &[0, 0][..], &common, &lengths, &[0; 10], &start, name.as_bytes()].concat();
        directory.extend(central);
    }
    let (count, size) = ((files.len() as u16).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let start = (out.len() as u32).to_le_bytes();
    out.extend([&directory[..], b"PK\x05\x06", &[0; 4], &count, &count, &size, &start, &[0; 2]].concat());
    out
}

/// Writes an archive of `torch.save` with these storages.
pub(crate) fn archive(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<String> = storages.iter().map(|(key, _)| format!("made/data/{key}")).collect();
    let storages = names.iter().zip(storages).map(|(name, (_, bytes))| (name.as_str(), *bytes));
    zip(&[("made/data.pkl", pickle), ("made/byteorder", b"little")].into_iter().chain(storages).collect::<Vec<_>>())
}

/// Writes a file of the older format with these storages of f32.
pub(crate) fn legacy(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = legacy_start();
    out.extend_from_slice(pickle);
    out.extend(storages.iter().fold(Pickler::new().ops(b"]("), |pickler, (key, _)| pickler.str(key)).ops(b"e.").0);
    for (_, bytes) in storages {
        out.extend_from_slice(&((bytes.len() / 4) as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

/// Returns the first three pickles of the older format.
pub(crate) fn legacy_start() -> Vec<u8> {
    let magic = Pickler::new().ops(&[0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]).op(b'.').0;
    let version = Pickler::new().ops(&[b'M', 0xe9, 3, b'.']).0;
    [magic, version, Pickler::new().op(b'}').str("little_endian").ops(&[0x88, b's', b'.']).0].concat()
}

/// Returns an archive with contiguous f32 tensors, each in a storage of its own.
pub(crate) fn archive_of(tensors: &[(&str, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let keys: Vec<String> = (0..tensors.len()).map(|key| key.to_string()).collect();
    let sizes: Vec<Vec<i64>> =
        tensors.iter().map(|(_, shape, _)| shape.iter().map(|&size| size as i64).collect()).collect();
    let strides = |size: &Vec<i64>| (0..size.len()).map(|axis| size[axis + 1..].iter().product()).collect();
    let strides: Vec<Vec<i64>> = sizes.iter().map(strides).collect();
    let saved = |index: usize| Saved {
        name: tensors[index].0,
        storage: (&keys[index], tensors[index].2.len() as i64),
        start: 0,
        size: &sizes[index],
        strides: &strides[index],
    };
    let pickle = Pickler::new().state(&(0..tensors.len()).map(saved).collect::<Vec<_>>());
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(.., x)| x.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    archive(&pickle, &keys.iter().zip(&bytes).map(|(key, bytes)| (key.as_str(), &bytes[..])).collect::<Vec<_>>())
}
