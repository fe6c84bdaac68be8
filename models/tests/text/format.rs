//! Metadata and tensors are what the package `gguf` wrote (`tests/data/make/gguf_files.py`).

use fire_assay_models::Error;
use fire_assay_models::gguf::{Array, GgufFile, TensorType, Value};
use fire_assay_models::tensors::{Safetensors, TensorSource};

use crate::writer::{Writer, array, kind, text};
use crate::{data, read, refusal};

#[test]
fn metadata_have_their_types() {
    let file = GgufFile::open(data("gguf/types.gguf")).unwrap();
    assert_eq!(file.version(), 3);
    let expected = [
        ("u8", Value::U8(255)),
        ("i8", Value::I8(-128)),
        ("u16", Value::U16(65_535)),
        ("i16", Value::I16(-32_768)),
        ("u32", Value::U32(u32::MAX)),
        ("i32", Value::I32(i32::MIN)),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(0.1)),
        ("f64", Value::F64(0.1)),
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
        ("string", Value::String("naïve ☃".to_owned())),
        (
            "strings",
            Value::Array(Array::String(["a", "bc", "é"].map(str::to_owned).to_vec())),
        ),
        ("ints", Value::Array(Array::I32(vec![1, -2, 3]))),
        ("floats", Value::Array(Array::F32(vec![0.5, -0.25]))),
        ("bools", Value::Array(Array::Bool(vec![true, false]))),
    ];
    for (key, value) in expected {
        assert_eq!(file.metadata()[&format!("test.{key}")], value);
    }
    assert_eq!(file.string("general.architecture").unwrap(), Some("test"));
    assert_eq!(file.float("test.f32").unwrap(), Some(0.1));
    assert_eq!(file.unsigned("test.u64").unwrap(), Some(u64::MAX));
    assert_eq!(file.boolean("test.true").unwrap(), Some(true));
    assert_eq!(file.string("test.absent").unwrap(), None);
    for error in [
        refusal(file.string("test.u8")),
        refusal(file.unsigned("test.i8")),
        refusal(file.float("test.string")),
        refusal(file.strings("test.ints")),
    ] {
        assert!(
            matches!(&error, Error::Parse { reason, .. } if reason.contains("`test.")),
            "{error}"
        );
    }
}

#[test]
fn lists_can_hold_lists() {
    let inner = [
        array(kind::U8, 2, &[7, 8]),
        array(kind::STRING, 1, &text("x")),
    ]
    .concat();
    let file = read(
        Writer::new()
            .raw("nested", kind::ARRAY, &array(kind::ARRAY, 2, &inner))
            .bytes(),
    );
    let expected = Array::Array(vec![
        Array::U8(vec![7, 8]),
        Array::String(vec!["x".to_owned()]),
    ]);
    assert_eq!(file.unwrap().array("nested").unwrap(), Some(&expected));
}

#[test]
fn version_2_is_read_like_3() {
    let mut writer = Writer::new()
        .string("key", "value")
        .floats("x", &[2], &[1.0, -0.0]);
    writer.version = 2;
    let file = read(writer.bytes()).unwrap();
    assert_eq!(
        (file.version(), file.string("key").unwrap()),
        (2, Some("value"))
    );
    assert_eq!(file.read("x").unwrap().values(), [1.0, -0.0]);
}

#[test]
fn every_type_is_dequantised_to_the_last_bit() {
    let file = GgufFile::open(data("gguf/types.gguf")).unwrap();
    let expected = Safetensors::open(data("gguf/expected.safetensors")).unwrap();
    assert_eq!(file.names(), expected.names());
    let mut types: Vec<TensorType> = Vec::new();
    let mut values = 0;
    for name in file.names() {
        let (found, expected) = (file.read(&name).unwrap(), expected.read(&name).unwrap());
        assert_eq!(found.shape(), expected.shape(), "{name}");
        assert_eq!(file.shape(&name).unwrap(), expected.shape(), "{name}");
        for (k, (a, b)) in found.values().iter().zip(expected.values()).enumerate() {
            assert_eq!(a.to_bits(), b.to_bits(), "{name}[{k}]: {a}, expected {b}");
        }
        values += found.values().len();
        types.push(file.tensors()[&name].tensor_type());
    }
    println!("{values} values of {} tensors are equal", types.len());
    for wanted in [
        TensorType::F32,
        TensorType::F16,
        TensorType::Bf16,
        TensorType::Q4_0,
        TensorType::Q4_1,
        TensorType::Q5_0,
        TensorType::Q5_1,
        TensorType::Q8_0,
        TensorType::Q6K,
    ] {
        assert!(types.contains(&wanted), "no tensor of type {wanted}");
    }
}

#[test]
fn a_tensor_of_another_type_is_named_and_does_no_harm_to_others() {
    let writer = Writer::new().floats("good", &[1], &[5.0]);
    for (number, name) in [(12, "Q4_K"), (99, "99")] {
        let file = read(
            writer
                .clone()
                .tensor("bad", &[256], number, &[0; 144])
                .bytes(),
        )
        .unwrap();
        match refusal(file.read("bad")) {
            Error::UnsupportedType {
                path,
                tensor,
                found,
            } => {
                assert_eq!(
                    (path.to_str(), tensor.as_str()),
                    (Some("memory.gguf"), "bad")
                );
                assert!(found.contains(name), "{found}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(file.read("good").unwrap().values(), [5.0]);
    }
}

#[test]
fn values_that_are_no_numbers_are_refused() {
    let infinite_scale = [&[0x00, 0x7c], [1_u8; 32].as_slice()].concat();
    let file = Writer::new().floats("nan", &[2], &[0.0, f32::NAN]).tensor(
        "infinite",
        &[32],
        8,
        &infinite_scale,
    );
    let file = read(file.bytes()).unwrap();
    for (name, place) in [("nan", 1), ("infinite", 0)] {
        match refusal(file.read(name)) {
            Error::NonFinite { tensor, index, .. } => {
                assert_eq!((tensor.as_str(), index), (name, place))
            }
            other => panic!("{other}"),
        }
    }
    assert!(
        matches!(refusal(file.read("absent")), Error::MissingTensor { tensor, .. } if tensor == "absent")
    );
}
