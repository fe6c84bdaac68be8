//! Safetensors files, byte by byte: every type that is read, and what breaks the format.

use fire_assay_models::Error;
use fire_assay_models::tensors::{Safetensors, TensorSource};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with files in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, contents: &[u8]) {
        std::fs::write(self.0.path().join(name), contents).unwrap();
    }

    fn open(&self, name: &str) -> Result<Safetensors, Error> {
        Safetensors::open(self.0.path().join(name))
    }
}

/// A file with this header and these data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

/// The entry of a header about a tensor.
fn entry(dtype: &str, shape: &[u64], offsets: [u64; 2]) -> Value {
    json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets })
}

fn open(header: &Value, data: &[u8]) -> Result<Safetensors, Error> {
    let folder = Folder::new();
    folder.write("model.safetensors", &file(&header.to_string(), data));
    folder.open("model.safetensors")
}

/// The reason why a file is refused.
fn reason(result: Result<Safetensors, Error>) -> String {
    match result {
        Err(Error::Parse { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[test]
fn floating_point_numbers_of_all_widths_are_read() {
    let values = [0.5_f32, -2.0, 65504.0];
    let wide: Vec<u8> = values
        .iter()
        .flat_map(|&v| f64::from(v).to_le_bytes())
        .collect();
    let plain: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let half = [0x3800_u16, 0xc000, 0x7bff].map(u16::to_le_bytes).concat();
    for (dtype, data) in [("F64", &wide), ("F32", &plain), ("F16", &half)] {
        let header = json!({ "a": entry(dtype, &[3], [0, data.len() as u64]) });
        let tensor = open(&header, data).unwrap().read("a").unwrap();
        assert_eq!((tensor.shape(), tensor.values()), (&[3][..], &values[..]));
    }
    // The upper half of a 32-bit number.
    let brain = [0x3f00_u16, 0xc000].map(u16::to_le_bytes).concat();
    let file = open(&json!({ "a": entry("BF16", &[2, 1], [0, 4]) }), &brain).unwrap();
    assert_eq!(file.read("a").unwrap().values(), &values[..2]);
    // Too large for 32 bits.
    let file = open(
        &json!({ "a": entry("F64", &[1], [0, 8]) }),
        &1e300_f64.to_le_bytes(),
    );
    match file.unwrap().read("a") {
        Err(Error::NonFinite {
            tensor, index: 0, ..
        }) => assert_eq!(tensor, "a"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_types_are_named() {
    for (dtype, width) in [
        ("I64", 8),
        ("I32", 4),
        ("U8", 1),
        ("BOOL", 1),
        ("F8_E4M3", 1),
    ] {
        let header = json!({ "ids": entry(dtype, &[2], [0, 2 * width]) });
        let file = open(&header, &vec![0; 2 * width as usize]).unwrap();
        match file.read("ids") {
            Err(Error::UnsupportedType {
                tensor,
                found,
                path,
            }) => {
                assert_eq!((tensor.as_str(), found.as_str()), ("ids", dtype));
                assert!(path.ends_with("model.safetensors"));
            }
            other => panic!("{dtype}: {other:?}"),
        }
    }
    reason(open(
        &json!({ "a": entry("F128", &[1], [0, 16]) }),
        &[0; 16],
    ));
}

#[test]
fn headers_that_are_too_long_take_no_memory() {
    let folder = Folder::new();
    for length in [100_000_001_u64, 1 << 40, u64::MAX] {
        folder.write(
            "a.safetensors",
            &[&length.to_le_bytes()[..], b"{}"].concat(),
        );
        let reason = reason(folder.open("a.safetensors"));
        assert!(reason.contains(&length.to_string()), "{reason}");
    }
    // Allowed, but more than there is.
    folder.write(
        "a.safetensors",
        &[&100_000_000_u64.to_le_bytes()[..], b"{}"].concat(),
    );
    match folder.open("a.safetensors") {
        Err(Error::Truncated { needed, found, .. }) => {
            assert_eq!((needed, found), (100_000_008, 10))
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[test]
fn tensors_lie_one_after_the_other() {
    let two = |a: [u64; 2], b: [u64; 2]| json!({ "a": entry("F32", &[1], a), "b": entry("F32", &[1], b) });
    let data = [0; 8];
    assert!(open(&two([0, 4], [4, 8]), &data).is_ok());
    assert!(open(&two([4, 8], [0, 4]), &data).is_ok());
    for (a, b) in [
        // The same bytes, some of the same, bytes of none, and backwards.
        ([0, 4], [0, 4]),
        ([0, 4], [2, 6]),
        ([0, 4], [8, 12]),
        ([4, 8], [8, 12]),
        ([0, 4], [8, 4]),
    ] {
        reason(open(&two(a, b), &[0; 16]));
    }
    let found = reason(open(&two([0, 4], [4, 8]), &[0; 9]));
    assert!(found.contains("1 bytes behind"), "{found}");
    // Sizes that are not those of the shape.
    for (shape, end) in [
        (&[2][..], 4),
        (&[], 8),
        (&[1 << 40, 1 << 40], 8),
        (&[u64::MAX, 2], 8),
    ] {
        reason(open(&json!({ "a": entry("F32", shape, [0, end]) }), &data));
    }
    for header in [
        json!([]),
        json!({ "a": 1 }),
        json!({ "a": { "dtype": "F32", "shape": [1] } }),
        json!({ "a": { "dtype": "F32", "shape": [-1], "data_offsets": [0, 4] } }),
        json!({ "__metadata__": { "network": 1 } }),
    ] {
        reason(open(&header, &[0; 4]));
    }
}

#[test]
fn an_index_names_files_beside_it_and_all_their_tensors() {
    let folder = Folder::new();
    let header = json!({ "a": entry("F32", &[1], [0, 4]), "b": entry("F32", &[1], [4, 8]) });
    folder.write("one.safetensors", &file(&header.to_string(), &[0; 8]));
    let index = |map: Value| {
        let index = json!({ "metadata": {}, "weight_map": map });
        folder.write("model.safetensors.index.json", index.to_string().as_bytes());
        folder.open("model.safetensors.index.json")
    };
    let whole = index(json!({ "a": "one.safetensors", "b": "one.safetensors" })).unwrap();
    assert_eq!(whole.names(), ["a", "b"]);
    let found = reason(index(json!({ "a": "one.safetensors" })));
    assert!(
        found.contains("`b`") && found.contains("one.safetensors"),
        "{found}"
    );
    let outside = folder.0.path().join("one.safetensors");
    let outside = outside.to_str().unwrap();
    for other in [
        "../one.safetensors",
        "./one.safetensors",
        "x/one.safetensors",
        outside,
        "..",
        "",
    ] {
        let found = reason(index(json!({ "a": other, "b": other })));
        assert!(found.contains("not the name of a file"), "{other}: {found}");
    }
    for text in ["", "{}", r#"{"weight_map": {"a": 1}}"#] {
        folder.write("model.safetensors.index.json", text.as_bytes());
        reason(folder.open("model.safetensors.index.json"));
    }
}
