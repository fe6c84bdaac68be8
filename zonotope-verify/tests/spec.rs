//! Boxes, half-spaces and specifications: membership with its rounding error, and that nothing wrong comes out of storage.

use proptest::prelude::*;
use zonotope_verify::Error;
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};

/// The exact value of `sum a y - bound` in units of 2^-40, for numbers that are small multiples of 2^-20.
fn exact(coefficients: &[i32], outputs: &[i32], bound: i32) -> i128 {
    let products = coefficients
        .iter()
        .zip(outputs)
        .map(|(&a, &y)| i128::from(a) * i128::from(y));
    products.sum::<i128>() - (i128::from(bound) << 20)
}

fn small(number: i32) -> f64 {
    f64::from(number) / 2.0f64.powi(20)
}

proptest! {
    #[test]
    fn excess_is_enclosed_and_decides_membership(
        terms in prop::collection::vec((any::<i32>(), any::<i32>()), 1..20), bound in any::<i32>()
    ) {
        let (a, y): (Vec<i32>, Vec<i32>) = terms.into_iter().unzip();
        let half_space = HalfSpace { coefficients: a.iter().map(|&a| small(a)).collect(), bound: small(bound) };
        let outputs: Vec<f64> = y.iter().map(|&y| small(y)).collect();
        let excess = half_space.excess(&outputs).unwrap();
        let exact = exact(&a, &y, bound);
        // The exact value has less than 75 bits: its distance to a 64-bit number in two parts is exact enough.
        let high = exact >> 30;
        let low = exact - (high << 30);
        let unit = 2.0f64.powi(-40);
        let off = (high as f64 * 2.0f64.powi(30) * unit - excess.value) + low as f64 * unit;
        prop_assert!(off.abs() <= excess.radius * (1.0 + 1e-9), "{off} {excess:?}");
        if excess.value.abs() > excess.radius {
            prop_assert_eq!(half_space.violated_by(&outputs), exact <= 0);
        }
        prop_assert!(excess.radius <= 1e-12 * (1.0 + outputs.iter().zip(&half_space.coefficients).map(|(a, y)| (a * y).abs()).sum::<f64>() + half_space.bound.abs()));
    }

    #[test]
    fn balls_contain_what_is_within_the_radius(
        center in prop::collection::vec(-1.0..1.0f64, 1..6), radius in 0.0..0.5f64, steps in prop::collection::vec(-1.0..=1.0f64, 6)
    ) {
        let ball = InputBox::linf(&center, radius).unwrap();
        let point: Vec<f64> = center.iter().zip(&steps).map(|(c, step)| c + step * radius).collect();
        prop_assert!(ball.contains(&center) && ball.contains(&point));
        let beyond: Vec<f64> = center.iter().map(|c| c + radius * 1.001 + 1e-9).collect();
        prop_assert!(!ball.contains(&beyond));
        if let Ok(clipped) = ball.clone().clip(0.0, 1.0) {
            let inside: Vec<f64> = point.iter().map(|x| x.clamp(0.0, 1.0)).collect();
            prop_assert!(clipped.lower().iter().all(|&x| x >= 0.0) && clipped.upper().iter().all(|&x| x <= 1.0));
            prop_assert_eq!(clipped.contains(&point), inside == point);
        } else {
            prop_assert!(center.iter().any(|c| c + radius < 0.0));
        }
    }

    #[test]
    fn a_case_is_violated_where_box_and_all_half_spaces_are_met(
        point in prop::collection::vec(-2i32..=2, 2), outputs in prop::collection::vec(-2i32..=2, 3)
    ) {
        let numbers = |list: &[i32]| list.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let (point, outputs) = (numbers(&point), numbers(&outputs));
        let input = InputBox::new(vec![-1.0, 0.0], vec![1.0, 2.0]).unwrap();
        let half_spaces = [([1.0, -1.0, 0.0], 0.0), ([0.0, 1.0, 1.0], 1.0)];
        let half_spaces = half_spaces.map(|(a, bound)| HalfSpace { coefficients: a.to_vec(), bound });
        let case = UnsafeCase { input: input.clone(), outputs: half_spaces.to_vec() };
        let inside = (-1.0..=1.0).contains(&point[0]) && (0.0..=2.0).contains(&point[1]);
        let met = outputs[0] <= outputs[1] && outputs[1] + outputs[2] <= 1.0;
        prop_assert_eq!(case.violated_by(&point, &outputs), inside && met);
        prop_assert_eq!(case.margin(&outputs).unwrap() <= 0.0, met);
        let always = UnsafeCase { input: input.clone(), outputs: vec![] };
        prop_assert_eq!(always.margin(&outputs).unwrap(), f64::NEG_INFINITY);
        let spec = Spec { cases: vec![case, always] };
        let expected = if !inside { None } else if met { Some(0) } else { Some(1) };
        prop_assert_eq!(spec.violated_case(&point, &outputs), expected);
        prop_assert_eq!(spec.violated_by(&point, &outputs), inside);
    }
}

#[test]
fn robustness_is_violated_by_another_top_class() {
    let input = InputBox::linf(&[0.5], 0.1).unwrap();
    let spec = Spec::robustness(&input, 1, 3).unwrap();
    assert!(!spec.violated_by(&[0.5], &[1.0, 2.0, -1.0]));
    assert!(spec.violated_by(&[0.5], &[1.0, 2.0, 3.0]));
    assert_eq!(
        spec.violated_case(&[0.5], &[2.0, 2.0, 3.0]),
        Some(0),
        "a tie is a violation"
    );
    assert!(
        !spec.violated_by(&[0.7], &[1.0, 2.0, 3.0]),
        "outside the box"
    );
    assert!(matches!(
        Spec::robustness(&input, 3, 3),
        Err(Error::OutputIndex { index: 3, size: 3 })
    ));
}

#[test]
fn nan_and_other_sizes_are_no_violation() {
    let half_space = HalfSpace {
        coefficients: vec![1.0, 1.0],
        bound: 0.0,
    };
    for outputs in [
        &[f64::NAN, 0.0][..],
        &[0.0, f64::INFINITY],
        &[f64::NEG_INFINITY, f64::INFINITY],
        &[-1.0],
        &[-1.0; 3],
    ] {
        assert!(!half_space.violated_by(outputs), "{outputs:?}");
    }
    assert!(matches!(
        half_space.excess(&[1.0]),
        Err(Error::ShapeMismatch { .. })
    ));
    let input = InputBox::new(vec![0.0], vec![1.0]).unwrap();
    assert!(!input.contains(&[f64::NAN]) && !input.contains(&[0.5, 0.5]));
    let case = UnsafeCase {
        input,
        outputs: vec![half_space.clone(), half_space],
    };
    assert_eq!(case.margin(&[f64::NAN, 0.0]).unwrap(), f64::INFINITY);
}

#[test]
fn boxes_are_checked_when_they_are_read() {
    let input = InputBox::new(vec![0.1, -0.5], vec![0.25, 1.0]).unwrap();
    let text = serde_json::to_string(&input).unwrap();
    assert_eq!(text, r#"{"lower":[0.1,-0.5],"upper":[0.25,1.0]}"#);
    assert_eq!(serde_json::from_str::<InputBox>(&text).unwrap(), input);
    for wrong in [
        r#"{"lower":[1.0],"upper":[0.0]}"#,
        r#"{"lower":[0.0],"upper":[0.0,1.0]}"#,
        r#"{"lower":[],"upper":[]}"#,
        r#"{"lower":[0.0]}"#,
    ] {
        assert!(serde_json::from_str::<InputBox>(wrong).is_err(), "{wrong}");
    }
}
