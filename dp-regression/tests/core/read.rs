//! Readers of files.

use std::fs;
use std::sync::Arc;

use dp_regression::read::{Column, NpyRows, ReadOptions};
use dp_regression::{Dataset, Error, RowBlocks, Table};
use parquet::basic::Compression;
use parquet::data_type::{ByteArrayType, DoubleType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

const CSV: &str = "age,sex,pay\n30,f,10.5\n41, m ,20\n55,x,-1e3\n";

fn read(text: &str, options: &ReadOptions) -> dp_regression::Result<Table> {
    Table::from_csv_reader(text.as_bytes(), "test.csv", options)
}

#[test]
fn columns_and_categories_are_read_in_the_order_asked_for() {
    let categories = ["f", "m", "x"].map(str::to_owned).to_vec();
    let columns = vec![
        Column::Categories {
            name: "sex".into(),
            categories,
        },
        Column::Number("age".into()),
    ];
    let options = ReadOptions {
        columns: Some(columns),
        ..ReadOptions::new("pay")
    };
    let table = read(CSV, &options).unwrap().with_intercept();
    assert_eq!(table.names(), ["intercept", "sex=m", "sex=x", "age"]);
    let (x, y) = table.dataset().unwrap().to_vectors().unwrap();
    assert_eq!(
        x,
        [
            1.0, 0.0, 0.0, 30.0, 1.0, 1.0, 0.0, 41.0, 1.0, 0.0, 1.0, 55.0
        ]
    );
    assert_eq!(y, [10.5, 20.0, -1e3]);
}

#[test]
fn errors_say_where() {
    let error = read(CSV, &ReadOptions::new("pay")).unwrap_err();
    assert!(matches!(&error, Error::Format { line: 2, .. }), "{error}");
    assert!(error.to_string().contains("`f`"), "{error}");
    assert!(
        matches!(read(CSV, &ReadOptions::new("wage")), Err(Error::NoColumn { column, .. }) if column == "wage")
    );
    assert!(matches!(
        read("a,b\n1,2\n3\n", &ReadOptions::new("b")),
        Err(Error::Format { line: 3, .. })
    ));
    assert!(matches!(
        read("b\n1\n", &ReadOptions::new("b")),
        Err(Error::NoColumns)
    ));
    let lenient = ReadOptions {
        lenient: true,
        ..ReadOptions::new("pay")
    };
    let table = read(CSV, &lenient).unwrap();
    assert!(matches!(
        table.dataset(),
        Err(Error::NonFinite {
            row: 0,
            column: Some(1)
        })
    ));
    assert!(matches!(
        Table::from_csv("/nowhere.csv", &lenient),
        Err(Error::Io { .. })
    ));
}

#[test]
fn quotes_line_ends_and_empty_lines_are_understood() {
    let text = "\u{feff}\"a, \"\"x\"\"\",y\r\n\r\n1,2\r\n\n\"3\",\"4\"";
    let table = read(text, &ReadOptions::new("y")).unwrap();
    assert_eq!(table.names(), ["a, \"x\""]);
    assert_eq!(
        table.dataset().unwrap().to_vectors().unwrap(),
        (vec![1.0, 3.0], vec![2.0, 4.0])
    );
    assert!(matches!(
        read("a,y\n1,\"2\n3,4\n", &ReadOptions::new("y")),
        Err(Error::Format { line: 2, .. })
    ));
    let semicolons = ReadOptions {
        delimiter: b';',
        ..ReadOptions::new("y")
    };
    assert_eq!(read("a;y\n1;2\n", &semicolons).unwrap().rows(), 1);
    let bytes: &[u8] = b"a,y\n1,\xff\n";
    assert!(matches!(
        Table::from_csv_reader(bytes, "x", &semicolons),
        Err(Error::NoColumn { .. })
    ));
    assert!(matches!(
        Table::from_csv_reader(bytes, "x", &ReadOptions::new("y")),
        Err(Error::Format { line: 2, .. })
    ));
}

fn npy(kind: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(bytes);
    out
}

#[test]
fn numpy_files_are_read_in_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let (x_path, y_path) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    let n = 10_000;
    let x: Vec<f64> = (0..2 * n).map(|i| f64::from(i) * 0.25).collect();
    let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(&x_path, npy("<f8", "(10000, 2)", &bytes)).unwrap();
    let bytes: Vec<u8> = (0..n).flat_map(|i| (i as f32).to_be_bytes()).collect();
    fs::write(&y_path, npy(">f4", "(10000,)", &bytes)).unwrap();
    let rows = NpyRows::open(&x_path, &y_path).unwrap();
    assert_eq!((rows.rows(), rows.columns()), (10_000, 2));
    let data = Dataset::from_blocks(&rows).unwrap();
    assert_eq!(data.to_vectors().unwrap().0, x);
    assert_eq!(
        data.row(9_999).unwrap(),
        (vec![x[19_998], x[19_999]], 9_999.0)
    );
    assert!(data.row(10_000).is_err());
    // Swapped files, a file that is too short, and one that is none.
    assert!(matches!(
        NpyRows::open(&y_path, &x_path),
        Err(Error::Format { .. })
    ));
    fs::write(&y_path, npy("<f8", "(10000,)", &[0; 79_999])).unwrap();
    assert!(matches!(
        NpyRows::open(&x_path, &y_path),
        Err(Error::Format { .. })
    ));
    fs::write(&y_path, npy("<f8", "(9999,)", &[0; 79_992])).unwrap();
    assert!(matches!(
        NpyRows::open(&x_path, &y_path),
        Err(Error::ShapeMismatch { .. })
    ));
    for bad in [
        npy("<i8", "(10000,)", &[0; 80_000]),
        b"\x93NUMPY\x09\x00".to_vec(),
        b"PK\x03\x04____".to_vec(),
    ] {
        fs::write(&y_path, bad).unwrap();
        assert!(NpyRows::open(&x_path, &y_path).is_err());
    }
}

/// The table of [`CSV`] with one age missing.
fn parquet_file(compression: Compression) -> Vec<u8> {
    let schema =
        "message people { optional int32 age; required binary sex (UTF8); required double pay; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression);
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<Int32Type>()
        .write_batch(&[30, 55], Some(&[1, 0, 1]), None)
        .unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts = ["f", "m", "x"].map(Into::into);
    column
        .typed::<ByteArrayType>()
        .write_batch(&texts, None, None)
        .unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<DoubleType>()
        .write_batch(&[10.5, 20.0, -1e3], None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn parquet_files_are_read_like_csv() {
    let categories = ["f", "m", "x"].map(str::to_owned).to_vec();
    let sex = Column::Categories {
        name: "sex".into(),
        categories,
    };
    let options = ReadOptions {
        columns: Some(vec![sex.clone()]),
        ..ReadOptions::new("pay")
    };
    let lenient = ReadOptions {
        columns: Some(vec![Column::Number("age".into()), sex]),
        lenient: true,
        ..ReadOptions::new("pay")
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.parquet");
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::LZ4_RAW,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
    ] {
        fs::write(&path, parquet_file(compression)).unwrap();
        let table = Table::from_parquet(&path, &options).unwrap();
        assert_eq!(table, read(CSV, &options).unwrap(), "{compression}");
        let missing = Table::from_parquet(&path, &lenient).unwrap();
        assert_eq!(missing.names(), ["age", "sex=m", "sex=x"]);
        assert!(matches!(
            missing.dataset(),
            Err(Error::NonFinite {
                row: 1,
                column: Some(0)
            })
        ));
        let strict = ReadOptions {
            lenient: false,
            ..lenient.clone()
        };
        assert!(matches!(
            Table::from_parquet(&path, &strict),
            Err(Error::Format { line: 2, .. })
        ));
    }
    assert!(matches!(
        Table::from_parquet(&path, &ReadOptions::new("wage")),
        Err(Error::NoColumn { column, .. }) if column == "wage"
    ));
    let bytes = parquet_file(Compression::SNAPPY);
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(matches!(
            Table::from_parquet(&path, &options),
            Err(Error::Format { .. })
        ));
    }
}
