//! Progress bars and logs, both on standard error.
//!
//! The libraries print nothing. Long work opens a `tracing` span with the fields `position` and `length` and records
//! them as it goes on; [`ProgressLayer`] reads the two off every such span, and [`init`] has `tracing-indicatif` draw
//! them as bars where standard error is a terminal.

use std::io::{self, IsTerminal as _};
use std::sync::LazyLock;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Span, Subscriber, dispatcher};
use tracing_indicatif::IndicatifLayer;
use tracing_indicatif::span_ext::IndicatifSpanExt as _;
use tracing_indicatif::style::ProgressStyle;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::CommonArgs;

/// Sets progress bars and logs up for the whole process; a second call changes nothing.
///
/// Bars are drawn unless `--quiet` is given or standard error is no terminal. Logs of the level that `--log` asks
/// for (default: warnings, with `--quiet` errors) are lines on standard error.
pub fn init(common: &CommonArgs) {
    let quiet_default = if common.quiet {
        LevelFilter::ERROR
    } else {
        LevelFilter::WARN
    };
    let wanted = common
        .log
        .clone()
        .unwrap_or_else(|| Targets::new().with_default(quiet_default));
    // Spans are the bars' affair: as context of log lines they would repeat every position ever recorded.
    let events = wanted.and(filter_fn(|metadata| metadata.is_event()));
    let terminal = io::stderr().is_terminal();
    let logs = fmt::layer().without_time().with_ansi(terminal);

    // Fails only if there is a subscriber already, which then stays.
    let _ = if terminal && !common.quiet {
        let bars = IndicatifLayer::new().with_progress_style(STYLES.unknown_length.clone());
        let logs = logs.with_writer(bars.get_stderr_writer());
        tracing_subscriber::registry()
            .with(logs.with_filter(events))
            .with(bars.with_filter(filter_fn(reports_progress)))
            .with(ProgressLayer::new(draw).with_filter(filter_fn(reports_progress)))
            .try_init()
    } else {
        let logs = logs.with_writer(io::stderr);
        tracing_subscriber::registry()
            .with(logs.with_filter(events))
            .try_init()
    };
}

/// How far the work of a span has come, in units of the work (words, merge steps, bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Units done.
    pub position: u64,
    /// Units in all; `None` while unknown.
    pub length: Option<u64>,
}

/// Calls a function whenever a span's `position` or `length` changes, and when such a span is entered.
///
/// The function runs with that span current ([`Span::current`]). A value that is recorded on a span while another,
/// younger one is entered on the same thread is passed on with the next one: `tracing` gives no handle to it before.
#[derive(Debug)]
pub struct ProgressLayer<F> {
    show: F,
}

impl<F: Fn(Progress)> ProgressLayer<F> {
    /// A layer that calls `show`.
    pub fn new(show: F) -> Self {
        Self { show }
    }
}

impl<S, F> Layer<S> for ProgressLayer<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn(Progress) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut progress = Progress::default();
        attributes.record(&mut progress);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(progress);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let changed = {
            let mut extensions = span.extensions_mut();
            let Some(progress) = extensions.get_mut::<Progress>() else {
                return;
            };
            let before = *progress;
            values.record(progress);
            *progress != before
        };
        if changed {
            // Bars can be reached through a current span only, and a worker may record on a span it never entered:
            // enter it for a moment, which calls `on_enter` below.
            let dispatch = dispatcher::get_default(Clone::clone);
            dispatch.enter(id);
            dispatch.exit(id);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if Span::current().id().as_ref() != Some(id) {
            return;
        }
        // Copied out first: drawing locks the extensions again.
        let progress = context
            .span(id)
            .and_then(|span| span.extensions().get::<Progress>().copied());
        if let Some(progress) = progress {
            (self.show)(progress);
        }
    }
}

impl Visit for Progress {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            POSITION => self.position = value,
            LENGTH => self.length = Some(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

const POSITION: &str = "position";
const LENGTH: &str = "length";

fn reports_progress(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.fields().field(POSITION).is_some()
}

/// Draws the bar of the current span.
fn draw(progress: Progress) {
    let span = Span::current();
    if let Some(length) = progress.length {
        span.pb_set_style(&STYLES.known_length);
        span.pb_set_length(length);
    }
    span.pb_set_position(progress.position);
}

struct Styles {
    known_length: ProgressStyle,
    unknown_length: ProgressStyle,
}

static STYLES: LazyLock<Styles> = LazyLock::new(|| {
    let style = |template| ProgressStyle::with_template(template).expect("a constant template");
    Styles {
        known_length: style(
            "{span_child_prefix}{span_name:24} {wide_bar} {human_pos}/{human_len} {elapsed} (left {eta})",
        )
        .progress_chars("=> "),
        unknown_length: style("{span_child_prefix}{span_name:24} {spinner} {human_pos} {elapsed}"),
    }
});

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::Empty;
    use tracing::info_span;

    use super::*;

    type Seen = Arc<Mutex<Vec<(&'static str, Progress)>>>;

    /// Everything that `work` shows, with the name of the span that was current.
    fn shown_by(work: impl FnOnce()) -> Vec<(&'static str, Progress)> {
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        let layer = ProgressLayer::new(move |progress| {
            let name = Span::current()
                .metadata()
                .map_or("none", |metadata| metadata.name());
            log.lock().unwrap().push((name, progress));
        })
        .with_filter(filter_fn(reports_progress));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let seen = seen.lock().unwrap();
        seen.clone()
    }

    fn at(position: u64, length: impl Into<Option<u64>>) -> Progress {
        Progress {
            position,
            length: length.into(),
        }
    }

    #[test]
    fn fields_given_at_creation_or_later_are_shown() {
        let seen = shown_by(|| {
            let span = info_span!("replay", position = Empty, length = 10_u64);
            let _inside = span.enter();
            span.record("position", 4_u64);
            span.record("length", 20_u64);
        });
        let expected = [at(0, 10), at(4, 10), at(4, 20)].map(|progress| ("replay", progress));
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_length_may_be_unknown_and_unchanged_values_are_not_shown_again() {
        let seen = shown_by(|| {
            let span = info_span!("count", position = 0_u64, length = Empty);
            let _inside = span.enter();
            span.record("position", 3_u64);
            span.record("position", 3_u64);
        });
        assert_eq!(seen, [("count", at(0, None)), ("count", at(3, None))]);
    }

    #[test]
    fn a_span_that_this_thread_never_entered_is_shown() {
        let seen = shown_by(|| {
            let span = info_span!("far", position = Empty, length = 2_u64);
            let dispatch = dispatcher::get_default(Clone::clone);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    dispatcher::with_default(&dispatch, || span.record("position", 1_u64))
                });
            });
        });
        assert_eq!(seen, [("far", at(1, 2))]);
    }

    #[test]
    fn nested_spans_never_show_on_each_other() {
        let seen = shown_by(|| {
            let outer = info_span!("outer", position = Empty, length = 2_u64);
            let _outside = outer.enter();
            {
                let inner = info_span!("inner", position = Empty, length = 9_u64);
                let _inside = inner.enter();
                outer.record("position", 1_u64);
                inner.record("position", 5_u64);
            }
            outer.record("position", 2_u64);
        });
        let expected = [
            ("outer", at(0, 2)),
            ("inner", at(0, 9)),
            ("inner", at(5, 9)),
            ("outer", at(2, 2)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn other_spans_are_left_alone() {
        let seen = shown_by(|| {
            let span = info_span!("plain", length = 3_u64);
            let _inside = span.enter();
            span.record("length", 4_u64);
        });
        assert_eq!(seen, []);
    }

    #[test]
    fn the_templates_are_valid() {
        LazyLock::force(&STYLES);
    }
}
