//! Learning rates against closed forms.

use std::f64::consts::PI;

use fire_assay_models::Error;
use fire_assay_models::train::{Decay, Milestone, Schedule, Span};

const SPAN: Span = Span {
    steps: 110,
    steps_per_epoch: 11,
};

fn rates(schedule: &Schedule) -> Vec<f64> {
    (0..SPAN.steps)
        .map(|step| schedule.rate(0.5, step, SPAN))
        .collect()
}

fn assert_close(found: &[f64], wanted: impl Fn(f64) -> f64) {
    for (step, rate) in found.iter().enumerate() {
        let wanted = wanted(step as f64);
        assert!(
            (rate - wanted).abs() < 1e-12,
            "step {step}: {rate} for {wanted}"
        );
    }
}

#[test]
fn constant() {
    assert_close(&rates(&Schedule::default()), |_| 0.5);
}

#[test]
fn cosine_and_linear_fall_to_their_floor() {
    let after = |decay| Schedule { warm_up: 0, decay };
    let cosine = after(Decay::Cosine { floor: 0.1 });
    assert_close(&rates(&cosine), |s| {
        0.1 + 0.4 * (PI * s / 110.0 / 2.0).cos().powi(2)
    });
    let linear = after(Decay::Linear { floor: 0.1 });
    assert_close(&rates(&linear), |s| 0.5 - 0.4 * s / 110.0);
    for schedule in [cosine, linear] {
        assert!((schedule.rate(0.5, 110, SPAN) - 0.1).abs() < 1e-12);
        assert!((schedule.rate(0.5, 1000, SPAN) - 0.1).abs() < 1e-12);
    }
}

#[test]
fn warm_up_reaches_the_base_rate_and_the_decay_counts_from_there() {
    let decays = [
        Decay::Constant,
        Decay::Linear { floor: 0.0 },
        Decay::Cosine { floor: 0.0 },
    ];
    for decay in decays {
        let schedule = Schedule { warm_up: 10, decay };
        let rates = rates(&schedule);
        assert_close(&rates[..10], |s| 0.05 * (s + 1.0));
        assert_eq!(rates[10], 0.5);
        match schedule.decay {
            Decay::Linear { .. } => assert_close(&rates[10..], |s| 0.5 * (1.0 - s / 100.0)),
            Decay::Cosine { .. } => {
                assert_close(&rates[10..], |s| 0.25 * (1.0 + (PI * s / 100.0).cos()))
            }
            _ => assert_close(&rates[10..], |_| 0.5),
        }
    }
}

#[test]
fn milestones_in_steps_and_epochs() {
    let milestones = vec![Milestone::Epoch(4), Milestone::Step(70)];
    let schedule = Schedule {
        warm_up: 0,
        decay: Decay::Steps {
            milestones,
            factor: 0.1,
        },
    };
    assert_close(&rates(&schedule), |s| match s {
        s if s < 44.0 => 0.5,
        s if s < 70.0 => 0.05,
        _ => 0.005,
    });
}

#[test]
fn a_warm_up_longer_than_the_run_is_all_there_is() {
    let schedule = Schedule {
        warm_up: 200,
        decay: Decay::Linear { floor: 0.0 },
    };
    assert_close(&rates(&schedule), |s| 0.5 * (s + 1.0) / 200.0);
}

#[test]
fn settings_out_of_range_are_refused() {
    let bad = [
        Decay::Cosine { floor: 0.6 },
        Decay::Cosine { floor: -0.1 },
        Decay::Linear { floor: f64::NAN },
        Decay::Steps {
            milestones: vec![],
            factor: 0.0,
        },
    ];
    for decay in bad {
        let schedule = Schedule { warm_up: 0, decay };
        assert!(
            matches!(schedule.validate(0.5), Err(Error::InvalidConfig { .. })),
            "{schedule:?}"
        );
    }
}

#[test]
fn schedules_are_written_and_read_as_json() {
    let text = r#"{"warm_up": 3, "decay": {"steps": {"milestones": [{"epoch": 75}, {"step": 9}], "factor": 0.1}}}"#;
    let schedule: Schedule = serde_json::from_str(text).unwrap();
    let milestones = vec![Milestone::Epoch(75), Milestone::Step(9)];
    let decay = Decay::Steps {
        milestones,
        factor: 0.1,
    };
    assert_eq!(schedule, Schedule { warm_up: 3, decay });
    let again: Schedule = serde_json::from_str(&serde_json::to_string(&schedule).unwrap()).unwrap();
    assert_eq!(again, schedule);
}
