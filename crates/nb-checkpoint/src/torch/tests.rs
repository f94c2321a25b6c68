//! Hostile and unusual files of `torch.save`.

use proptest::prelude::*;

use super::read;
use super::testing::{Pickler, Saved, archive, legacy, legacy_start, zip};
use crate::contents::Contents;

/// Six numbers in the storage `0`.
const STORAGE: (&str, i64) = ("0", 6);
const X: Saved<'static> = Saved { name: "x", storage: STORAGE, start: 0, size: &[2, 3], strides: &[3, 1] };

fn numbers() -> Vec<u8> {
    (0..6_u8).flat_map(|x| f32::from(x).to_le_bytes()).collect()
}

/// Returns both forms of a file with this pickle.
fn both(pickle: &[u8]) -> [Vec<u8>; 2] {
    let numbers = numbers();
    [archive(pickle, &[("0", &numbers)]), legacy(pickle, &[("0", &numbers)])]
}

/// Fails unless both forms of a file with this pickle are refused with a message that contains `part`.
#[track_caller]
fn assert_refused(pickle: &[u8], part: &str) {
    for file in both(pickle) {
        let error = read(&file).expect_err(part);
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

/// Returns the names of the tensors in both forms of a file with this pickle.
#[track_caller]
fn names(pickle: &[u8]) -> Vec<String> {
    let [one, two] = both(pickle).map(|file| {
        let Contents { entries, .. } = read(&file).unwrap();
        entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    });
    assert_eq!(one, two);
    one
}

#[test]
fn callables_are_refused_by_name() {
    for (module, name) in [
        ("builtins", "print"),
        ("os", "system"),
        ("made_up.module", "Callable"),
        ("torch", "load"),
        ("torch", "QInt8Storage"),
        ("torch", "Storage"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("collections", "deque"),
        ("transformers.models.bert.modeling_bert", "BertModel"),
    ] {
        let expected = format!("names the callable {module}.{name}, expected only tensors and containers");
        assert_refused(&Pickler::new().global(module, name).str("harmless").ops(&[0x85, b'R', b'.']).0, &expected);
        // A name that is not called, and one in a value that is thrown away.
        assert_refused(&Pickler::new().global(module, name).op(b'0').state(&[X]), &expected);
        let stacked = Pickler::new().str(module).str(name).ops(&[0x93, b'0']).state(&[X]);
        assert_refused(&stacked, &expected);
    }
    assert_refused(&Pickler::new().global("a\u{1b}[2J", "b").op(b'.').0, "a\\u{1b}[2J.b");
}

#[test]
fn only_functions_are_called_and_with_their_arguments() {
    let call = |pickler: Pickler| pickler.ops(b"R.").0;
    assert_refused(&call(Pickler::new().str("x").op(b')')), "calls a string");
    assert_refused(&call(Pickler::new().global("torch", "Size").op(b'N')), "arguments of a call is None");
    assert_refused(&call(Pickler::new().global("torch", "Size").op(b')')), "called with 0 arguments");
    assert_refused(&call(Pickler::new().global("torch", "float32").op(b')')), "called with 0 arguments");
    assert_refused(&call(Pickler::new().global("torch._utils", "_rebuild_tensor").op(b')')), "expected 4 or more");
    let of = |name: &str| Pickler::new().global("torch._utils", name);
    assert_refused(&call(of("_rebuild_parameter").op(b'N').op(0x85)), "_rebuild_parameter gets None");
    assert_refused(&call(of("_rebuild_tensor").tuple(&[1, 2, 3, 4])), "gets an integer, expected a storage");
    let nested = |pickler: Pickler| pickler.global("torch._tensor", "_rebuild_from_type_v2");
    let twice = nested(nested(Pickler::new()).op(b'(')).ops(b"N)}t").ops(b"R.").0;
    assert_refused(&twice, "expected a function that makes a tensor");
    // The state of a tensor would be its numbers.
    assert_refused(&Pickler::new().tensor(&X).ops(b"}b.").0, "sets the state of a tensor");
}

#[test]
fn persistent_ids_are_storages() {
    let id = |pickler: Pickler| pickler.ops(b"Q.").0;
    assert_refused(&id(Pickler::new().str("0")), "a persistent id is a string");
    assert_refused(&id(Pickler::new().op(b')')), "a persistent id is empty");
    assert_refused(&id(Pickler::new().op(b'(').str("module").str("a").op(b't')), "saves the code of a module");
    assert_refused(&id(Pickler::new().op(b'(').str("other").op(b't')), "is `other` with 0 fields");
    let fields = Pickler::new().op(b'(').str("storage").str("torch").str("0").str("cpu").int(6).op(b't');
    assert_refused(&id(fields), "the class of a storage is a string");
}

#[test]
fn truncated_files_are_refused_at_every_byte() {
    let pickle = Pickler::new().state(&[X]);
    for file in both(&pickle) {
        assert_eq!(read(&file).unwrap().entries.len(), 1);
        for end in 0..file.len() {
            assert!(read(&file[..end]).is_err(), "{end} of {} bytes", file.len());
        }
    }
    for end in 0..pickle.len() {
        assert_refused(&pickle[..end], "");
    }
}

#[test]
fn sizes_and_strides_outside_the_storage_are_refused() {
    let state = |saved: Saved<'_>| Pickler::new().state(&[saved]);
    for (saved, part) in [
        (Saved { start: 1, ..X }, "tensor x needs 28 bytes of its storage, which has 24"),
        (Saved { size: &[3, 3], ..X }, "needs 36 bytes"),
        (Saved { strides: &[i64::MAX, 1], ..X }, "more elements than a file can hold"),
        (Saved { size: &[1 << 40, 1 << 40], strides: &[0, 0], ..X }, "more elements than a file can hold"),
        (Saved { size: &[i64::MAX], strides: &[1], ..X }, "more elements than a file can hold"),
        (Saved { size: &[-2, 3], ..X }, "a dimension is -2, expected 0 or more"),
        (Saved { strides: &[3, -1], ..X }, "a stride is -1, expected 0 or more"),
        (Saved { start: -1, ..X }, "the offset of a tensor in its storage is -1"),
        (Saved { strides: &[3], ..X }, "has 2 dimensions and 1 strides"),
        (Saved { size: &[1; 65], strides: &[1; 65], ..X }, "has 65 dimensions"),
        (Saved { storage: ("1", 6), ..X }, "storage 1 is missing"),
        (Saved { storage: ("../0", 6), ..X }, "storage ../0 is missing"),
    ] {
        let [archive, legacy] = both(&state(saved));
        let error = read(&archive).unwrap_err();
        assert!(error.contains(part), "`{part}` is not in: {error}");
        assert!(read(&legacy).is_err(), "{part}");
    }
    // Storages that differ from the numbers in the file.
    for numel in [5, 7, 1 << 40, 1 << 62, -6] {
        for file in both(&state(Saved { storage: ("0", numel), size: &[0], strides: &[1], ..X })) {
            assert!(read(&file).is_err(), "{numel}");
        }
    }
}

#[test]
fn values_that_are_not_there_are_refused() {
    for (opcodes, part) in [
        (&b"h\x00."[..], "refers to value 0, which it lacks"),
        (b"j\xff\xff\xff\xff.", "refers to value 4294967295"),
        (b".", "empty stack"),
        (b"(.", "empty stack"),
        (b"N(0.", "empty stack"),
        (b"t.", "a mark that it lacks"),
        (b"q\x00.", "empty stack"),
        (b"2.", "empty stack"),
        (b"N\x86.", "empty stack"),
        (b"NNs.", "empty stack"),
        (b"NNNs.", "sets an item of None"),
        (b"}(Nu.", "a key that lacks a value"),
        (b"}Na.", "appends to a dict"),
        (b"N(N\x90.", "adds items to None"),
        (b"NNb.", "sets the state of None"),
        (b"NNR.", "calls None"),
        (b"X\xff\xff\xff\xffabc", "7 bytes left"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", "expected"),
        (b"X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (b"i", "opcode 0x69 at byte 2"),
        (b"Py\n.", "opcode 0x50"),
        (b"\x82\x01.", "opcode 0x82"),
        (b"K\x01.", "it contains an integer, expected a dict of tensors"),
        (b"].", "it contains a list"),
        (b"}.", "a dict without tensors"),
    ] {
        let pickle = Pickler::new().ops(opcodes).0;
        let file = archive(&pickle, &[]);
        let error = read(&file).unwrap_err();
        // A string that is too long is truncated by the end of the pickle, whatever follows in the file.
        let part = if part.ends_with("left") { "bytes left at byte" } else { part };
        assert!(error.contains(part), "{opcodes:?}: `{part}` is not in: {error}");
    }
    assert!(read(&archive(b"\x80\x01}.", &[])).unwrap_err().contains("protocol 1, expected 2 to 5"));
    assert!(read(&archive(b"\x80\x06}.", &[])).unwrap_err().contains("protocol 6"));
    assert!(read(&archive(b"(dp0\n.", &[])).unwrap_err().contains("not a pickle of protocol 2 to 5"));
}

#[test]
fn depth_takes_no_recursion_and_cycles_end() {
    let deep = |open: &[u8], close: &[u8], end: &[u8]| {
        let pickler =
            Pickler::new().op(b'}').str("deep").op(b']').ops(&open.repeat(500_000)).ops(&close.repeat(500_000));
        pickler.ops(end).str("x").tensor(&X).ops(b"s.").0
    };
    assert_eq!(names(&deep(b"]", b"a", b"s")), ["x"]);
    assert_eq!(names(&deep(b"(", b"l", b"as")), ["x"]);
    // A dict that contains itself, and a list that does.
    let cycle = Pickler::new().ops(b"}q\x00").str("self").ops(b"h\x00s").str("state_dict").ops(b"h\x00s");
    assert_eq!(names(&cycle.str("x").tensor(&X).ops(b"s.").0), ["x"]);
    let list = Pickler::new().ops(b"}").str("list").ops(b"]q\x00h\x00as").str("x").tensor(&X).ops(b"s.").0;
    assert_eq!(names(&list), ["x"]);
}

#[test]
fn many_values_are_refused() {
    for opcodes in [&b"N"[..], b"N0", b"(", b"2"] {
        let pickle = Pickler::new().op(b'N').ops(&opcodes.repeat(3 << 20)).op(b'.').0;
        assert!(read(&archive(&pickle, &[])).unwrap_err().contains("more than 2097152 values"), "{opcodes:?}");
    }
    // A list of 2^15 pairs that is copied again and again.
    let pairs = Pickler::new().op(b'(').ops(&b"(NNt".repeat(1 << 15)).ops(b"lq\x000");
    let copies = b"ccollections\nOrderedDict\nh\x00\x85R0".repeat(1 << 8);
    let error = read(&archive(&pairs.ops(&copies).op(b'.').0, &[])).unwrap_err();
    assert!(error.contains("more than 2097152 values"), "{error}");
}

#[test]
fn an_expanded_view_takes_no_memory_until_it_is_used() {
    let huge = Saved { size: &[1 << 29, 1 << 29], strides: &[0, 0], ..X };
    for file in both(&Pickler::new().state(&[Saved { name: "huge", ..huge }, X])) {
        let file = crate::TensorFile::new("x.bin".as_ref(), file);
        assert_eq!(file.names().unwrap(), ["huge", "x"]);
        assert_eq!(file.get("x").unwrap().unwrap().bytes, numbers());
        let error = file.tensors().unwrap_err().to_string();
        assert!(error.starts_with("x.bin is not a state dict of PyTorch: tensor huge of shape [536870912,"), "{error}");
        assert!(error.contains("would take 1152921504606846976 bytes"), "{error}");
    }
    // Many views of a few bytes are bounded together.
    let names: Vec<String> = (0..100).map(|i| format!("x{i}")).collect();
    let view = |name| Saved { name, size: &[6, 100], strides: &[1, 0], ..X };
    let pickle = Pickler::new().state(&names.iter().map(|name| view(name.as_str())).collect::<Vec<_>>());
    for file in both(&pickle) {
        let limit = 4 * file.len();
        let file = crate::TensorFile::new("x.bin".as_ref(), file);
        let used = names.iter().take_while(|name| file.get(name).is_ok()).count();
        assert_eq!(used, limit / 2400);
        assert!(file.get("x0").is_ok(), "a copy that was made remains");
    }
}

#[test]
fn names_that_are_there_twice_are_refused() {
    assert_refused(&Pickler::new().state(&[X, X]), "tensor x is there twice");
    let tied = [X, Saved { name: "y", ..X }];
    assert_eq!(names(&Pickler::new().state(&tied)), ["x", "y"]);
}

#[test]
fn a_nested_state_dict_and_ignored_entries_are_remarked() {
    let remarks = |pickler: Pickler| {
        let [one, two] = both(&pickler.op(b'.').0).map(|file| read(&file).unwrap());
        assert_eq!((one.entries.len(), two.entries.len(), &one.remarks), (1, 1, &two.remarks));
        one.remarks
    };
    assert_eq!(remarks(Pickler::new().op(b'}').str("x").tensor(&X).op(b's')), [""; 0]);
    for key in ["state_dict", "model_state_dict", "model"] {
        let inner = |pickler: Pickler| pickler.ops(b"}").str("x").tensor(&X).op(b's').str("n").ops(b"K\x01s");
        let nested = inner(Pickler::new().op(b'}').str("epoch").ops(b"K\x03s").str(key)).op(b's');
        let nested = nested.str("loss").tensor(&X).op(b's').ops(b"K\x07Ns"); // a tensor beside it is not a weight
        let expected = [
            format!("the state dict is under the key `{key}`"),
            "ignoring what is not in the state dict or not a tensor (4): epoch, loss, an integer, n".to_owned(),
        ];
        assert_eq!(remarks(nested), expected);
    }
    // A tensor of that name, or a dict without tensors, is not a state dict.
    let other = Pickler::new().op(b'}').str("model").op(b'}').op(b's').str("state_dict").tensor(&X).op(b's');
    assert_eq!(remarks(other), ["ignoring what is not in the state dict or not a tensor (1): model"]);
    let many =
        ["a", "b", "c", "d", "e\n", "f"].iter().fold(Pickler::new().op(b'}'), |it, name| it.str(name).ops(b"Ns"));
    let expected = "ignoring what is not in the state dict or not a tensor (6): a, b, c, d, e\\n, …";
    assert_eq!(remarks(many.str("x").tensor(&X).op(b's')), [expected]);
}

#[test]
fn other_files_are_refused_with_a_remedy() {
    let tar = [&[0; 257][..], b"ustar\x0000", &[0; 300]].concat();
    let safetensors = [&8_u64.to_le_bytes()[..], br#"{"a":{}}"#].concat();
    let other_pickle = Pickler::new().ops(b"}.").0;
    let mut big = legacy_start();
    let little = big.len() - 3;
    big[little] = 0x89; // False instead of True
    for (file, part) in [
        (&tar[..], "tar archive"),
        (&safetensors, "rename it to model.safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (&other_pickle, "expected one of torch.save"),
        (b"", "it is empty"),
        (b"hello", "neither an archive nor a pickle"),
        (&big, "big-endian"),
        (&zip(&[("a/b.txt", b"")]), "without data.pkl"),
        (&zip(&[("a/data.pkl", b""), ("a/constants.pkl", b"")]), "TorchScript"),
        (&zip(&[("a/data.pkl", b""), ("a/code/a.py", b"")]), "TorchScript"),
        (&zip(&[("a/data.pkl", b""), ("a/byteorder", b"big")]), "big-endian"),
        (&zip(&[("a/data.pkl", b""), ("a/byteorder", b"middle")]), "neither little nor big"),
    ] {
        let error = read(file).unwrap_err();
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn parts_of_storages_are_read_in_the_older_format_only() {
    let part = |start, numel| {
        let pickler = Pickler::new().ops(b"}").str("x").global("torch._utils", "_rebuild_tensor").op(b'(');
        let storage = pickler.op(b'(').str("storage").global("torch", "FloatStorage").str("0").str("cpu").int(6);
        let storage = storage.op(b'(').str("part").int(start).int(numel).ops(b"ttQ");
        storage.int(1).tuple(&[2]).tuple(&[1]).ops(b"tRs.").0
    };
    let [archive, file] = both(&part(2, 3));
    assert!(read(&archive).unwrap_err().contains("only older files have"));
    let tensor = crate::TensorFile::new("x.bin".as_ref(), file);
    assert_eq!(tensor.tensors().unwrap()[0].bytes, &numbers()[12..20]);
    for (start, numel) in [(5, 2), (2, 2), (7, 0), (i64::MAX, i64::MAX)] {
        assert!(read(&both(&part(start, numel))[1]).is_err(), "{start} {numel}");
    }
}

/// Python 2 writes strings in another way, and passes the entries of an OrderedDict as a list.
#[test]
fn pickles_of_python_2_are_read() {
    let pickler = Pickler::new().global("collections", "OrderedDict").ops(b"](").ops(b"](U\x01x");
    assert_eq!(names(&pickler.tensor(&X).ops(b"ee\x85R.").0), ["x"]);
}

#[test]
fn conjugated_views_are_refused() {
    let tensor = |metadata: &[u8]| {
        let pickler = Pickler::new().op(b'}').str("x").global("torch._utils", "_rebuild_tensor_v2").op(b'(');
        let pickler = pickler.storage("FloatStorage", "0", 6).int(0).tuple(&[6]).tuple(&[1]).ops(&[0x89, b'N']);
        pickler.ops(metadata).ops(b"tRs.").0
    };
    assert_eq!(names(&tensor(b"N")), ["x"]);
    assert_eq!(names(&tensor(b"}")), ["x"]);
    assert_refused(&tensor(b"}U\x03neg\x88s"), "negated view");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_pickles_do_no_harm(pickle in prop::collection::vec(any::<u8>(), 0..200)) {
        for file in both(&[&[0x80, 2], &pickle[..]].concat()) {
            let _ = read(&file);
        }
        let _ = read(&pickle);
    }

    /// Opcodes that are valid more often than random bytes.
    #[test]
    fn random_opcodes_do_no_harm(opcodes in prop::collection::vec(
        prop::sample::select(vec![
            &b"N"[..], b"\x88", b"K\x03", b"J\xff\xff\xff\xff", b"X\x01\0\0\0x", b"U\x010", b")", b"]", b"}", b"\x85", b"\x86",
            b"\x87", b"t", b"l", b"d", b"a", b"e", b"s", b"u", b"(", b"0", b"1", b"2", b"q\0", b"q\x01", b"h\0", b"h\x01", b"R",
            b"b", b"Q", b"\x81", b"\x94", b"\x8f", b"\x90", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"(X\x07\0\0\0storagectorch\nFloatStorage\nU\x010NK\x06tQ",
        ]), 0..60))
    {
        for file in both(&[&[0x80, 2], &opcodes.concat()[..], b"."].concat()) {
            if let Ok(contents) = read(&file) {
                prop_assert!(!contents.entries.is_empty());
            }
        }
    }

    #[test]
    fn changed_files_do_no_harm(at in 0_usize..1000, byte in any::<u8>(), form in 0_usize..2) {
        let mut file = both(&Pickler::new().state(&[X, Saved { name: "t", size: &[3, 2], strides: &[1, 3], ..X }]))[form].clone();
        let at = at % file.len();
        file[at] = byte;
        let length = file.len();
        if let Ok(tensors) = crate::TensorFile::new("x.bin".as_ref(), file).tensors() {
            let bytes: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
            prop_assert!(bytes <= 5 * length);
        }
    }
}
