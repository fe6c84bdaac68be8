//! Crops, flips and standardisation.

use std::collections::BTreeSet;

use fire_assay_models::Error;
use fire_assay_models::train::{Crop, Standardise};

/// Every pixel has a value of its own.
fn image() -> Vec<f32> {
    (1..=2 * 5 * 6).map(|v| v as f32).collect()
}

const SHAPE: [usize; 3] = [2, 5, 6];

#[test]
fn crops_are_windows_of_the_padded_image_flipped_or_not() {
    let image = image();
    let crop = Crop {
        padding: 2,
        fill: -1.0,
        flip: true,
    };
    // All that can come out, by brute force over a padded copy.
    let padded = |c: usize, y: usize, x: usize| match (y.checked_sub(2), x.checked_sub(2)) {
        (Some(y), Some(x)) if y < 5 && x < 6 => image[(c * 5 + y) * 6 + x],
        _ => -1.0,
    };
    let mut possible = BTreeSet::new();
    for (top, left, flip) in
        (0..5).flat_map(|t| (0..5).flat_map(move |l| [(t, l, false), (t, l, true)]))
    {
        let at = |i: usize| {
            let (c, y, x) = (i / 30, i / 6 % 5, i % 6);
            let x = if flip { 5 - x } else { x };
            padded(c, y + top, x + left)
        };
        possible.insert((0..60).map(|i| at(i) as i64).collect::<Vec<_>>());
    }
    assert_eq!(possible.len(), 50);
    let drawn = |seed| crop.apply(&image, SHAPE, seed).unwrap();
    let found: BTreeSet<Vec<i64>> = (0..1000)
        .map(|seed| drawn(seed).iter().map(|&v| v as i64).collect())
        .collect();
    assert_eq!(found, possible);
    assert_eq!(drawn(17), drawn(17));

    let still = Crop {
        padding: 0,
        flip: false,
        ..crop
    };
    assert_eq!(still.apply(&image, SHAPE, 3).unwrap(), image);
}

#[test]
fn flips_come_one_time_in_two() {
    let crop = Crop {
        padding: 0,
        ..Crop::default()
    };
    let image = image();
    let flipped = (0..2000)
        .filter(|&seed| crop.apply(&image, SHAPE, seed).unwrap() != image)
        .count();
    // 5 standard deviations of a fair coin.
    assert!((888..=1112).contains(&flipped), "{flipped}");
}

#[test]
fn standardised_channels_have_mean_0_and_deviation_1() {
    let images: Vec<f32> = (0..3 * 60)
        .map(|i| (i * i % 37) as f32 + if i / 30 % 2 == 0 { 100.0 } else { 0.0 })
        .collect();
    let mut done = images.clone();
    Standardise::fit(&images, SHAPE)
        .unwrap()
        .apply(&mut done, 5, 6)
        .unwrap();
    for channel in 0..2 {
        let values = || {
            done.chunks(30)
                .skip(channel)
                .step_by(2)
                .flatten()
                .map(|&v| f64::from(v))
        };
        let mean = values().sum::<f64>() / 90.0;
        let square = values().map(|v| v * v).sum::<f64>() / 90.0;
        assert!(
            mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-5,
            "{mean} {square}"
        );
    }
    let mut one = vec![3.0, 5.0];
    Standardise::new(vec![1.0, 2.0], vec![2.0, 4.0])
        .unwrap()
        .apply(&mut one, 1, 1)
        .unwrap();
    assert_eq!(one, [1.0, 0.75]);
}

#[test]
fn images_of_another_shape_are_refused() {
    let refused = |result: Result<(), Error>| assert!(result.is_err());
    refused(Crop::default().apply(&image(), [3, 5, 6], 0).map(drop));
    refused(Crop::default().apply(&[], [0, 5, 6], 0).map(drop));
    refused(Standardise::new(vec![0.0], vec![0.0]).map(drop));
    refused(Standardise::new(vec![0.0], vec![1.0, 1.0]).map(drop));
    refused(Standardise::fit(&[1.0; 60], SHAPE).map(drop));
    refused(Standardise::fit(&[1.0; 59], SHAPE).map(drop));
    refused(Standardise::fit(&[], SHAPE).map(drop));
    refused(
        Standardise::new(vec![0.0], vec![1.0])
            .unwrap()
            .apply(&mut [0.0; 7], 2, 3),
    );
}
