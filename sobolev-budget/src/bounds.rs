//! What no curve of a budget can be better than.

use std::f64::consts::PI;

use crate::{Domain, Error, Norm, Result, Smoothness};

/// A lower bound of `J_p` for curves of at most this cost, if the measure is uniform on a set of volume `volume` in `R^dimension`.
///
/// The points within r of a curve of length L fill at most `omega_(n-1) L r^(n-1) + omega_n r^n`, where `omega_n` is the volume of the unit ball;
/// what lies outside of the tube is farther than r. So `J_p >= integral of p r^(p-1) (1 - tube(r) / volume)` up to the radius at which the
/// tube could hold everything. A budget bounds the length of curves with [`length_bound`]; where it does not, there is no such bound, and the
/// result is `None`.
///
/// # Errors
/// As [`Smoothness::validate`]; [`Error::Parameter`] if the volume is not positive, the budget negative, either not finite, or p not in 1 to 64.
pub fn tube_lower_bound(
    domain: Domain,
    smoothness: &Smoothness,
    budget: f64,
    exponent: f64,
    dimension: usize,
    volume: f64,
) -> Result<Option<f64>> {
    crate::map::check_exponent(exponent)?;
    if !(volume > 0.0 && volume.is_finite()) {
        return Err(Error::Parameter {
            name: "the volume",
            requirement: "positive and finite",
            found: volume,
        });
    }
    let Some(length) = length_bound(domain, smoothness, budget)? else {
        return Ok(None);
    };
    let n = dimension as i32;
    let (side, ball) = (
        unit_ball(dimension.saturating_sub(1)) * length,
        unit_ball(dimension),
    );
    let tube = |r: f64| side * r.powi(n - 1) + ball * r.powi(n);
    // The tube grows without end, so the radius at which it could hold the set is found by halving.
    let mut most = 1.0;
    while tube(most) < volume {
        most *= 2.0;
    }
    let mut least = 0.0;
    for _ in 0..200 {
        let middle = 0.5 * (least + most);
        if tube(middle) < volume {
            least = middle;
        } else {
            most = middle;
        }
    }
    // The integral of p r^(p-1) (1 - (a r^(n-1) + b r^n) / V), term by term; at the smaller radius it is a bound in any case.
    let (p, n, r) = (exponent, f64::from(n), least);
    let bound = r.powf(p)
        - p / volume
            * (side * r.powf(p + n - 1.0) / (p + n - 1.0) + ball * r.powf(p + n) / (p + n));
    Ok(Some(bound.max(0.0)))
}

/// The largest length of a curve within a budget, if the budget bounds it.
///
/// With order 1 it is the budget, as a mean is at most a mean of higher order. On a circle, where derivatives have the mean 0, each order more gives a factor of at most
/// `1 / (2 pi)` if q = 2 (Wirtinger's inequality). Norms that count derivatives of order 1 among others bound it, too.
///
/// # Errors
/// As [`Smoothness::validate`]; [`Error::Parameter`] if the budget is negative or not finite.
pub fn length_bound(domain: Domain, smoothness: &Smoothness, budget: f64) -> Result<Option<f64>> {
    smoothness.validate(domain)?;
    check_budget(budget)?;
    if domain.dimension() != 1 {
        return Ok(None);
    }
    let order = smoothness.order;
    let by_order_one =
        |factor: f64| (factor > 0.0).then(|| budget / factor.powf(1.0 / smoothness.exponent));
    Ok(match &smoothness.norm {
        Norm::Full => by_order_one(1.0),
        Norm::Weighted(factors) => by_order_one(factors[1]),
        Norm::Seminorm if order == 1 => Some(budget),
        Norm::Seminorm if domain == Domain::Circle && smoothness.exponent >= 2.0 => {
            Some(budget / (2.0 * PI).powi(order as i32 - 1))
        }
        Norm::Seminorm => None,
    })
}

/// Whether a budget is one.
///
/// # Errors
/// [`Error::Parameter`] if it is negative or not finite.
pub(crate) fn check_budget(budget: f64) -> Result<()> {
    if budget.is_finite() && budget >= 0.0 {
        return Ok(());
    }
    Err(Error::Parameter {
        name: "the budget",
        requirement: "finite and not negative",
        found: budget,
    })
}

/// The volume of the unit ball.
fn unit_ball(dimension: usize) -> f64 {
    match dimension {
        0 => 1.0,
        1 => 2.0,
        n => 2.0 * PI / n as f64 * unit_ball(n - 2),
    }
}
