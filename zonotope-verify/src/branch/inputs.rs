//! Branch and bound on the box of the inputs.
//!
//! Every part is bounded by [`Boxes`]; it is safe if one of the case's half-spaces is impossible there, or a combination of several. Otherwise it is
//! cut across the input by which its bound loses most. Points of open parts are tried as counterexamples on the way.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{BranchConfig, BranchOn, Frontier, Keep, Open};
use crate::boxes::{Boxes, Workspace};
use crate::certificate::InputNode;
use crate::combination::{Reach, combined, per_weight, single, weigh};
use crate::error::Result;
use crate::limits::Limits;
use crate::network::Network;
use crate::report::Reason;
use crate::rounding::add_down;
use crate::spec::{HalfSpace, InputBox, UnsafeCase};

impl InputBox {
    /// The parts with input `index` below and above `at`; both hold the cut. `None` if `at` does not lie inside.
    pub(crate) fn bisect(&self, index: usize, at: f64) -> Option<(Self, Self)> {
        let (&l, &u) = (self.lower().get(index)?, self.upper().get(index)?);
        if !(l <= at && at <= u) {
            return None;
        }
        let mut upper = self.upper().to_vec();
        upper[index] = at;
        let mut lower = self.lower().to_vec();
        lower[index] = at;
        Some((
            Self::new(self.lower().to_vec(), upper).ok()?,
            Self::new(lower, self.upper().to_vec()).ok()?,
        ))
    }
}

/// Multiplications that the parts of one round may take, and how many times the batch of the settings they may be.
const ROUND: usize = 4_000_000_000;
const BATCHES: usize = 64;

/// Points that look like counterexamples and turn out to be none, before the search gives up: it can prove nothing near them.
const DOUBTS: usize = 16;

/// What a linear bound's change along an input counts beside what the bound loses by it.
const REACH: f64 = 0.1;

/// An open part, and where it is to be cut.
#[derive(Serialize, Deserialize)]
pub(crate) struct Part {
    input: InputBox,
    cut: Option<(usize, f64)>,
}

/// A search on the inputs of one case: its half-spaces share one row.
pub(crate) type InputSearch = Frontier<InputNode, Part>;

impl InputSearch {
    /// Whether it can be about a network of so many inputs.
    pub(crate) fn fits(&self, inputs: usize) -> bool {
        self.holds(1, |node, part| {
            *node == InputNode::Open && part.input.len() == inputs
        })
    }

    /// The proven lower bound of the distance: the smallest of all parts, open or not.
    pub(crate) fn bound(&self) -> f64 {
        let open = self.open.iter().map(|open| open.bound);
        open.fold(self.finished[0], f64::min)
    }
}

/// Proves a case by cutting its box; goes on from an earlier search if there is one. Points at which all half-spaces seem to hold go to `confirm`, which
/// says whether they lead to a counterexample; one that does ends the search.
///
/// Also why parts were left open, if any were.
pub(crate) fn branch_on_inputs(
    network: &Network,
    case: &UnsafeCase,
    config: &BranchConfig,
    limits: &Limits,
    confirm: &mut dyn FnMut(Vec<f64>) -> Result<bool>,
    start: Option<InputSearch>,
    keep: &mut Keep<'_, InputSearch>,
) -> Result<(InputSearch, Option<Reason>)> {
    let span = tracing::info_span!("branch", open = 0_u64, worst = 0.0, position = 0_u64);
    let _entered = span.enter();
    let judge = Judge::new(network, case);
    let batch = config.batch.max(1);
    let round = (ROUND / judge.boxes.work().max(1)).clamp(1, BATCHES * batch);
    let mut pending = Vec::new();
    let mut search = start.unwrap_or_else(|| {
        pending.push((0, case.input.clone()));
        InputSearch::new(InputNode::Open, 1)
    });
    let mut stopped = None;
    loop {
        let judged: Vec<Judged> = pending
            .par_iter()
            .map_init(<(Workspace, Vec<f64>)>::default, |memory, (_, part)| {
                judge.judge(part, memory)
            })
            .collect::<Result<_>>()?;
        search.nodes[0] += pending.len();
        let mut points: Vec<(f64, Vec<f64>)> = Vec::new();
        for ((node, input), judged) in pending.drain(..).zip(judged) {
            if judged.bound > 0.0 {
                search.finished[0] = search.finished[0].min(judged.bound);
                search.tree[node] = InputNode::Leaf {
                    weights: judged.weights,
                };
                continue;
            }
            points.extend(judged.point);
            search.open.push(Open {
                bound: judged.bound,
                node,
                state: Part {
                    input,
                    cut: judged.cut,
                },
            });
        }
        span.record("open", search.open.len() as u64);
        let worst = search.open.peek();
        span.record("worst", worst.map_or(search.finished[0], |open| open.bound));
        span.record("position", search.bounded() as u64);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Beside what looks like a counterexample, ever more rarely the best of the points that do not.
        let near = usize::from((search.rounds + 1).is_power_of_two());
        let tried = points.partition_point(|(margin, _)| *margin <= 0.0);
        for (margin, point) in points.into_iter().take(tried.max(near)) {
            if confirm(point)? {
                return Ok((search, None));
            }
            search.doubts += usize::from(margin <= 0.0);
            if search.doubts >= DOUBTS {
                stopped = Some(Reason::Exhausted);
                break;
            }
        }
        if search.open.is_empty() || stopped.is_some() {
            break;
        }
        if config.on == BranchOn::Auto && search.open.len() >= config.turn {
            // Where the least distance is attained along a face, ever smaller parts come to no end.
            stopped = Some(Reason::Exhausted);
            break;
        }
        stopped = limits.reached().or_else(|| {
            (search.bounded() >= config.nodes || search.open.len() >= config.open)
                .then_some(Reason::Nodes)
        });
        if stopped.is_some() {
            break;
        }
        keep(&search);
        search.rounds += 1;
        // The smallest bound of the parts that are cut now.
        let mut taken = f64::INFINITY;
        while pending.len() < 2 * round {
            let Some(open) = search.open.pop() else { break };
            taken = taken.min(open.bound);
            let Part { input, cut } = &open.state;
            let halves =
                cut.and_then(|(side, at)| input.bisect(side, at).map(|parts| (side, at, parts)));
            let Some((input, at, (low, high))) = halves else {
                // As small as numbers allow.
                stopped = Some(Reason::Exhausted);
                search.open.push(open);
                break;
            };
            let (below, above) = (search.tree.len(), search.tree.len() + 1);
            search.tree[open.node] = InputNode::Split {
                input,
                at,
                below,
                above,
            };
            search.tree.extend([InputNode::Open, InputNode::Open]);
            pending.push((below, low));
            pending.push((above, high));
        }
        if stopped.is_some() {
            // The halves that were made are not bounded any further.
            search.finished[0] = search.finished[0].min(taken);
            break;
        }
    }
    Ok((search, stopped))
}

/// What is known of a part of the box.
struct Judged {
    /// The best proven distance, in units of a single half-space.
    bound: f64,
    /// The combination of half-spaces that it comes from.
    weights: Vec<u16>,
    /// The input to cut, and where.
    cut: Option<(usize, f64)>,
    /// The point of those tried in an open part that is nearest to a counterexample, with its margin: at most 0 if it looks like one.
    point: Option<(f64, Vec<f64>)>,
}

/// What parts are judged by.
struct Judge<'a> {
    boxes: Boxes<'a>,
    case: &'a UnsafeCase,
    reach: Reach<'a>,
    /// The coefficients of all half-spaces.
    rows: Vec<f64>,
}

impl<'a> Judge<'a> {
    fn new(network: &'a Network, case: &'a UnsafeCase) -> Self {
        let spaces = case.outputs.iter();
        Self {
            boxes: Boxes::new(network),
            case,
            reach: Reach::new(network, &case.input),
            rows: spaces
                .flat_map(|space| space.coefficients.iter().copied())
                .collect(),
        }
    }

    fn judge(
        &self,
        part: &InputBox,
        (workspace, slopes): &mut (Workspace, Vec<f64>),
    ) -> Result<Judged> {
        let spaces = &self.case.outputs;
        let sides = part.len();
        let radii: Vec<f64> = part
            .lower()
            .iter()
            .zip(part.upper())
            .map(|(l, u)| 0.5 * (u - l))
            .collect();
        self.boxes.enter(part, workspace)?;
        let values = self
            .boxes
            .bound(&self.rows, spaces.len(), workspace, slopes);
        let distances: Vec<f64> = values
            .iter()
            .zip(spaces)
            .map(|(value, space)| add_down(*value, -space.bound))
            .collect();
        let best = (0..spaces.len()).max_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        let Some(best) = best else {
            // Every output is unsafe.
            return Ok(Judged {
                bound: f64::NEG_INFINITY,
                weights: Vec::new(),
                cut: None,
                point: Some((f64::NEG_INFINITY, middle(part))),
            });
        };
        let mut chosen = Chosen {
            weights: single(spaces.len(), best),
            space: spaces[best].clone(),
            bound: distances[best],
        };
        if chosen.bound > 0.0 {
            return Ok(chosen.proven());
        }
        // How far the linear bounds change from the middle to the ends of each side.
        for slopes in slopes.chunks_exact_mut(sides) {
            for (slope, radius) in slopes.iter_mut().zip(&radii) {
                *slope *= radius;
            }
        }
        let mut reach = slopes[best * sides..(best + 1) * sides].to_vec();
        if spaces.len() > 1 && chosen.bound.is_finite() {
            let centers: Vec<f64> = distances
                .iter()
                .zip(slopes.chunks_exact(sides))
                .map(|(distance, slopes)| distance + slopes.iter().map(|s| s.abs()).sum::<f64>())
                .collect();
            let together = weigh(&centers, slopes, sides)
                .and_then(|weights| Some((combined(spaces, &weights, &self.reach)?, weights)));
            if let Some((space, weights)) = together {
                let value = self.boxes.bound(&space.coefficients, 1, workspace, slopes)[0];
                let bound = per_weight(add_down(value, -space.bound), &weights);
                if bound > chosen.bound {
                    chosen = Chosen {
                        weights,
                        space,
                        bound,
                    };
                    reach.clear();
                    reach.extend(slopes.iter().zip(&radii).map(|(slope, r)| slope * r));
                }
            }
        }
        if chosen.bound > 0.0 {
            return Ok(chosen.proven());
        }
        let row = &chosen.space.coefficients;
        let (mut scores, below) = self.boxes.losses(row, workspace);
        // Other slopes win back what is lost at lower lines, at most.
        if chosen.bound + per_weight(below, &chosen.weights) > 0.0 {
            let value = self
                .boxes
                .ascend(row, chosen.space.bound, workspace, slopes);
            let distance = add_down(value, -chosen.space.bound);
            chosen.bound = chosen.bound.max(per_weight(distance, &chosen.weights));
            if chosen.bound > 0.0 {
                return Ok(chosen.proven());
            }
        }
        for (score, reach) in scores.iter_mut().zip(&reach) {
            *score += REACH * reach.abs();
        }
        Ok(Judged {
            cut: cut(part, &scores, &radii),
            point: self.nearest(part, &reach)?,
            ..chosen.proven()
        })
    }

    /// The better of the part's middle and the corner at which its linear bound is least, with its margin.
    fn nearest(&self, part: &InputBox, reach: &[f64]) -> Result<Option<(f64, Vec<f64>)>> {
        let corner = reach.iter().enumerate().map(|(j, &slope)| {
            if slope > 0.0 {
                part.lower()[j]
            } else {
                part.upper()[j]
            }
        });
        let points: Vec<f64> = middle(part).into_iter().chain(corner).collect();
        let outputs = self.boxes.values(&points, 2);
        let mut best: Option<(f64, Vec<f64>)> = None;
        for (point, outputs) in points
            .chunks_exact(part.len())
            .zip(outputs.chunks_exact(outputs.len() / 2))
        {
            let margin = self.case.margin(outputs)?;
            if best.as_ref().is_none_or(|(old, _)| margin < *old) {
                best = Some((margin, point.to_vec()));
            }
        }
        Ok(best)
    }
}

/// A combination of half-spaces, and what is proven of it over a part.
struct Chosen {
    weights: Vec<u16>,
    space: HalfSpace,
    bound: f64,
}

impl Chosen {
    /// Nothing is left to be done about the part.
    fn proven(self) -> Judged {
        Judged {
            bound: self.bound,
            weights: self.weights,
            cut: None,
            point: None,
        }
    }
}

fn middle(part: &InputBox) -> Vec<f64> {
    part.lower()
        .iter()
        .zip(part.upper())
        .map(|(l, u)| f64::midpoint(*l, *u))
        .collect()
}

/// The middle of the side with the highest score; of equal ones the widest. `None` if no side has a number between its ends.
fn cut(part: &InputBox, scores: &[f64], radii: &[f64]) -> Option<(usize, f64)> {
    let places = scores.iter().zip(radii).enumerate();
    places
        .filter_map(|(side, (score, radius))| {
            let (l, u) = (part.lower()[side], part.upper()[side]);
            let at = f64::midpoint(l, u);
            (l < at && at < u).then_some((side, at, score, radius))
        })
        .max_by(|a, b| a.2.total_cmp(b.2).then(a.3.total_cmp(b.3)))
        .map(|(side, at, ..)| (side, at))
}
