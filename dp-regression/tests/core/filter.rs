//! The filter against subset enumeration, and its two forms against each other.

use dp_regression::filter::{self, LevelSets};
use dp_regression::ladder::{Ladder, LadderInput};
use dp_regression::{Adjacency, Dataset};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Table, hostile, rounds};

fn ladder(leverage_bound: f64, residual_bound: f64, score_cap: usize, window: usize) -> Ladder {
    let adjacency = Adjacency::Replace;
    let input = LadderInput {
        leverage_bound,
        residual_bound,
        score_cap,
        window,
        adjacency,
        relative_error: 0.0,
    };
    Ladder::new(input).unwrap().unwrap()
}

fn dataset(table: &Table) -> Dataset<'static> {
    Dataset::new(table.flat(), table.y.clone(), table.columns()).unwrap()
}

/// The union of all subsets whose leverages are at most `tau`, which is the largest one, or `None` if there is none.
fn largest_good_subset(table: &Table, tau: f64) -> Option<Vec<usize>> {
    let n = table.y.len();
    let mut best: Option<(usize, u32)> = None;
    for set in 1..1_u32 << n {
        let weights: Vec<f64> = (0..n).map(|i| f64::from(set >> i & 1)).collect();
        let Some((h, _, _)) = table.fit(&weights) else {
            continue;
        };
        let good = (0..n).all(|i| set >> i & 1 == 0 || h[i] <= tau);
        let size = set.count_ones() as usize;
        if good && best.is_none_or(|(largest, _)| size > largest) {
            best = Some((size, set));
        }
    }
    best.map(|(_, set)| (0..n).filter(|i| set >> i & 1 == 0).collect())
}

#[test]
fn leverage_levels_are_the_largest_good_subsets() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut compared = 0;
    for round in 0..rounds(12) {
        let (n, d) = (rng.random_range(8..12), rng.random_range(1..3));
        // Residuals never matter. Leverages average d/n, so that thresholds a little above bind.
        let ladder = ladder(0.09, 1e9, 2, 2);
        let table = hostile(&mut rng, n, d, 0.3, 1.0, 2);
        // A coarse integer grid makes ties and exact leverages of 1.
        let table = if round % 3 == 0 {
            Table {
                x: table
                    .x
                    .iter()
                    .map(|x| x.iter().map(|x| x.round()).collect())
                    .collect(),
                y: table.y,
            }
        } else {
            table
        };
        for level in 0..ladder.levels() {
            let tau = ladder.leverage_threshold(level);
            // With n < 1/tau * d no subset can pass; scale the threshold into reach by repeating every row.
            let copies = 6;
            let repeated = Table {
                x: table
                    .x
                    .iter()
                    .flat_map(|x| vec![x.clone(); copies])
                    .collect(),
                y: table.y.iter().flat_map(|y| vec![*y; copies]).collect(),
            };
            let found = filter::from_scratch(&dataset(&repeated), &ladder, level).unwrap();
            let expected = largest_good_subset(&table, tau * copies as f64);
            // Copies go or stay together unless the cap interferes.
            if let (Some(found), Some(expected)) = (&found, &expected) {
                let found: Vec<usize> = (0..n)
                    .filter(|i| (0..copies).all(|c| found.contains(&(i * copies + c))))
                    .collect();
                assert_eq!(&found, expected);
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "only {compared} levels were decided");
}

/// Without repeated rows and with a cap that never binds, on tables just large enough for a small leverage bound.
#[test]
fn greedy_removal_ends_in_the_same_set_in_any_order() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..rounds(40) {
        let table = hostile(&mut rng, 60, 2, 0.1, 1.0, 4);
        let ladder = ladder(0.08, 1e9, 3, 1);
        let tau = ladder.leverage_threshold(0);
        // All violators at once, with plain linear algebra.
        let mut weights = vec![1.0; 60];
        while let Some((h, _, _)) = table.fit(&weights) {
            let violators: Vec<usize> = (0..60)
                .filter(|&i| weights[i] > 0.0 && h[i] > tau)
                .collect();
            if violators.is_empty() {
                break;
            }
            violators.iter().for_each(|&i| weights[i] = 0.0);
        }
        let expected: Vec<usize> = (0..60).filter(|&i| weights[i] == 0.0).collect();
        let found = filter::from_scratch(&dataset(&table), &ladder, 0).unwrap();
        assert_eq!(found, (expected.len() <= 3).then_some(expected));
    }
}

#[test]
fn the_pass_and_the_definition_agree_where_residuals_do_not_interfere() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..rounds(60) {
        let table = hostile(&mut rng, 120, 2, 0.05, 1.0, 3);
        let ladder = ladder(0.05, 1e9, 4, 3);
        let data = dataset(&table);
        assert_eq!(
            filter::one_pass(&data, &ladder).unwrap(),
            filter::all_from_scratch(&data, &ladder).unwrap()
        );
    }
}

#[test]
fn gross_outliers_are_removed_by_both_forms_and_counted_by_the_score() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for outliers in 0..6 {
        let x = (0..200)
            .map(|_| vec![1.0, rng.random_range(-1.0..1.0)])
            .collect();
        let mut table = Table {
            x,
            y: (0..200).map(|_| rng.random_range(-1.0..1.0)).collect(),
        };
        for row in 0..outliers {
            table.y[7 * row + 3] = 1e6 * if row % 2 == 0 { 1.0 } else { -1.3 };
        }
        let ladder = ladder(0.06, 10.0, 4, 3);
        let data = dataset(&table);
        let expected: Vec<usize> = (0..outliers).map(|row| 7 * row + 3).collect();
        for levels in [
            filter::one_pass(&data, &ladder).unwrap(),
            filter::all_from_scratch(&data, &ladder).unwrap(),
        ] {
            assert_eq!(levels.score(4), outliers.min(4));
            if outliers <= 4 {
                assert_eq!(levels.removed(0), Some(&expected[..]));
                assert_eq!(
                    levels.weights(4),
                    expected.iter().map(|&row| (row, 0.0)).collect::<Vec<_>>()
                );
            } else {
                assert_eq!(levels.removed(0), None);
            }
        }
    }
}

#[test]
fn scores_and_weights_follow_their_definitions() {
    // k = 3, a = 2: levels 0..=4.
    let sets = LevelSets::new(vec![
        None,
        Some(vec![1, 4, 9]),
        Some(vec![1, 4]),
        Some(vec![1, 4]),
        Some(vec![4]),
    ]);
    assert_eq!(sets.score(3), 2);
    assert_eq!(sets.weights(3), vec![(1, 0.5), (4, 0.0)]);
    assert_eq!(sets.score(2), 2, "no level below the cap passes");
    assert_eq!(LevelSets::new(vec![Some(vec![]); 5]).score(3), 0);
    assert!(LevelSets::new(vec![Some(vec![]); 5]).weights(3).is_empty());
}

#[test]
fn tables_without_full_rank_have_no_levels() {
    let ladder = ladder(0.05, 1.0, 3, 3);
    let twice: Vec<Vec<f64>> = (0..100)
        .map(|i| vec![f64::from(i), 2.0 * f64::from(i)])
        .collect();
    let zero: Vec<Vec<f64>> = (0..100).map(|i| vec![f64::from(i), 0.0]).collect();
    for x in [twice, zero] {
        let table = Table {
            x,
            y: vec![1.0; 100],
        };
        let levels = filter::one_pass(&dataset(&table), &ladder).unwrap();
        assert!((0..levels.levels()).all(|level| levels.removed(level).is_none()));
        assert_eq!(levels.score(3), 3);
    }
    // A row that alone holds up a dimension has leverage 1 and cannot be removed.
    let x: Vec<Vec<f64>> = (0..100)
        .map(|i| vec![1.0, if i == 5 { 1.0 } else { 0.0 }])
        .collect();
    let levels = filter::one_pass(
        &dataset(&Table {
            x,
            y: vec![0.0; 100],
        }),
        &ladder,
    )
    .unwrap();
    assert_eq!(levels.score(3), 3);
    let none: Dataset<'_> = Dataset::new(Vec::new(), Vec::new(), 2).unwrap();
    assert_eq!(filter::one_pass(&none, &ladder).unwrap().score(3), 3);
}
