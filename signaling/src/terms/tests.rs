use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use voxgate_policy::routing::{ModelPattern, Route, Target};

use super::*;
use crate::host::idle::Idle;

/// Terms in which everything says the number of the revision.
fn terms(number: u64) -> Terms {
    let text = number.to_string();
    let route = Route::to(ModelPattern::Exact("m".to_owned()), Target::new(&text, None));
    Terms {
        revision: RevisionName { number, ..RevisionName::default() },
        authorizer: Arc::new(Authorizer::load(&[]).unwrap()),
        routes: Arc::new(RouteTable::new(vec![route])),
        default_model: text.into(),
        agents: Arc::default(),
        limits: Arc::default(),
        host: Arc::new(Idle::default()),
    }
}

#[test]
fn whoever_begins_while_terms_change_sees_one_revision_whole() {
    const REVISIONS: u64 = 60;
    let force = TermsInForce::new(terms(0));
    // What stands beside the terms and changes with them, as the tree of keys does.
    let beside = Arc::new(AtomicU64::new(0));
    let is_done = Arc::new(AtomicBool::new(false));
    let starters: Vec<_> = (0..2)
        .map(|_| {
            let (force, beside, is_done) = (force.clone(), Arc::clone(&beside), Arc::clone(&is_done));
            thread::spawn(move || {
                let mut last = 0;
                while !is_done.load(Ordering::Relaxed) || last < REVISIONS {
                    let (seen, number) = force.with(|| beside.load(Ordering::Relaxed));
                    let text = number.to_string();
                    assert_eq!(seen.revision.number, number);
                    assert_eq!(&*seen.default_model, text);
                    assert_eq!(seen.routes.resolve("m").unwrap().targets[0].provider, text);
                    assert!(number >= last, "revisions do not come back");
                    last = number;
                    thread::yield_now();
                }
            })
        })
        .collect();
    for number in 1..=REVISIONS {
        let replaced = force.replace(terms(number), || {
            beside.store(number, Ordering::Relaxed);
            Ok::<(), ()>(())
        });
        assert_eq!(replaced, Ok(()));
    }
    is_done.store(true, Ordering::Relaxed);
    for starter in starters {
        starter.join().unwrap();
    }
}

#[test]
fn terms_that_were_taken_stay_as_they_were() {
    let force = TermsInForce::new(terms(1));
    let taken = force.now();
    force.replace(terms(2), || Ok::<(), ()>(())).unwrap();
    assert_eq!((taken.revision.number, force.now().revision.number), (1, 2));
}

#[test]
fn nothing_changes_if_what_goes_along_fails() {
    let force = TermsInForce::new(terms(1));
    assert_eq!(force.replace(terms(2), || Err("no")), Err("no"));
    assert_eq!(force.now().revision.number, 1);
}
