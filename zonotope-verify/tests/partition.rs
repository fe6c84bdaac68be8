//! Partitions of coordinates: they cover what was selected, and follow their rules.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zonotope_verify::partition::{
    PairRule, Partition, Rows, Scope, axis_alignment, by_similarity, depthwise, random, scored,
    similarity, spatial,
};

/// Data of a zonotope without centre.
struct Zonotope {
    zeros: Vec<f64>,
    generators: Vec<f64>,
    count: usize,
}

impl Zonotope {
    fn new(rows: &[&[f64]]) -> Self {
        Self {
            zeros: vec![0.0; rows.len()],
            generators: rows.concat(),
            count: rows[0].len(),
        }
    }

    /// Entries of both signs; small integers if `ties` are wanted.
    fn random(n: usize, m: usize, ties: bool, rng: &mut ChaCha8Rng) -> Self {
        let entry = |rng: &mut ChaCha8Rng| {
            if ties {
                f64::from(rng.random_range(-2_i32..=2))
            } else {
                rng.random_range(-1.0..1.0)
            }
        };
        Self {
            zeros: vec![0.0; n],
            generators: (0..n * m).map(|_| entry(rng)).collect(),
            count: m,
        }
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(&self.zeros, &self.generators, self.count, &self.zeros).unwrap()
    }

    fn similarity(&self, i: usize, j: usize) -> f64 {
        let rows = self.rows();
        rows.row(i)
            .iter()
            .zip(rows.row(j))
            .map(|(a, b)| a.abs() * b.abs())
            .sum()
    }

    fn alignment(&self, i: usize, j: usize) -> f64 {
        let rows = self.rows();
        let both = rows
            .row(i)
            .iter()
            .zip(rows.row(j))
            .map(|(a, b)| (a.abs(), b.abs()));
        let shares: Vec<f64> = both
            .filter(|(a, b)| a + b > 0.0)
            .map(|(a, b)| (a + b) / a.max(b))
            .collect();
        if shares.is_empty() {
            0.0
        } else {
            shares.iter().sum::<f64>() / shares.len() as f64
        }
    }
}

/// Greedy pairing by its definition.
fn naive(selected: &[usize], value: impl Fn(usize, usize) -> f64) -> Vec<Vec<usize>> {
    let others = |i: usize| selected.iter().copied().filter(move |&j| j != i);
    let largest = |i: usize| {
        others(i)
            .map(|j| value(i, j))
            .fold(f64::NEG_INFINITY, f64::max)
    };
    let mut order = selected.to_vec();
    order.sort_by(|&a, &b| largest(b).total_cmp(&largest(a)));
    let mut free = selected.to_vec();
    let mut groups = Vec::new();
    for i in order {
        if !free.contains(&i) {
            continue;
        }
        free.retain(|&j| j != i);
        let mut partner = None;
        for &j in &free {
            if partner.is_none_or(|best| value(i, j) > value(i, best)) {
                partner = Some(j);
            }
        }
        match partner {
            Some(j) => {
                free.retain(|&other| other != j);
                groups.push(vec![i, j]);
            }
            None => groups.push(vec![i]),
        }
    }
    groups
}

fn assert_covers(partition: &Partition, selected: &[usize]) {
    let mut found = partition.groups().concat();
    let mut expected = selected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn greedy_pairs_follow_the_definition() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // Numbers below and above what is multiplied and remembered at a time; integers have ties.
    for (n, m) in [(1, 3), (2, 3), (7, 5), (40, 20), (131, 17), (200, 2)] {
        let zonotope = Zonotope::random(n, m, true, &mut rng);
        let every: Vec<usize> = (0..n).collect();
        let some: Vec<usize> = (0..n).filter(|i| i % 3 != 1).collect();
        for selected in [every, some] {
            let found = similarity(zonotope.rows(), &selected).unwrap();
            assert_eq!(
                found.groups(),
                naive(&selected, |i, j| zonotope.similarity(i, j))
            );
            let found = axis_alignment(zonotope.rows(), &selected).unwrap();
            assert_covers(&found, &selected);
        }
        let zonotope = Zonotope::random(n, m, false, &mut rng);
        let selected: Vec<usize> = (0..n).collect();
        let found = similarity(zonotope.rows(), &selected).unwrap();
        assert_eq!(
            found.groups(),
            naive(&selected, |i, j| zonotope.similarity(i, j))
        );
        let found = axis_alignment(zonotope.rows(), &selected).unwrap();
        assert_eq!(
            found.groups(),
            naive(&selected, |i, j| zonotope.alignment(i, j))
        );
    }
}

#[test]
fn rows_find_the_partners_that_share_their_generators() {
    // 0 and 3 share a generator, 1 and 4 another; 2 is zero and 5 is alone.
    let zonotope = Zonotope::new(&[
        &[5.0, 0.0, 0.0],
        &[0.0, 3.0, 0.0],
        &[0.0, 0.0, 0.0],
        &[-4.0, 0.0, 0.1],
        &[0.0, -3.0, 0.0],
        &[0.0, 0.0, 1.0],
    ]);
    let every = [0, 1, 2, 3, 4, 5];
    let found = similarity(zonotope.rows(), &every).unwrap();
    assert_eq!(found.groups(), [vec![0, 3], vec![1, 4], vec![5, 2]]);
    // Equal shares matter here, not size.
    let found = axis_alignment(zonotope.rows(), &every).unwrap();
    assert_eq!(found.groups()[0], [1, 4]);
    let found = similarity(zonotope.rows(), &[2]).unwrap();
    assert_eq!((found.pairs(), found.singles()), (vec![], vec![2]));
    assert_eq!(similarity(zonotope.rows(), &[]).unwrap().groups().len(), 0);
    assert!(similarity(zonotope.rows(), &[6]).is_err());
    assert!(similarity(zonotope.rows(), &[1, 1]).is_err());
}

#[test]
fn positions_follow_the_image() {
    // Two channels of 2 x 3: the columns are 0, 1, 2, 0, 1, 2, ...
    let every: Vec<usize> = (0..12).collect();
    let columns = spatial([2, 2, 3], &every, 2).unwrap();
    assert_eq!(
        columns.pairs(),
        [[0, 3], [6, 9], [1, 4], [7, 10], [2, 5], [8, 11]]
    );
    let channels = depthwise([2, 2, 3], &[11, 0, 7, 1, 6], 2).unwrap();
    assert_eq!(channels.groups(), [vec![0, 1], vec![11, 7], vec![6]]);
    assert!(spatial([2, 2, 3], &[12], 2).is_err());
    let score = scored(&[4, 5, 6, 7], 3, |index| {
        if index == 5 {
            f64::NAN
        } else {
            (index % 2) as f64
        }
    })
    .unwrap();
    assert_eq!(score.groups(), [vec![7, 4, 6], vec![5]]);
}

#[test]
fn rules_cover_the_selection_and_repeat() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let zonotope = Zonotope::random(24, 10, false, &mut rng);
    let lower: Vec<f64> = (0..24)
        .map(|i| if i % 4 == 0 { 0.0 } else { -1.0 })
        .collect();
    let upper: Vec<f64> = (0..24).map(|i| if i == 1 { 0.0 } else { 1.0 }).collect();
    assert_eq!(Scope::All.select(&lower, &upper).len(), 24);
    let selected = Scope::Unstable.select(&lower, &upper);
    assert_eq!(selected.len(), 17);
    for rule in [
        PairRule::Similarity,
        PairRule::AxisAlignment,
        PairRule::Random,
        PairRule::Spatial,
        PairRule::Depthwise,
    ] {
        for shape in [None, Some([2, 3, 4])] {
            let run = || {
                rule.pairs(
                    zonotope.rows(),
                    &selected,
                    shape,
                    &mut ChaCha8Rng::seed_from_u64(3),
                )
                .unwrap()
            };
            let found = run();
            assert_covers(&found, &selected);
            assert_eq!((found.pairs().len(), found.singles().len()), (8, 1));
            assert_eq!(found, run());
        }
    }
    let other = random(&selected, 2, &mut ChaCha8Rng::seed_from_u64(4)).unwrap();
    assert_ne!(
        other,
        random(&selected, 2, &mut ChaCha8Rng::seed_from_u64(5)).unwrap()
    );
    assert!(random(&selected, 0, &mut rng).is_err());
}

#[test]
fn merging_concatenates_neighbours() {
    let pairs = Partition::new(vec![vec![4, 1], vec![0, 2], vec![3, 5], vec![6]]).unwrap();
    assert_eq!(pairs.merge(5).groups(), [vec![4, 1, 0, 2], vec![3, 5, 6]]);
    assert_eq!(pairs.merge(100).groups(), [vec![4, 1, 0, 2, 3, 5, 6]]);
    for unchanged in [1, 2, 3] {
        assert_eq!(pairs.merge(unchanged), pairs);
    }
    assert_eq!(Partition::default().merge(4), Partition::default());
    assert!(Partition::new(vec![vec![1], vec![]]).is_err());
    assert!(Partition::new(vec![vec![1], vec![2, 1]]).is_err());
    let json = serde_json::to_string(&pairs).unwrap();
    assert_eq!(serde_json::from_str::<Partition>(&json).unwrap(), pairs);
    assert!(serde_json::from_str::<Partition>("[[1],[1]]").is_err());
}

#[test]
fn groups_gather_what_is_alike() {
    // Three families of five rows that share a generator within the family, interleaved.
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut zonotope = Zonotope::random(16, 9, false, &mut rng);
    for i in 0..15 {
        for k in 0..9 {
            zonotope.generators[i * 9 + k] *= if k == i % 3 {
                0.5 + 0.5 * rng.random_range(0.0..1.0) + 3.0
            } else {
                0.01
            };
        }
    }
    let families: Vec<usize> = (0..15).collect();
    let found = by_similarity(zonotope.rows(), &families, 5).unwrap();
    assert_covers(&found, &families);
    assert!(
        found
            .groups()
            .iter()
            .all(|group| group.len() == 5 && group.iter().all(|i| i % 3 == group[0] % 3))
    );
    let every: Vec<usize> = (0..16).collect();
    let found = by_similarity(zonotope.rows(), &every, 7).unwrap();
    assert_covers(&found, &every);
    let mut sizes: Vec<usize> = found.groups().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 5, 6]);
    assert_eq!(
        by_similarity(zonotope.rows(), &every, 16).unwrap().groups(),
        std::slice::from_ref(&every)
    );
    assert!(by_similarity(zonotope.rows(), &every, 0).is_err());
}

#[test]
fn zero_rows_are_paired_in_order() {
    let zonotope = Zonotope::new(&[[0.0, 0.0].as_slice(); 5]);
    let every = [0, 1, 2, 3, 4];
    for found in [
        similarity(zonotope.rows(), &every),
        axis_alignment(zonotope.rows(), &every),
    ] {
        assert_eq!(found.unwrap().groups(), [vec![0, 1], vec![2, 3], vec![4]]);
    }
    // A layer behind a zonotope without generators.
    let none = Zonotope {
        zeros: vec![0.0; 3],
        generators: vec![],
        count: 0,
    };
    assert_eq!(
        similarity(none.rows(), &[0, 1, 2]).unwrap().groups(),
        [vec![0, 1], vec![2]]
    );
    assert_eq!(
        by_similarity(none.rows(), &[0, 1, 2], 2).unwrap().groups(),
        [vec![0, 1], vec![2]]
    );
    assert_eq!(
        axis_alignment(none.rows(), &[0, 1, 2]).unwrap().groups(),
        [vec![0, 1], vec![2]]
    );
}
