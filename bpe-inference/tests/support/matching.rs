//! An oracle for the linear program that knows no linear programming.

use bpe_inference::lp::MixtureLp;

/// `F(alpha)`: the least sum of slacks given the weights, which by duality is the largest weight of a
/// matching of steps with pairs, an edge weighing its row's violation (Hungarian algorithm).
pub(crate) fn matching_value(lp: &MixtureLp, alpha: &[f64]) -> f64 {
    let rows = lp.steps();
    let columns = rows.max(lp.pairs());
    let mut weight = vec![vec![0.0f64; columns]; rows];
    for r in 0..lp.rows() {
        let violation: f64 = -lp.row(r).iter().zip(alpha).map(|(a, x)| a * x).sum::<f64>();
        let entry = &mut weight[lp.step_of()[r] as usize][lp.pair_of()[r] as usize];
        *entry = entry.max(violation);
    }
    let (mut row_price, mut column_price) = (vec![0.0; rows + 1], vec![0.0; columns + 1]);
    // `mate[j]` is the row of column j; row `rows` and column `columns` stand for "none".
    let mut mate = vec![rows; columns + 1];
    for row in 0..rows {
        mate[columns] = row;
        let mut column = columns;
        let mut least = vec![f64::INFINITY; columns];
        let mut previous = vec![columns; columns];
        let mut used = vec![false; columns + 1];
        loop {
            used[column] = true;
            let current = mate[column];
            let (mut delta, mut next) = (f64::INFINITY, columns);
            for j in 0..columns {
                if used[j] {
                    continue;
                }
                let reduced = -weight[current][j] - row_price[current] - column_price[j];
                if reduced < least[j] {
                    least[j] = reduced;
                    previous[j] = column;
                }
                if least[j] < delta {
                    delta = least[j];
                    next = j;
                }
            }
            for j in 0..=columns {
                if used[j] {
                    row_price[mate[j]] += delta;
                    column_price[j] -= delta;
                } else if j < columns {
                    least[j] -= delta;
                }
            }
            column = next;
            if mate[column] == rows {
                break;
            }
        }
        while column != columns {
            let before = previous[column];
            mate[column] = mate[before];
            column = before;
        }
    }
    (0..columns)
        .filter(|&j| mate[j] < rows)
        .map(|j| weight[mate[j]][j])
        .sum()
}

/// All points of the simplex with coordinates that are multiples of `1 / parts`.
pub(crate) fn grid(n: usize, parts: usize) -> Vec<Vec<f64>> {
    fn extend(n: usize, left: usize, parts: usize, head: &mut Vec<f64>, out: &mut Vec<Vec<f64>>) {
        if n == 1 {
            head.push(left as f64 / parts as f64);
            out.push(head.clone());
            head.pop();
            return;
        }
        for part in 0..=left {
            head.push(part as f64 / parts as f64);
            extend(n - 1, left - part, parts, head, out);
            head.pop();
        }
    }
    let mut out = Vec::new();
    extend(n, parts, parts, &mut Vec::new(), &mut out);
    out
}
