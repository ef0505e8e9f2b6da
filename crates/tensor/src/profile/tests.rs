use std::thread;

use super::*;
use crate::{Activation, DType, Tensor, Weight, autograd, ops};

/// What this thread has done of what was measured: other tests run at the same time.
fn mine(profile: &Profile) -> Profile {
    let mine = thread();
    let events = profile.events.iter().filter(|event| event.thread == mine).cloned().collect();
    Profile { events, ..profile.clone() }
}

fn measured<R>(work: impl FnOnce() -> R) -> Profile {
    mine(&record(work).1)
}

fn names(profile: &Profile) -> Vec<String> {
    profile.events.iter().map(Event::name).collect()
}

fn ones(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, DType::F32).unwrap()
}

#[test]
fn operations_have_names_shapes_and_counts() {
    let (x, w) = (ones(&[2, 3, 4]), Weight::new([ones(&[5, 4])]).unwrap());
    let profile = measured(|| {
        ops::linear(&x, &w, None, Activation::Identity).unwrap();
        x.matmul(&ones(&[4, 6])).unwrap();
        x.exp().unwrap();
    });
    let found = |name: &str| profile.events.iter().find(|event| event.name() == name).unwrap().clone();
    let linear = found("linear");
    assert_eq!(linear.kind, Kind::Operation);
    assert_eq!(linear.shapes(), [Shape::from_slice(&[2, 3, 4]), Shape::from_slice(&[5, 4])]);
    assert_eq!((linear.flops(), linear.bytes()), (2 * 6 * 4 * 5, 4 * (24 + 20 + 30)));
    let matmul = found("matmul");
    assert_eq!(matmul.flops(), 2 * 6 * 4 * 6);
    assert_eq!((found("exp").flops(), found("exp").bytes()), (0, 2 * 4 * 24));
}

#[test]
fn of_attention_what_is_seen_is_counted() {
    let mut ragged = ops::Ragged::default();
    ragged.push(4, 4);
    let [q, k, v] = [ones(&[4, 2, 8]), ones(&[4, 1, 8]), ones(&[4, 1, 8])];
    let mask = ops::Mask { causal: true, window: None };
    let attention = ops::Attention { mask, ..ops::Attention::new(&q, &k, &v, &ragged) };
    let profile = measured(|| attention.run().unwrap());
    let event = profile.events.iter().find(|event| event.name() == "attention").unwrap();
    // Of 16 pairs 10 are seen, by two heads, in two products.
    assert_eq!(event.flops(), 2 * 2 * 10 * 2 * 8);
    assert_eq!(event.bytes(), 4 * (64 + 64 + 32 + 32));
}

#[test]
fn nothing_is_noted_that_nobody_asked_for() {
    let before = measured(|| ());
    assert!(before.events.is_empty());
    ones(&[4]).exp().unwrap();
    drop(span("unheard"));
    assert!(measured(|| ()).events.is_empty());
}

#[test]
fn modules_and_steps_hold_what_is_done_within_them() {
    let (outer, inner) = (Module::new("layers.0"), Module::new("layers.0.mlp"));
    let profile = measured(|| {
        let _step = span("step");
        let _outer = outer.enter();
        ones(&[4]).exp().unwrap();
        let _inner = inner.enter();
        ones(&[4]).sqrt().unwrap();
    });
    let module =
        |name: &str| profile.events.iter().find(|event| event.name() == name).unwrap().module.clone();
    assert_eq!(module("step"), None);
    assert_eq!(module("exp"), Some(outer.clone()));
    assert_eq!(module("sqrt"), Some(inner.clone()));
    assert_eq!(here(), None);
    let rows = profile.rows(By::Module);
    let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
    assert_eq!(row("layers").total, row("layers.0").total);
    assert_eq!(row("layers.0").total, row("layers.0").own + row("layers.0.mlp").own);
    assert_eq!((row("layers.0").count, row("layers").count), (1, 0));
}

#[test]
fn own_times_add_up_to_the_whole() {
    let x = ones(&[64, 64]);
    let profile = measured(|| {
        let _all = span("all");
        let _module = Module::new("layer").enter();
        for _ in 0..10 {
            x.matmul(&x).unwrap().softmax(0).unwrap();
        }
    });
    let all = profile.events[0].duration;
    assert_eq!(profile.events[0].name(), "all");
    assert!(all <= profile.duration);
    for by in [By::Operation, By::Shapes, By::Module] {
        assert_eq!(profile.rows(by).iter().map(|row| row.own).sum::<Duration>(), all, "{by:?}");
    }
}

#[test]
fn gradients_have_the_names_and_modules_of_their_operations() {
    let x = ones(&[3, 3]);
    x.set_requires_grad(true).unwrap();
    let profile = measured(|| {
        let y = {
            let _module = Module::new("layers.1").enter();
            x.matmul(&x).unwrap()
        };
        autograd::backward(&[&y.sum(&[], false).unwrap()], &[None], false, false).unwrap();
    });
    let gradient = profile.events.iter().find(|event| event.name() == "matmul_backward").unwrap();
    assert_eq!((gradient.kind, gradient.module.clone()), (Kind::Backward, Some(Module::new("layers.1"))));
    let within = |event: &&Event| {
        event.name() == "matmul"
            && event.start >= gradient.start
            && event.start + event.duration <= gradient.start + gradient.duration
    };
    assert_eq!(profile.events.iter().filter(within).count(), 2);
    assert!(names(&profile).contains(&"backward".into()));
}

#[test]
fn an_inner_profile_has_its_part_and_the_outer_one_all() {
    let mut inner = Profile::default();
    let outer = measured(|| {
        let _begun_before = span("begun before");
        ones(&[2]).exp().unwrap();
        inner = measured(|| ones(&[2]).sqrt().unwrap());
        ones(&[2]).tanh().unwrap();
    });
    assert!(names(&inner).contains(&"sqrt".into()));
    assert!(["exp", "tanh", "begun before"].iter().all(|name| !names(&inner).contains(&name.to_string())));
    let all = names(&outer);
    assert!(["exp", "sqrt", "tanh", "begun before"].iter().all(|name| all.contains(&name.to_string())));
}

#[test]
fn every_thread_has_its_own_events() {
    let (_, profile) = record(|| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _all = span("of a thread");
                    (0..20).for_each(|_| _ = ones(&[8]).log1p().unwrap());
                });
            }
        });
    });
    let threads: Vec<u64> =
        profile.events.iter().filter(|e| e.name() == "of a thread").map(|e| e.thread).collect();
    assert_eq!(threads.len(), 4);
    for mine in threads {
        let of_mine = profile.events.iter().filter(|e| e.thread == mine);
        assert_eq!(of_mine.clone().filter(|e| e.name() == "log1p").count(), 20);
        let all = of_mine.clone().find(|e| e.name() == "of a thread").unwrap();
        assert_eq!(of_mine.map(|e| e.own).sum::<Duration>(), all.duration);
    }
}

#[test]
fn a_panic_ends_what_it_leaves() {
    let profile = measured(|| {
        let caught = std::panic::catch_unwind(|| {
            let _module = Module::new("broken").enter();
            panic!("as asked");
        });
        assert!(caught.is_err());
        ones(&[2]).exp().unwrap();
    });
    assert!(names(&profile).contains(&"broken".into()));
    assert_eq!(profile.events.iter().find(|event| event.name() == "exp").unwrap().module, None);
    assert_eq!(here(), None);
}

#[test]
fn the_trace_is_made_of_whole_events() {
    let profile = measured(|| {
        let _module = Module::new("odd \"path\"\\").enter();
        ones(&[2, 3]).exp().unwrap();
    });
    let mut written = Vec::new();
    profile.write_chrome_trace(&mut written).unwrap();
    let text = String::from_utf8(written).unwrap();
    assert!(text.contains(r#""name":"odd \"path\"\\","#), "{text}");
    assert!(
        text.contains(r#""name":"exp""#) && text.contains(r#""Input Dims":[[2, 3]],"flops":0,"bytes":48"#)
    );
    assert_eq!(text.matches(r#""ph":"X""#).count(), profile.events.len());
}

#[test]
fn tables_are_in_order_and_no_longer_than_asked() {
    let profile = measured(|| {
        ones(&[400, 400]).matmul(&ones(&[400, 400])).unwrap();
        ones(&[2]).exp().unwrap();
        ones(&[2]).exp().unwrap();
    });
    let shown = table(&profile.rows(By::Operation), Some(Sort::Own), 1);
    assert!(shown.contains("matmul") && !shown.contains("exp"), "{shown}");
    assert!(shown.contains("GFLOP/s") && shown.contains("Self CPU time total"));
    let first = |sort| table(&profile.rows(By::Operation), Some(sort), 1).lines().nth(3).unwrap().to_owned();
    assert!(first(Sort::Flops).starts_with("matmul"));
    assert!(!first(Sort::Count).starts_with("matmul"));
    assert!(table(&profile.rows(By::Shapes), None, 9).contains("[[400, 400], [400, 400]]"));
    assert_eq!(Sort::named("cpu_time_total"), Some(Sort::Total));
    assert_eq!(Sort::named("none"), None);
    assert!(Profile::default().to_string().contains("Name"));
}
