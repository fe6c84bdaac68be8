//! A run reports where it is through its tracing span.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use fire_assay_models::train::{Length, Method, Sgd, TrainConfig, Trainer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::nets::{Clouds, Mlp, device};

/// Notes the whole numbers of all spans called `train`.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<(String, u64)>>>);

impl Visit for Notes {
    fn record_u64(&mut self, field: &Field, value: u64) {
        let note = (field.name().to_owned(), value);
        self.0.lock().unwrap().push(note);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "train"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn position_and_length_count_steps() {
    let clouds = Clouds::new(16, 5);
    let config = TrainConfig::new(Method::Sgd(Sgd::default()), 0.1, Length::Epochs(2), 8);
    let model = Mlp::new([2, 4, 2], 3, &device().autodiff());
    let notes = Notes::default();
    tracing::subscriber::with_default(notes.clone(), || {
        let trainer = Trainer::new(config).unwrap();
        trainer
            .run(model, 16, |model, batch| clouds.loss(model, batch))
            .unwrap();
    });
    let notes = notes.0.lock().unwrap();
    let of = |name: &str| -> Vec<u64> {
        let notes = notes.iter().filter(|(field, _)| field == name);
        notes.map(|(_, value)| *value).collect()
    };
    assert_eq!(of("length"), [4]);
    assert_eq!(of("position"), [0, 1, 2, 3, 4]);
}
