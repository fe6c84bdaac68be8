//! Bad input gets an error that says what is wrong; odd input gets an answer.

use std::io::Cursor;

use proptest::prelude::*;
use sobolev_budget::{
    BudgetPath, Constraint, Domain, Error, FitConfig, FitOptions, Grid, GridMap, Interpolation,
    Measure, Norm, Outcome, Smoothness, Starts, length_bound, tube_lower_bound,
};

use crate::support::config;

fn square() -> Measure {
    Measure::square_lattice(5).unwrap()
}

#[test]
fn measures_are_checked() {
    let of = |n: usize, points: Vec<f64>, weights: Vec<f64>| Measure::weighted(n, points, weights);
    assert!(matches!(of(2, vec![], vec![]), Err(Error::EmptyMeasure)));
    assert!(matches!(
        of(0, vec![1.0], vec![1.0]),
        Err(Error::EmptyMeasure)
    ));
    assert!(matches!(
        of(2, vec![1.0; 3], vec![1.0]),
        Err(Error::Size {
            expected: 2,
            found: 1,
            ..
        })
    ));
    assert!(matches!(
        of(2, vec![1.0; 4], vec![1.0]),
        Err(Error::Size {
            expected: 2,
            found: 1,
            ..
        })
    ));
    assert!(matches!(
        of(2, vec![1.0, 2.0, 3.0, f64::NAN], vec![1.0; 2]),
        Err(Error::NonFinite { row: 1, column: 1 })
    ));
    assert!(matches!(
        of(1, vec![1.0, f64::INFINITY], vec![1.0; 2]),
        Err(Error::NonFinite { row: 1, column: 0 })
    ));
    assert!(matches!(
        of(1, vec![1.0, 2.0], vec![1.0, -1.0]),
        Err(Error::Weight { index: 1, .. })
    ));
    assert!(matches!(
        of(1, vec![1.0, 2.0], vec![f64::NAN, 1.0]),
        Err(Error::Weight { index: 0, .. })
    ));
    assert!(matches!(
        of(1, vec![1.0, 2.0], vec![0.0, 0.0]),
        Err(Error::EmptyMeasure)
    ));
    // Weights of any size are scaled; points without weight are left out.
    let measure = of(1, vec![1.0, 2.0, 3.0], vec![1e308, 0.0, 1e308]).unwrap();
    assert_eq!((measure.len(), measure.weights()), (2, &[0.5, 0.5][..]));
}

#[test]
fn problems_are_checked_before_work() {
    let fails = |config: FitConfig| config.fit(&square()).unwrap_err();
    let of = |domain, order, budget| config(domain, order, budget);
    assert!(matches!(
        fails(of(Domain::Square, 1, 1.0)),
        Error::Subcritical {
            order: 1,
            dimension: 2,
            ..
        }
    ));
    assert!(matches!(
        fails(of(Domain::Torus, 1, 1.0)),
        Error::Subcritical { .. }
    ));
    assert!(matches!(
        fails(of(Domain::Cube, 1, 1.0)),
        Error::Subcritical { dimension: 3, .. }
    ));
    assert!(matches!(
        fails(of(Domain::Interval, 0, 1.0)),
        Error::Parameter { .. }
    ));
    assert!(matches!(
        fails(of(Domain::Interval, 9, 1.0)),
        Error::Parameter { .. }
    ));
    for budget in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            fails(of(Domain::Interval, 1, budget)),
            Error::Parameter {
                name: "the budget",
                ..
            }
        ));
    }
    for p in [0.5, f64::NAN, 1e9] {
        assert!(matches!(
            fails(of(Domain::Interval, 1, 1.0).with_exponent(p)),
            Error::Parameter { .. }
        ));
    }
    for q in [0.5, f64::NAN] {
        let mut config = of(Domain::Interval, 1, 1.0);
        config.smoothness.exponent = q;
        assert!(matches!(fails(config), Error::Parameter { .. }));
    }
    // Length itself, order 1 with q = 1, is not supercritical.
    let mut length = of(Domain::Interval, 1, 1.0);
    length.smoothness.exponent = 1.0;
    assert!(matches!(fails(length), Error::Subcritical { .. }));
    assert!(matches!(
        fails(of(Domain::Interval, 3, 1.0).with_nodes(3)),
        Error::TooFewNodes {
            needed: 4,
            found: 3
        }
    ));
    assert!(matches!(
        fails(of(Domain::Interval, 1, 1.0).with_nodes(1)),
        Error::TooFewNodes { .. }
    ));
    assert!(matches!(
        fails(of(Domain::Circle, 1, 1.0).with_nodes(2)),
        Error::TooFewNodes { needed: 3, .. }
    ));
    assert!(matches!(
        fails(of(Domain::Cube, 2, 1.0).with_nodes(1000)),
        Error::Parameter { .. }
    ));
    assert!(matches!(
        fails(of(Domain::Interval, 1, 1.0).with_nodes(usize::MAX)),
        Error::Parameter { .. }
    ));
    assert!(matches!(
        fails(of(Domain::Interval, 1, 1.0).with_tolerance(f64::NAN)),
        Error::Parameter { .. }
    ));
    assert!(matches!(
        fails(of(Domain::Interval, 1, 1.0).with_volume(0.0)),
        Error::Parameter { .. }
    ));
    assert!(matches!(
        fails(of(Domain::Interval, 1, 1.0).with_constraint(Constraint::Price(-1.0))),
        Error::Parameter { .. }
    ));
    assert!(matches!(
        fails(of(Domain::Interval, 1, 1.0).with_starts(Starts::given())),
        Error::Parameter { .. }
    ));
    for factors in [
        vec![1.0],
        vec![1.0, 0.0],
        vec![-1.0, 1.0],
        vec![f64::NAN, 1.0],
    ] {
        let mut config = of(Domain::Interval, 1, 1.0);
        config.smoothness.norm = Norm::Weighted(factors);
        assert!(matches!(
            fails(config),
            Error::Size { .. } | Error::Parameter { .. }
        ));
    }
    let message = fails(of(Domain::Square, 1, 1.0)).to_string();
    assert!(message.contains("take order 2"), "{message}");
}

#[test]
fn starts_and_paths_are_checked() {
    let grid = Grid::new(Domain::Interval, 4).unwrap();
    let line = GridMap::new(grid, Interpolation::Linear, 1, vec![0.0; 4]).unwrap();
    let options = |start: &GridMap| FitOptions::default().with_starts(vec![start.clone()]);
    let config = config(Domain::Interval, 1, 1.0);
    assert!(matches!(
        config.fit_with(&square(), &options(&line)),
        Err(Error::Size { .. })
    ));
    let ring = GridMap::new(
        Grid::new(Domain::Circle, 4).unwrap(),
        Interpolation::Linear,
        2,
        vec![0.0; 8],
    )
    .unwrap();
    assert!(matches!(
        config.fit_with(&square(), &options(&ring)),
        Err(Error::Size { .. })
    ));
    assert!(matches!(
        BudgetPath::new(config.clone(), vec![]),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        BudgetPath::new(config.clone(), vec![1.0, -1.0]),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        GridMap::new(grid, Interpolation::Linear, 1, vec![0.0; 3]),
        Err(Error::Size { .. })
    ));
    assert!(matches!(
        GridMap::new(grid, Interpolation::Linear, 0, vec![]),
        Err(Error::Size { .. })
    ));
    assert!(matches!(
        GridMap::new(grid, Interpolation::Linear, 1, vec![f64::NAN; 4]),
        Err(Error::NonFinite { .. })
    ));
    assert!(matches!(line.eval(&[0.0, 0.0]), Err(Error::Size { .. })));
    assert!(matches!(
        line.eval(&[f64::NAN]),
        Err(Error::NonFinite { .. })
    ));
    assert!(matches!(line.project(&[0.0, 0.0]), Err(Error::Size { .. })));
    assert!(matches!(
        line.distance(&square(), 2.0),
        Err(Error::Size { .. })
    ));
    assert!(matches!(
        line.cost(&Smoothness::new(4)),
        Err(Error::TooFewNodes { .. })
    ));
    assert!(matches!(
        line.improvement(
            &Measure::segment(3, &[1.0]).unwrap(),
            2.0,
            &Smoothness::new(1),
            0.0
        ),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        tube_lower_bound(Domain::Interval, &Smoothness::new(1), 1.0, 2.0, 2, -1.0),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        length_bound(Domain::Interval, &Smoothness::new(1), f64::NAN),
        Err(Error::Parameter { .. })
    ));
    assert_eq!(
        length_bound(Domain::Interval, &Smoothness::new(2), 1.0).unwrap(),
        None
    );
}

#[test]
fn odd_measures_are_fitted() {
    // All points alike: nothing to gain, at any budget and order.
    let same = Measure::from_points(2, vec![3.0; 40]).unwrap();
    for (domain, order) in [
        (Domain::Interval, 1),
        (Domain::Interval, 2),
        (Domain::Circle, 1),
        (Domain::Square, 2),
    ] {
        for budget in [0.0, 1.0] {
            let fit = config(domain, order, budget)
                .with_nodes(9)
                .fit(&same)
                .unwrap();
            assert!(fit.j < 1e-20, "{domain} {order} {budget}: {}", fit.j);
            assert_eq!(fit.multiplier, 0.0);
        }
    }
    // Fewer points than nodes, one coordinate, one point, points far out.
    let few = Measure::from_points(1, vec![0.0, 1.0]).unwrap();
    let fit = config(Domain::Interval, 1, 5.0).fit(&few).unwrap();
    assert!(
        fit.j < 1e-12 && fit.multiplier == 0.0 && fit.cost <= 5.0,
        "{fit}"
    );
    let one = Measure::from_points(3, vec![1.0, 2.0, 3.0]).unwrap();
    assert!(
        config(Domain::Torus, 2, 1.0)
            .with_nodes(8)
            .fit(&one)
            .unwrap()
            .j
            < 1e-20
    );
    for size in [1e-150, 1e100] {
        let far = Measure::segment(100, &[size, 0.0]).unwrap();
        let fit = config(Domain::Interval, 1, size)
            .with_nodes(17)
            .fit(&far)
            .unwrap();
        let expected = 0.5f64.powi(3) / 3.0;
        assert!(
            (fit.j / size / size - expected).abs() < 1e-3 * expected,
            "{size}: {}",
            fit.j
        );
    }
    // A heavy point far away.
    let heavy =
        Measure::weighted(2, vec![0.0, 0.0, 1.0, 0.0, 1e8, 0.0], vec![1.0, 1.0, 1e-12]).unwrap();
    assert!(
        config(Domain::Interval, 1, 1.0)
            .with_nodes(17)
            .fit(&heavy)
            .unwrap()
            .j
            .is_finite()
    );
    // Starts that do not exist on a domain are replaced.
    let mut config = config(Domain::Square, 2, 1.0).with_nodes(9);
    config.starts = Starts {
        principal: 0,
        continuation: false,
        centres: vec![30],
        finalists: 1,
    };
    assert_eq!(config.fit(&square()).unwrap().starts[0].name, "principal0");
    // No sweeps at all: the start, within the budget.
    let fit = crate::support::config(Domain::Interval, 1, 0.5)
        .with_max_sweeps(0)
        .fit(&square())
        .unwrap();
    assert_eq!(fit.outcome, Outcome::Sweeps);
    assert!(fit.cost <= 0.5 * (1.0 + 1e-10));
}

#[test]
fn text_is_read_or_refused() {
    let read = |text: &str, weights: Option<usize>| {
        Measure::from_csv(Cursor::new(text.to_owned()), "points.csv", weights)
    };
    let measure = read("# a comment\nx,y,w\n0,1,2\n 3 , 4 , 6\n", Some(2)).unwrap();
    assert_eq!(
        (measure.points(), measure.weights()),
        (&[0.0, 1.0, 3.0, 4.0][..], &[0.25, 0.75][..])
    );
    assert_eq!(
        read("1;2\n", None).unwrap_err().to_string(),
        "a measure needs at least one point with a positive weight"
    );
    for (text, weights, word) in [
        ("1,2\n3,x\n", None, "line 2, column 2"),
        ("1,2\n3\n", None, "record"),
        ("x,y\n1,2\n", Some(2), "no column 2"),
    ] {
        let error = read(text, weights).unwrap_err();
        assert!(
            matches!(error, Error::Read { .. }) && error.to_string().contains(word),
            "{error}"
        );
    }
    assert!(matches!(read("", None), Err(Error::EmptyMeasure)));
    assert!(matches!(
        read("1,nan\n", None),
        Err(Error::NonFinite { row: 0, column: 1 })
    ));
    assert!(matches!(
        read("1,-1\n", Some(1)),
        Err(Error::Weight { index: 0, .. })
    ));
    assert!(matches!(read("1\n", Some(0)), Err(Error::EmptyMeasure)));
    assert!(matches!(
        Measure::from_file("nowhere.csv", None),
        Err(Error::Io { .. })
    ));
}

#[test]
fn arrays_are_read_or_refused() {
    use npyz::WriterBuilder as _;
    let write = |shape: &[u64], order: npyz::Order, values: &[f64]| {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .order(order)
            .shape(shape)
            .writer(&mut bytes)
            .begin_nd()
            .unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        bytes
    };
    let read = |bytes: Vec<u8>| Measure::from_npy(Cursor::new(bytes), "points.npy", None);
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let rows = read(write(&[3, 2], npyz::Order::C, &values)).unwrap();
    assert_eq!((rows.len(), rows.points()), (3, &values[..]));
    let columns = read(write(
        &[3, 2],
        npyz::Order::Fortran,
        &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0],
    ))
    .unwrap();
    assert_eq!(rows, columns);
    for bytes in [
        write(&[6], npyz::Order::C, &values),
        b"no array".to_vec(),
        write(&[3, 2], npyz::Order::C, &values)[..100].to_vec(),
    ] {
        assert!(matches!(read(bytes), Err(Error::Read { .. })));
    }
    // A header that promises more than there is.
    let mut bytes = write(&[3, 2], npyz::Order::C, &values);
    let at = bytes.windows(2).position(|w| w == b"(3").unwrap();
    bytes[at + 1] = b'9';
    assert!(read(bytes).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is read, nothing panics.
    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), weights in proptest::option::of(0usize..4)) {
        let _ = Measure::from_csv(Cursor::new(&bytes), "points.csv", weights);
        let _ = Measure::from_npy(Cursor::new(&bytes), "points.npy", weights);
        let mut array = b"\x93NUMPY\x01\x00".to_vec();
        array.extend(&bytes);
        let _ = Measure::from_npy(Cursor::new(&array), "points.npy", weights);
    }

    /// Small clouds of any shape are fitted within their budget, and never worse than their mean.
    #[test]
    fn fits_are_feasible_and_no_worse_than_a_point(
        points in proptest::collection::vec(-1e3f64..1e3, 2..40),
        order in 1usize..4,
        budget in prop_oneof![Just(0.0), 1e-6f64..1e6],
        p in prop_oneof![Just(1.0), Just(2.0), 1.0f64..4.0],
        closed in any::<bool>(),
    ) {
        let points = points[..points.len() / 2 * 2].to_vec();
        let measure = Measure::from_points(2, points).unwrap();
        let domain = if closed { Domain::Circle } else { Domain::Interval };
        let fit = config(domain, order, budget).with_exponent(p).with_nodes(9).with_max_sweeps(30).fit(&measure).unwrap();
        prop_assert!(fit.cost <= budget * (1.0 + 1e-8) + 1e-8, "{} > {budget}", fit.cost);
        let start = fit.history[0];
        prop_assert!(fit.j <= start * (1.0 + 1e-9) + 1e-15);
        prop_assert!((fit.map.distance(&measure, p).unwrap() - fit.j).abs() <= 1e-6 * fit.j + 1e-12);
        prop_assert!(fit.multiplier >= 0.0);
    }
}
