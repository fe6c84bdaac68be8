//! Plots are checked on the SVG text: what must be readable is there, and what cannot be drawn is an error.

use super::*;

fn shares() -> BarChart {
    let values = |shift: f64| vec![Some((0.5 + shift).into()), Some((0.3 - shift).into()), None];
    BarChart {
        title: "Shares <by> category".to_owned(),
        axis: Axis::new("share of bytes", Scale::Percent),
        categories: ["English", "C & C++", "日本語"].map(str::to_owned).to_vec(),
        series: vec![
            BarSeries {
                name: "true".to_owned(),
                values: values(0.0),
            },
            BarSeries {
                name: "estimated".to_owned(),
                values: vec![Some(Value::with_interval(0.48, 0.4, 0.55)), None, None],
            },
        ],
    }
}

fn curves(series: usize) -> LineChart {
    let points = |k: usize| {
        [1e2, 1e3, 1e4].map(|x| {
            (
                x,
                Value::with_interval(1.0 / x, 0.5 / x, 2.0 * k as f64 / x),
            )
        })
    };
    LineChart {
        title: "Error and data".to_owned(),
        x: Axis::new("bytes", Scale::Logarithmic),
        y: Axis::new("squared error", Scale::Logarithmic),
        series: (1..=series)
            .map(|k| LineSeries {
                name: format!("series {k}"),
                style: LineStyle::Line,
                points: points(k).to_vec(),
            })
            .collect(),
    }
}

fn plane() -> PlanePicture {
    PlanePicture {
        title: "A square & a diagonal".to_owned(),
        x: "x".to_owned(),
        y: "height".to_owned(),
        points: (0..5_000)
            .map(|i| (f64::from(i % 100), f64::from(i / 100)))
            .collect(),
        curves: vec![
            PlaneCurve {
                name: "diagonal".to_owned(),
                lines: vec![vec![(0.0, 0.0), (40.0, 40.0)]],
                arrows: vec![Arrow {
                    from: (10.0, 10.0),
                    to: (5.0, 15.0),
                }],
            },
            PlaneCurve {
                name: "dot".to_owned(),
                lines: vec![vec![(20.0, 10.0); 3]],
                arrows: Vec::new(),
            },
        ],
    }
}

fn written(write: impl FnOnce(&Path) -> Result<(), PlotError>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plot.svg");
    write(&path).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_name_is_in_the_picture_as_text() {
    let svg = written(|path| shares().write(path));
    for name in [
        "Shares &lt;by&gt; category",
        "share of bytes",
        "C &amp; C++",
        "日本語",
        "estimated",
        "20 %",
    ] {
        assert!(svg.contains(name), "{name}");
    }
    let svg = written(|path| curves(3).write(path));
    for name in [
        "Error and data",
        "squared error",
        "series 3",
        "10,000",
        "1e-4",
    ] {
        assert!(svg.contains(name), "{name}");
    }
}

#[test]
fn bars_are_as_long_as_their_values() {
    let svg = written(|path| shares().write(path));
    let first = format!(
        "fill=\"#{:02X}{:02X}{:02X}\"",
        PALETTE[0].0, PALETTE[0].1, PALETTE[0].2
    );
    let widths: Vec<f64> = svg
        .lines()
        .filter(|line| line.starts_with("<rect") && line.contains(&first))
        .filter_map(|line| {
            line.split("width=\"")
                .nth(1)?
                .split('"')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    // The square of the legend, then 50 % and 30 %.
    assert_eq!(widths.len(), 3, "{svg}");
    assert!(
        (widths[1] / widths[2] - 5.0 / 3.0).abs() < 0.02,
        "{widths:?}"
    );
}

#[test]
fn no_two_of_twenty_eight_lines_look_alike() {
    for a in 0..28 {
        assert!((0..a).all(|b| colour(a) != colour(b) || marker(a) != marker(b)));
    }
    let svg = written(|path| curves(28).write(path));
    for k in 1..=28 {
        assert!(svg.contains(&format!("series {k}\n")), "{k}");
    }
}

fn attribute(line: &str, name: &str) -> Vec<f64> {
    let text = line.split(&format!(" {name}=\"")).nth(1).unwrap();
    let numbers = text.split('"').next().unwrap().split([' ', ',']);
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn a_dashed_line_has_the_colour_of_the_one_before_it_and_no_markers() {
    let circles = |svg: &str| svg.matches("<circle").count();
    let mut chart = curves(2);
    let plain = written(|path| chart.write(path));
    chart.series[1].style = LineStyle::Dashed;
    let dashed = written(|path| chart.write(path));
    let second = format!(
        "#{:02X}{:02X}{:02X}",
        PALETTE[1].0, PALETTE[1].1, PALETTE[1].2
    );
    assert!(plain.contains(&second) && !dashed.contains(&second));
    // More strokes, no squares of the second series.
    assert!(dashed.matches("<polyline").count() > plain.matches("<polyline").count());
    assert_eq!(circles(&plain), circles(&dashed));

    chart.series[1].style = LineStyle::Markers;
    let markers = written(|path| chart.write(path));
    assert!(markers.contains(&second));
    assert!(markers.matches("<polyline").count() < plain.matches("<polyline").count());
}

#[test]
fn a_plane_has_one_scale_and_shows_what_it_should() {
    for stretch in [1.0, 0.02, 30.0] {
        let mut picture = plane();
        let all = picture.curves.iter_mut().flat_map(|curve| &mut curve.lines);
        for place in all.flatten().chain(&mut picture.points) {
            place.1 *= stretch;
        }
        picture.curves[0].arrows[0].to = (10.0, 20.0 * stretch);
        picture.curves[0].lines[0] = vec![(0.0, 0.0), (30.0, 0.0), (30.0, 30.0)];
        let svg = written(|path| picture.write(path));
        for name in ["A square &amp; a diagonal", "height", "diagonal", "dot"] {
            assert!(svg.contains(name), "{name}");
        }
        let corner = svg
            .lines()
            .filter(|line| line.contains("<polyline") && line.contains("stroke-width=\"3\""))
            .map(|line| attribute(line, "points"))
            .find(|numbers| numbers.len() == 6)
            .unwrap();
        let (right, up) = (corner[2] - corner[0], corner[3] - corner[5]);
        assert!(
            right > 3.0 && (right - up).abs() <= 2.0,
            "{stretch} {corner:?}"
        );
        // Of the points 4,000, and the dot.
        assert_eq!(svg.matches("<circle").count(), 4_001);
        assert_eq!(svg.matches("<polygon").count(), 1);
    }
}

#[test]
fn what_cannot_be_drawn_is_an_error_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plot.svg");

    let mut short = shares();
    short.series[1].values.pop();
    assert!(matches!(
        short.write(&path),
        Err(PlotError::Shape {
            expected: 3,
            found: 2,
            ..
        })
    ));

    let mut nan = shares();
    nan.series[0].values[0] = Some(f64::NAN.into());
    assert!(matches!(nan.write(&path), Err(PlotError::Value { .. })));

    let mut none = shares();
    none.series.clear();
    assert!(matches!(none.write(&path), Err(PlotError::Empty { .. })));

    let mut zero = curves(1);
    zero.series[0].points[0].1 = 0.0.into();
    assert!(matches!(
        zero.write(&path),
        Err(PlotError::Value {
            scale: "logarithmic",
            ..
        })
    ));
    assert!(matches!(
        curves(0).write(&path),
        Err(PlotError::Empty { .. })
    ));
    let mut infinite = plane();
    infinite.curves[0].arrows[0].to.0 = f64::INFINITY;
    assert!(matches!(
        infinite.write(&path),
        Err(PlotError::Value { .. })
    ));
    let mut nothing = plane();
    nothing.points.clear();
    nothing.curves.clear();
    assert!(matches!(nothing.write(&path), Err(PlotError::Empty { .. })));
    assert!(!path.exists());

    let nowhere = folder.path().join("missing/plot.svg");
    assert!(matches!(
        curves(1).write(nowhere),
        Err(PlotError::Write { .. })
    ));
}
